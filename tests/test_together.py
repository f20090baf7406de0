"""What came together goes out together, and waits for nothing more: writes are counted."""

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from pipechat.environment import Output
from tests.program import Program
from tests.servers import ChatServer, Raw, Send, WaitFor, chunk, done, event, stream_reply

pytestmark = pytest.mark.in_process

FORMATS = ("text", "ndjson")
STOP = event(chunk(finish_reason="stop"))


def words(count: int) -> list[str]:
    return [f"w{number} " for number in range(count)]


@contextmanager
def writes(seen: Callable[[bytes], None] = lambda _: None) -> Iterator[list[bytes]]:
    """What is written while it lasts, one item a write; `seen` is called after each."""
    written: list[bytes] = []
    real = os.write

    def noted(fd: int, data: bytes) -> int:
        size = real(fd, data)
        written.append(bytes(data)[:size])
        seen(written[-1])
        return size

    with patch.object(os, "write", noted):
        yield written


@contextmanager
def threads_by_turns() -> Iterator[None]:
    """Whoever waits for a thread does not wait until it has done all that it has to do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def ask(program: Program, url: str, output_format: str) -> Any:
    given = ("--session", "s", "--base-url", url, "--output-format", output_format)
    return program.run("ask", "why?", "--no-stdin", *given)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("frames", ["one frame", "a frame each"])
def test_chunks_of_one_segment_are_one_write_to_the_spool_and_then_one_to_stdout(
    program: Program, frames: str, output_format: str
) -> None:
    texts = words(40)
    events = [event(chunk(text)) for text in texts]
    in_one = Send(b"".join(events))
    if frames == "a frame each":
        in_one = Raw(b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in events))
    reply = stream_reply(in_one, STOP, done())
    with ChatServer(reply) as server, threads_by_turns(), writes() as written:
        result = ask(program, server.url, output_format)
    assert result.status == 0
    spooled, shown, *rest = [data for data in written if b"w7 " in data]
    assert spooled == "".join(texts).encode()
    if output_format == "text":
        assert shown == spooled
        assert len(rest) == 1  # the record
    else:
        assert shown.count(b'{"type":"chunk"') == shown.count(b"\n") == 40
        assert len(rest) == 2  # the record, and `end`
        assert [each["text"] for each in result.events if each["type"] == "chunk"] == texts


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_chunk_that_comes_alone_is_written_before_the_next_is_sent(
    program: Program, output_format: str
) -> None:
    texts = words(5)
    gates = {text: threading.Event() for text in texts}
    shown: list[bytes] = []

    def seen(data: bytes) -> None:
        if data in spooled:
            spooled.remove(data)  # the spool's comes first
        else:
            for text in texts:
                if text.encode() in data and not gates[text].is_set():
                    shown.append(data)
                    gates[text].set()

    spooled = [text.encode() for text in texts]
    steps = [step for text in texts for step in (Send(event(chunk(text))), WaitFor(gates[text]))]
    with ChatServer(stream_reply(*steps, STOP, done())) as server, writes(seen):
        assert ask(program, server.url, output_format).status == 0
    assert spooled == []
    assert len(shown) == len(texts)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        event({"error": {"message": "no", "code": 500}}),
        b"event: error\ndata: x\n\n",
    ],
    ids=["malformed", "error", "error event"],
)
def test_what_stands_before_a_break_in_one_segment_is_shown_and_kept(
    program: Program, broken: bytes, output_format: str
) -> None:
    whole = b"".join(event(chunk(text)) for text in ("a", "b"))
    with ChatServer(stream_reply(Send(whole + broken))) as server:
        result = ask(program, server.url, output_format)
    assert result.status == 6
    if output_format == "text":
        assert result.stdout == b"ab"
    else:
        assert [each["text"] for each in result.events[1:-1]] == ["a", "b"]
    assert [each["answer"] for each in program.records("s")] == ["ab"]


@pytest.mark.parametrize("length", [1, 60, select.PIPE_BUF - 1, select.PIPE_BUF])
def test_lines_that_go_out_together_are_not_left_in_two(length: int) -> None:
    reading, writing = os.pipe()
    lines = [b"x" * (length - 1) + b"\n"] * (12_000 // length)
    with writes() as written:
        Output(writing, name="stdout").write(b"".join(lines))
    os.close(writing)
    with open(reading, "rb") as reader:
        assert reader.read() == b"".join(lines)
    assert all(part.endswith(b"\n") and len(part) <= select.PIPE_BUF for part in written)
    assert len(written) <= 12_000 // (select.PIPE_BUF // length * length) + 1


def test_a_line_longer_than_a_write_goes_out_whole() -> None:
    reading, writing = os.pipe()
    data = b"a\n" + b"x" * 20_000 + b"\nb"
    with writes() as written:
        Output(writing, name="stdout").write(data)
    os.close(writing)
    with open(reading, "rb") as reader:
        assert reader.read() == data
    assert written[0] == b"a\n"
