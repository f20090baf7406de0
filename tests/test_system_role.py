"""A model that knows no system role: a refusal says what to set, and the setting is obeyed."""

import json
from itertools import cycle
from typing import Any

import pytest

from pipechat.messages import Message
from pipechat.wire.system_role import spoken_as
from tests.program import Program
from tests.servers import ChatServer, Request, answer, error_reply
from tests.servers.responses import spoken

pytestmark = pytest.mark.in_process

FORMATS = ("text", "ndjson")
REFUSALS = [
    (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
    (400, "role 'system' is not supported on this model"),
    (400, "System role not supported"),
    (400, "Only user and assistant roles are supported!"),
    (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
    (422, "Input should be 'user' or 'assistant'"),
    (400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
    (400, "'system' is not one of ['user', 'assistant', 'function'] - 'messages.0.role'"),
    (400, 'messages: Unexpected role "system"'),
    (500, "Jinja Exception: System role not supported"),
]
SYSTEM = ("--system", "Be brief.")
AS_DEVELOPER = b'set system_role = "system" or "user".'
HINT = b'set system_role = "developer" or "user".'


@pytest.mark.parametrize(
    ("status", "message", "output_format"),
    [(*refusal, output_format) for refusal, output_format in zip(REFUSALS, cycle(FORMATS))],
)
def test_a_refusal_of_the_system_role_says_which_setting_changes_it(
    program: Program, status: int, message: str, output_format: str
) -> None:
    where = ("--retries", "0", "--output-format", output_format)
    with ChatServer(error_reply(status, message)) as server:
        words = ("ask", "--base-url", server.url, *where)
        with_system = program.run(*words, *SYSTEM, "q")
        assert len(server.requests) == 1
        without = program.run(*words, "q")
        as_developer = program.run(*words, *SYSTEM, "--system-role", "developer", "q")
        as_user = program.run(*words, *SYSTEM, "--system-role", "user", "q")
    assert with_system.status == (4 if status < 500 else 5)
    assert HINT in with_system.stderr
    assert b"system_role" not in without.stderr + as_user.stderr
    if "system" not in message.lower():
        assert AS_DEVELOPER in as_developer.stderr


@pytest.mark.parametrize(
    "message",
    ["messages[0].role: unknown variant `developer`, expected one of `system`, `user`",
     "Unexpected message role: developer", "Unsupported role 'developer'"],
)  # fmt: skip
def test_a_refusal_of_the_developer_does_as_well(program: Program, message: str) -> None:
    with ChatServer(error_reply(422, message)) as server:
        where = ("--base-url", server.url, "--system-role", "developer")
        result = program.run("ask", *where, *SYSTEM, "q")
        assert len(server.requests) == 1
    assert result.status == 4
    assert AS_DEVELOPER in result.stderr


@pytest.mark.parametrize("command", ["chat", "batch"])
def test_chat_and_a_batch_say_so_too(program: Program, command: str) -> None:
    words, lines = {
        "chat": (("chat",), b"q\nQUIT\n"),
        "batch": (("batch", "run"), b'{"question":"q"}\n'),
    }[command]
    with ChatServer(error_reply(*REFUSALS[0])) as server:
        where = ("--base-url", server.url)
        result = program.run(*words, *where, *SYSTEM, input=lines, events=False)
        assert len(server.requests) == 1
    assert result.status == (10 if command == "batch" else 4)
    assert HINT in result.stderr


@pytest.mark.parametrize(
    "message",
    ["temperature must be below 2", "The system is overloaded", "the message is not supported",
     "maximum context length is 10 tokens"],
)  # fmt: skip
def test_a_refusal_of_something_else_does_not(program: Program, message: str) -> None:
    with ChatServer(error_reply(400, message)) as server:
        result = program.run("ask", "--base-url", server.url, *SYSTEM, "q")
    assert result.status == 4
    assert b"system_role" not in result.stderr


def sent(request: Request) -> list[tuple[str, Any]]:
    """Who says what, in either dialect."""
    body = request.body
    first = [("instructions", body["instructions"])] if "instructions" in body else []
    messages = body.get("messages") or body["input"]
    return [*first, *((each["role"], each["content"]) for each in messages)]


ROLES = {
    ("system", "chat"): [("system", "Be brief."), ("user", "q")],
    ("system", "responses"): [("instructions", "Be brief."), ("user", "q")],
    ("developer", "chat"): [("developer", "Be brief."), ("user", "q")],
    ("developer", "responses"): [("developer", "Be brief."), ("user", "q")],
    ("user", "chat"): [("user", "Be brief.\n\nq")],
    ("user", "responses"): [("user", "Be brief.\n\nq")],
}
PLACES = ("flag", "variable", "file", "profile")


def good(request: Request) -> Any:
    return spoken("Hi") if request.path.endswith("/responses") else answer("Hi")


@pytest.mark.parametrize(("role", "api"), ROLES)
@pytest.mark.parametrize("command", ["ask", "chat", "batch"])
def test_the_system_message_is_said_as_it_is_set_in_each_command_and_dialect(
    program: Program, command: str, role: str, api: str
) -> None:
    place = PLACES[len(command + role + api) % len(PLACES)]
    line = f'system_role = "{role}"\n'
    tables = {"file": line, "profile": f'profile = "p"\n[profiles.p]\n{line}'}
    (program.home / "config.toml").write_text(tables.get(place, ""))
    flags = ("--system-role", role) if place == "flag" else ()
    env = {"PIPECHAT_SYSTEM_ROLE": role} if place == "variable" else {}
    words = {"ask": ("ask",), "chat": ("chat",), "batch": ("batch", "run", "-q")}[command]
    lines = {"ask": b"q", "chat": b"q\nQUIT\n", "batch": b'{"question":"q"}\n'}[command]
    with ChatServer(good) as server:
        where = ("--base-url", server.url, "--api", api)
        result = program.run(*words, *where, *flags, *SYSTEM, input=lines, env=env, events=False)
        assert result.status == 0, result.stderr
        (request,) = server.requests
    assert sent(request) == ROLES[role, api]


def test_a_session_keeps_the_message_and_not_its_role(program: Program) -> None:
    with ChatServer(good) as server:
        words = ("ask", "--base-url", server.url, "--session", "s")
        program.run(*words, *SYSTEM, "--system-role", "user", "one")
        program.run(*words, "two")
        program.run(*words, "--system-role", "user", "three")
        asked = [sent(request)[0] for request in server.requests]
    assert asked == [("user", "Be brief.\n\none"), ("system", "Be brief."),
                     ("user", "Be brief.\n\none")]  # fmt: skip
    records = program.records("s")
    assert {each["system"] for each in records} == {"Be brief."}
    assert records[0]["question"] == "one"


def test_an_item_answered_before_is_not_asked_again_for_another_role(program: Program) -> None:
    out = str(program.home / "out.jsonl")
    with ChatServer(good) as server:
        words = ("batch", "run", "-q", "--base-url", server.url, "-o", out, *SYSTEM)
        for role in ("system", "user"):
            result = program.run(
                *words, "--system-role", role, input=b'{"question":"q"}\n', events=False
            )
            assert result.status == 0
        assert len(server.requests) == 1


@pytest.mark.parametrize("role", ["developer", "user"])
def test_a_dry_run_shows_the_role(program: Program, role: str) -> None:
    result = program.run("ask", "--dry-run", *SYSTEM, "--system-role", role, "q", events=False)
    messages = json.loads(result.stdout)["messages"]
    assert [(each["role"], each["content"]) for each in messages] == ROLES[role, "chat"]


def test_a_role_that_there_is_not_is_wrong_usage(program: Program) -> None:
    result = program.run("ask", "--system-role", "assistant", "q")
    assert (result.status, result.code) == (2, "bad_option")


PART = {"type": "image_url", "image_url": {"url": "x"}}


@pytest.mark.parametrize(
    ("messages", "as_user"),
    [
        ([("system", "S"), ("user", "q")], [("user", "S\n\nq")]),
        ([("system", "S"), ("user", [PART])], [("user", [{"type": "text", "text": "S"}, PART])]),
        ([("system", "S"), ("system", "T"), ("user", "q")],
         [("user", "S\n\nT\n\nq")]),
        ([("system", "S"), ("assistant", "a")], [("user", "S"), ("assistant", "a")]),
        ([("user", "p"), ("user", "q")], [("user", "p"), ("user", "q")]),
        ([("system", "S")], [("user", "S")]),
        ([], []),
    ],
)  # fmt: skip
def test_a_users_system_message_begins_the_question_behind_it(
    messages: list[tuple[Any, Any]], as_user: list[tuple[Any, Any]]
) -> None:
    given: list[Message] = [{"role": role, "content": content} for role, content in messages]
    said = [(each["role"], each["content"]) for each in spoken_as("user", given)]
    assert said == as_user
    as_developer = [(each["role"], each["content"]) for each in spoken_as("developer", given)]
    assert as_developer == [
        ("developer" if role == "system" else role, content) for role, content in messages
    ]
