"""Streams of the process: bytes go out whole or the reason is told, and never to another file."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipechat.environment import Environment, Messages, Output
from pipechat.errors import OutputError, ReaderLeft, UsageError
from pipechat.stdin import Input

ROOT = Path(__file__).resolve().parent.parent
BIG = bytes(range(256)) * 2048  # 512 KiB: many times what a pipe holds


class Pipe:
    """A pipe; `read_all` takes what comes until the writing end closes, in a thread."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.received = b""
        self._thread: threading.Thread | None = None

    def read_all(self) -> None:
        def read() -> None:
            while part := os.read(self.reading, 1000):
                self.received += part

        self._thread = threading.Thread(target=read)
        self._thread.start()

    def finish(self) -> bytes:
        os.close(self.writing)
        if self._thread is None:
            self.read_all()
        assert self._thread is not None
        self._thread.join()
        os.close(self.reading)
        return self.received


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def fill(fd: int) -> int:
    """Fill a pipe until not one byte more fits; how many bytes did."""
    os.set_blocking(fd, False)
    size = 0
    for piece in (65536, 1):
        try:
            while True:
                size += os.write(fd, b"." * piece)
        except BlockingIOError:
            continue
    os.set_blocking(fd, True)
    return size


@pytest.mark.parametrize("blocking", [True, False])
def test_all_bytes_arrive_though_the_pipe_takes_few_at_a_time(pipe: Pipe, blocking: bool) -> None:
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(pipe.writing, blocking)
    out = Output(pipe.writing, name="stdout")
    assert not out.is_terminal
    pipe.read_all()
    out.write(b"")
    out.write(BIG)
    out.write(b"end")
    assert pipe.finish() == BIG + b"end"


def test_short_writes_are_continued(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    Output(pipe.writing, name="stdout").write(b"0123456789")
    monkeypatch.undo()
    assert pipe.finish() == b"0123456789"


def test_a_pipe_without_a_reader_is_a_reader_that_left(pipe: Pipe) -> None:
    os.close(pipe.reading)
    out = Output(pipe.writing, name="stdout")
    with pytest.raises(ReaderLeft) as caught:
        out.write(b"x")
    assert int(caught.value.exit_code) == 141
    out.hurry(1)
    with pytest.raises(ReaderLeft):
        out.write(b"x")
    os.close(pipe.writing)


def test_a_full_device_is_an_output_error() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    out = Output(fd, name="stdout")
    with pytest.raises(OutputError) as caught:
        out.write(b"x")
    os.close(fd)
    assert (caught.value.code, int(caught.value.exit_code)) == ("output_failed", 11)
    assert os.strerror(errno.ENOSPC) in caught.value.message


def test_a_stream_that_was_closed_from_the_start_is_an_output_error() -> None:
    out = Output(1, name="stdout", closed=True)
    for use in (out.check_open, lambda: out.write(b"x")):
        with pytest.raises(OutputError) as caught:
            use()
        assert (caught.value.code, int(caught.value.exit_code)) == ("output_closed", 11)
    assert not out.is_terminal


def test_last_words_to_a_full_pipe_nobody_reads_are_given_up_in_time(pipe: Pipe) -> None:
    size = fill(pipe.writing)
    out = Output(pipe.writing, name="stdout")
    out.hurry(0.05)
    started = time.monotonic()
    for _ in range(50):
        out.write(b"last words")
    assert time.monotonic() - started < 5
    assert pipe.finish() == b"." * size


def test_last_words_reach_a_reader_that_reads_in_time(pipe: Pipe) -> None:
    size = fill(pipe.writing)
    out = Output(pipe.writing, name="stdout")
    out.hurry(30)
    pipe.read_all()
    out.write(BIG)
    out.write(b"end")
    assert pipe.finish() == b"." * size + BIG + b"end"


class Died(BaseException):
    """The process would be dead now."""


def test_a_write_that_a_signal_interrupts_is_completed_before_the_last_words(pipe: Pipe) -> None:
    size = fill(pipe.writing)
    out = Output(pipe.writing, name="stdout")

    def end(_signum: int, _frame: FrameType | None) -> None:
        out.hurry(30)
        pipe.read_all()
        out.write(b"last words")
        raise Died

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Died):
            out.write(b"an event")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert pipe.finish() == b"." * size + b"an eventlast words"


def test_messages_are_clean_single_lines_without_secrets(pipe: Pipe) -> None:
    messages = Messages(Output(pipe.writing, name="stderr"))
    messages.hide("sk-secret")
    messages.hide("sk-other-1")
    messages.line("key sk-secret and sk-other-1\n\x1b[2J\ud800")
    messages.note("done")
    lines = b"key [key] and [key]^J^[[2J?\npipechat: done\n"
    assert pipe.finish() == lines


@pytest.mark.parametrize("closed", [True, False])
def test_a_message_that_cannot_be_written_is_nobodys_to_hear_of(closed: bool) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    messages = Messages(Output(fd, name="stderr", closed=closed))
    messages.note("x")
    messages.output.hurry(0.01)
    messages.note("x")
    os.close(fd)


@pytest.fixture
def stdin() -> Iterator[tuple[Input, int]]:
    reading, writing = os.pipe()
    yield Input(reading), writing
    os.close(reading)


def test_stdin_is_read_whole_up_to_its_limit(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    assert source.is_data
    assert not source.is_terminal
    os.write(writing, b"0123456789")
    os.close(writing)
    assert source.read_all(10) == b"0123456789"
    assert source.read_all(10) == b""


def test_more_than_the_limit_is_refused(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    os.write(writing, b"0123456789")
    os.close(writing)
    with pytest.raises(UsageError) as caught:
        source.read_all(9)
    assert (caught.value.code, int(caught.value.exit_code)) == ("input_too_large", 2)


def test_a_nonblocking_stdin_is_waited_for(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    os.set_blocking(source._fd, False)

    def speak() -> None:
        os.write(writing, b"late")
        os.close(writing)

    timer = threading.Timer(0.05, speak)
    timer.start()
    assert source.read_all(10) == b"late"
    timer.join()


def test_lines_come_one_by_one_and_the_last_needs_no_newline(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    os.write(writing, "one\n\ntwo é\r\nthr".encode())
    lines = source.lines(1 << 20, lossy=False)
    assert [next(lines), next(lines), next(lines)] == ["one", "", "two é\r"]
    os.write(writing, b"ee")
    os.close(writing)
    assert list(lines) == ["three"]


def test_a_line_that_is_not_utf_8_ends_them_unless_lossy(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    os.write(writing, b"a\xff\nb")
    os.close(writing)
    with pytest.raises(UsageError, match="offset 1"):
        list(source.lines(1 << 20, lossy=False))


def test_lossy_lines_are_replaced(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    os.write(writing, b"a\xff\nb\xfe")
    os.close(writing)
    assert list(source.lines(1 << 20, lossy=True)) == ["a\ufffd", "b\ufffd"]


def test_an_unreadable_stdin_is_told() -> None:
    fd = os.open(ROOT, os.O_RDONLY)
    with pytest.raises(UsageError) as caught:
        Input(fd).read_all(1)
    os.close(fd)
    assert caught.value.code == "unreadable_input"


def test_dev_null_and_a_closed_stdin_are_no_data() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    assert not Input(fd).is_data
    os.close(fd)
    assert not Input(0, closed=True).is_data


def test_quiet_silences_warnings_and_nothing_else(pipe: Pipe) -> None:
    env = Environment(
        stdin=Input(0, closed=True),
        stdout=Output(1, name="stdout", closed=True),
        stderr=Messages(Output(pipe.writing, name="stderr")),
        environ={},
        umask=0o077,
    )
    env.warn("careful")
    env.quiet = True
    env.warn("careful")
    env.stderr.note("error")
    assert pipe.finish() == b"pipechat: careful\npipechat: error\n"


SCRIPT = """
import json, os, sys
from pipechat.environment import Environment
from pipechat.errors import PipechatError
env = Environment.of_process()
first = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
try:
    env.stdout.write(b"the answer")
    code = 0
except PipechatError as error:
    code = int(error.exit_code)
env.stderr.note("a message")
found = {"first": first, "stdout": env.stdout.closed, "stdin": env.stdin.is_data, "code": code,
         "input": env.stdin.read_all(100).decode(), "umask": os.umask(0), "was": env.umask}
with open(sys.argv[1] + ".found", "w") as file:
    json.dump(found, file)
"""


@pytest.mark.parametrize(
    ("redirections", "code", "closed"),
    [
        ("", 0, False),
        (">&-", 11, True),
        (">&- 2>&-", 11, True),
        ("<&-", 0, False),
        ("<&- >&- 2>&-", 11, True),
        ("2>&-", 0, False),
        (">/dev/full", 11, False),
    ],
)
def test_a_missing_descriptor_is_never_taken_by_a_file(
    redirections: str, code: int, closed: bool, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    done = subprocess.run(
        ["sh", "-c", f'umask 022; exec "$0" -c "$1" "$2" {redirections}',
         sys.executable, SCRIPT, file],
        input=b"question", capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found: dict[str, Any] = json.loads((tmp_path / "file.found").read_text())
    assert found["first"] > 2
    assert (found["code"], found["stdout"]) == (code, closed)
    assert (found["umask"], found["was"]) == (0o077, 0o022)
    assert found["input"] == ("" if "<&-" in redirections else "question")
    assert file.read_bytes() == b""
    assert done.stdout == (b"" if code else b"the answer")
    assert done.stderr == (b"" if "2>&-" in redirections else b"pipechat: a message\n")
