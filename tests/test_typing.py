"""What is typed at a terminal arrives whole, and the terminal is left as it was found."""

import os
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program import Program
from tests.pseudo_terminal import AtTerminal
from tests.servers import ChatServer, answer

pytestmark = pytest.mark.counted

HINT = "Ctrl-D on a line of its own"
CTRL_C, CTRL_D, CTRL_Z = "\x03", "\x04", "\x1a"
DELETE = "\x7f"
LENGTHS = (4_095, 4_096, 9_000)

# As a shell with job control does: the program is a job of its own in the foreground; when it is
# stopped the shell takes the terminal back, and gives it again.
SHELL = """#!{python}
import os, signal, sys, time
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    while os.tcgetpgrp(0) != os.getpid():
        time.sleep(0.01)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setpgid(job, job)
os.tcsetpgrp(0, job)
while os.WIFSTOPPED(status := os.waitpid(job, os.WUNTRACED)[1]):
    import termios
    canonical = bool(termios.tcgetattr(0)[3] & termios.ICANON)
    os.tcsetpgrp(0, os.getpgrp())
    os.write(1, b"stopped, canonical: %r\\n" % canonical)
    os.tcsetpgrp(0, job)
    os.kill(job, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def letters(count: int) -> str:
    return "".join(chr(ord("a") + place % 26) for place in range(count))


@pytest.mark.parametrize("count", LENGTHS)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_a_question_typed_for_ask_is_taken_whole_however_long_its_lines_are(
    program: Program, count: int, output_format: str
) -> None:
    with ChatServer(answer("The answer.")) as server:
        arguments = ("ask", "--base-url", server.url, "--output-format", output_format)
        with AtTerminal(program, *arguments, env={}) as terminal:
            terminal.wait_for(HINT)
            terminal.type(letters(count) + "\r")
            terminal.type("and more\r")
            terminal.press_until(CTRL_D, "The answer.")
            assert terminal.leave() == 0
        (request,) = server.requests
    assert request.messages[-1]["content"] == f"{letters(count)}\nand more\n"


@pytest.mark.parametrize("count", LENGTHS)
def test_a_line_typed_in_chat_is_taken_whole_however_long_it_is(
    program: Program, count: int
) -> None:
    with ChatServer(answer("The answer.")) as server:
        with AtTerminal(program, "chat", "--base-url", server.url, env={}) as terminal:
            terminal.wait_for("You: ")
            terminal.type(letters(count) + "\r")
            terminal.wait_for("The answer.")
            terminal.wait_for("You: ")
            terminal.type("QUIT\r")
            assert terminal.leave() == 0
        (request,) = server.requests
    assert request.messages[-1]["content"] == letters(count)


@pytest.mark.parametrize("count", LENGTHS)
def test_stdout_may_go_elsewhere_while_the_question_is_typed(program: Program, count: int) -> None:
    target = program.home / "answer.txt"
    with target.open("wb") as file:
        arguments = ("ask", "--offline", "-")
        with AtTerminal(program, *arguments, env={}, stdout=file) as terminal:
            terminal.wait_for(HINT)
            terminal.type(f"{letters(count)}\r")
            terminal.type(CTRL_D)
            assert terminal.leave() == 0
    shown = "offline, with no earlier turn: you asked: "
    assert target.read_text() == f"{shown}{letters(count)}\n"


# What is typed, and what is meant by it.
DELETED = {
    "什么是管道x" + DELETE: "什么是管道",
    "什么是管道啊" + DELETE + "？": "什么是管道？",
    "é" + DELETE + "è": "è",
    "一二三" + DELETE * 3 + "ok": "ok",
}


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.no-such", "C.UTF-8"])
def test_deleting_takes_a_whole_letter_in_every_locale(program: Program, locale: str) -> None:
    env: dict[str, str | None] = {"LC_ALL": locale}
    with ChatServer(answer("The answer.")) as server:
        with AtTerminal(program, "ask", "--base-url", server.url, env=env) as terminal:
            terminal.wait_for(HINT)
            for typed in DELETED:
                terminal.type(typed + "\r")
            terminal.press_until(CTRL_D, "The answer.")
        with AtTerminal(program, "chat", "--base-url", server.url, env=env) as terminal:
            for typed in DELETED:
                terminal.wait_for("You: ")
                terminal.type(typed + "\r")
                terminal.wait_for("The answer.")
        asked, *chatted = [request.messages[-1]["content"] for request in server.requests]
    assert asked.splitlines() == list(DELETED.values())
    assert chatted == list(DELETED.values())


@pytest.mark.parametrize("term", ["dumb", "", None, "no-such-terminal"])
def test_any_kind_of_terminal_can_be_typed_at(program: Program, term: str | None) -> None:
    env = {"TERM": term}
    with AtTerminal(program, "chat", "--offline", env=env) as terminal:
        terminal.wait_for("You: ")
        terminal.type(letters(5_000) + "\r")
        terminal.wait_for("asked: " + letters(5_000))
        terminal.wait_for("You: ")
        terminal.type("QUIT\r")
        assert terminal.leave() == 0


def kill(signum: int) -> Callable[[AtTerminal], None]:
    return lambda terminal: os.kill(terminal.pid, signum)


def press(key: str) -> Callable[[AtTerminal], None]:
    return lambda terminal: terminal.type(key)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (press(CTRL_C), -signal.SIGINT),
        (kill(signal.SIGTERM), -signal.SIGTERM),
        (kill(signal.SIGHUP), -signal.SIGHUP),
        (kill(signal.SIGQUIT), -signal.SIGQUIT),
    ],
    ids=["ctrl-c", "term", "hup", "quit"],
)
def test_a_signal_while_the_question_is_typed_just_kills_and_the_terminal_is_as_before(
    program: Program, end: Callable[[AtTerminal], None], status: int
) -> None:
    with AtTerminal(program, "ask", "--offline", env={}) as terminal:
        before = terminal.modes
        terminal.wait_for(HINT)
        terminal.wait_for_editing()
        terminal.type("half a li")
        terminal.wait_for("half a li")
        assert terminal.modes != before
        end(terminal)
        assert terminal.leave() == status
        assert terminal.modes == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_at_the_prompt_of_chat_leaves_the_terminal_as_before(
    program: Program, signum: int
) -> None:
    with AtTerminal(program, "chat", "--offline", env={}) as terminal:
        before = terminal.modes
        terminal.wait_for("You: ")
        terminal.wait_for_editing()
        terminal.type("half a li")
        terminal.wait_for("half a li")
        os.kill(terminal.pid, signum)
        assert terminal.leave() == -signum
        assert terminal.modes == before


@pytest.mark.parametrize("command", ["ask", "chat"])
def test_the_end_leaves_the_terminal_as_before(program: Program, command: str) -> None:
    with AtTerminal(program, command, "--offline", env={}) as terminal:
        before = terminal.modes
        terminal.wait_for(HINT if command == "ask" else "You: ")
        terminal.type("hello\r")
        terminal.press_until(CTRL_D, "asked: hello")
        if command == "chat":
            terminal.press_until(CTRL_D, "Bye!")
        assert terminal.leave() == 0
        assert terminal.modes == before


@pytest.mark.parametrize(
    ("command", "prompt"), [(("chat",), "You: half"), (("ask",), "half"), (("ask", "-"), "half")]
)
def test_ctrl_z_stops_and_what_was_typed_is_shown_again(
    program: Program, command: tuple[str, ...], prompt: str, tmp_path: Path
) -> None:
    shell = tmp_path / "shell"
    shell.write_text(SHELL.replace("{python}", sys.executable))
    shell.chmod(0o755)
    program.python = str(shell)
    with AtTerminal(program, *command, "--offline", env={}) as terminal:
        terminal.wait_for("You: " if command == ("chat",) else HINT)
        terminal.wait_for_editing()
        terminal.type("half")
        terminal.wait_for("half")
        terminal.press_until(CTRL_Z, "stopped, canonical: True")
        terminal.wait_for(prompt)
        terminal.type(" a line\r")
        terminal.press_until(CTRL_D, "asked: half a line")


def test_canonical_mode_is_what_the_terminal_of_these_tests_begins_in(program: Program) -> None:
    with AtTerminal(program, "--version", env={}) as terminal:
        assert terminal.modes[3] & termios.ICANON
        terminal.wait_for("pipechat")
