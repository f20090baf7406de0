"""What a store may meet, kind by kind: locks that never come, numbers larger than any, what
others left there, and thousands of orphans. End to end, in text and in ndjson."""

import fcntl
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipechat.messages import Turn, new_turn_id, now
from pipechat.store import adoption, locked_file
from pipechat.store.locked_file import LockedFile
from pipechat.store.sessions import SessionStore
from tests.program import Program
from tests.servers import ChatServer, Close, Stall, WaitFor, answer, chunk, stream_reply
from tests.store_kit import spool_path

FORMATS = ((), ("--output-format", "ndjson"))
OFFLINE = ("ask", "-q", "--no-stdin", "--offline", "--session", "s")


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    """The lock of `path`, held by a program that does not let go of it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def session_path(program: Program, name: str = "s") -> Path:
    return program.home / "sessions" / f"{name}.jsonl"


def test_a_lock_whose_file_is_replaced_again_and_again_is_waited_for_no_longer_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []
    clock = [100.0]

    def replaced_meanwhile(_fd: int, _kind: int, wait_s: float | None, _on_wait: object) -> None:
        waits.append(wait_s)
        clock[0] += 4
        if len(waits) == 4:
            raise BlockingIOError
        (tmp_path / "file").unlink()

    monkeypatch.setattr(locked_file, "take_lock", replaced_meanwhile)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with pytest.raises(BlockingIOError):
        locked_file.lock_file(str(tmp_path / "file"), create=True, wait_s=10)
    assert waits == [10, 6, 2, 0]


@pytest.mark.parametrize("more", FORMATS, ids=["text", "ndjson"])
@pytest.mark.parametrize("busy", [(), ("--if-busy", "fail"), ("--if-busy", "wait")], ids=str)
def test_a_lock_that_never_comes_ends_an_ask_within_its_timeout_and_nothing_is_sent(
    program: Program, busy: tuple[str, ...], more: tuple[str, ...]
) -> None:
    assert program.run(*OFFLINE, "hello").status == 0
    with ChatServer(answer("no")) as server, held_by_another(session_path(program)):
        ask = ("ask", "--no-stdin", "--session", "s", "--base-url", server.url, "--timeout", "0.6")
        began = time.monotonic()
        told_soon = program.shorter(quiet_lock=0.1, busy=0.6)
        result = program.run(*ask, *busy, *more, "hello", env=told_soon)
        assert time.monotonic() - began < 30
        assert server.requests == []
    assert (result.status, result.code) == (9, "session_busy")
    assert b"waiting for session 's'" in result.stderr
    if more:
        assert result.events[-1]["retryable"]


@pytest.mark.parametrize("command", [("show", "s"), ("search", "hello")], ids=str)
def test_a_lock_that_never_comes_ends_a_reader_with_a_word(
    program: Program, command: tuple[str, ...]
) -> None:
    program.run(*OFFLINE, "hello")
    with held_by_another(session_path(program)):
        patience = program.shorter(quiet_lock=0.1, lock=0.6)
        result = program.run("history", *command, env=patience)
    assert (result.status, result.code) == (9, "session_busy")
    assert b"waiting for session 's'" in result.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_lock_that_never_comes_at_the_end_keeps_no_signal_off_and_loses_nothing(
    program: Program, signum: int
) -> None:
    program.run(*OFFLINE, "before")
    with ChatServer(stream_reply(chunk("Hi"), Stall())) as server:
        ask = ("ask", "--no-stdin", "--session", "s", "--base-url", server.url, "hello")
        process = program.start(*ask, env=program.shorter(last_lock=0.5))
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 2)
        with held_by_another(session_path(program)):
            process.send_signal(signum)
            assert program.finish(process).status == 128 + signum
            assert len(program.spools()) == 1
    shown = program.run("history", "show", "s", "--output-format", "ndjson")
    assert [(turn["status"], turn["answer"]) for turn in shown.events][-1] == ("partial", "Hi")


def test_an_answer_whose_record_finds_the_lock_held_is_kept_aside_and_told(
    program: Program,
) -> None:
    program.run(*OFFLINE, "before")
    with ChatServer(answer("Whole.")) as server:
        ask = ("ask", "--no-stdin", "--session", "s", "--base-url", server.url, "hello")
        locked = threading.Event()
        with ChatServer(stream_reply(chunk("Hi"), WaitFor(locked), Close())) as slow:
            shorter = program.shorter(last_lock=0.5)
            process = program.start(*ask[:-2], slow.url, "hello", env=shorter)
            assert process.stdout is not None
            os.read(process.stdout.fileno(), 2)
            with held_by_another(session_path(program)):
                locked.set()
                result = program.finish(process)
        assert (result.status, result.code) == (9, "session_busy")
        assert program.run(*ask).status == 0
    assert [turn["answer"] for turn in program.records("s")][1:] == ["Hi", "Whole."]


LEAST: dict[str, Any] = {"id": "i", "status": "complete", "question": "q", "answer": "a"}
NUMBERS = {
    "more than 64 bits beside a lone surrogate": json.dumps(
        {**LEAST, "answer": "a\ud83d", "usage": {"total_tokens": 10**30}}
    ),
    "a number of 400 digits": json.dumps(LEAST)[:-1] + ', "total_s": ' + "9" * 400 + "}",
    "a number of 5,000 digits": json.dumps(LEAST)[:-1] + ', "turn_tokens": ' + "9" * 5000 + "}",
    "a float beyond any": json.dumps(LEAST)[:-1] + ', "first_token_s": 1e999}',
    "a usage that is a list": json.dumps({**LEAST, "usage": [1], "turn_tokens": "many"}),
}


@pytest.mark.in_process
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_too_large_makes_no_turn_unreadable(program: Program, name: str) -> None:
    program.run(*OFFLINE, "hello")
    with session_path(program).open("a") as file:
        file.write(NUMBERS[name] + "\n")
    again = program.run(*OFFLINE, "--context-tokens", "1000", "hello")
    assert (again.status, again.stdout.count(b"2 earlier turns")) == (0, 1)
    shown = program.run("history", "show", "s", "--output-format", "ndjson")
    turns = [json.loads(line, parse_int=str) for line in shown.stdout.splitlines()]
    assert [turn["answer"][:1] for turn in turns] == ["o", "a", "o"]
    assert b"skipped" not in shown.stderr
    assert b"in order: 3 turns" in program.run("history", "repair", "s").stderr
    assert program.run("history", "list").status == 0


@pytest.mark.in_process
@pytest.mark.parametrize("name", NUMBERS)
def test_a_spool_with_such_a_number_is_adopted_and_stops_no_later_ask(
    program: Program, name: str
) -> None:
    program.run(*OFFLINE, "hello")
    spool = spool_path(session_path(program).parent, "s", new_turn_id())
    spool.write_text(NUMBERS[name] + "\nhalf an ans")
    spool.chmod(0o600)
    assert program.run(*OFFLINE, "again").status == 0
    assert program.spools() == []
    adopted = program.records("s")[1]
    assert (adopted["status"], adopted["answer"]) == ("partial", "half an ans")


def test_a_large_line_under_a_memory_limit_is_an_error_and_no_crash(program: Program) -> None:
    program.run(*OFFLINE, "hello")
    with session_path(program).open("a") as file:
        file.write(json.dumps({**LEAST, "answer": "x" * 30_000_000}) + "\n")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (260_000_000, 260_000_000))

    result = program.run("history", "show", "s", preexec_fn=limit)
    assert result.status in (0, 1, 9)  # and not 139, the death by a signal


def orphan(folder: Path, head: dict[str, Any], text: str = "half") -> Path:
    path = spool_path(folder, "s", head["id"])
    path.write_text(json.dumps(head) + "\n" + text)
    path.chmod(0o600)
    return path


def head(**more: Any) -> dict[str, Any]:
    turn = Turn(id=new_turn_id(), time=now(), status="partial", model="m", question="q", answer="")
    return {**turn.record(), **more}


@pytest.mark.in_process
@pytest.mark.parametrize("status", ["complete", "failed", "partial"])
def test_what_is_adopted_is_partial_whatever_it_says_of_itself(
    program: Program, status: str
) -> None:
    program.run(*OFFLINE, "hello")
    orphan(session_path(program).parent, head(status=status, finish_reason="stop"))
    program.run(*OFFLINE, "again")
    assert [turn["status"] for turn in program.records("s")] == ["complete", "partial", "complete"]


@pytest.mark.in_process
def test_a_spool_of_another_user_is_left_alone_and_told(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.run(*OFFLINE, "hello")
    path = orphan(session_path(program).parent, head(status="complete", system="Obey."))
    monkeypatch.setattr("pipechat.store.in_flight.os.geteuid", lambda: os.getuid() + 1)
    ask = [word for word in OFFLINE if word != "-q"]
    result = program.run(*ask, "again")
    assert (result.status, result.stdout.count(b"1 earlier turn")) == (0, 1)
    assert b"was left alone: it is not permitted" in result.stderr
    assert path.exists()
    assert [turn["status"] for turn in program.records("s")] == ["complete", "complete"]


def test_adopting_costs_a_pass_however_many_orphans_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for number in (200, 2000):
        store = SessionStore(tmp_path / str(number), print)
        store.begin("s").abandon()
        folder = Path(store.folder)
        for _ in range(number):
            orphan(folder, head())
        with LockedFile(store.path("s"), create=True) as session:
            session.append(*(json.dumps(head(total_s=1.0)).encode() for _ in range(1000)))
        seen = {"read": 0, "listed": 0, "synced": 0}
        real_pread, real_listdir, real_sync = os.pread, os.listdir, os.fdatasync
        path = store.path("s")

        def pread(
            fd: int, size: int, at: int, *, seen: dict[str, int] = seen, path: str = path,
            real: Any = real_pread,
        ) -> bytes:  # fmt: skip
            data: bytes = real(fd, size, at)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                seen["read"] += len(data)
            return data

        def listdir(
            folder: str, *, seen: dict[str, int] = seen, real: Any = real_listdir
        ) -> list[str]:
            seen["listed"] += 1
            names: list[str] = real(folder)
            return names

        def sync(fd: int, *, seen: dict[str, int] = seen, real: Any = real_sync) -> None:
            seen["synced"] += 1
            real(fd)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", pread)
            patch.setattr(os, "listdir", listdir)
            patch.setattr(os, "fdatasync", sync)
            store.begin("s").abandon()
        assert len(list(store.all_turns("s"))) == number + 1000
        counts.append(seen)
    few, many = counts
    assert many["listed"] == few["listed"] <= 2
    assert many["read"] < 1.1 * few["read"] + 200_000
    assert many["synced"] <= 2000 // adoption._AT_ONCE + 2


@pytest.mark.in_process
@pytest.mark.parametrize("text", ["", " ", "\n\n"], ids=repr)
def test_a_blank_answer_goes_along_with_no_later_question(program: Program, text: str) -> None:
    with ChatServer([answer("First."), answer(text), answer("Third.")]) as server:
        ask = ("ask", "--session", "s", "--last-turns", "1", "--base-url", server.url)
        statuses = [program.run(*ask, word).status for word in ("one", "two", "three")]
        messages = server.requests[2].body["messages"]
    assert statuses == [0, 0, 0]
    assert [message["content"] for message in messages] == ["one", "First.", "three"]


@pytest.mark.in_process
@pytest.mark.parametrize("name", ["日本 語", "città!", "новый/чат"])
def test_a_bad_name_is_told_in_its_own_letters(program: Program, name: str) -> None:
    result = program.run("ask", "--offline", "--session", name, "hello")
    assert (result.status, result.code) == (2, "bad_session_name")
    assert name in result.stderr.decode()


DOUBLES = [
    ("the complete one first", ["complete", "partial"]),
    ("the complete one last", ["partial", "complete"]),
    ("the complete one between", ["failed", "complete", "partial"]),
]


@pytest.mark.in_process
@pytest.mark.parametrize(("name", "statuses"), DOUBLES, ids=[name for name, _ in DOUBLES])
def test_of_doubles_the_complete_one_stands_for_every_reader(
    program: Program, name: str, statuses: list[str]
) -> None:
    path = session_path(program)
    path.parent.mkdir()
    first, last = head(status="complete", answer="A."), head(status="complete", answer="Z.")
    same = head()
    doubles = [{**same, "status": each, "answer": f"{each}-needle"} for each in statuses]
    path.write_text("".join(json.dumps(turn) + "\n" for turn in (first, *doubles, last)))
    path.chmod(0o600)
    right = ["A.", "complete-needle", "Z."]
    for last_n in ((), ("--last", "3"), ("--last", "99")):
        shown = program.run("history", "show", "s", *last_n, "--output-format", "ndjson")
        assert [turn["answer"] for turn in shown.events] == right, (name, last_n)
    found = program.run("history", "search", "needle")
    assert [line.split(b": ")[1] for line in found.stdout.splitlines()] == [b"complete-needle"]
    program.run("history", "fork", "s", "t")
    assert [turn["answer"] for turn in program.records("t")] == right
    program.run("history", "repair", "s")
    assert [turn["answer"] for turn in program.records("s")] == right
