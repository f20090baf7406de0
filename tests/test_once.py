"""--once: what was answered once is told again, unsent; of many at once one asks."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipechat.store.locked_file import LockedFile
from tests.history_kit import line, turn, write_session
from tests.program import Program, Result
from tests.servers import (
    ChatServer,
    Mark,
    Reply,
    Reset,
    Stall,
    WaitFor,
    answer,
    chunk,
    done,
    error_reply,
    stream_reply,
)
from tests.store_kit import hidden_in, spool_path

FORMATS = ["text", "ndjson"]
AWAY: dict[str, str | None] = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
"""No key, and nobody who listens: whoever asks here fails."""
STOP = chunk(finish_reason="stop")
SHORT_TIMES = ("--retries", "0", "--idle-timeout", "5")
REQUEST = "0" * 64
NOTHING = subprocess.DEVNULL


def once(program: Program, *more: str | Path, **options: Any) -> Result:
    """Ask with a key, where nobody could answer."""
    ask = ("ask", "--session", "s", "--once", "k", *more)
    return program.run(*ask, **{"env": AWAY, **options})


def answered_once(program: Program, *more: str | Path, said: str = "so") -> Result:
    """Ask the same where `said` is the answer; a request was made."""
    with ChatServer(answer(said)) as server:
        result = once(program, *more, env={"OPENAI_BASE_URL": server.url})
        assert len(server.requests) == 1
    return result


def session_of(program: Program) -> bytes:
    return (program.home / "sessions" / "s.jsonl").read_bytes()


def hidden(program: Program) -> list[str]:
    """What stands hidden beside the sessions."""
    return hidden_in(program.home / "sessions")


@pytest.mark.in_process
def test_the_same_question_is_answered_from_the_record_and_nothing_is_sent_or_kept(
    program: Program,
) -> None:
    asked = answered_once(program, "why?")
    kept = session_of(program)
    [record] = program.records("s")
    again = once(program, "why?")
    assert (again.status, again.stdout, again.stderr) == (0, b"so\n", b"") == (
        asked.status, asked.stdout, asked.stderr,
    )  # fmt: skip
    start, told, end = once(program, "why?", "--output-format", "ndjson").events
    assert (start["replayed"], start["id"], start["session"]) == (True, record["id"], "s")
    assert (start["time"], start["model"]) == (record["time"], record["model"])
    assert told == {"type": "chunk", "index": 0, "text": "so"}
    same = ("answer", "usage", "finish_reason", "first_token_s", "total_s", "request_id")
    assert {name: end[name] for name in same} == {name: record[name] for name in same}
    [only] = once(program, "why?", "--output-format", "json").events
    assert only == end
    assert session_of(program) == kept


@pytest.mark.in_process
def test_events_of_an_answer_that_is_asked_for_say_that_it_is_not_replayed(
    program: Program,
) -> None:
    result = answered_once(program, "why?", "--output-format", "ndjson")
    assert result.events[0]["replayed"] is False


@pytest.mark.in_process
def test_the_record_carries_the_key_and_the_hash_of_what_was_asked(program: Program) -> None:
    answered_once(program, "why?")
    [record] = program.records("s")
    assert record["once"] == {"key": "k", "request": record["request"]}
    with ChatServer(answer("so")) as server:
        more = ("--session", "s", "--base-url", server.url)
        program.run("ask", "else?", *more)
        program.run("ask", "why?", "--once", "other", *more)
    plain, later = program.records("s")[1:]
    assert plain["once"] is None
    assert later["request"] != record["request"]  # earlier turns went along
    assert later["once"] == {"key": "other", "request": record["request"]}


LONG = "k" * 513
BAD = [
    (("--once", "", "--session", "s"), "--once: the key is empty"),
    (("--once", "  ", "--session", "s"), "--once: the key is empty"),
    (("--once", "a\nb", "--session", "s"), "--once: the key holds a control character"),
    (("--once", "a\x1b[0m", "--session", "s"), "--once: the key holds a control character"),
    (("--once", "a\u202eb", "--session", "s"), "--once: the key holds a control character"),
    (("--once", LONG, "--session", "s"), "--once: the key has more than 512 bytes"),
    (("--once", "é" * 257, "--session", "s"), "--once: the key has more than 512 bytes"),
    (("--once", os.fsdecode(b"\xff"), "--session", "s"), "--once: the key is not UTF-8"),
    (("--once", "k"), "--once needs a --session"),
    (("--once", "auto"), "--once needs a --session"),
    (("--once-any", "--session", "s"), "--once-any needs a --once"),
    (("--once", "k", "--session", "../s"), "is no session name"),
]


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("options", "told"), BAD, ids=[told for _, told in BAD])
def test_bad_input_exits_2_in_one_line_before_anything_is_sent(
    program: Program, options: tuple[str, ...], told: str, output_format: str
) -> None:
    result = program.run("ask", "why?", *options, "--output-format", output_format, env=AWAY)
    assert result.status == 2
    assert told in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1
    assert result.stdout == b"" if output_format == "text" else result.events[-1]["exit_code"] == 2
    assert not (program.home / "sessions").exists()


@pytest.mark.in_process
def test_a_key_of_512_bytes_of_any_script_is_one(program: Program) -> None:
    key = "é" * 255 + " k"
    assert answered_once(program, "why?", "--once", key).status == 0
    assert once(program, "why?", "--once", key).stdout == b"so\n"


@pytest.mark.in_process
def test_neither_a_variable_nor_the_config_file_nor_chat_gives_many_questions_one_key(
    program: Program,
) -> None:
    env = {"PIPECHAT_ONCE": "k", "PIPECHAT_ONCE_ANY": "1"}
    result = program.run("ask", "--offline", "--session", "s", "why?", env=env)
    assert (result.status, program.records("s")[0]["once"]) == (0, None)
    assert "PIPECHAT_ONCE" not in program.run("ask", "--help").stdout.decode()
    assert program.run("chat", "--offline", "--once", "k").status == 2
    (program.home / "config.toml").write_text('once = "k"\n')
    assert program.run("ask", "--offline", "why?").code == "bad_config"


ASKED = ("why?", "-m", "m", "-t", "0.5", "--system", "Be kind.")
OTHERS: list[tuple[str, tuple[str, ...], str]] = [
    ("the question", ("why not?", *ASKED[1:]), "its question"),
    ("the model", (*ASKED, "-m", "n"), "its model"),
    ("the system message", (*ASKED, "--system", "Be brief."), "its system message"),
    ("no system message", ASKED[:-2], "its system message or options"),
    ("an option", (*ASKED, "-O", "seed=7"), "its options"),
    ("another value of one", (*ASKED, "-t", "0.6"), "its options"),
    ("a file", (*ASKED, "-f", __file__), "its files"),
    ("a schema", (*ASKED, "--schema", "name"), "its schema"),
    ("two things", ("why not?", *ASKED[1:], "-m", "n"), "its model and question"),
]


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("other", "told"), [row[1:] for row in OTHERS], ids=[r[0] for r in OTHERS])
def test_a_key_that_answered_another_request_exits_2_and_says_what_differs(
    program: Program, other: tuple[str, ...], told: str, output_format: str
) -> None:
    answered_once(program, *ASKED)
    kept = session_of(program)
    result = once(program, *other, "--output-format", output_format)
    assert (result.status, result.code) == (2, "once_differs")
    assert f"answered another request, which differs in {told}." in result.stderr.decode()
    assert result.stdout == b"" if output_format == "text" else result.events[-1]["exit_code"] == 2
    if "--schema" not in other:
        any_of_it = once(program, *other, "--once-any", "--output-format", output_format)
        assert any_of_it.status == 0
        assert any_of_it.stdout == b"so\n" or any_of_it.events[-1]["answer"] == "so"
    assert session_of(program) == kept


@pytest.mark.in_process
def test_how_it_is_sent_and_what_was_asked_in_between_change_nothing(program: Program) -> None:
    answered_once(program, "why?", "-O", 'x={"a": 1, "b": 2}')
    with ChatServer(answer("else")) as server:
        more = ("--session", "s", "--system", "Be brief.", "--base-url", server.url)
        program.run("ask", "else?", *more)
    sent = ("--no-stream", "--timeout", "9", "--retries", "1", "--last-turns", "3")
    again = once(program, "why?", *sent, "-O", 'x={"b": 2, "a": 1}')
    assert (again.status, again.stdout) == (0, b"so\n")


@pytest.mark.in_process
def test_auto_asks_each_request_once(program: Program, tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("one\n")
    auto = ("--once", "auto")
    requests: list[tuple[str | Path, ...]] = [
        ("why?",), ("why not?",), ("why?", "-m", "n"), ("why?", "-t", "1"), ("why?", "-f", note),
        ("why?", "--system", "Be kind."), ("why?", "--schema", "name"),
    ]  # fmt: skip
    said = {"name": "so"}
    for request in requests:
        answered_once(program, *request, *auto, said=json.dumps(said))
    note.write_text("two\n")
    answered_once(program, *requests[4], *auto, said=json.dumps(said))
    for request in requests[:4]:
        assert once(program, *request, *auto).stdout == json.dumps(said).encode() + b"\n"
    marks = [record["once"] for record in program.records("s")]
    assert len({mark["key"] for mark in marks}) == len(requests) + 1
    assert all(mark["key"] == mark["request"] for mark in marks)


UNWHOLE: list[tuple[str, Reply, tuple[str, ...], int]] = [
    ("truncated", answer("s", finish_reason="length"), (), 6),
    ("cut", stream_reply(chunk("s"), Reset()), (), 6),
    ("silent", stream_reply(chunk("s"), Stall()), ("--idle-timeout", "0.3"), 6),
    ("refused", error_reply(400, "no"), (), 4),
    ("failed", error_reply(500, "down"), (), 5),
    ("of another schema", answer("1"), ("--schema", "name"), 7),
]


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("reply", "more", "status"), [row[1:] for row in UNWHOLE], ids=[r[0] for r in UNWHOLE]
)
def test_only_a_complete_turn_counts(
    program: Program, reply: Reply, more: tuple[str, ...], status: int, output_format: str
) -> None:
    out = ("--output-format", output_format)
    with ChatServer([reply, answer('{"name":"so"}')]) as server:
        env: dict[str, str | None] = {"OPENAI_BASE_URL": server.url}
        ask = ("why?", *SHORT_TIMES, *more, *out)
        assert once(program, *ask, env=env).status == status
        assert once(program, *ask, env=env).status == 0
        assert once(program, *ask, env=env).status == 0
        assert len(server.requests) == 2
    statuses = [record["status"] for record in program.records("s")]
    assert statuses[-1] == "complete" != statuses[0]
    assert [record["once"]["key"] for record in program.records("s")] == ["k", "k"]


@pytest.mark.in_process
def test_every_try_of_a_schema_is_of_the_key_and_the_last_one_answers_it(program: Program) -> None:
    ask = ("why?", "--schema", "name", "--schema-retries", "2")
    with ChatServer([answer("no"), answer('{"name":"so"}')]) as server:
        assert once(program, *ask, env={"OPENAI_BASE_URL": server.url}).status == 0
    first, second = program.records("s")
    assert first["once"] == second["once"] != None  # noqa: E711 — because it reads as one claim
    assert once(program, *ask).stdout == b'{"name":"so"}\n'


@pytest.mark.in_process
def test_an_answer_cut_by_the_limit_counts_as_whole_only_for_who_takes_it_so(
    program: Program,
) -> None:
    with ChatServer(answer("s", finish_reason="length")) as server:
        env: dict[str, str | None] = {"OPENAI_BASE_URL": server.url}
        assert once(program, "why?", "--allow-truncated", env=env).status == 0
    assert once(program, "why?", "--allow-truncated").stdout == b"s\n"
    strict = once(program, "why?")
    assert (strict.status, strict.code, strict.stdout) == (6, "truncated", b"s")


@pytest.mark.in_process
def test_the_record_is_shown_as_an_answer_is(program: Program, tmp_path: Path) -> None:
    said = 'Here:\n```\nls\n```\nand {"name": 1}\n'
    answered_once(program, "why?", said=said)
    assert once(program, "why?").stdout == said.encode()
    assert once(program, "why?", "--extract", "code").stdout == b"ls\n"
    end = once(program, "why?", "--extract", "json", "--output-format", "ndjson").events[-1]
    assert (end["json"], end["extracted"], end["answer"]) == ({"name": 1}, '{"name": 1}', said)
    target = tmp_path / "answer"
    result = once(program, "why?", "-o", target)
    assert (result.status, result.stdout, target.read_text()) == (0, b"", said)
    usage = once(program, "why?", "--usage", "-v")
    assert b"usage: 11 prompt + 7 completion = 18 tokens" in usage.stderr
    assert b"nothing is sent" in usage.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("more", "code"),
    [(("--schema", "age int"), "schema_mismatch"), (("--extract", "code"), "nothing_extracted")],
)
def test_a_record_that_is_not_what_is_wanted_now_exits_7_and_its_file_does_not_appear(
    program: Program, tmp_path: Path, more: tuple[str, ...], code: str, output_format: str
) -> None:
    answered_once(program, "why?")
    any_of_it = ("--once-any", *more, "--output-format", output_format)
    result = once(program, "why?", *any_of_it)
    assert (result.status, result.code) == (7, code)
    assert result.stdout == b"" if output_format == "text" else result.events[-1]["answer"] == "so"
    assert once(program, "why?", *any_of_it, "-o", tmp_path / "answer").status == 7
    assert not (tmp_path / "answer").exists()


def test_a_record_for_which_there_is_no_room_or_no_reader_exits_as_an_answer_does(
    program: Program,
) -> None:
    answered_once(program, "why?")
    with open("/dev/full", "wb") as full:
        result = once(program, "why?", stdout=full)
    assert (result.status, result.code) == (11, "output_failed")
    reader, writer = os.pipe()
    os.close(reader)
    result = once(program, "why?", stdout=writer)
    os.close(writer)
    assert (result.status, result.stderr) == (141, b"")


@pytest.mark.in_process
def test_a_session_that_is_in_use_still_tells_what_it_has(program: Program) -> None:
    answered_once(program, "why?", "--if-busy", "fail")
    with LockedFile(str(program.home / "sessions" / ".s.busy"), create=True):
        for busy in ("fail", "wait"):
            result = once(program, "why?", "--if-busy", busy, "--timeout", "1")
            assert (result.status, result.stdout) == (0, b"so\n")
        other = once(program, "why?", "--once", "other", "--if-busy", "fail", "--offline")
        assert (other.status, other.code) == (9, "session_busy")


@pytest.mark.in_process
def test_dry_run_shows_the_request_whatever_is_recorded(program: Program) -> None:
    answered_once(program, "why?")
    assert b'"messages"' in once(program, "why?", "--dry-run").stdout


def marked(number: int, key: object, answer: str, status: str = "complete") -> bytes:
    mark = {"key": key, "request": REQUEST}
    return line(turn(number, answer=answer, status=status, once=mark))


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([marked(1, "k", "first"), marked(2, "k", "second")], "first"),
        ([marked(1, "k", "fir", "partial"), marked(1, "k", "first")], "first"),
        ([marked(1, "k", "first"), marked(1, "k", "fir", "partial")], "first"),
        ([marked(1, "k", "f", "failed"), marked(2, "k", "second")], "second"),
        ([marked(1, 7, "odd"), marked(2, ["k"], "odd"), marked(3, "k", "third")], "third"),
        ([b'{"once":{"key":"k"\n', b"\xff\n", b"\n", marked(3, "k", "third")], "third"),
        ([marked(1, "k", "first").replace(b'"once":{', b'"once" :\t{ ')], "first"),
        ([marked(1, "k", "first").rstrip(b"\n")], "first"),
        ([marked(1, "K", "large"), marked(2, " k", "blank"), marked(3, "k", "third")], "third"),
        ([line(turn(1, question='"once":{"key":"k"}')), marked(2, "k", "second")], "second"),
    ],
)
def test_the_first_complete_turn_of_a_key_is_the_answer_whatever_stands_around_it(
    program: Program, lines: list[bytes], told: str
) -> None:
    write_session(program, "s", lines)
    for _ in range(2):  # without an index, and with one
        assert once(program, "why?", "--once-any").stdout == f"{told}\n".encode()
    assert once(program, "why?").code == "once_differs"


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("busy", [("--timeout", "0.3"), ("--if-busy", "fail")])
def test_who_waits_too_long_for_another_exits_9_and_sends_nothing(
    program: Program, busy: tuple[str, ...], output_format: str
) -> None:
    gate, came = threading.Event(), threading.Event()
    slow = stream_reply(Mark(came), WaitFor(gate), chunk("so"), STOP, done())
    with ChatServer(slow) as server:
        to = ("--base-url", server.url, "--no-stdin")
        ask = ("ask", "--session", "s", "--once", "k", "why?", *to)
        asker = program.start(*ask)
        assert came.wait(20)
        result = program.run(*ask, *busy, "--output-format", output_format)
        assert (result.status, result.code) == (9, "session_busy")
        assert b"another ask has the key 'k'" in result.stderr
        if output_format == "ndjson":
            assert result.events[-1]["retryable"] is True
        quick = ("--first-token-timeout", "0.3", "--retries", "0")
        other = program.run(*ask[:4], "other", *ask[5:], *quick)
        assert other.status == 5  # another key waits for nobody but the server
        gate.set()
        assert program.finish(asker).stdout == b"so\n"
        assert len(server.requests) == 2


def test_one_whose_answer_nobody_reads_keeps_nobody_from_it(program: Program) -> None:
    said = "x" * 50_000  # as a chunk it fits into a pipe, as a chunk and in `end` it does not
    gate, came = threading.Event(), threading.Event()
    reply = stream_reply(Mark(came), WaitFor(gate), chunk(said), STOP, done())
    with ChatServer(reply) as server:
        to = ("--base-url", server.url, "--no-stdin")
        ask = ("ask", "--session", "s", "--once", "k", "why?", *to)
        asker = program.start(*ask, "--output-format", "ndjson")
        assert came.wait(20)
        waiter = program.start(*ask, "--timeout", "4")
        assert waiter.stderr is not None
        assert waiter.stderr.readline().startswith(b"pipechat: waiting for another ask")
        gate.set()
        result = program.finish(waiter)  # though the asker has not ended
        assert (result.status, result.stdout) == (0, said.encode() + b"\n")
        assert len(server.requests) == 1
        assert program.finish(asker).status == 0


@pytest.mark.parametrize(
    "count", [12, pytest.param(50, marks=[pytest.mark.storm, pytest.mark.timeout(600)])]
)
@pytest.mark.parametrize("key", ["k", "auto"])
def test_many_at_once_make_one_request_and_print_the_same(
    program: Program, tmp_path: Path, key: str, count: int
) -> None:
    gate = threading.Event()
    with ChatServer(stream_reply(WaitFor(gate, 300), chunk("so"), STOP, done())) as server:
        ask = ("ask", "--session", "s", "--once", key, "why?", "--base-url", server.url)
        runs = []
        for number in range(count):
            with open(tmp_path / f"stderr-{number}", "wb") as stderr:
                runs.append(program.start(*ask, stdin=NOTHING, stderr=stderr))
        paths = [tmp_path / f"stderr-{number}" for number in range(count)]
        ends_at = time.monotonic() + 200
        # One asks, and all the others have said that they wait for it.
        while sum(b"waiting" in path.read_bytes() for path in paths) < count - 1:
            assert time.monotonic() < ends_at, [path.read_bytes() for path in paths]
            time.sleep(0.05)
        gate.set()
        results = [program.finish(run) for run in runs]
        assert [(each.status, each.stdout) for each in results] == [(0, b"so\n")] * count
        assert len(server.requests) == 1
    assert len(program.records("s")) == 1
    assert hidden(program) == [".s.once"]


def test_after_a_sigkill_in_the_asker_one_who_waits_asks_and_no_lock_stays(
    program: Program,
) -> None:
    came = threading.Event()
    stuck = stream_reply(chunk("s"), Mark(came), Stall())
    with ChatServer([stuck, answer("so")]) as server:
        ask = ("ask", "--session", "s", "--once", "k", "why?", "--base-url", server.url)
        asker = program.start(*ask, stdin=NOTHING)
        assert came.wait(20)
        assert [name for name in hidden(program) if name.endswith(".asking")]
        others = [program.start(*ask, stdin=NOTHING) for _ in range(2)]
        asker.send_signal(signal.SIGKILL)
        results = [program.finish(other) for other in others]
        assert [(each.status, each.stdout) for each in results] == [(0, b"so\n")] * 2
        assert len(server.requests) == 2
    assert hidden(program) == [".s.once"]
    assert [record["status"] for record in program.records("s")] == ["partial", "complete"]


@pytest.mark.parametrize(
    "reply", [error_reply(500, "down"), answer("s", finish_reason="length")], ids=["failed", "cut"]
)
def test_where_the_asker_fails_one_who_waits_asks(program: Program, reply: Reply) -> None:
    gate, came = threading.Event(), threading.Event()
    failing = Reply((Mark(came), WaitFor(gate), *reply.steps), keep_alive=reply.keep_alive)
    with ChatServer([failing, answer("so")]) as server:
        ask = ("ask", "--session", "s", "--once", "k", "why?", "--base-url", server.url)
        asker = program.start(*ask, "--retries", "0", stdin=NOTHING)
        assert came.wait(20)
        other = program.start(*ask, stdin=NOTHING)
        gate.set()
        assert program.finish(asker).status in (5, 6)
        assert program.finish(other).stdout == b"so\n"
        assert len(server.requests) == 2


@pytest.mark.in_process
def test_locks_that_killed_processes_left_do_not_add_up(program: Program) -> None:
    answered_once(program, "why?")
    folder = program.home / "sessions"
    for name, count in (("s", 100), ("t", 1)):
        room = spool_path(folder, name, "").parent
        for number in range(count):
            (room / f"{number:032x}.asking").touch()
        (room / ".asking").touch()
    held = LockedFile(str(folder / f".in-flight/s/{7:032x}.asking"), create=False)
    answered_once(program, "why?", "--once", "other")
    assert [name for name in hidden(program) if "/s/" in name] == [
        ".in-flight/s/.asking", f".in-flight/s/{7:032x}.asking",
    ]  # fmt: skip
    held.close()
    answered_once(program, "why?", "--once", "third")
    assert [name for name in hidden(program) if "/t/" not in name] == [
        ".in-flight/s/.asking", ".s.once",
    ]  # fmt: skip
    assert len([name for name in hidden(program) if "/t/" in name]) == 2
