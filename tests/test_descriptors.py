"""Descriptors 0 to 2: missing, full, broken, slow (FAULTS §3)."""

import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program, Result
from tests.servers import ChatServer, Request, Stall, Step, answer, chunk, event, stream_reply
from tests.servers.peer import Peer

pytestmark = pytest.mark.cold

CLOSED = [closed for size in product((False, True), repeat=3) if any(closed := size)]


def run_in_shell(program: Program, redirections: str, *arguments: str | Path) -> Result:
    """Run it as a shell does with these redirections."""
    script = f'exec "$@" {redirections}'
    command = ["sh", "-c", script, "sh", program.python, "-m", "pipechat", *arguments]
    done = subprocess.run(
        command, input=b"", capture_output=True, env=program.environ(), timeout=60, check=False
    )
    result = Result(done.returncode, done.stdout, done.stderr)
    program.written += [result.stdout, result.stderr]
    return result


@pytest.mark.parametrize("closed", CLOSED, ids=lambda closed: "".join("01"[c] for c in closed))
def test_missing_descriptors_never_send_the_answer_into_another_file(
    program: Program, closed: tuple[bool, bool, bool], tmp_path: Path
) -> None:
    _, stdout, stderr = closed
    names = zip(("<&-", ">&-", "2>&-"), closed, strict=True)
    gone = " ".join(name for name, is_closed in names if is_closed)
    target = tmp_path / "answer.txt"
    with ChatServer(answer("The answer.")) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url)
        result = run_in_shell(program, gone, *ask, "hello")
        # Nobody pays for an answer that can be shown to nobody.
        assert len(server.requests) == (0 if stdout else 1)
        to_file = run_in_shell(program, gone, *ask, "-o", target, "hello")
        without = run_in_shell(program, gone, *ask)
    assert (result.status, result.stdout) == ((11, b"") if stdout else (0, b"The answer.\n"))
    assert result.code == ("output_closed" if stdout and not stderr else "")
    assert (to_file.status, target.read_text()) == (0, "The answer.\n")
    assert without.status == 2
    records = program.records("s")
    assert [r["answer"] for r in records] == ["The answer."] * (1 if stdout else 2)
    assert program.spools() == []


@pytest.mark.parametrize("output_format", ["text", "json", "ndjson"])
def test_a_full_stdout_exits_11_and_the_turn_is_kept_as_partial(
    program: Program, output_format: str
) -> None:
    with ChatServer(answer("The answer.")) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url, "hello")
        full = ("--output-format", output_format)
        result = run_in_shell(program, ">/dev/full", *ask, *full)
    assert (result.status, result.code) == (11, "output_failed")
    assert b"No space left" in result.stderr
    (record,) = program.records("s")
    # The JSON of a whole answer comes after its record: the turn itself was whole.
    assert record["status"] == ("complete" if output_format == "json" else "partial")
    assert "The answer.".startswith(record["answer"])
    assert program.spools() == []


def test_a_request_that_is_printed_into_nothing_is_no_success_either(program: Program) -> None:
    for redirection in (">&-", ">/dev/full"):
        assert run_in_shell(program, redirection, "ask", "--dry-run", "x").status == 11


def test_a_full_or_missing_stderr_changes_nothing(program: Program) -> None:
    for redirection in ("2>/dev/full", "2>&-"):
        result = run_in_shell(program, redirection, "ask", "--offline", "hello")
        assert (result.status, result.stdout[-13:]) == (0, b"asked: hello\n")


def test_stdin_that_is_missing_or_null_is_an_empty_question(program: Program) -> None:
    for redirection in ("<&-", "</dev/null"):
        result = run_in_shell(program, redirection, "ask", "--offline")
        assert (result.status, result.code) == (2, "empty_question")


def test_a_reader_that_was_never_there_is_death_by_sigpipe(program: Program) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with ChatServer(answer("The answer.")) as server:
        process = program.start("ask", "--session", "s", "--base-url", server.url, stdout=writing)
        os.close(writing)
        result = program.finish(process, input=b"hello")
    assert (process.returncode, result.stderr) == (-signal.SIGPIPE, b"")
    assert [record["status"] for record in program.records("s")] == ["partial"]


@dataclass(frozen=True)
class Flood(Step):
    """Text as fast as the client takes it; `sent` counts its bytes."""

    sent: list[int] = field(default_factory=lambda: [0])
    closed: threading.Event = field(default_factory=threading.Event)
    text = "x" * 8000

    async def play(self, peer: Peer) -> None:
        data = event(chunk(self.text)) * 4
        framed = b"%x\r\n%b\r\n" % (len(data), data)
        while not self.closed.is_set():
            await peer.send(framed)
            self.sent[0] += len(data)


ALLOWED_AHEAD = 24 << 20  # sockets, 64 segments, a pipe: all of it bounded


def test_a_slow_reader_slows_the_server_down_and_fills_no_memory(program: Program) -> None:
    flood = Flood()

    def script(request: Request) -> Any:  # noqa: ARG001 — a script takes it
        return stream_reply(flood, Stall())

    with ChatServer(script) as server:
        process = program.start("ask", "--no-stdin", "--base-url", server.url, "hello")
        assert process.stdout is not None
        read = 0
        ahead = []
        while read < 8 << 20:
            read += len(os.read(process.stdout.fileno(), 4096))
            ahead.append(flood.sent[0] - read)
        assert max(ahead) < ALLOWED_AHEAD
        # And it stands still when nobody reads: three looks, each after time for 100 MB.
        steady = [sent_after(flood, process) for _ in range(3)]
        assert steady[-1] - read < ALLOWED_AHEAD
        process.kill()
        program.finish(process)


def sent_after(flood: Flood, process: "subprocess.Popen[bytes]") -> int:
    """What was sent when the program has been blocked for a while (it uses no CPU time)."""
    before = -1.0
    while (used := cpu_seconds(process.pid)) != before:
        before = used
        threading.Event().wait(0.1)
    return flood.sent[0]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return float(fields[11]) + float(fields[12])


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("ask", "--help")])
def test_help_and_version_that_cannot_be_written_exit_11(
    program: Program, arguments: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        result = program.run(*arguments, stdout=full)
    assert (result.status, result.code) == (11, "output_failed")
    closed = run_in_shell(program, ">&-", *arguments)
    assert (closed.status, closed.code) == (11, "output_closed")
    reader, writer = os.pipe()
    os.close(reader)
    left = program.run(*arguments, stdout=writer)
    os.close(writer)
    assert (left.status, left.stderr) == (141, b"")
