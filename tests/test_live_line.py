"""The line that is taken back: it fits, is obeyed by nobody, and is gone before anything else."""

import os
import pty
import signal
import termios
import threading
import tty
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.environment import Environment, Messages, Output
from pipechat.show.live_line import LiveLine
from pipechat.show.width import cut, width
from pipechat.stdin import Input
from tests.properties import MODEST
from tests.screen import Screen

MODEL = "模型-\x1b[2J\x1b]0;mine\x07"


class At:
    """A terminal of so many columns, with stderr and stdout on it, or stdout on a pipe."""

    def __init__(self, columns: int, *, color: bool = True) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.resize(columns)
        self._slave = slave
        self.stderr = Messages(Output(slave, name="stderr"))
        self.stdout = Output(slave, name="stdout")
        self.reading, self._writing = os.pipe()
        self.pipe = Output(self._writing, name="stdout")
        self.line = LiveLine(self.stderr.output, self.stderr.cleaned, color=color)
        for each in (self.stderr.output, self.stdout, self.pipe):
            each.cover = self.line
        self.screen = Screen(columns)

    def resize(self, columns: int) -> None:
        termios.tcsetwinsize(self._master, (24, columns))

    @property
    def shown(self) -> str:
        os.set_blocking(self._master, False)
        try:
            while data := os.read(self._master, 65536):
                self.screen.feed(data)
        except BlockingIOError:
            return self.screen.text
        return self.screen.text

    def close(self) -> None:
        self.line.erase()
        for fd in (self._master, self._slave, self.reading, self._writing):
            os.close(fd)


@pytest.fixture
def at() -> Iterator[At]:
    terminal = At(40)
    yield terminal
    terminal.close()


def test_the_line_is_dim_and_leaves_nothing(at: At) -> None:
    at.line.show("waiting")
    assert at.shown == "waiting"
    assert at.screen.styles == {"\x1b[2m", "\x1b[0m"}
    at.line.show("wait")
    assert at.shown == "wait"
    at.line.erase()
    assert at.shown == ""


def test_without_colors_the_line_stays_and_is_not_dim() -> None:
    at = At(40, color=False)
    at.line.show("waiting")
    assert at.shown == "waiting"
    assert at.screen.styles == set()
    at.close()


@pytest.mark.parametrize("columns", [20, 40, 80])
@pytest.mark.parametrize(
    "model",
    ["gpt-" + "x" * 200, "模型" * 60, "é" * 100, "e\u0301" * 100, MODEL * 9, "👩‍💻" * 50, ""],
)
def test_the_line_is_never_wider_than_the_terminal_and_keeps_its_seconds(
    columns: int, model: str
) -> None:
    at = At(columns)
    at.line.show(f"waiting for {model}", " 13 s")
    assert "\n" not in at.shown
    assert at.shown.endswith(" 13 s")
    assert width(at.shown) < columns
    at.close()


def test_escapes_in_the_name_of_a_model_are_shown_and_not_obeyed(at: At) -> None:
    at.line.show(f"waiting for {MODEL}")
    assert at.shown == "waiting for 模型-^[[2J^[]0;mine^G"


def test_a_key_is_not_shown_on_it_either(at: At) -> None:
    at.stderr.hide("sk-secret-1")
    at.line.show("waiting for sk-secret-1")
    assert at.shown == "waiting for [key]"


def test_a_terminal_that_was_resized_is_looked_at_again(at: At) -> None:
    at.line.show("waiting for somebody", " 3 s")
    assert at.shown == "waiting for somebody 3 s"
    at.resize(20)
    at.line.show("waiting for somebody", " 4 s")
    assert at.shown == "waiting for so… 4 s"


def test_a_message_an_answer_and_a_line_of_a_pipe_find_it_gone(at: At) -> None:
    at.line.show("waiting")
    at.stderr.note("careful")
    assert at.shown == "pipechat: careful\n"
    at.line.show("waiting")
    at.stdout.write(b"Hel")
    assert at.shown == "pipechat: careful\nHel"
    at.line.show("waiting")
    at.pipe.write(b"Hello")
    assert at.shown == "pipechat: careful\nHel"
    assert os.read(at.reading, 99) == b"Hello"


def test_what_stands_in_the_line_before_it_is_left_alone(at: At) -> None:
    at.stdout.write(b"AI: ")
    at.line.show("waiting for a model with quite a long name")
    assert at.shown.startswith("AI: waiting for a model")
    assert "\n" not in at.shown
    at.line.erase()
    assert at.shown == "AI:"
    at.stdout.write(b"Hello\n")
    assert at.shown == "AI: Hello\n"


def test_nothing_is_drawn_in_the_middle_of_a_write(at: At) -> None:
    at.line.lift()
    at.line.show("waiting")
    at.line.lower()
    assert at.shown == ""


def test_many_threads_that_write_never_meet_the_line(at: At) -> None:
    def write() -> None:
        for n in range(200):
            at.stdout.write(b"record %d\n" % n)

    thread = threading.Thread(target=write)
    thread.start()
    n = 0
    while thread.is_alive():
        at.line.show(f"{n} of 200")
        assert at.shown is not None
        n += 1
    thread.join()
    at.line.erase()
    assert at.shown == "".join(f"record {n}\n" for n in range(200))


def test_signals_are_as_before_once_it_is_gone(at: At) -> None:
    signums = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
    before = [signal.getsignal(signum) for signum in signums]
    assert before == [signal.SIG_DFL] * 4
    at.line.show("waiting")
    assert signal.SIG_DFL not in [signal.getsignal(signum) for signum in signums]
    at.line.erase()
    assert [signal.getsignal(signum) for signum in signums] == before


def test_a_signal_that_somebody_took_meanwhile_stays_theirs(at: At) -> None:
    at.line.show("waiting")
    try:
        signal.signal(signal.SIGTERM, theirs := lambda *_: None)
        at.line.erase()
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@MODEST
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30), st.integers(0, 20))
def test_what_is_cut_fits(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    if width(text) <= columns:
        assert cut(text, columns) == text


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("模型", 4), ("é", 1), ("e\u0301", 1), ("❤\ufe0f", 2), ("ｶ", 1), ("Ａ", 2)],
)
def test_wide_letters_take_two_columns_and_combining_ones_none(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("environ", "terminal", "quiet", "has"),
    [
        ({"TERM": "xterm"}, True, False, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False, True),
        ({"TERM": "xterm"}, True, True, False),
        ({"TERM": "dumb"}, True, False, False),
        ({}, True, False, False),
        ({"TERM": "xterm"}, False, False, False),
    ],
)
def test_only_a_person_who_wants_it_at_a_terminal_that_can_has_a_live_line(
    at: At, environ: dict[str, str], terminal: bool, quiet: bool, has: bool
) -> None:
    env = Environment(
        stdin=Input(0, closed=True),
        stdout=at.pipe,
        stderr=at.stderr if terminal else Messages(at.pipe),
        environ=environ,
        umask=0o077,
        quiet=quiet,
    )
    assert env.has_live_line == has
