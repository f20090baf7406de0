"""--render formats for a person at a terminal, and changes no byte for anybody else."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.in_process import InProcess
from tests.program import Program, Result
from tests.pseudo_terminal import AtTerminal
from tests.screen import Screen
from tests.servers import ChatServer, Wait, answer, chunk, done, stream_reply

ANSWER = "# Title\n\nSome **bold** words.\n\n- one\n- `two`\n\n```py\nx = 1\n```\n"
FORMATTED = "# Title\n\nSome bold words.\n\n• one\n• two\n\n```py\nx = 1\n```\n"
MARKED = "# Title\n\nSome **bold** words.\n\n- one\n- `two`\n\n```py\nx = 1\n```\n"


def at_terminal(
    program: Program, *words: str, env: dict[str, str] | None = None, input: bytes = b""
) -> Result:
    assert isinstance(program, InProcess)
    program.terminals = frozenset({"stdout"})
    return program.run(*words, env={"TERM": "xterm", **(env or {})}, input=input, events=False)


def configure(program: Program, line: str) -> None:
    (program.home / "config.toml").write_text(line + "\n")


@pytest.mark.in_process
@pytest.mark.parametrize("where", ["flag", "variable", "file"])
@pytest.mark.parametrize("command", ["ask", "chat"])
def test_an_answer_is_formatted_on_a_terminal(program: Program, where: str, command: str) -> None:
    if where == "file":
        configure(program, "render = true")
    env = {"PIPECHAT_RENDER": "1"} if where == "variable" else {}
    more = ("--render",) if where == "flag" else ()
    question = ("Hi",) if command == "ask" else ()
    with ChatServer(answer(ANSWER)) as server:
        words = (command, "--base-url", server.url, *more, *question)
        result = at_terminal(program, *words, env=env, input=b"Hi\n" if command == "chat" else b"")
    screen = Screen().feed(result.stdout)
    assert result.status == 0
    assert screen.text.removesuffix(f"{'-' * 10}\nBye!\n") == FORMATTED
    assert screen.styles >= {"\x1b[1m", "\x1b[36m"}


@pytest.mark.in_process
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colors_it_is_laid_out_without_an_escape_sequence(
    program: Program, env: dict[str, str]
) -> None:
    with ChatServer(answer(ANSWER)) as server:
        result = at_terminal(program, "ask", "--base-url", server.url, "--render", "Hi", env=env)
    assert result.stdout.decode() == MARKED


@pytest.mark.in_process
def test_it_is_never_the_default(program: Program) -> None:
    with ChatServer(answer(ANSWER)) as server:
        result = at_terminal(program, "ask", "--base-url", server.url, "Hi")
    assert result.stdout.decode() == ANSWER


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("more", "stdout"),
    [
        (("-o", "FILE"), b""),
        (("--extract", "code"), b"x = 1\n"),
        (("--output-format", "json"), None),
        (("--output-format", "ndjson"), None),
    ],
)
def test_what_is_no_text_for_a_person_is_as_it_was(
    program: Program, more: tuple[str, ...], stdout: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "answer.md"
    more = tuple(str(path) if each == "FILE" else each for each in more)
    with ChatServer(answer(ANSWER)) as server:
        result = at_terminal(program, "ask", "--base-url", server.url, "--render", *more, "Hi")
    assert result.status == 0
    if stdout is not None:
        assert result.stdout == stdout
    else:
        assert json.loads(result.stdout.splitlines()[-1])["answer"] == ANSWER
    if "-o" in more:
        assert path.read_text() == ANSWER


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", ["text", "json", "ndjson"])
@pytest.mark.parametrize(
    ("more", "env", "said"),
    [
        (("--render", "--raw"), {}, "--render and --raw"),
        (("--raw",), {"PIPECHAT_RENDER": "1"}, "PIPECHAT_RENDER and --raw"),
        (("--render",), {"PIPECHAT_RAW": "1"}, "--render and PIPECHAT_RAW"),
    ],
)
def test_formatted_and_raw_at_once_is_a_usage_error_that_names_both(
    program: Program, output_format: str, more: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    words = ("ask", "--offline", "--output-format", output_format, *more, "Hi")
    result = program.run(*words, env=env)
    assert (result.status, result.code) == (2, "bad_option")
    assert said in result.stderr.decode()


@pytest.mark.in_process
def test_raw_for_once_is_stronger_than_the_config_file(program: Program) -> None:
    configure(program, "render = true")
    with ChatServer(answer("**\x1b[1mx**")) as server:
        result = at_terminal(program, "ask", "--base-url", server.url, "--raw", "Hi")
    assert result.stdout == b"**\x1b[1mx**\n"


CUTS = {
    "in code": ("```py\nx = 1\ny =", "```py\nx = 1\ny =\n"),
    "in a list": ("- a\n- b", "• a\n• b\n"),
    "in a word": ("Some **bol", "Some **bol\n"),
}


@pytest.mark.in_process
@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_answer_is_shown_as_far_as_it_came_with_its_own_status(
    program: Program, cut: str
) -> None:
    text, shown = CUTS[cut]
    reply = stream_reply(chunk(text), chunk(finish_reason="length"), done())
    with ChatServer(reply) as server:
        words = ("ask", "--base-url", server.url, "--session", "s", "--render", "--usage", "Hi")
        result = at_terminal(program, *words)
    assert (result.status, result.code) == (6, "truncated")
    assert Screen().feed(result.stdout).text == shown
    assert b"pipechat: usage: " in result.stderr
    (record,) = program.records("s")
    assert (record["status"], record["answer"]) == ("partial", text)


def test_ctrl_c_shows_and_keeps_what_came(program: Program) -> None:
    reply = stream_reply(chunk("# A\n\nSome **bo"), Wait(20))
    with ChatServer(reply) as server:
        words = ("ask", "--base-url", server.url, "--session", "s", "--render", "Hi")
        with AtTerminal(program, *words, env={}) as terminal:
            terminal.wait_for("A\x1b[0m")
            os.kill(terminal.pid, signal.SIGINT)
            assert terminal.leave() == -signal.SIGINT
            left = Screen().feed(terminal.screen).text
    assert re.match(r"# A\n\nSome \*\*bo\npipechat: interrupted", left)
    assert program.records("s")[0]["answer"] == "# A\n\nSome **bo"


def test_at_40_columns_it_fits_and_a_wait_is_told_on_the_same_terminal(program: Program) -> None:
    reply = stream_reply(Wait(0.5), chunk("word " * 20), chunk(finish_reason="stop"), done())
    with ChatServer(reply) as server:
        words = ("ask", "--base-url", server.url, "--render", "Hi")
        env = program.shorter(quiet_wait=0.1)
        with AtTerminal(program, *words, env=env, columns=40) as terminal:
            assert terminal.leave() == 0
            screen = Screen(40).feed(terminal.screen)
    assert "waiting for" in screen.sent
    assert (
        screen.text
        == ("word " * 8).strip()
        + "\n"
        + ("word " * 8).strip()
        + "\n"
        + ("word " * 4).strip()
        + "\n"
    )


def test_behind_the_prompt_of_a_chat_it_fits_as_well(program: Program) -> None:
    with ChatServer(answer("word " * 9)) as server:
        words = ("chat", "--base-url", server.url, "--render")
        with AtTerminal(program, *words, env={}, columns=40) as terminal:
            terminal.wait_for("You: ")
            terminal.type("Hi\r")
            shown = terminal.wait_for("-" * 10)
            terminal.type("QUIT\r")
            assert terminal.leave() == 0
    assert ("AI: " + ("word " * 7).strip() + "\nword word\n") in shown


@pytest.mark.parametrize(
    "words",
    [("ask", "--offline", "--render", "Hi"), ("history", "show", "s"), ("--version",)],
    ids=" ".join,
)
def test_what_formats_is_imported_for_a_terminal_alone(
    program: Program, words: tuple[str, ...]
) -> None:
    program.run("ask", "--offline", "--session", "s", "Hi")
    configure(program, "render = true")
    result = program.run(*words, env={"PYTHONPROFILEIMPORTTIME": "1", "TERM": "xterm"})
    assert result.status == 0
    modules = set(re.findall(rb"\| +([\w.]+)\n", result.stderr))
    assert b"pipechat.environment" in modules
    assert not {
        name
        for name in modules
        if re.match(rb"markdown_it|rich|pipechat.show.(render|mark|wrap|live)", name)
    }
