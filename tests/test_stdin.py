"""Input is never dropped: stdin is read to its end, or the turn fails before anything is sent."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

import pipechat.stdin
from pipechat.errors import UsageError
from pipechat.stdin import Input
from tests.program import Program
from tests.servers import ChatServer, Stall, answer, chunk, stream_reply

OFFLINE = ("ask", "--offline", "-q")
FORMATS = ("text", "json", "ndjson")
REAL = ("pipe", "text")  # waits the 3 s; the other rows wait shorter


def late_pipe() -> tuple[int, int]:
    return os.pipe()


def late_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def fifo(folder: Path) -> tuple[int, int]:
    path = folder / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY)
    os.set_blocking(reading, True)
    return reading, writing


SOURCES: dict[str, Callable[[Path], tuple[int, int]]] = {
    "pipe": lambda _folder: late_pipe(),
    "socket": lambda _folder: late_socket(),
    "fifo": fifo,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_writer_that_takes_longer_than_3_s_is_waited_for_and_named(
    program: Program, source: str, output_format: str, tmp_path: Path
) -> None:
    reading, writing = SOURCES[source](tmp_path)
    with ChatServer(answer("The answer.")) as server:
        ask = ("ask", "--base-url", server.url, "--output-format", output_format, "sum")
        soon = program.shorter(quiet_stdin=0.2) if (source, output_format) != REAL else None
        process = program.start(*ask, stdin=reading, env=soon)
        os.close(reading)
        assert process.stderr is not None
        told = process.stderr.readline()  # only then does the data come
        assert told == b"pipechat: waiting for stdin to end (--no-stdin leaves it alone)\n"
        os.write(writing, b"data")
        os.close(writing)
        result = program.finish(process)
        (request,) = server.requests
    assert (result.status, result.stderr) == (0, b"")
    assert request.messages[-1]["content"] == "sum\n\ndata"


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_stdin_that_does_not_end_within_the_timeout_exits_2_and_nothing_is_sent(
    program: Program, source: str, output_format: str, tmp_path: Path
) -> None:
    reading, writing = SOURCES[source](tmp_path)
    os.write(writing, b"some")
    with ChatServer(answer("The answer.")) as server:
        ask = ("ask", "--base-url", server.url, "--output-format", output_format)
        session = ("--session", "s", "--timeout", "0.3", "sum")
        process = program.start(*ask, *session, stdin=reading)
        os.close(reading)
        result = program.finish(process)
        assert server.requests == []
    os.close(writing)
    assert (result.status, result.code) == (2, "stdin_timeout")
    assert b"--no-stdin" in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert not (program.home / "sessions" / "s.jsonl").exists()
    if output_format != "text":
        assert [event["code"] for event in result.events] == ["stdin_timeout"]


def test_quiet_silences_the_line_about_waiting(program: Program) -> None:
    soon = program.shorter(quiet_stdin=0.1)
    process = program.start(*OFFLINE, "--timeout", "0.6", "sum", env=soon)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"pipechat: stdin_timeout: ")
    assert program.finish(process).status == 2


def test_what_stdin_took_is_taken_from_the_timeout(program: Program) -> None:
    late, ready = os.pipe()
    with ChatServer(stream_reply(chunk("Hi"), Stall())) as server:
        ask = ("ask", "--base-url", server.url, "--timeout", "3", "--output-format", "ndjson")
        process = program.start(*ask, "sum up", stdin=late, env=program.shorter(quiet_stdin=0.1))
        assert process.stderr is not None
        process.stderr.readline()  # it waits
        time.sleep(1.2)  # the writer's time, which counts
        os.write(ready, b"data")
        os.close(ready)
        os.close(late)
        last = program.finish(process).events[-1]
    assert (last["code"], last["answer"]) == ("timeout", "Hi")
    assert last["total_s"] < 2.5  # of 3, since the question took the rest


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("words", "data", "question"),
    [
        (("-",), b"in", "in"),
        (("-", "hi"), b"in\n", "in\n\nhi"),
        (("a", "-", "b"), b"in", "a\n\nin\n\nb"),
        (("a", "b", "-"), b"in", "a b\n\nin"),
        (("-", "hi"), b" \n", "hi"),
        (("a", "-", "b"), b"", "a b"),
        (("-", "-", "hi"), b"in", "in\n\nhi"),
        (("--", "-", "-x"), b"in", "in\n\n-x"),
    ],
)
def test_stdin_stands_where_the_dash_stands(
    program: Program, words: tuple[str, ...], data: bytes, question: str
) -> None:
    result = program.run(*OFFLINE, *words, input=data)
    assert result.stdout.decode() == f"offline, with no earlier turn: you asked: {question}\n"


@pytest.mark.in_process
@pytest.mark.parametrize("words", [("-",), ("-", "hi"), ("a", "-", "b")])
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_dash_beside_no_stdin_is_an_error(
    program: Program, words: tuple[str, ...], output_format: str
) -> None:
    result = program.run(*OFFLINE, "--no-stdin", "--output-format", output_format, *words)
    assert (result.status, result.code) == (2, "bad_option")


@pytest.mark.parametrize("signame", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_while_stdin_is_awaited_just_kills(program: Program, signame: str) -> None:
    process = program.start("ask", "--offline", "sum", env=program.shorter(quiet_stdin=0.1))
    assert process.stderr is not None
    process.stderr.readline()  # it waits
    process.send_signal(signal.Signals[signame])
    result = program.finish(process)
    assert (process.returncode, result.stdout) == (-signal.Signals[signame], b"")


@pytest.fixture
def stdin() -> Iterator[tuple[Input, int]]:
    reading, writing = os.pipe()
    yield Input(reading), writing
    os.close(reading)


def test_silence_is_told_once_and_only_after_its_time(
    stdin: tuple[Input, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, writing = stdin
    monkeypatch.setattr(pipechat.stdin, "QUIET_STDIN_S", 0.02)
    told: list[float] = []

    def speak() -> None:
        for _ in range(3):
            time.sleep(0.1)
            os.write(writing, b"x")
        os.close(writing)

    thread = threading.Thread(target=speak)
    thread.start()
    assert source.read_all(10, None, lambda: told.append(time.monotonic())) == b"xxx"
    thread.join()
    assert len(told) == 1


def test_a_timeout_shorter_than_the_silence_tells_nothing_of_silence(
    stdin: tuple[Input, int],
) -> None:
    source, writing = stdin
    told: list[bool] = []
    with pytest.raises(UsageError) as caught:
        source.read_all(10, 0.05, lambda: told.append(True))
    os.close(writing)
    assert (caught.value.code, told) == ("stdin_timeout", [])


def test_a_writer_that_trickles_forever_ends_at_the_timeout(stdin: tuple[Input, int]) -> None:
    source, writing = stdin
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.01):
            os.write(writing, b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    started = time.monotonic()
    with pytest.raises(UsageError) as caught:
        source.read_all(1 << 20, 0.2)
    stop.set()
    thread.join()
    os.close(writing)
    assert (caught.value.code, time.monotonic() - started < 10) == ("stdin_timeout", True)


class Typist:
    """Stands in for the editor: says what it is told to."""

    def __init__(self, *lines: str | None) -> None:
        self.lines = list(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_about: object) -> None:
        """Nothing to put back."""

    def line(self, prompt: str) -> str | None:
        assert isinstance(prompt, str)
        return self.lines.pop(0)


def test_typed_bytes_that_are_no_text_are_an_error_of_the_user(
    stdin: tuple[Input, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, writing = stdin
    os.close(writing)
    typist = Typist("caf\udce9", "caf\udce9", None, "caf\udce9", None)
    monkeypatch.setattr(pipechat.stdin, "_line_editor", lambda: typist)
    with pytest.raises(UsageError, match="offset 3"):
        source.ask_line("> ")
    assert source.ask_line("> ", lossy=True) == "caf\ufffd"
    assert source.ask_line("> ") is None
    assert source.typed(10, lambda: None) == b"caf\xe9\n"


def test_more_typed_than_the_limit_is_refused(
    stdin: tuple[Input, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, writing = stdin
    os.close(writing)
    monkeypatch.setattr(pipechat.stdin, "_line_editor", lambda: Typist("0123456789"))
    with pytest.raises(UsageError) as caught:
        source.typed(10, lambda: None)
    assert caught.value.code == "input_too_large"


def test_a_python_without_readline_refuses_to_cut_lines(
    stdin: tuple[Input, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, writing = stdin
    os.close(writing)
    monkeypatch.setitem(sys.modules, "pipechat.line_editor", None)
    with pytest.raises(UsageError) as caught:
        source.ask_line("> ")
    assert (caught.value.code, int(caught.value.exit_code)) == ("no_line_editing", 2)


def test_a_file_is_read_whole_beside_words(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"data")
    with file.open("rb") as opened:
        result = program.run(*OFFLINE, "sum", input=None, stdin=opened)
    assert result.stdout.endswith(b"asked: sum\n\ndata\n")


def test_dev_null_beside_words_adds_nothing(program: Program) -> None:
    result = program.run(*OFFLINE, "hi", input=None, stdin=subprocess.DEVNULL)
    assert (result.status, result.stdout[-10:]) == (0, b"asked: hi\n")


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("words", [("hi",), ("hi", "-"), ("-", "hi")], ids=" ".join)
@pytest.mark.parametrize(
    ("input", "told"),
    [(b"", "stdin was empty"), (b" \n", "stdin held blanks alone"), (b"x", None)],
)
def test_an_empty_stdin_beside_words_is_told_once_and_with_v_alone(
    program: Program, input: bytes, told: str | None, words: tuple[str, ...], output_format: str
) -> None:
    ask = ("ask", "--offline", "--output-format", output_format, *words)
    for verbose in (True, False):
        result = program.run(*ask, *(["-v"] if verbose else []), input=input)
        assert result.status == 0
        notes = [line for line in result.stderr.decode().splitlines() if "stdin " in line]
        assert notes == ([f"pipechat: {told}"] if told and verbose else [])
