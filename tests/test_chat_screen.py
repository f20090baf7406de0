"""`chat` as a person sees it: in a real terminal of a given size, locale and kind.

The editors are two, and what is promised holds for both: prompt_toolkit's, and readline's, which
is there without the extra.
"""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Reset,
    UntilClientLeaves,
    WaitFor,
    answer,
    chunk,
    done,
    mirror,
    stream_reply,
)
from tests.tmux_kit import Tmux

EDITORS = ("prompt_toolkit", "readline")
PASTE = "\n".join(f"line {n}" for n in range(1, 51))
RULE = "----------"
LONG = "".join(chr(ord("a") + place % 26) for place in range(9_000))
# zh_CN.UTF-8 is not generated everywhere; the language of the prompts is what LANG says.
LOCALES = {
    "C": {"LC_ALL": "C"},
    "C.UTF-8": {"LC_ALL": "C.UTF-8"},
    "zh_CN": {"LANG": "zh_CN.UTF-8", "LC_CTYPE": "C.UTF-8"},
}


def start(
    program: Program,
    folder: Path,
    editor: str,
    *arguments: str,
    size: tuple[int, int] = (80, 24),
    env: Mapping[str, str | None] | None = None,
    shell: bool = False,
) -> Tmux:
    """`chat` in a terminal of its own; with `shell`, a bash in which it is to be started."""
    given: dict[str, str | None] = {"TERM": "screen", "LC_ALL": "C.UTF-8", **(env or {})}
    if env and "LANG" in env:
        del given["LC_ALL"]
    if editor == "readline":
        given |= program.without("prompt_toolkit")
    environ = {**program.environ(given), "PS1": "$ "}
    if shell:
        return Tmux(folder, ["bash", "--norc", "--noprofile", "-i"], environ, size)
    command = [sys.executable, "-m", "pipechat", "chat", *arguments]
    return Tmux(folder, command, environ, size)


def clear_line(screen: Tmux) -> None:
    """Ctrl-C; Python's readline looks at a signal only between two keys: one that comes while the
    key before it is still being shown waits for the next."""
    screen.press("C-c")
    ends_at = time.monotonic() + 30
    while not screen.screen.endswith("You:"):
        assert time.monotonic() < ends_at, screen.screen
        time.sleep(0.5)
        if not screen.screen.endswith("You:"):
            screen.press("BSpace")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the socket lies; a socket's path has 108 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="pipechat-tmux-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("editor", EDITORS)
def test_a_conversation_as_a_person_has_it(program: Program, folder: Path, editor: str) -> None:
    with (
        ChatServer(mirror()) as server,
        start(program, folder, editor, "--base-url", server.url, "--session", "s") as screen,
    ):
        opening = screen.wait_for("You:")
        assert opening.startswith("gpt-5.4-mini, session s, 0 turns go along. /help, or Ctrl-D to")
        assert "\x1b[2mgpt-5.4-mini" in screen.styled
        screen.paste(PASTE)
        screen.wait_for("line 50")
        screen.press("Enter")
        screen.wait_for(RULE)
        screen.type("什么是管道啊")
        screen.press("BSpace")
        screen.type("🚀")
        screen.press("BSpace", "Enter")
        screen.wait_for("echo: 什么是管道\n")
        screen.wait_for(RULE, 2)
        screen.press("Up")
        screen.wait_for("什么是管道", 3)
        clear_line(screen)
        screen.type("one\\")
        screen.press("Enter")
        screen.type("two")
        screen.press("Enter")
        screen.wait_for("echo: one\ntwo\n")
        screen.type("/hepl")
        screen.press("Enter")
        screen.wait_for("Did you mean /help?")
        screen.resize(40, 12)
        screen.type("narrow now")
        screen.press("Enter")
        screen.wait_for("echo: narrow now\n")
        screen.press("C-c")
        screen.wait_for("Ctrl-C again, or Ctrl-D, leaves.")
        screen.press("C-c")
        screen.wait_for("Bye!")
        assert screen.wait_for_end() == 0
        asked = [request.messages[-1]["content"] for request in server.requests]
    assert asked == [PASTE, "什么是管道", "one\ntwo", "narrow now"]


@pytest.mark.parametrize("editor", EDITORS)
def test_ctrl_z_and_fg_redraw_the_prompt_and_ctrl_c_stops_an_answer(
    program: Program, folder: Path, editor: str
) -> None:
    left = threading.Event()
    replies = [stream_reply(chunk("a long st"), UntilClientLeaves(left)), answer("Second.")]
    with ChatServer(replies) as server, start(program, folder, editor, shell=True) as screen:
        screen.wait_for("$")
        screen.type(f"{sys.executable} -m pipechat chat --base-url {server.url}")
        screen.press("Enter")
        screen.wait_for("You:")
        screen.type("half a")
        screen.wait_for("You: half a")
        screen.press("C-z")
        screen.wait_for("Stopped")
        screen.type("fg")
        screen.press("Enter")
        screen.wait_for("You: half a", 1 if editor == "prompt_toolkit" else 2)
        screen.type(" question")
        screen.press("Enter")
        screen.wait_for("AI: a long st")
        screen.press("C-z")
        screen.wait_for("Stopped", 2)
        screen.type("fg")
        screen.press("Enter")
        screen.wait_for(f"--base-url {server.url}", 5)  # bash names the job that goes on
        screen.press("C-c")
        assert left.wait(30)
        screen.wait_for("This turn will not go along")
        screen.type("second")
        screen.press("Enter")
        screen.wait_for("Second.")
        screen.wait_for(RULE, 2)
        screen.press("C-d")
        screen.wait_for("Bye!")
        assert server.requests[0].messages[-1]["content"] == "half a question"


@pytest.mark.storm
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("look", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_whatever_the_terminal_nothing_typed_is_lost(
    program: Program,
    folder: Path,
    editor: str,
    size: tuple[int, int],
    locale: str,
    look: dict[str, str | None],
) -> None:
    env = {**LOCALES[locale], **look}
    you = "问：" if locale == "zh_CN" else "You:"
    with (
        ChatServer(mirror()) as server,
        start(program, folder, editor, "--base-url", server.url, size=size, env=env) as screen,
    ):
        screen.wait_for(you)
        assert ("\x1b[2m" in screen.styled) == (not look)
        screen.paste(PASTE)
        screen.wait_for("line 50")
        screen.press("Enter")
        screen.wait_for(RULE)
        screen.type(LONG)
        screen.press("Enter")
        screen.wait_for(f"{LONG[-20:]}\n{RULE}")
        screen.type("语言x🚀")
        screen.press("BSpace", "BSpace", "Enter")
        screen.wait_for("echo: 语言\n")
        screen.press("C-d")
        screen.wait_for("Bye!")
        assert screen.wait_for_end() == 0
        asked = [request.messages[-1]["content"] for request in server.requests]
    assert asked == [PASTE, LONG, "语言"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt_leaves_a_terminal_that_can_be_typed_at(
    program: Program, folder: Path, signum: int
) -> None:
    with start(program, folder, EDITORS[0], shell=True) as screen:
        screen.wait_for("$")
        screen.type(f"{sys.executable} -m pipechat chat --offline & pid=$!; fg")
        screen.press("Enter")
        screen.wait_for("You:")
        screen.type("half")
        screen.wait_for("You: half")
        _kill_child(screen.pid, signum)
        screen.type("stty -a | grep -c ' icanon'; stty -a | grep -c ' echo '")
        screen.press("Enter")
        screen.wait_for("\n1\n1\n")


def _kill_child(parent: int, signum: int) -> None:
    import os

    pid = parent
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[-1])
    os.kill(pid, signum)


def test_nothing_else_imports_what_edits_lines(program: Program) -> None:
    script = (
        "import sys, io, contextlib\n"
        "from pipechat.environment import Environment\n"
        "from pipechat import main\n"
        "status = main.run(Environment.of_process(), sys.argv[1:])\n"
        "bad = {'prompt_toolkit', 'readline', 'pipechat.chat', 'asyncio'} & {*sys.modules}\n"
        "sys.stderr.write(f'{status} {sorted(bad)}')\n"
    )
    import subprocess

    environ = program.environ()
    for arguments in (["ask", "-q", "--offline", "--session", "s", "hi"],
                      ["history", "show", "s"], ["--version"]):  # fmt: skip
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )
        assert done.stderr == b"0 []", arguments


@pytest.mark.parametrize("editor", EDITORS)
def test_a_server_that_dies_in_an_answer_is_told_and_the_conversation_goes_on(
    program: Program, folder: Path, editor: str
) -> None:
    replies = [stream_reply(chunk("Half an ans"), Reset()), answer("wer."), answer("Well.")]
    with ChatServer(replies) as server:
        with start(program, folder, editor, "--base-url", server.url, size=(60, 16)) as screen:
            screen.wait_for("You:")
            for question, shown in (
                ("one", "connection_lost"),
                ("/continue", "wer."),
                ("two", "Well."),
            ):
                screen.type(question)
                screen.press("Enter")
                screen.wait_for(shown)
                screen.wait_for("You:", 2 if question == "one" else 1)
            screen.press("C-d")
            screen.wait_for("Bye!")
            assert screen.wait_for_end() == 0
        asked = [
            [message["content"] for message in request.messages] for request in server.requests
        ]
    assert asked == [
        ["one"],
        ["one", "Half an ans", "Continue where you stopped."],
        ["one", "Half an ans", "Continue where you stopped.", "wer.", "two"],
    ]


SIZES = [(20, 5), (120, 40), (40, 12), (23, 7), (80, 24), (20, 5), (61, 3), (40, 12)]


@pytest.mark.storm
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_window_dragged_at_every_stage_loses_nothing_typed_and_nothing_answered(
    program: Program, folder: Path, editor: str, locale: str
) -> None:
    goes_on = threading.Event()
    replies = [
        stream_reply(
            chunk("a long "), WaitFor(goes_on), chunk("story"), chunk(finish_reason="stop"), done()
        ),
        answer("Second."),
    ]
    asks = ("--session", "dragged", "--base-url")
    with (
        ChatServer(replies) as server,
        start(
            program, folder, editor, *asks, server.url, size=(20, 5), env=LOCALES[locale]
        ) as screen,
    ):

        def drag() -> None:
            for size in SIZES * 8:
                screen.resize(*size)

        screen.wait_for("You:")
        for part in ("first ", "question ", "语言"):
            screen.type(part)
            drag()
        screen.press("Enter")
        screen.wait_for("a long")
        drag()
        goes_on.set()
        screen.wait_for("story")
        drag()
        screen.type("second")
        drag()
        screen.press("Enter")
        screen.wait_for("Second.")
        screen.press("C-d")
        assert screen.wait_for_end() == 0
        asked = [request.messages[-1]["content"] for request in server.requests]
    assert asked == ["first question 语言", "second"]
    kept = [(turn["answer"], turn["status"]) for turn in program.records("dragged")]
    assert kept == [("a long story", "complete"), ("Second.", "complete")]


@pytest.mark.storm
@pytest.mark.parametrize("editor", EDITORS)
def test_two_conversations_and_asks_in_one_session_keep_every_turn_once(
    program: Program, folder: Path, editor: str
) -> None:
    other = folder / "other"
    other.mkdir()
    turns = 10
    with (
        ChatServer(mirror()) as server,
        start(program, folder, editor, "--session", "s", "--base-url", server.url) as one,
        start(program, other, editor, "--session", "s", "--base-url", server.url) as two,
    ):
        for screen in (one, two):
            screen.wait_for("You:")
        asks = []
        for turn in range(turns):
            for name, screen in (("one", one), ("two", two)):
                screen.type(f"{name} {turn}")
                screen.press("Enter")
            words = ("ask", "--session", "s", "--base-url", server.url, f"ask {turn}")
            asks.append(program.start(*words))
            for name, screen in (("one", one), ("two", two)):
                screen.wait_for(f"echo: {name} {turn}")
        for ask in asks:
            assert program.finish(ask, input=b"").status == 0
        for screen in (one, two):
            screen.press("C-d")
            assert screen.wait_for_end() == 0
    names = [f"{name} {turn}" for name in ("one", "two", "ask") for turn in range(turns)]
    assert sorted(turn["question"] for turn in program.records("s")) == sorted(names)
    assert {turn["status"] for turn in program.records("s")} == {"complete"}
