"""The same question, session and schema: by either API the same is sent, said, told and kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.program import Program
from tests.servers import USAGE, ChatServer, Reply, Request, error_reply
from tests.servers.dialects import APIS, End, Reasoning, Refusal, Text, Tool, document, spoken

pytestmark = pytest.mark.in_process

DETAILED = USAGE | {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
SCHEMA = ("--schema", "name, age int")
GOOD, BAD = '{"name": "Ada", "age": 36}', '{"name": "Ada"}'
Says = Callable[[str], Reply]


def says(*parts: Any) -> Says:
    return lambda api: spoken(api, *parts)


def answers(text: str = "Hi") -> Says:
    return says(Text(text[:2]), Text(text[2:]), End(usage=DETAILED))


class Talk(NamedTuple):
    """Questions with their options; what the server says to its requests, in their order."""

    asks: Sequence[tuple[str, ...]]
    replies: Sequence[Says]
    status: int = 0


TALKS = {
    "a session": Talk(
        [("--system", "Be brief.", "one"), ("two",), ("--last-turns", "1", "three"),
         ("--last-turns", "0", "four")],
        [answers()] * 4,
    ),
    "a session after a cut turn": Talk(
        [("one",), ("two",)], [says(Text("Half")), answers()]
    ),
    "files": Talk([("-f", "a.txt", "-f", "b.png", "-f", "c.pdf", "What?"), ("And?",)],
                  [answers()] * 2),
    "files of a session that keeps them": Talk(
        [("--keep-files", "-f", "a.txt", "-f", "b.png", "What?"), ("And?",)], [answers()] * 2),
    "effort, limit and temperature": Talk(
        [("--effort", "low", "--max-tokens", "90", "-t", "0.5", "-O", "top_p=0.9", "q")],
        [answers()]),
    "not streamed": Talk([("--no-stream", "q"), ("--no-stream", "r")],
                         [lambda api: document(api, "Hi", DETAILED)] * 2),
    "a template": Talk([("--template", "To {{ to }}: {{ input }}", "--var", "to=Dutch", "q")],
                       [answers()]),
    "a part of an answer": Talk([("--extract", "code", "q")], [answers("So:\n```\nx = 1\n```\n")]),
    "a schema": Talk([(*SCHEMA, "q"), ("and?",)], [answers(GOOD), answers()]),
    "a schema in words": Talk([(*SCHEMA, "--schema-mode", "prompt", "q")], [answers(GOOD)]),
    "a schema by JSON": Talk([(*SCHEMA, "--schema-mode=json", "q")], [answers(GOOD)]),
    "a schema, retried": Talk([(*SCHEMA, "--schema-retries", "2", "q")],
                              [answers(BAD), answers("no"), answers(GOOD)]),
    "a schema, in vain": Talk([(*SCHEMA, "--schema-retries", "1", "q")],
                              [answers(BAD), answers(BAD)], 7),
    "a schema, cut": Talk([(*SCHEMA, "--schema-retries", "1", "q")],
                          [says(Text(BAD), End("length", USAGE))], 6),
    "a schema that the server does not know": Talk(
        [(*SCHEMA, "q")],
        [lambda _: error_reply(400, "json_schema is not supported"), answers(GOOD)]),
    "no stream options": Talk(
        [("q",)], [lambda _: error_reply(400, "unknown field: stream_options"), answers()]),
    "once": Talk([("--once", "k", "q"), ("--once", "k", "q")], [answers()]),
    "reasoning": Talk([("q",)], [says(Reasoning("h"), Reasoning("m"), Text("Hi"), End())]),
    "a refusal": Talk([("q",)], [says(Refusal("No."), End(usage=USAGE))], 6),
    "a tool": Talk([("q",)], [says(Tool(), End("tool_calls", USAGE))], 6),
    "cut by the limit": Talk([("q",)], [says(Text("Hi"), End("length", USAGE))], 6),
    "cut by the limit, allowed": Talk([("--allow-truncated", "q")],
                                      [says(Text("Hi"), End("length", USAGE))]),
    "filtered": Talk([("q",)], [says(Text("Hi"), End("content_filter"))], 6),
    "cut": Talk([("q",)], [says(Text("Hi"))], 6),
    "tried again": Talk([("--retries", "2", "q")],
                        [lambda _: error_reply(503, "busy"), answers()]),
    "a fallback": Talk([("--retries", "0", "--fallback", "other", "q")],
                       [lambda _: error_reply(503, "busy"), answers()]),
    "refused": Talk([("q",)], [lambda _: error_reply(400, "no")], 4),
    "half a character": Talk([("q",)], [says(Text("\ud83d"), Text("\ude00"), End())]),
}  # fmt: skip


@pytest.mark.parametrize("talk", TALKS)
def test_the_same_conversation_is_the_same_by_either_api(
    program: Program, tmp_path: Path, talk: str
) -> None:
    for name, content in {"a.txt": b"words", "b.png": PNG, "c.pdf": b"%PDF-1.7\n"}.items():
        (tmp_path / name).write_bytes(content)
    asks, replies, status = TALKS[talk]
    found: list[Any] = []
    with ChatServer(_by_api(replies)) as server:
        for api in APIS:
            where = ("--base-url", server.url, "--api", api, "--session", api)
            out = ("--output-format", "ndjson")
            results = [program.run("ask", *where, *out, *ask, cwd=tmp_path) for ask in asks]
            assert results[-1].status == status, results[-1].stderr
            sent = [_meaning(each) for each in server.requests if api in _api_of(each)]
            records = program.records(api)
            assert {each["api"] for each in records} == {api}
            found.append(
                (
                    [each.status for each in results],
                    [[_lasting(event) for event in each.events] for each in results],
                    [each.stderr.replace(b"/" + _PATHS[api], b"") for each in results],
                    [_lasting(each) for each in records],
                    sent,
                )
            )
    assert len(found[0][-1]) == len(replies)
    for one, other in zip(*found, strict=True):
        assert one == other


_PATHS = {"chat": b"chat/completions", "responses": b"responses"}


def _api_of(request: Request) -> str:
    return next(api for api, path in _PATHS.items() if request.path.endswith(path.decode()))


def _by_api(replies: Sequence[Says]) -> Callable[[Request], Reply]:
    left = {api: iter(replies) for api in APIS}

    def choose(request: Request) -> Reply:
        api = _api_of(request)
        return next(left[api])(api)

    return choose


def _lasting(told: dict[str, Any]) -> dict[str, Any]:
    """An event or a record without ids, times and the API's name; its request's hash has that
    name in it."""
    other = {"id", "time", "first_token_s", "total_s", "wait_s", "api", "request", "session"}
    return {
        name: _lasting(value) if isinstance(value, dict) and name == "once" else value
        for name, value in told.items()
        if name not in other
    }


def _meaning(request: Request) -> dict[str, Any]:
    """What a request asks for, in the words of neither API."""
    body = dict(request.body)
    if "messages" in body:
        messages = [_message(each) for each in body.pop("messages")]
        form = body.pop("response_format", {})
        form = {"type": form.get("type")} | form.get("json_schema", {})
        limit, effort = body.pop("max_tokens", None), body.pop("reasoning_effort", None)
    else:
        system = body.pop("instructions", None)
        first = [("system", [("text", system)])] if system else []
        messages = first + [_message(each) for each in body.pop("input")]
        form = {"type": None} | body.pop("text", {"format": {}})["format"]
        limit, effort = body.pop("max_output_tokens", None), body.pop("reasoning", {}).get("effort")
        assert body.pop("store") is False
    has_options = bool(body.pop("stream_options", None))
    return {
        "messages": messages, "form": form, "limit": limit, "effort": effort,
        "stream_options": has_options, **body,
    }  # fmt: skip


def _message(message: dict[str, Any]) -> tuple[str, list[Any]]:
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return message["role"], [_part(each) for each in parts]


def _part(part: dict[str, Any]) -> tuple[str, Any]:
    match part:
        case {"type": "text" | "input_text", "text": text}:
            return "text", text
        case {"type": "image_url", "image_url": {"url": url}} | {"image_url": url}:
            return "picture", url
        case {"type": "file", "file": file}:
            return "file", file
    return "file", {name: value for name, value in part.items() if name != "type"}


ITEMS = b"""{"id": "whole", "question": "one", "system": "Be brief."}
{"id": "cut", "question": "two"}
{"id": "refused", "question": "three"}
{"id": "tuned", "question": "four", "options": {"top_p": 0.5, "max_tokens": 30}}
"""
OF_ITEMS: list[Says] = [
    lambda api: document(api, "Hi", DETAILED),
    says(Text("Hi"), End("length", USAGE)),
    lambda _: error_reply(400, "no"),
    lambda api: document(api, "Ho", USAGE),
]


@pytest.mark.parametrize("more", [(), ("--events",)], ids=["records", "events"])
def test_the_same_batch_is_the_same_by_either_api(program: Program, more: tuple[str, ...]) -> None:
    found: list[Any] = []
    with ChatServer(_by_api(OF_ITEMS)) as server:
        for api in APIS:
            where = ("--base-url", server.url, "--api", api, "-j", "1", "--max-tokens", "90")
            result = program.run("batch", "run", *where, *more, input=ITEMS)
            sent = [_meaning(each) for each in server.requests if api in _api_of(each)]
            assert len(sent) == len(OF_ITEMS), result.stderr
            found.append((result.status, [_lasting(each) for each in result.events], sent))
    assert found[0] == found[1]
    assert found[0][0] == 10
