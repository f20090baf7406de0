"""Signals at defined points of a turn (FAULTS §3): what came is kept, then the signal's own death.

The points are reached by gates of the server, or by what can be read of the program; none is
waited for by time.
"""

import array
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Mark,
    Reply,
    Stall,
    UntilClientLeaves,
    WaitFor,
    answer,
    chunk,
    error_reply,
    raw_reply,
    stream_reply,
)
from tests.surroundings import ENDING, hear_signals

pytestmark = pytest.mark.counted

LIMIT_S = 30.0
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
STOP = chunk(finish_reason="stop")


def start(program: Program, server: ChatServer, *arguments: str | Path, **options: Any) -> Any:
    options.setdefault("stdin", subprocess.DEVNULL)
    ask = ("ask", "--session", "s", "--base-url", server.url)
    return program.start(*ask, *arguments, "hello", **options)


_INTERRUPTED_AT = """
import os, signal, sys
wanted = sys.argv[1]
def look(event, arguments):
    if event == "import" and arguments[0] == wanted:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(look)
from pipechat.__main__ import main
sys.argv[1:] = ["--version"]
main()
"""


@pytest.mark.parametrize(
    "module", ["pipechat.late_imports", "pipechat.errors", "pipechat.main", "typer"]
)
def test_an_interrupt_of_any_import_is_the_death_by_it_without_a_word(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_AT, module], capture_output=True, timeout=LIMIT_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def check_record(program: Program, text: str, status: str = "partial") -> None:
    (record,) = program.records("s")
    assert (record["status"], record["answer"], record["question"]) == (status, text, "hello")
    assert (record["error"] or {}).get("code", "") == ("interrupted" if status == "partial" else "")
    assert program.spools() == []


def read_until(process: Any, text: bytes) -> bytes:
    """What stdout says, up to `text`."""
    data = b""
    while text not in data:
        piece = os.read(process.stdout.fileno(), 1 << 16)
        assert piece, data
        data += piece
    return data


def wait_until_full(fd: int) -> None:
    """Wait until the pipe whose reading end is `fd` takes no more pages."""
    size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    ends_at = time.monotonic() + LIMIT_S
    while (held := bytes_in(fd)) <= size - select.PIPE_BUF:
        assert time.monotonic() < ends_at, f"{held} of {size} bytes"
        time.sleep(0.002)


def bytes_in(fd: int) -> int:
    held = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, held)
    return held[0]


@pytest.mark.parametrize("signum", SIGNALS)
def test_while_headers_are_awaited_the_question_is_kept_and_the_request_cancelled(
    program: Program, signum: signal.Signals
) -> None:
    with ChatServer(raw_reply(Stall())) as server:
        process = start(program, server, "--output-format", "ndjson")
        (request,) = server.wait_for_requests(1)
        process.send_signal(signum)
        result = program.finish(process)
        assert request.left.wait(LIMIT_S)
    assert (result.status, result.code) == (128 + signum, "interrupted")
    assert [event["type"] for event in result.events] == ["start", "error"]
    assert result.events[-1]["exit_code"] == 128 + signum
    assert signum.name in result.stderr.decode()
    check_record(program, "")


@pytest.mark.parametrize("signum", SIGNALS)
def test_after_the_first_text_the_partial_answer_is_kept(
    program: Program, signum: signal.Signals, tmp_path: Path
) -> None:
    left = threading.Event()
    target = tmp_path / "answer.txt"
    with ChatServer(stream_reply(chunk("some \ud83d"), UntilClientLeaves(left))) as server:
        process = start(program, server)
        read_until(process, b"some ")
        process.send_signal(signum)
        result = program.finish(process)
        assert left.wait(LIMIT_S)
        to_file = start(program, server, "-o", target)
        server.wait_for_requests(2)
        to_file.send_signal(signum)
        assert program.finish(to_file).status == 128 + signum
    assert (result.status, result.code) == (128 + signum, "interrupted")
    assert result.stdout == "\ufffd".encode()  # after what was read: a pair cut in two, told
    assert [record["status"] for record in program.records("s")] == ["partial"] * 2
    assert program.records("s")[0]["answer"] == "some \ufffd"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_signal_during_the_wait_before_a_retry_ends_it_at_once(program: Program) -> None:
    with ChatServer(error_reply(503, headers={"retry-after": "300"})) as server:
        process = start(program, server, "--output-format", "ndjson")
        began = read_until(process, b'"retry"')
        process.send_signal(signal.SIGTERM)
        rest = program.finish(process)
        assert len(server.requests) == 1
    assert rest.status == 143
    assert b'"code":"interrupted"' in began + rest.stdout
    check_record(program, "")


BIG = "0123456789abcdef" * 20_000  # five times what a pipe holds


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("reads", [False, True], ids=["nobody reads", "read at last"])
def test_while_stdout_is_a_full_pipe_a_signal_ends_it_and_no_byte_comes_twice(
    program: Program, signum: signal.Signals, reads: bool
) -> None:
    with ChatServer(stream_reply(chunk(BIG), Stall())) as server:
        process = start(program, server, "--output-format", "ndjson" if reads else "text")
        wait_until_full(process.stdout.fileno())
        process.send_signal(signum)
        if not reads:
            assert process.wait(LIMIT_S) == -signum
        result = program.finish(process)
    assert result.status == 128 + signum
    if reads:  # the event that was cut in two came to its end, and then the last one
        assert [event["type"] for event in result.events] == ["start", "chunk", "error"]
        assert result.events[-1]["answer"] == BIG
    else:
        assert BIG.encode().startswith(result.stdout)
    check_record(program, BIG)


@pytest.mark.parametrize("signum", SIGNALS)
def test_while_the_last_byte_of_a_whole_answer_waits_for_a_reader_a_signal_ends_it(
    program: Program, signum: signal.Signals
) -> None:
    text = "x" * 65_536
    with ChatServer(answer(text)) as server:
        process = start(program, server)
        wait_for_record(program)
        assert bytes_in(process.stdout.fileno()) == len(text)
        process.send_signal(signum)
        assert process.wait(LIMIT_S) == -signum
        assert program.finish(process).stdout.decode() == text
    check_record(program, text, "complete")


def wait_for_record(program: Program) -> None:
    """Wait until the turn is kept: its spool is gone, and the session has it."""
    ends_at = time.monotonic() + LIMIT_S
    path = program.home / "sessions" / "s.jsonl"
    while program.spools() or not (path.exists() and path.read_bytes().endswith(b"\n")):
        assert time.monotonic() < ends_at
        time.sleep(0.002)


def test_a_signal_while_nobody_reads_a_fifo_given_as_the_file_ends_it(
    program: Program, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with ChatServer(stream_reply(chunk(BIG), Stall())) as server:
        process = start(program, server, "-o", fifo)
        wait_until_full(reading)
        process.send_signal(signal.SIGTERM)
        assert program.finish(process).status == 143
    os.close(reading)
    check_record(program, BIG)


def test_several_signals_at_once_make_one_record_and_one_death(program: Program) -> None:
    with ChatServer(stream_reply(chunk("some"), Stall())) as server:
        process = start(program, server, "--output-format", "ndjson")
        began = read_until(process, b"some")
        for signum in SIGNALS * 3:
            process.send_signal(signum)
        result = program.finish(process)
    assert result.status in [128 + signum for signum in SIGNALS]
    assert (began + result.stdout).count(b'"type":"error"') == 1
    check_record(program, "some")


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_from_the_start_stays_ignored(
    program: Program, signum: signal.Signals
) -> None:
    seen = threading.Event()
    reply = stream_reply(chunk("first "), WaitFor(seen), chunk("second"), STOP)
    with ChatServer(reply) as server:
        process = start(program, server, preexec_fn=lambda: signal.signal(signum, signal.SIG_IGN))
        read_until(process, b"first ")
        process.send_signal(signum)
        seen.set()
        result = program.finish(process)
    assert (result.status, result.stdout) == (0, b"second\n")
    check_record(program, "first second", "complete")


@pytest.mark.parametrize("signum", ENDING)
def test_a_suite_that_was_started_to_ignore_a_signal_runs_programs_that_hear_it(
    signum: signal.Signals,
) -> None:
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        hear_signals()
        with subprocess.Popen(["sleep", str(LIMIT_S)]) as sleeper:
            sleeper.send_signal(signum)
            assert sleeper.wait() == -signum
    finally:
        signal.signal(signum, before)


def test_a_reader_that_leaves_cancels_the_request_and_is_death_by_sigpipe(
    program: Program,
) -> None:
    seen, left = threading.Event(), threading.Event()
    reply = stream_reply(chunk("one "), WaitFor(seen), chunk("two"), UntilClientLeaves(left))
    for arguments, text in ((("--output-format", "ndjson"), '"one "'), ((), "one ")):
        with ChatServer(reply) as server:
            process = start(program, server, *arguments)
            read_until(process, text.encode())
            process.stdout.close()
            seen.set()
            process.stdout = None
            result = program.finish(process)
            assert left.wait(LIMIT_S)
        assert (process.returncode, result.stderr) == (-signal.SIGPIPE, b"")
        seen.clear()
        left.clear()
    records = [(record["status"], record["answer"]) for record in program.records("s")]
    assert records == 2 * [("partial", "one two")]
    assert program.spools() == []


def test_a_signal_while_a_busy_session_is_awaited_leaves_nothing(program: Program) -> None:
    asked = threading.Event()
    reply: Reply = stream_reply(Mark(asked), Stall())
    with ChatServer(reply) as server:
        holder = start(program, server, "--if-busy", "wait")
        assert asked.wait(LIMIT_S)
        waiting = start(program, server, "--if-busy", "wait", "--timeout", "60", "-v")
        wait_for_lock(waiting.pid, program.home / "sessions" / ".s.busy")
        waiting.send_signal(signal.SIGINT)
        assert program.finish(waiting).status == 130
        holder.terminate()
        assert program.finish(holder).status == 143
    check_record(program, "")


def wait_for_lock(pid: int, path: Path) -> None:
    """Wait until the process has `path` open, as it has again and again while it waits for it."""
    ends_at = time.monotonic() + LIMIT_S
    while True:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(link) == str(path):
                    return
            except FileNotFoundError:
                continue
        assert time.monotonic() < ends_at
