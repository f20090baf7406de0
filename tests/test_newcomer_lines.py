"""What is said stands in a line of its own, and tells what it is about, where that is and who
named it: kind by kind, as a newcomer met it."""

import os
import pty
import tty
from collections.abc import Iterator

import pytest

from pipechat.environment import Messages, Output
from pipechat.events import End, Error, Sink, TextChunk
from pipechat.show.render import RenderSink
from pipechat.show.sinks import TextSink
from tests.in_process import InProcess
from tests.servers import ChatServer, answer

pytestmark = pytest.mark.in_process
END = End(answer="hi", total_s=1.0)
CUT = Error(
    status="partial", code="cut", exit_code=6, retryable=True, message="m", answer="hi", total_s=1.0
)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal that shows bytes as they are."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, slave
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("kind", ["text", "rendered"])
@pytest.mark.parametrize("last", [END, CUT])
def test_at_a_terminal_a_message_begins_a_line_and_the_answer_ends_once(
    terminal: tuple[int, int], kind: str, last: End | Error
) -> None:
    master, slave = terminal
    out = Output(slave, name="stdout")
    sink: Sink = TextSink(out) if kind == "text" else RenderSink(out, color=False)
    messages = Messages(Output(slave, name="stderr"), out)
    sink.emit(TextChunk(0, "hi"))
    if kind == "rendered":  # a block is shown once it is whole: what stands there is a prompt
        out.write(b"AI: ")
    messages.note("the ledger is full")
    sink.emit(last)
    messages.note("done")
    before, after = ("hi", "") if kind == "text" else ("AI: ", "hi\n")
    shown = f"{before}\npipechat: the ledger is full\n{after}pipechat: done\n"
    assert os.read(master, 4096).decode() == shown


@pytest.mark.parametrize("terminals", ["", "stderr", "stdout", "stdout stderr"])
def test_what_cannot_be_noted_is_told_below_the_answer_whose_bytes_in_a_pipe_stay(
    program: InProcess, terminals: str
) -> None:
    program.terminals = frozenset(terminals.split())
    (program.home / "ledger").write_text("no folder")
    with ChatServer(answer("Bonjour")) as server:
        result = program.run("ask", "hi", "--base-url", server.url)
    told = f"pipechat: the ledger, {program.home}/ledger: what should be its folder is a file"
    assert result.status == 0
    lines = result.stdout.decode().replace("\r\n", "\n")
    if terminals == "stdout stderr":
        assert lines == f"Bonjour\n{told}\n"
    else:
        assert lines == "Bonjour\n"
        assert result.stderr.decode().replace("\r\n", "\n").endswith(f"{told}\n")
