"""What an attack on `batch run` found, by kind: each rule with its members."""

import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from pipechat.batch.heads import with_newlines
from pipechat.batch.pace import Pace
from pipechat.batch.rows import read_rows
from pipechat.jsonl import dumps
from pipechat.messages import Turn
from pipechat.store.item_turns import ItemTurns
from pipechat.store.sessions import SessionStore
from tests.pace_simulation import Reply as Answered
from tests.pace_simulation import simulate
from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    Reply,
    Request,
    Reset,
    Stall,
    completion,
    cut,
    error_reply,
    json_reply,
    raw_reply,
)
from tests.servers.mirror import mirror
from tests.servers.steps import Wait
from tests.test_batch_processes import slowly, start
from tests.test_batch_run import asked, items, leave_as_killed, ndjson, records, run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.ndjson"
    path.write_bytes(items(30))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.in_process
@pytest.mark.parametrize("status", [429, 500, 503])
def test_no_wait_goes_beyond_the_time_of_an_item(program: Program, out: Path, status: int) -> None:
    reply = error_reply(status, "later", headers={"retry-after": "3"})
    with ChatServer(reply) as server:
        began = time.monotonic()
        result = run(program, server, items(1), "-o", str(out), "--timeout", "0.5")
        took = time.monotonic() - began
    assert result.status == 10
    # A limit that is told holds for all, and so this one is waited for by the pace.
    assert took < 2.5 or status == 429
    assert [each["error"]["code"] for each in records(out)] == [
        "rate_limited" if status == 429 else "server_error"
    ]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_what_is_held_for_its_order_is_written_when_the_run_is_stopped(
    program: Program, source: Path, out: Path, signum: signal.Signals
) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        reply = whole(request)
        slow = request.question == "question 0"
        return Reply((Wait(60 if slow else 0), *reply.steps), keep_alive=reply.keep_alive)

    with ChatServer(choose) as server:
        process = start(
            program, server, source, "-o", out, "-j", "4", "--ordered", "--grace", "0.5"
        )
        server.wait_for_requests(30)
        process.send_signal(signum)
        result = program.finish(process)
    assert result.status == 128 + signum
    assert [each["item"] for each in records(out)] == [f"i{n}" for n in range(1, 30)]


@pytest.mark.in_process
def test_ordered_is_the_order_of_the_input_with_sessions_too(program: Program, out: Path) -> None:
    names = ["s", "s", "t", None, "s", "t", None, "s"]
    source = ndjson(
        *({"id": str(n), "question": f"q {n}", "session": s} for n, s in enumerate(names))
    )
    for jobs in ("1", "2", "8"):
        with ChatServer(slowly(0.02)) as server:
            result = run(
                program, server, source, "-o", str(out), "--ordered", "-j", jobs, "--fresh"
            )
        assert result.status == 0
        assert [each["item"] for each in records(out)] == [str(n) for n in range(8)]


@pytest.mark.parametrize("more", [("--rpm", "120"), ("--rpm", "60", "--ordered")])
def test_nothing_new_is_sent_once_a_run_is_to_stop(
    program: Program, source: Path, out: Path, more: tuple[str, ...]
) -> None:
    with ChatServer(mirror()) as server:
        process = start(program, server, source, "-o", out, "-j", "8", *more)
        server.wait_for_requests(2)
        process.send_signal(signal.SIGTERM)
        result = program.finish(process)
        count = len(server.requests)
    assert result.status == 128 + signal.SIGTERM
    assert count <= 3, "one may have been on its way"
    assert len(records(out)) == count


@pytest.mark.in_process
@pytest.mark.parametrize(
    "changed", [{"model": "other"}, {"system": "S"}, {"options": {"temperature": 1}}]
)
def test_an_answer_to_another_request_is_not_taken_from_the_session(
    program: Program, out: Path, changed: dict[str, object]
) -> None:
    item = {"id": "a", "question": "q", "session": "s"}
    with ChatServer(mirror()) as server:
        run(program, server, ndjson(item), "-o", str(out))
        result = run(program, server, ndjson({**item, **changed}), "-o", str(out))
        assert len(server.requests) == 2
        fresh = run(program, server, ndjson({**item, **changed}), "-o", str(out), "--fresh")
        assert len(server.requests) == 3
    assert result.status == fresh.status == 0


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (raw_reply(Close()), "connection_lost"),
        (raw_reply(Reset()), "connection_lost"),
        (cut(json_reply(200, completion("half")), 200, "fin"), "connection_lost"),
        (cut(json_reply(200, completion("half")), 200, "rst"), "connection_lost"),
        (cut(json_reply(200, completion("half")), 40, "fin"), "connection_lost"),
    ],
)
@pytest.mark.parametrize("way", ["aio", "threads"])
def test_a_connection_that_breaks_is_told_as_what_it_is_whoever_carried_it(
    program: Program, out: Path, reply: Reply, code: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "threads":
        monkeypatch.setattr("pipechat.client.aio_sender.is_available", lambda _settings: False)
    with ChatServer(reply) as server:
        result = run(program, server, items(1), "-o", str(out), "--retries", "0")
    assert result.status == 10
    [record] = records(out)
    assert record["error"]["code"] == code
    assert "\n" not in record["error"]["message"]
    assert "400" not in record["error"]["message"].replace(str(server.port), "")


@pytest.mark.in_process
def test_a_server_that_closes_kept_connections_fails_no_item(program: Program, out: Path) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        reply = whole(request)
        return Reply((*reply.steps, Wait(0.003), Close()), keep_alive=False)

    with ChatServer(choose) as server:
        result = run(program, server, items(100), "-o", str(out), "-j", "8")
        again = sum(asked(server).values()) - 100
    assert result.status == 0
    assert again <= 10, "a request that met a closed connection was not read"


class DownFor:
    """Says 429 to everybody for so long, without a word of when."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def ask(self, now: float) -> Answered:
        return Answered(now > self._seconds, {})


@pytest.mark.parametrize("seconds", [5.0, 20.0, 120.0])
def test_a_server_that_was_down_is_used_again_soon_after(seconds: float) -> None:
    run = simulate(DownFor(seconds), seconds=seconds + 40)
    assert run.limited < 64 + seconds, "and it is not hammered meanwhile"
    assert len(run.answered) > 400


@pytest.mark.parametrize("reset", ["1795392000", "1795392000000", "9999d"])
def test_a_reset_that_is_a_time_of_day_or_nonsense_stops_nothing(reset: str) -> None:
    pace = Pace(lambda: 100.0)
    headers = {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": reset,
    }
    pace.went_through(headers, None)
    assert pace.wait_s() == 0


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_mark_at_the_beginning_may_come_in_pieces(at: int) -> None:
    data = b'\xef\xbb\xbf{"question":"q"}\n'
    rows = list(read_rows([data[:at], data[at:]], "ndjson", longest=100))
    assert [row.value for row in rows] == [{"question": "q"}]


def test_a_header_of_many_columns_is_read_once() -> None:
    header = ",".join(f"c{n}" for n in range(50_000))
    rows = list(read_rows([header.encode() + b"\n"], "csv", longest=1 << 20))
    assert rows == []


def test_requests_that_hang_keep_no_others_waiting_whoever_carries_them(
    program: Program, out: Path, tmp_path: Path
) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        return (
            raw_reply(Stall())
            if request.question in ("question 0", "question 1")
            else (whole(request))
        )

    source = tmp_path / "in.ndjson"
    source.write_bytes(items(8))
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'aiohttp' else find(name, *more)\n"
    )
    for path in ("", f"{blocked}:"):
        with ChatServer(choose) as server:
            python_path = path + program.environ()["PYTHONPATH"]
            process = start(
                program, server, source, "-o", out, "-j", "2", "--fresh", "--timeout", "1",
                "--retries", "0", "--workers", "1", env={"PYTHONPATH": python_path},
            )  # fmt: skip
            result = program.finish(process, input=b"")
        assert result.status == 10
        counts = Counter(each["status"] for each in records(out))
        assert counts == {"complete": 6, "failed": 2}


@pytest.mark.parametrize("way", ["named", "stdin", "link"])
def test_the_output_is_never_the_input(program: Program, out: Path, way: str) -> None:
    out.write_bytes(items(3))
    link = out.with_name("link")
    link.symlink_to(out)
    name = {"named": str(out), "stdin": "-", "link": str(link)}[way]
    with ChatServer(mirror()) as server, out.open("rb") as file:
        process = start(program, server, name, "-o", out, stdin=file if way == "stdin" else None)
        result = program.finish(process)
        assert not server.requests
    assert (result.status, result.code) == (2, "bad_option")
    assert out.read_bytes() == items(3)


@pytest.mark.in_process
def test_an_input_that_cannot_be_read_is_told_by_its_name(program: Program) -> None:
    with ChatServer(mirror()) as server:
        result = program.run("batch", "run", "/proc/self/mem", "--base-url", server.url)
    assert (result.status, result.code) == (2, "unreadable_input")
    assert b"/proc/self/mem" in result.stderr


def test_every_row_is_accounted_for(program: Program, source: Path, out: Path) -> None:
    source.write_bytes(items(10) + b"bad\n" + items(12) + b"\n\n[]\n")
    with ChatServer(mirror()) as server:
        process = start(program, server, source, "-o", out, "--output-format", "json")
        result = program.finish(process, input=b"")
    summary = json.loads(result.stdout)
    assert summary["complete"] + summary["failed"] + sum(summary["skipped"].values()) == 24
    assert Counter(each["status"] for each in records(out)) == {"complete": 12, "failed": 2}


@pytest.mark.parametrize("between", ["nothing", "ask", "ask_twice", "other_context", "other_items"])
def test_a_turn_that_only_its_session_has_is_found_wherever_it_stands(
    program: Program, source: Path, out: Path, between: str
) -> None:
    """As after a kill between the two: OUT lacks what the session has."""
    source.write_bytes(
        ndjson(*({"id": f"i{n}", "question": f"q {n}", "session": "s"} for n in range(4)))
    )
    with ChatServer(mirror()) as server:
        program.finish(start(program, server, source, "-o", out), input=b"")
        lines = out.read_bytes().splitlines(keepends=True)
        out.write_bytes(b"".join(lines[:2]))
        leave_as_killed(out)
        for n in range({"ask": 1, "ask_twice": 2}.get(between, 0)):
            program.run("ask", "--session", "s", "--base-url", server.url, f"foreign {n}")
        if between == "other_items":
            more = ndjson({"id": "i3", "question": "another", "session": "s"})
            run(program, server, more, "-o", str(out.with_name("other.jsonl")))
        before = len(server.requests)
        more_options = ("--last-turns", "3") if between == "other_context" else ()
        result = program.finish(start(program, server, source, "-o", out, *more_options), input=b"")
        assert len(server.requests) == before, "nothing is asked, or paid, twice"
    assert result.status == 0
    assert [each["item"] for each in records(out)] == ["i0", "i1", "i2", "i3"]
    assert all(each["once"] is None for each in records(out))
    kept = [each["question"] for each in program.records("s") if each["item"]]
    assert kept[:4] == ["q 0", "q 1", "q 2", "q 3"]
    assert len(kept) == (5 if between == "other_items" else 4)


@pytest.mark.in_process
@pytest.mark.parametrize("what", ["another", "removed", "emptied", "fresh"])
def test_an_answer_of_an_earlier_batch_is_none_of_a_new_one(
    program: Program, out: Path, what: str
) -> None:
    item = ndjson({"id": "news", "question": "What is new?", "session": "work"})
    with ChatServer(mirror()) as server:
        run(program, server, item, "-o", str(out))
        if what == "removed":
            out.unlink()
        if what == "emptied":
            out.write_bytes(b"")
        another = out.with_name("tomorrow.jsonl") if what == "another" else out
        more = ("--fresh",) if what == "fresh" else ()
        result = run(program, server, item, "-o", str(another), *more)
        assert len(server.requests) == 2
    assert result.status == 0
    assert len(records(another)) == 1
    assert len(program.records("work")) == 2


def write_turns(path: Path, count: int) -> None:
    """A session of so many items' turns."""
    with path.open("wb") as file:
        for n in range(count):
            turn = Turn(
                id=f"{n:08x}-0000-7000-8000-000000000000", time="", status="complete", model="m",
                question="q", answer="a", item=f"i{n}", once={"request": f"h{n}"},
            )  # fmt: skip
            file.write(dumps(turn.record()) + b"\n")


def test_what_a_session_has_of_items_costs_no_more_however_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipechat.store.item_turns._SEARCH_BYTES", 50_000)
    monkeypatch.setattr("pipechat.store.item_turns._TURNS", 150)
    write_turns(tmp_path / "s.jsonl", 2000)
    write_turns(tmp_path / "t.jsonl", 100)
    turns = ItemTurns(SessionStore(tmp_path, lambda _: None))
    for _ in range(3):
        assert turns.find("s", "i1999", "h1999") is not None
        assert turns.find("s", "i3", "h3") is None, "too far back"
        assert turns.find("t", "i3", "h3") is not None
        assert turns.find("none", "i3", "h3") is None
        assert turns.remembered <= 150


def test_what_a_session_has_of_items_is_looked_for_once_a_run(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, lambda _: None)
    write_turns(tmp_path / "s.jsonl", 2000)
    turns = ItemTurns(store)
    read = 0

    class Counted:
        def __call__(self, fd: int, size: int, offset: int) -> bytes:
            nonlocal read
            data = pread(fd, size, offset)
            read += len(data)
            return data

    pread = os.pread
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", Counted())
        for n in range(0, 2000, 100):
            found = turns.find("s", f"i{n}", f"h{n}")
            assert found is not None
            assert found.item == f"i{n}"
            assert turns.find("s", f"i{n}", "another") is None
    assert read < 2 * (tmp_path / "s.jsonl").stat().st_size + 20 * 3 * (1 << 16)


HALVES = [
    (b'{"id":"%s","question":"q"}', (rb"\ud800", rb"\udfff", rb"a\uDEADb"), ()),
    (b'{"custom_id":"%s","body":{"messages":[{"role":"user","content":"q"}]}}',
     (rb"\ud800", rb"\udc00\ud800", rb"\ud800x"), ()),
    (b'{"id":"%s","question":"q"}', (b"\xff", b"\xfe", b"\xc3"), ("--lossy",)),
    (b"%s,q", (b"\xff", b"\xfe", b"a\xff"), ("--lossy", "--input-format", "csv")),
]  # fmt: skip


@pytest.mark.in_process
@pytest.mark.parametrize(("shape", "ids", "more"), HALVES)
def test_ids_that_would_be_one_for_what_is_no_text_in_them_are_refused_by_their_lines(
    program: Program, out: Path, shape: bytes, ids: tuple[bytes, ...], more: tuple[str, ...]
) -> None:
    table = "csv" in more
    source = b"id,question\n" if table else b""
    source += b"".join(shape % each + b"\n" for each in ids)
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out), *more)
        assert not server.requests
    assert result.status == 10
    lines = [f"line {n + 1 + table}" for n in range(3)]
    assert [each["item"] for each in records(out)] == lines
    assert all(each["error"]["code"] == "bad_item" for each in records(out))
    assert all("id" in each["error"]["message"] for each in records(out))


@pytest.mark.in_process
@pytest.mark.parametrize(
    "line",
    [
        '{"id":"\\ud83d\\ude00","question":"q"}',
        '{"id":"\ufffd","question":"q"}',
        '{"id":"a","question":"\\ud800"}',
        '{"id":"\\ufffd","question":"\\ud83d\\ude00"}',
    ],
)
def test_an_id_that_is_text_is_taken_whatever_else_is_none(
    program: Program, out: Path, line: str
) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, line.encode() + b"\n", "-o", str(out))
    assert result.status == 0
    assert [each["item"] for each in records(out)] == [json.loads(line)["id"]]


@pytest.mark.in_process
@pytest.mark.parametrize("input_format", ["csv", "tsv"])
def test_an_empty_cell_says_nothing_and_without_a_question_there_is_no_item(
    program: Program, out: Path, input_format: str
) -> None:
    header = "id,question,model,system,session,options"
    rows = ["a,q,,,,", ",p,,,,", "c,,m,s,,", ",,,,,"]
    text = "\n".join((header, *rows, ""))
    source = (text if input_format == "csv" else text.replace(",", "\t")).encode()
    with ChatServer(mirror()) as server:
        result = run(
            program, server, source, "-o", str(out), "--input-format", input_format, "-m", "d"
        )
        assert {each.body["model"] for each in server.requests} == {"d"}
        assert all(len(each.messages) == 1 for each in server.requests)
    assert result.status == 10
    found = records(out)
    assert {each["question"] for each in found if each["status"] == "complete"} == {"q", "p"}
    failed = {each["item"]: each["error"]["code"] for each in found if each["error"]}
    # A row of empty cells alone is none: spreadsheets write them.
    assert failed == {"c": "bad_item"}


@pytest.mark.in_process
def test_a_template_may_say_what_stands_for_an_empty_cell(program: Program, out: Path) -> None:
    source = b"id,colour\n1,\n2,red\n"
    template = "A {{ colour | default('grey') }} car"
    with ChatServer(mirror()) as server:
        result = run(
            program, server, source, "-o", str(out), "--input-format", "csv", "--template", template
        )
        assert set(asked(server)) == {"A grey car", "A red car"}
    assert result.status == 0


LARGE = 2**64 + 1


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("in.ndjson", '{"id": "a", "question": "q", "options": {"seed": N, "x": [{"y": -N}]}}'),
        ("in.ndjson", '{"question": "\\ud83d\\ude00", "options": {"seed": N, "x": [{"y": -N}]}}'),
        (
            "in.ndjson",
            '{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "q"}],'
            ' "seed": N, "x": [{"y": -N}]}}',
        ),
        ("in.csv", 'question,options\nq,"{""seed"": N, ""x"": [{""y"": -N}]}"\n'),
    ],
    ids=["options", "with an emoji", "body", "csv"],
)
def test_a_number_in_an_item_goes_out_to_the_digit(
    program: Program, tmp_path: Path, out: Path, name: str, source: str
) -> None:
    (tmp_path / name).write_text(source.replace("N", str(LARGE)))
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", str(tmp_path / name), "-o", str(out), "--base-url", server.url,
            events=False,
        )  # fmt: skip
        [request] = server.requests
    assert result.status == 0
    assert (request.body["seed"], request.body["x"]) == (LARGE, [{"y": -LARGE}])


@pytest.mark.in_process
def test_an_id_that_is_a_number_is_kept_to_the_digit_and_is_no_longer_than_others(
    program: Program, out: Path
) -> None:
    source = b'{"id": %d, "question": "q"}\n{"id": %d, "question": "q"}' % (LARGE, 10**600)
    with ChatServer(mirror()) as server:
        run(program, server, source, "-o", str(out))
    assert {record["item"] for record in records(out)} == {str(LARGE), "line 2"}


@pytest.mark.in_process
@pytest.mark.parametrize("most", ["5", "10%"])
def test_the_counts_of_a_run_that_was_stopped_say_the_same(
    program: Program, out: Path, most: str
) -> None:
    with ChatServer(error_reply(400, "no")) as server:
        result = run(program, server, items(400), "-o", str(out), "-j", "4", "--max-failures", most)
    failed = len(records(out))
    told = result.stderr.decode()
    assert f" {failed} failed" in told
    assert (
        f"max_failures: {failed} of {failed} items failed, and --max-failures allows {most}" in told
    )


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("source", "called"),
    [
        (ndjson({"question": "a"}, {"question": "b"}), r"item [0-9a-f]{12}… \(line 1\): "),
        (ndjson({"id": "one", "question": "a"}), "item 'one': "),
        (b'{"id": "one"}\n', "item 'one': line 1: "),
        (b"{}\n", "bad_item: line 1: "),
        (ndjson({"question": "a", "session": "/"}), "bad_session_name: line 1: "),
    ],
)
def test_an_item_that_failed_is_told_in_words_that_a_person_can_look_for(
    program: Program, out: Path, source: bytes, called: str
) -> None:
    with ChatServer(error_reply(400, "no")) as server:
        result = run(program, server, source, "-o", str(out), "-j", "1")
    told = result.stderr.decode()
    assert re.search(called, told)
    assert not re.search("[0-9a-f]{13}", told)


@pytest.mark.parametrize(
    ("command", "status", "hint"),
    [
        (("ask", "--offline", "hi"), 11, "Nothing of it was written."),
        (("batch", "run", "--offline"), 11, "Nothing of it was written."),
        (("config", "show"), 11, "Nothing of it was written."),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else None,
)
def test_a_stdout_that_is_full_from_the_start_has_nothing_above_it(
    program: Program, command: tuple[str, ...], status: int, hint: str
) -> None:
    with open("/dev/full", "wb") as full:
        result = program.run(*command, input=b'{"question": "q"}\n', stdout=full, events=False)
    assert result.status == status
    assert result.stderr.decode().rstrip().endswith(hint)


@pytest.mark.in_process
@pytest.mark.parametrize("kind", ["a link", "a dangling link", "a circle"])
def test_an_output_that_is_a_symbolic_link_is_told_with_the_file_that_it_leads_to(
    program: Program, tmp_path: Path, source: Path, kind: str
) -> None:
    link, file = tmp_path / "link.jsonl", tmp_path / "file.jsonl"
    link.symlink_to(link if kind == "a circle" else file)
    if kind == "a link":
        file.touch()
    for words, status in [
        (("batch", "run", str(source), "-o"), 11),
        (("ask", "--no-stdin", "hi", "--record"), 11),
    ]:
        result = program.run(*words, str(link), "--offline", events=False)
        assert result.status == status
        told = result.stderr.decode()
        assert "symbolic link" in told
        assert ("lead in a circle" if kind == "a circle" else f"Name it: {file}.") in told


@pytest.mark.in_process
def test_links_in_a_circle_are_told_as_that_wherever_a_file_is_named(
    program: Program, tmp_path: Path
) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for words in (
        ("ask", "--no-stdin", "hi", "-o", str(circle)),
        ("ask", "--no-stdin", "hi", "--record", str(circle)),
        ("batch", "run", str(circle)),
        ("batch", "run", "-", "-o", str(circle)),
    ):
        result = program.run(*words, "--offline", input=b"", events=False)
        assert b"its symbolic links lead in a circle" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("in.csv", b"id,question\ra,one\rb,two\r"),
        ("in.csv", b'id;question\ra;one\rb;"two"'),
        ("in.tsv", b"id\tquestion\ra\tone\rb\ttwo\r"),
        ("in.ndjson", b'{"id":"a","question":"one"}\r{"id":"b","question":"two"}\r'),
    ],
)
def test_lines_that_end_with_cr_alone_are_lines(
    program: Program, tmp_path: Path, out: Path, name: str, source: bytes
) -> None:
    (tmp_path / name).write_bytes(source)
    result = program.run(
        "batch", "run", str(tmp_path / name), "-o", str(out), "--offline", events=False
    )
    assert result.status == 0
    assert {each["item"]: each["question"] for each in records(out)} == {"a": "one", "b": "two"}


def test_a_cr_that_stands_before_an_lf_or_within_lines_is_left() -> None:
    for blocks in ([b"a\r", b"\nb\r\n"], [b"a\rb\nc\r"], [b"a\r"], [b"", b"a\n", b"b\rc"]):
        assert list(with_newlines(blocks)) == blocks
    assert list(with_newlines([b"a\rb", b"c\rd\n"])) == [b"a\nb", b"c\nd\n"]


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


DEEP = {
    "options": '{"id":"deep","question":"q","options":{"x":%s}}',
    "a part": '{"custom_id":"deep","body":{"messages":[{"role":"user","content":["x",%s]}]}}',
    "a message": '{"custom_id":"deep","body":{"messages":[{"role":"user","content":"x","y":%s}]}}',
    "a field": '{"custom_id":"deep","body":{"x":%s,"messages":[{"role":"user","content":"x"}]}}',
    "a field that nobody reads": '{"id":"deep","question":"","x":%s}',
}


@pytest.mark.in_process
@pytest.mark.parametrize("levels", [150, 900])
@pytest.mark.parametrize("row", DEEP.values(), ids=DEEP)
def test_a_row_that_is_nested_deep_is_a_failed_record_and_not_the_end_of_the_run(
    program: Program, out: Path, row: str, levels: int
) -> None:
    source = (row % nested(levels)).encode() + b"\n" + items(1)
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out))
        assert asked(server) == Counter(["question 0"])
    assert result.status == 10
    assert [record["status"] for record in records(out)] == ["failed", "complete"]


@pytest.mark.in_process
@pytest.mark.parametrize("template", ["{{ x }}", "{{ x | tojson }}", "{{ x | string | length }}"])
def test_a_template_of_a_row_that_is_nested_deep_is_a_failed_record_or_its_question(
    program: Program, out: Path, template: str
) -> None:
    source = b'{"id":"deep","x":%b}\n{"id":"plain","x":1}\n' % nested(900).encode()
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out), "--template", template)
    assert result.status in (0, 10)
    assert {record["item"] for record in records(out)} == {"deep", "plain"}
