"""Endpoints that say odd things, and set-ups that are odd: what an attack found, kind by kind."""

import json
from typing import Any

import pytest

from tests.program import Program
from tests.servers import ChatServer, Reply, chunk, completion, stream_reply, text_reply
from tests.servers.responses import ended, whole

pytestmark = pytest.mark.in_process

DEEP = {"total_tokens": 3, "more": "deep"}


def deeply(said: Any) -> str:
    """The JSON of `said`, with 900 lists in one another where it says "deep"."""
    return json.dumps(said).replace('"deep"', "[" * 900 + "]" * 900)


def in_one(said: Any) -> Reply:
    return text_reply(200, "application/json", deeply(said))


def as_events(*said: Any) -> Reply:
    return stream_reply(*(f"data: {deeply(each)}\n\n".encode() for each in said))


DEEP_ANSWERS = {
    "chat": ((), as_events(chunk("Hi"), chunk(finish_reason="stop", usage=DEEP))),
    "chat, whole": (("--no-stream",), in_one(completion("Hi", usage=DEEP))),
    "responses": (("--api", "responses"), as_events(ended(whole("Hi", usage=DEEP)))),
    "responses, whole": (("--api", "responses", "--no-stream"), in_one(whole("Hi", usage=DEEP))),
}


@pytest.mark.parametrize("kind", DEEP_ANSWERS)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_what_is_nested_beyond_sense_spoils_no_answer(
    program: Program, kind: str, output_format: str
) -> None:
    options, reply = DEEP_ANSWERS[kind]
    with ChatServer(reply) as server:
        given = (
            "ask",
            "--base-url",
            server.url,
            "--session",
            "s",
            "--output-format",
            output_format,
        )
        result = program.run(*given, *options, "hello")
    assert result.status == 0, result.stderr
    said = result.stdout.decode() if output_format == "text" else result.events[-1]["answer"]
    assert said.strip() == "Hi"
    assert program.records("s")[0]["usage"]["total_tokens"] == 3


@pytest.mark.parametrize("where", ["model", "beside", "list"])
@pytest.mark.parametrize("command", ["models", "json", "doctor"])
def test_a_list_of_models_may_be_nested_beyond_sense(
    program: Program, where: str, command: str
) -> None:
    entry: Any = {"id": "gpt-5.4-mini"}
    pages: dict[str, Any] = {
        "model": {"data": [entry | {"more": "deep"}]},
        "beside": {"data": [entry], "more": "deep"},
        "list": {"data": [entry, "deep"]},
    }
    given = {"json": ("models", "--output-format", "json")}.get(command, (command,))
    with ChatServer(in_one(pages[where])) as server:
        result = program.run(*given, "--base-url", server.url)
    assert result.status == 0, result.stderr
    assert b"gpt-5.4-mini" in result.stdout
