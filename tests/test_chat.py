"""`pipechat chat`: the tutorial's loop, at a terminal and in a pipe."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.pseudo_terminal import AtTerminal
from tests.servers import (
    ChatServer,
    Mark,
    Reply,
    Request,
    UntilClientLeaves,
    answer,
    chunk,
    error_reply,
    stream_reply,
)
from tests.servers.responses import spoken

pytestmark = pytest.mark.counted

RULE = "----------\n"
KEYS_CTRL_C, KEYS_CTRL_D = "\x03", "\x04"


def remembers(request: Request) -> Reply:
    """A model that knows the names it was told in the turns that went along."""
    said = " ".join(m["content"] for m in request.messages if m["role"] == "user")
    return answer("Your name is Ada." if "Ada" in said else "I do not know.")


@pytest.mark.parametrize(
    ("locale", "you", "ai"),
    [
        ({"LANG": "en_US.UTF-8"}, "You: ", "AI: "),
        ({"LANG": "C", "LC_ALL": "zh_CN.UTF-8"}, "问：", "答："),
    ],
)
def test_three_turns_where_the_second_needs_the_first(
    program: Program, locale: dict[str, str | None], you: str, ai: str
) -> None:
    with ChatServer(remembers) as server:
        arguments = ("chat", "--base-url", server.url, "--last-turns", "2")
        with AtTerminal(program, *arguments, env=locale) as terminal:
            terminal.wait_for(you)
            terminal.type("I am Ada.\r")
            terminal.wait_for(RULE.strip())
            terminal.type("What is my name?\r")
            assert f"{ai}Your name is Ada.\n{RULE}" in terminal.wait_for(RULE.strip() + "\r\n")
            terminal.type("第三个问题\r")
            terminal.wait_for(RULE.strip() + "\r\n")
            terminal.type("And the fourth?\r")
            terminal.wait_for(RULE.strip() + "\r\n")
            terminal.type("QUIT\r")
            terminal.wait_for("Bye!")
            assert terminal.leave() == 0
        sent = [[m["content"] for m in r.messages if m["role"] == "user"] for r in server.requests]
    assert sent == [
        ["I am Ada."],
        ["I am Ada.", "What is my name?"],
        ["I am Ada.", "What is my name?", "第三个问题"],
        ["What is my name?", "第三个问题", "And the fourth?"],
    ]


def test_ctrl_c_stops_the_answer_keeps_it_as_partial_and_goes_on(program: Program) -> None:
    left = threading.Event()
    long = stream_reply(chunk("a long st"), UntilClientLeaves(left))
    with ChatServer([long, answer("Second.")]) as server:
        arguments = ("chat", "--session", "s", "--base-url", server.url)
        with AtTerminal(program, *arguments, env={}) as terminal:
            terminal.wait_for("You: ")
            terminal.type("first\r")
            terminal.wait_for("a long st")
            terminal.type(KEYS_CTRL_C)
            assert "interrupted" in terminal.wait_for(RULE.strip())
            assert left.wait(30)
            terminal.wait_for("You: ")
            terminal.type("half a line")
            terminal.wait_for("half a line")
            terminal.press_until(KEYS_CTRL_C, "You: ")
            terminal.type("second\r")
            terminal.wait_for("Second.")
            terminal.wait_for("You: ")
            terminal.type(KEYS_CTRL_D)
            terminal.wait_for("Bye!")
            assert terminal.leave() == 0
    assert [(r["status"], r["question"], r["answer"]) for r in program.records("s")] == [
        ("partial", "first", "a long st"),
        ("complete", "second", "Second."),
    ]


def test_an_error_is_one_line_and_the_loop_goes_on(program: Program) -> None:
    with ChatServer([error_reply(401, "no"), answer("Better.")]) as server:
        arguments = ("chat", "--base-url", server.url)
        with AtTerminal(program, *arguments, env={}) as terminal:
            terminal.wait_for("You: ")
            terminal.type("first\r")
            assert "pipechat: unauthorized: " in terminal.wait_for(RULE.strip())
            terminal.type("\rsecond\r")  # an empty line is no question
            terminal.wait_for("Better.")
            terminal.type("QUIT\r")
            assert terminal.leave() == 0


def test_prompts_may_be_set_in_the_config(program: Program) -> None:
    (program.home / "config.toml").write_text('user_prompt = "me> "\nassistant_prompt = "it> "\n')
    with AtTerminal(program, "chat", "--offline", env={}) as terminal:
        terminal.wait_for("me> ")
        terminal.type("hello\r")
        terminal.wait_for("it> offline")
        terminal.type("QUIT\r")
        assert terminal.leave() == 0


def test_a_line_that_is_edited_is_sent_as_it_stands(program: Program) -> None:
    with AtTerminal(program, "chat", "--offline", env={}) as terminal:
        terminal.wait_for("You: ")
        terminal.type("hello wrld\x02\x02\x02o\r")  # three to the left, then an o
        terminal.wait_for("asked: hello world")


def test_a_signal_that_ends_the_chat_keeps_the_partial_answer(program: Program) -> None:
    begun = threading.Event()
    reply = stream_reply(chunk("some"), Mark(begun), UntilClientLeaves(threading.Event()))
    with ChatServer(reply) as server:
        process = program.start("chat", "--session", "s", "--base-url", server.url)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"question\n")
        process.stdin.flush()
        assert begun.wait(30)
        assert os.read(process.stdout.fileno(), 100) == b"some"
        process.send_signal(signal.SIGTERM)
        assert program.finish(process).status == 143
    assert [(r["status"], r["answer"]) for r in program.records("s")] == [("partial", "some")]


@pytest.mark.in_process
def test_from_a_pipe_every_line_is_a_question(program: Program) -> None:
    result = program.run("chat", "--offline", "-q", input=b"one\n\ntwo\nQUIT\nthree\n")
    assert result.status == 0
    assert result.stdout.decode() == (
        f"offline, with no earlier turn: you asked: one\n{RULE}"
        f"offline, with 1 earlier turn: you asked: two\n{RULE}"
        "Bye!\n"
    )
    assert result.stderr == b""


@pytest.mark.in_process
def test_from_a_pipe_the_status_is_that_of_the_last_failure(program: Program) -> None:
    with ChatServer([answer("One."), error_reply(401, "no")]) as server:
        arguments = ("chat", "--base-url", server.url)
        result = program.run(*arguments, input=b"one\ntwo\n")
    assert (result.status, result.code) == (3, "unauthorized")
    assert result.stdout.decode() == f"One.\n{RULE}{RULE}Bye!\n"


@pytest.mark.in_process
def test_a_conversation_with_a_session_goes_on_another_day(program: Program) -> None:
    arguments = ("chat", "--offline", "-q", "--session", "s")
    program.run(*arguments, input=b"one\n")
    again = program.run(*arguments, input=b"two\n")
    assert b"with 1 earlier turn: you asked: two" in again.stdout
    assert Path(program.home, "sessions", "s.jsonl").stat().st_mode & 0o777 == 0o600


TYPED = b"one\n/help\nexit\n//x\n \nQUIT\nnever asked\n"


@pytest.mark.in_process
def test_from_a_pipe_every_line_but_quit_is_sent_whatever_it_looks_like(program: Program) -> None:
    with ChatServer(lambda request: answer(f"to {request.messages[-1]['content']}")) as server:
        result = program.run("chat", "--base-url", server.url, "--session", "s", input=TYPED)
    expected = "".join(f"to {line}\n{RULE}" for line in ("one", "/help", "exit", "//x"))
    assert result.stdout.decode() == f"{expected}Bye!\n"
    assert result.stderr == b""
    assert not (program.home / "chat_history.jsonl").exists()


def test_a_terminal_on_stderr_changes_no_byte_of_a_pipes_stdout(program: Program) -> None:
    import pty

    arguments = ("chat", "--offline", "--session", "s")
    outputs = []
    for has_terminal in (False, True):
        master, slave = pty.openpty()
        options: dict[str, Any] = {"stderr": slave} if has_terminal else {}
        outputs.append(program.run(*arguments, input=TYPED, env={"TERM": "xterm"}, **options))
        os.close(slave)
        os.close(master)
        (program.home / "sessions" / "s.jsonl").unlink()
    assert outputs[0].stdout == outputs[1].stdout
    assert b"\x1b" not in outputs[0].stdout


def test_what_was_learned_of_a_model_says_nothing_of_the_next_one_of_a_chat(
    program: Program,
) -> None:
    def pages(request: Request) -> Reply:
        wants_other = request.body["model"] == "b" and request.path.endswith("completions")
        if wants_other:
            return error_reply(404, "This model is only supported in v1/responses.")
        return answer("Hi") if request.path.endswith("completions") else spoken("Hi")

    with ChatServer(pages) as server:
        options = ("--base-url", server.url, "-m", "a")
        with AtTerminal(program, "chat", *options, env={}) as at:
            at.wait_for("You: ")
            for model in ("b", "a", "b"):
                at.type(f"/model {model}\r")
                at.wait_for("The model is")
                at.type("q\r")
                at.wait_for("-----")
        asked = [(each.body["model"], each.path.rpartition("/")[2]) for each in server.requests]
    assert asked == [
            ("b", "completions"), ("b", "responses"), ("a", "completions"), ("b", "responses"),
    ]  # fmt: skip


def test_of_a_model_that_was_changed_in_a_chat_is_said_what_is_so_of_it(program: Program) -> None:
    def pages(request: Request) -> Reply:
        model = request.body["model"]
        if model.startswith("no"):
            return error_reply(404, "There is no such thing.")
        return answer("Hi", headers={"Sunset": "Thu, 31 Dec 2026 23:59:59 GMT"})

    said = []
    with ChatServer(pages) as server:
        options = ("--base-url", server.url, "-m", "no-a")
        with AtTerminal(program, "chat", *options, env={}) as at:
            at.wait_for("You: ")
            for model in ("", "old-b", "no-c", "old-d", "no-a"):
                if model:
                    at.type(f"/model {model}\r")
                    at.wait_for("The model is")
                at.type("q\r")
                said.append(" ".join(at.wait_for("-----").split()))
    of_flag, of_b, of_c, of_d, of_a_again = said
    assert "Check the model (--model) and" in of_flag
    assert "says that old-b is gone after 2026-12-31" in of_b
    assert "Check the model (/model) and" in of_c
    assert "says that old-d is gone after 2026-12-31" in of_d
    assert "Check the model (--model) and" in of_a_again
    assert "the item" not in " ".join(said)


@pytest.mark.parametrize("extra", [False, True], ids=["readline", "prompt_toolkit"])
@pytest.mark.parametrize("typed", ["", "x"])
def test_a_terminal_that_is_hung_up_at_the_prompt_ends_it_by_that_signal(
    program: Program, typed: str, extra: bool
) -> None:
    with AtTerminal(program, "chat", "--offline", env={}, extra=extra) as terminal:
        terminal.wait_for("You:")
        terminal.wait_for_editing()
        if typed:
            terminal.type(typed)
            terminal.wait_for(typed)
        assert terminal.hang_up() == -signal.SIGHUP


@pytest.mark.parametrize("extra", [False, True], ids=["readline", "prompt_toolkit"])
def test_where_hanging_up_is_ignored_a_terminal_that_is_gone_still_ends_it(
    program: Program, extra: bool
) -> None:
    command = ("chat", "--offline")
    with AtTerminal(program, *command, env={}, extra=extra, ignores_hang_up=True) as terminal:
        terminal.wait_for("You:")
        terminal.wait_for_editing()
        assert terminal.hang_up() == 11  # nobody could be told `Bye!`


@pytest.mark.parametrize("key", [KEYS_CTRL_C, KEYS_CTRL_D], ids=["ctrl-c", "ctrl-d"])
@pytest.mark.parametrize(("gone", "status"), [("full", 11), ("closed pipe", -signal.SIGPIPE)])
def test_a_chat_whose_answers_nobody_can_read_is_left_all_the_same(
    program: Program, key: str, gone: str, status: int
) -> None:
    if gone == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        reads, out = os.pipe()
        os.close(reads)
    with (
        open(out, "wb", buffering=0) as stdout,
        AtTerminal(program, "chat", "--offline", env={}, stdout=stdout) as terminal,
    ):
        terminal.wait_for("You: ")
        terminal.wait_for_editing()
        terminal.type(key)
        assert terminal.leave() == status
