"""While it waits, a person at a terminal is told so, and sees nothing of it afterwards; a script
is told nothing."""

import os
import pty
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipechat.events import End, Error, Event, Reasoning, Retry, Start, TextChunk
from pipechat.show.waiting import ReadingLine, WaitingSink
from pipechat.signals import Waits
from tests.controlling_terminal import take_terminal
from tests.in_process import InProcess
from tests.program import Program
from tests.pseudo_terminal import AtTerminal, read_to_end
from tests.screen import Screen
from tests.servers import ChatServer, Reply, Wait, answer, chunk, done, error_reply, stream_reply
from tests.test_typing import SHELL

START = Start("id", "time", None, "gpt-x", 0, 0)
TEXT = TextChunk(0, "Hello")
END = End(answer="Hello", total_s=1.0)
ERROR = Error(
    status="failed", code="c", exit_code=5, retryable=True, message="m", total_s=1.0, answer=""
)
LIVE = re.compile(r"waiting for|reading stdin|retry \d+ in")


def slow(seconds: float, *texts: str) -> Reply:
    chunks = [chunk(text) for text in texts]
    return stream_reply(Wait(seconds), *chunks, chunk(finish_reason="stop"), done())


@dataclass
class Told:
    """A sink, a line and a clock that note what they are told, in its order."""

    told: list[Any] = field(default_factory=list)
    now: float = 100.0

    def emit(self, *events: Event) -> None:
        self.told += events

    def show(self, text: str, tail: str = "") -> None:
        self.told.append(text + tail)

    def erase(self) -> None:
        self.told.append(None)


def waiting() -> tuple[WaitingSink, Told, Waits]:
    told, waits = Told(), Waits()
    return WaitingSink(told, told, waits, lambda: told.now), told, waits


def tick(told: Told, waits: Waits, seconds: float) -> list[Any]:
    """What is told when that much time has passed."""
    told.now += seconds
    told.told.clear()
    with waits:
        return told.told


def test_nothing_is_said_in_the_first_second_then_who_is_waited_for_and_how_long() -> None:
    sink, told, waits = waiting()
    sink.emit(START)
    assert tick(told, waits, 0.9) == []
    assert tick(told, waits, 0.2) == ["waiting for gpt-x 1 s"]
    assert tick(told, waits, 61) == ["waiting for gpt-x 62 s"]


def test_a_retry_counts_down_and_then_the_model_is_waited_for_again() -> None:
    sink, told, waits = waiting()
    sink.emit(START)
    sink.emit(Retry(1, 3.0, 429, "rate_limited"))
    assert tick(told, waits, 0.5) == []
    assert tick(told, waits, 0.7) == ["rate limited: retry 1 in 2 s"]
    assert tick(told, waits, 1.0) == ["rate limited: retry 1 in 1 s"]
    assert tick(told, waits, 1.0) == ["waiting for gpt-x 3 s"]


@pytest.mark.parametrize("event", [TEXT, END, ERROR])
def test_the_line_is_gone_before_what_was_waited_for_and_does_not_come_back(event: Event) -> None:
    sink, told, waits = waiting()
    sink.emit(START)
    tick(told, waits, 2)
    told.told.clear()
    sink.emit(event)
    assert told.told == [None, event]
    assert tick(told, waits, 2) == []


@pytest.mark.parametrize("event", [Reasoning("hm"), Retry(1, 0.0, 500, "server_error")])
def test_what_is_no_text_does_not_end_the_waiting(event: Event) -> None:
    sink, told, waits = waiting()
    sink.emit(START)
    sink.emit(event)
    assert tick(told, waits, 2) == ["waiting for gpt-x 2 s"]


def test_where_no_text_is_shown_how_much_has_come_is_told_until_the_end() -> None:
    told, waits = Told(), Waits()
    sink = WaitingSink(told, told, waits, lambda: told.now, shows_texts=False)
    sink.emit(START)
    assert tick(told, waits, 2) == ["waiting for gpt-x 2 s"]
    sink.emit(TextChunk(0, "é" * 600))
    assert tick(told, waits, 1) == ["receiving from gpt-x: 1.2 kB"]
    told.told.clear()
    sink.emit(END)
    assert told.told == [None, END]
    assert tick(told, waits, 2) == []


def test_stdin_is_told_of_once_there_is_some() -> None:
    told = Told()
    line = ReadingLine(told, lambda: told.now)
    line.tick(5)
    told.now += 2
    line.tick(0)  # whoever writes it may have a question of its own at the terminal
    assert told.told == []
    line.tick(12_000_000)
    assert told.told == ["reading stdin: 12 MB"]


# Runs of the program.


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipechat.show.waiting._QUIET_S", 0.1)


def shown_by(program: Program, *words: str, **options: Any) -> tuple[str, str, int, str]:
    """A run whose stdout and stderr are a terminal: all that was sent to it, what is left on the
    screen, the status, and all stylings."""
    assert isinstance(program, InProcess)
    program.terminals = frozenset({"stdout", "stderr"})
    env = {"TERM": "xterm", **options.pop("env", {})}
    result = program.run(*words, env=env, events=False, **options)
    screen = Screen(program.columns).feed(result.stdout)
    return screen.sent, screen.text, result.status, "".join(sorted(screen.styles))


def ask(server: ChatServer, *more: str) -> tuple[str, ...]:
    return ("ask", "--base-url", server.url, *more, "Hi")


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("more", [(), ("--retries", "0"), ("-v",), ("--extract", "code")])
def test_ask_tells_what_it_waits_for_and_leaves_the_answer_alone(
    program: Program, more: tuple[str, ...]
) -> None:
    with ChatServer(slow(0.6, "```\nHel", "lo\n```")) as server:
        sent, left, status, styles = shown_by(program, *ask(server, *more))
    assert status == 0
    assert "waiting for gpt-5.4-mini 0 s" in sent
    assert "\x1b[2m" in styles
    answered = "Hello\n" if "--extract" in more else "```\nHello\n```\n"
    assert left.endswith(answered)
    assert ("pipechat: asking" in left) == ("-v" in more)
    assert "-v" in more or left == answered


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "more", [("-o", "FILE"), ("--extract", "code"), ("--output-format", "json"), ("--render",)]
)
def test_how_much_has_come_is_told_where_the_answer_is_shown_at_its_end_or_not_at_all(
    program: Program, more: tuple[str, ...], tmp_path: Path
) -> None:
    more = tuple(str(tmp_path / "file") if each == "FILE" else each for each in more)
    reply = stream_reply(
        chunk("```\nHello"), Wait(0.8), chunk("\n```"), chunk(finish_reason="stop"), done()
    )
    program.columns = 10_000  # type: ignore[attr-defined]  # because it runs in this process
    with ChatServer(reply) as server:
        sent, left, status, _ = shown_by(program, *ask(server, *more))
    assert status == 0
    assert "receiving from gpt-5.4-mini: 9 B" in sent
    assert "receiving" not in left
    assert ("Hello" in left) == ("-o" not in more)


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("output_format", ["json", "ndjson"])
def test_events_on_the_same_terminal_stand_in_lines_of_their_own(
    program: Program, output_format: str
) -> None:
    program.columns = 10_000  # type: ignore[attr-defined]  # because it runs in this process
    with ChatServer(slow(0.6, "Hello")) as server:
        sent, left, _, _ = shown_by(program, *ask(server, "--output-format", output_format))
    assert "waiting for" in sent
    assert not LIVE.search(left)
    lines = left.splitlines()
    assert len(lines) == (1 if output_format == "json" else 3)
    assert all(line.startswith('{"type":"') and line.endswith("}") for line in lines)


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("env", "more"),
    [({"TERM": "dumb"}, ()), ({"TERM": ""}, ()), ({}, ("-q",)), ({"PIPECHAT_QUIET": "1"}, ())],
)
def test_a_terminal_that_cannot_and_who_wants_quiet_are_sent_the_answer_alone(
    program: Program, env: dict[str, str], more: tuple[str, ...]
) -> None:
    with ChatServer(slow(0.6, "Hello")) as server:
        sent, _, _, _ = shown_by(program, *ask(server, *more), env=env)
    assert sent == "Hello\n"


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
def test_no_color_is_not_dim_and_still_told(program: Program) -> None:
    with ChatServer(slow(0.6, "Hello")) as server:
        sent, left, _, styles = shown_by(program, *ask(server), env={"NO_COLOR": "1"})
    assert "waiting for" in sent
    assert (left, styles) == ("Hello\n", "")


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
def test_a_rate_limit_is_told_with_the_wait_that_it_brings(program: Program) -> None:
    limited = error_reply(429, headers={"retry-after-ms": "700"})
    with ChatServer([limited, answer("Hello")]) as server:
        sent, left, status, _ = shown_by(program, *ask(server))
    assert status == 0
    assert "rate limited: retry 1 in 1 s" in sent
    assert left == "Hello\n"


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", ["refused", "cut"])
def test_the_line_of_an_error_finds_it_gone(program: Program, fault: str) -> None:
    replies = {
        "refused": Reply((Wait(0.6), *error_reply(400).steps)),
        "cut": stream_reply(Wait(0.6), chunk("Hel"), chunk(finish_reason="length"), done()),
    }
    with ChatServer(replies[fault]) as server:
        sent, left, status, _ = shown_by(program, *ask(server))
    assert status in (4, 6)
    assert "waiting for" in sent
    assert not LIVE.search(left)
    message = left.removeprefix("Hel\n") if fault == "cut" else left
    assert re.fullmatch(r"(pipechat: .*\n)(.*\n)*", message)


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
def test_every_turn_of_a_chat_is_told_behind_the_name_of_who_speaks(program: Program) -> None:
    with ChatServer(slow(0.5, "Hello")) as server:
        words = ("chat", "--base-url", server.url)
        sent, left, status, _ = shown_by(program, *words, input=b"one\ntwo\n")
    assert status == 0
    assert len(re.findall("waiting for gpt-5.4-mini 0 s", sent)) == 2
    assert left == f"Hello\n{'-' * 10}\nHello\n{'-' * 10}\nBye!\n"


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
def test_an_answer_that_goes_into_a_pipe_finds_it_gone_as_well(program: Program) -> None:
    assert isinstance(program, InProcess)
    program.terminals = frozenset({"stderr"})
    with ChatServer(slow(0.6, "Hello")) as server:
        result = program.run(*ask(server), env={"TERM": "xterm"})
    assert result.stdout == b"Hello\n"
    assert b"waiting for" in result.stderr
    assert Screen().feed(result.stderr).text == ""


@pytest.mark.in_process
@pytest.mark.usefixtures("quick")
def test_another_ask_that_holds_the_session_is_told(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipechat.store.locks._QUIET_S", 0.05)
    with ChatServer([slow(1.5, "first"), answer("second")]) as server:
        words = (
            "ask",
            "--base-url",
            server.url,
            "--session",
            "talk",
            "--if-busy",
            "wait",
            "--no-stdin",
        )
        first = program.start(*words, "one")
        server.wait_for_requests(1)
        sent, left, status, _ = shown_by(program, *words, "two")
        assert program.finish(first).stdout == b"first\n"
    assert status == 0
    assert "waiting for session 'talk'" in sent
    assert left == "second\n"


# What takes a process: signals, and who has the terminal.


def waiting_run(program: Program, server: ChatServer, **options: Any) -> AtTerminal:
    env = program.shorter(quiet_wait=0.1)
    return AtTerminal(program, *ask(server), env=env, **options)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_an_answer_leaves_no_line_behind(
    program: Program, signum: signal.Signals
) -> None:
    with ChatServer(slow(20, "never")) as server, waiting_run(program, server) as terminal:
        terminal.wait_for("waiting for")
        os.kill(terminal.pid, signum)
        assert terminal.leave() == -signum
        left = Screen().feed(terminal.screen).text
    assert not LIVE.search(left)
    assert left.startswith("" if signum == signal.SIGQUIT else "pipechat: interrupted")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_while_stdin_is_read_leaves_no_line_behind(
    program: Program, signum: signal.Signals
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x" * 1234)
    env = program.shorter(quiet_wait=0.1)
    with AtTerminal(program, "ask", "--offline", env=env, stdin=reading) as terminal:
        os.close(reading)
        terminal.wait_for("reading stdin: 1.2 kB")
        os.kill(terminal.pid, signum)
        assert terminal.leave() == -signum
        assert Screen().feed(terminal.screen).text == ""
    os.close(writing)


def test_ctrl_z_finds_it_gone_and_fg_brings_it_back(program: Program) -> None:
    shell = program.home / "shell"
    shell.write_text(SHELL.format(python=program.python))
    shell.chmod(0o700)
    program.python = str(shell)
    with ChatServer(slow(2.5, "Hello")) as server, waiting_run(program, server) as terminal:
        terminal.wait_for("waiting for")
        terminal.type("\x1a")
        terminal.wait_for("stopped")
        stopped = Screen().feed(terminal.screen).text
        assert not LIVE.search(stopped)
        terminal.wait_for("waiting for")
        assert terminal.leave() == 0
        left = Screen().feed(terminal.screen).text
    assert re.fullmatch(r"\^?Z?stopped, canonical: True\nHello\n", left)


def test_a_job_in_the_background_draws_nothing(program: Program) -> None:
    with ChatServer(slow(0.8, "Hello")) as server:
        words = [program.python, "-m", "pipechat", *ask(server, "--no-stdin")]
        script = 'set -m; "$@" & wait $!'
        env = program.environ({"TERM": "xterm", **program.shorter(quiet_wait=0.1)})
        master, slave = pty.openpty()
        process = subprocess.Popen(
            ["sh", "-c", script, "sh", *words], env=env, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(slave)
        assert process.wait(30) == 0
        sent = read_to_end(master)
        os.close(master)
    assert b"Hello" in sent
    assert b"waiting for" not in sent


@pytest.mark.parametrize(
    "words", [("ask", "--offline", "Hi"), ("history", "list"), ("--version",)], ids=" ".join
)
def test_what_no_terminal_sees_is_not_imported(program: Program, words: tuple[str, ...]) -> None:
    result = program.run(*words, env={"PYTHONPROFILEIMPORTTIME": "1", "TERM": "xterm"})
    assert result.status == 0
    modules = re.findall(rb"pipechat[.\w]+", result.stderr)
    assert b"pipechat.environment" in modules
    late = (b"show.live_line", b"show.waiting", b"commands.waiting")
    assert not [name for name in modules if name.endswith(late)]
