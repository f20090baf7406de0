"""WIRE.md row by row, through the real program: exit code, stdout, events and record."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    USAGE,
    ChatServer,
    Close,
    Raw,
    Reply,
    Reset,
    Wait,
    answer,
    chunk,
    completion,
    done,
    error_reply,
    event,
    http_reply,
    json_reply,
    stream_reply,
    text_reply,
    usage_chunk,
)

STOP = chunk(finish_reason="stop")
HI = chunk("Hi")
OTHER_USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached": 0}


@dataclass(frozen=True)
class Row:
    """What a server sends, and what comes of it. `text`: the answer, without closing newline."""

    name: str
    reply: Reply | list[Reply]
    text: str = "Hi"
    status: int = 0
    code: str = ""
    usage: dict[str, Any] | None = None
    finish_reason: str | None = "stop"
    reasoning: str = ""


def stream(name: str, *parts: Any, **expected: Any) -> Row:
    """A row whose reply is an event stream of `parts`."""
    return Row(name, stream_reply(*parts), **expected)


def bare(delta: Any) -> dict[str, Any]:
    return chunk(delta=delta)


FIRST_CHUNKS = [
    stream("role and empty text", chunk("", role="assistant"), HI, STOP, done()),
    stream("role and null", chunk(None, role="assistant"), HI, STOP, done()),
    stream("role alone", chunk(role="assistant"), HI, STOP, done()),
    stream("role with text", chunk("Hi", role="assistant"), STOP, done()),
    stream("no role", HI, STOP, done()),
    stream("role on every chunk", chunk("H", role="a"), chunk("i", role="a"), STOP, done()),
    stream("no id and no choices", chunk(id="", choices=[]), HI, STOP, done()),
    stream(
        "a choice without delta", chunk(choices=[{"index": 0, "finish_reason": None}]), HI, STOP
    ),
    stream("delta null", bare(None), HI, STOP, done()),
    stream("content in parts", chunk([{"type": "text", "text": "H"}, {"text": "i"}]), STOP),
    stream("extra keys", chunk("Hi", x_extra={"a": [1]}, obfuscation="zzz"), STOP, done()),
    stream(
        "a second choice is not mixed in",
        chunk("Hi"),
        chunk(choices=[{"index": 1, "delta": {"content": "NO"}, "finish_reason": None}]),
        STOP,
    ),
]

REASONING = [
    stream("reasoning_content", bare({"reasoning_content": "hm"}), HI, STOP, reasoning="hm"),
    stream("reasoning", bare({"reasoning": "hm", "content": ""}), HI, STOP, reasoning="hm"),
]

USAGES = [
    stream("usage after the finish", HI, STOP, usage_chunk(), done(), usage=USAGE),
    stream(
        "usage with an empty choice",
        HI,
        STOP,
        chunk(delta={}, usage=OTHER_USAGE),
        done(),
        usage=OTHER_USAGE,
    ),
    stream("usage in the finish", HI, chunk(finish_reason="stop", usage=USAGE), usage=USAGE),
    stream("no usage though asked", HI, STOP, done(), usage=None),
]

ENDS = [
    stream("finish and [DONE]", HI, STOP, done()),
    stream("finish and a clean close", HI, STOP),
    stream("finish and a reset", HI, STOP, Reset()),
    stream("null finish, then [DONE]", HI, done(), finish_reason=None),
    stream("no finish, clean close", HI, status=6, code="cut", finish_reason=None),
    stream(
        "finish key missing, [DONE]",
        chunk(choices=[{"index": 0, "delta": {"content": "Hi"}}]),
        done(),
        status=6,
        code="cut",
        finish_reason=None,
    ),
    stream(
        "length",
        HI,
        chunk(finish_reason="length"),
        status=6,
        code="truncated",
        finish_reason="length",
    ),
    stream(
        "content_filter",
        HI,
        chunk(finish_reason="content_filter"),
        status=6,
        code="filtered",
        finish_reason="content_filter",
    ),
    stream(
        "tool_calls",
        HI,
        chunk(finish_reason="tool_calls"),
        status=6,
        code="tool_calls",
        finish_reason="tool_calls",
    ),
    stream("an unknown reason", HI, chunk(finish_reason="eos"), finish_reason="eos"),
    stream(
        "finish_reason error",
        HI,
        chunk(finish_reason="error"),
        status=6,
        code="stream_error",
        finish_reason="error",
    ),
    stream("a refusal is text", bare({"refusal": "Hi"}), STOP, status=6, code="refused"),
]

NO_ANSWERS = [
    stream("zero events", text="", status=5, code="no_answer", finish_reason=None),
    Row("an empty body", text_reply(200, "text/event-stream", ""), "", 5, "no_answer", None, None),
    Row("a whole completion", json_reply(200, completion("Hi")), usage=USAGE),
    Row(
        "an error object",
        json_reply(200, {"error": {"message": "no", "type": "server_error"}}),
        "",
        5,
        "server_error",
        None,
        None,
    ),
    Row(
        "an error word",
        json_reply(200, {"error": "context length exceeded"}),
        "",
        4,
        "context_too_long",
        None,
        None,
    ),
    Row("garbage", text_reply(200, "text/plain", "hello?"), "", 4, "not_an_api", None, None),
    Row(
        "an HTML page",
        text_reply(200, "text/html", "<!doctype html><p>Hi"),
        "",
        4,
        "not_an_api",
        None,
        None,
    ),
]

STREAM_ERRORS = [
    stream(
        "an error object after text",
        HI,
        event({"error": {"message": "boom"}}),
        status=6,
        code="server_error",
        finish_reason=None,
    ),
    stream(
        "an error word before text",
        event({"error": "overloaded"}),
        text="",
        status=5,
        code="server_error",
        finish_reason=None,
    ),
    stream(
        "an error with unescaped quotes",
        HI,
        event('{"error": {"message": "a "b" c"}}'),
        status=6,
        code="server_error",
        finish_reason=None,
    ),
    stream(
        "event: error",
        HI,
        b'event: error\ndata: {"message": "boom"}\n\n',
        status=6,
        code="server_error",
        finish_reason=None,
    ),
    stream(
        "malformed JSON",
        HI,
        event('{"choices": [}'),
        status=6,
        code="malformed_stream",
        finish_reason=None,
    ),
    stream(
        "data that is no object",
        event("[1]"),
        text="",
        status=5,
        code="malformed_stream",
        finish_reason=None,
    ),
    stream(
        "content of another type",
        chunk(42),
        text="",
        status=5,
        code="malformed_stream",
        finish_reason=None,
    ),
]

_RETRIED = 5


def refusal(name: str, reply: Reply, status: int, code: str) -> Row:
    return Row(name, reply, "", status, code, None, None)


ERROR_BODIES = [
    refusal(
        "401",
        error_reply(401, "bad key", "invalid_request_error", "invalid_api_key"),
        3,
        "unauthorized",
    ),
    refusal("a wrong key as 400", error_reply(400, "Invalid API key"), 3, "unauthorized"),
    refusal("403", json_reply(403, {"error": "Forbidden"}), 3, "forbidden"),
    refusal(
        "404 model", error_reply(404, "no such model", None, "model_not_found"), 4, "not_found"
    ),
    refusal("400 unknown model", error_reply(400, "The model `x` does not exist"), 4, "not_found"),
    refusal("503 unknown model", error_reply(503, "model x not found"), 4, "not_found"),
    refusal(
        "422 detail list",
        json_reply(422, {"detail": [{"msg": "too hot", "loc": ["t"]}]}),
        4,
        "bad_request",
    ),
    refusal(
        "400 context",
        error_reply(400, "too long", None, "context_length_exceeded"),
        4,
        "context_too_long",
    ),
    refusal(
        "429 quota",
        error_reply(429, "pay", "insufficient_quota", "insufficient_quota"),
        4,
        "insufficient_quota",
    ),
    refusal(
        "429 rate",
        error_reply(429, "slow down", None, "rate_limit_exceeded"),
        _RETRIED,
        "rate_limited",
    ),
    refusal("408", text_reply(408, "text/plain", "late"), _RETRIED, "server_timeout"),
    refusal("409", json_reply(409, {"detail": "busy"}), _RETRIED, "conflict"),
    refusal(
        "500 code in digits",
        json_reply(500, {"error": {"message": "x", "code": "500"}}),
        _RETRIED,
        "server_error",
    ),
    refusal(
        "502 HTML", text_reply(502, "text/html", "<h1>Bad gateway</h1>"), _RETRIED, "server_error"
    ),
    refusal(
        "529 overloaded",
        json_reply(529, {"error": {"type": "overloaded_error"}}),
        _RETRIED,
        "server_error",
    ),
    refusal(
        "problem+json",
        text_reply(400, "application/problem+json", '{"title": "Bad"}'),
        4,
        "bad_request",
    ),
    refusal("413", text_reply(413, "text/plain", "big"), 4, "too_large"),
    refusal("302", http_reply(302, headers={"location": "http://127.0.0.1:9/"}), 4, "redirected"),
]

FACE = json.dumps("😀")[1:-1]  # \ud83d\ude00
TEXTS = [
    stream("one character over two segments",
           Raw(b"5\r\ndata:\r\n"), b' {"choices":[{"delta":{"content":"\xe4', Wait(0.01),
           b'\xbd\xa0"},"finish_reason":"stop"}]}\n\n', done(), text="你"),
    stream("a surrogate pair over two deltas",
           event('{"choices":[{"delta":{"content":"' + FACE[:6] + '"}}]}'),
           event('{"choices":[{"delta":{"content":"' + FACE[6:] + '"}}]}'), STOP, text="😀"),
    stream("a lone surrogate for good",
           event('{"choices":[{"delta":{"content":"a' + FACE[:6] + '"}}]}'), STOP, text="a�"),
    stream("line separators that are none", event(
        json.dumps(chunk("a\u2028b\u2029c\u0085d"), ensure_ascii=False)), STOP,
        text="a\u2028b\u2029c\u0085d"),
    stream("NUL, ESC and U+FFFD", chunk("\0\x1b[31m�"), STOP, text="\0\x1b[31m�"),
    stream("[DONE] as content", chunk("data: [DONE]"), STOP, done(), text="data: [DONE]"),
    stream("a line of 3 MB", chunk("x" * 3_000_000), STOP, text="x" * 3_000_000),
    stream("comments and fields", b": keep-alive\n\n: OPENROUTER PROCESSING\n\nid: 1\nretry: 3\n\n",
           b"event: message\n" + event(HI), STOP, b"data:\n\n"),
    stream("CRLF", (event(HI) + event(STOP) + done()).replace(b"\n", b"\r\n")),
    stream("CR", (event(HI) + event(STOP) + done()).replace(b"\n", b"\r")),
    stream("several data lines in one event",
           b'data: {"choices": [{"delta":\ndata: {"content": "Hi"}}]}\n\n', STOP),
    stream("a BOM", b"\xef\xbb\xbf" + event(HI), STOP),
    stream("bytes that are not UTF-8", b": \xff\xfe\n\n",
           b'data: {"choices":[{"delta":{"content":"H\xff"}}]}\n\n', STOP, text="H�"),
]  # fmt: skip

ROWS = [
    *FIRST_CHUNKS, *REASONING, *USAGES, *ENDS, *NO_ANSWERS, *STREAM_ERRORS, *ERROR_BODIES, *TEXTS,
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_servers_send_is_taken_as_it_stands(program: Program, row: Row) -> None:
    with ChatServer(row.reply) as server:
        ask = ("ask", "--session", "s", "--retries", "0", "--base-url", server.url, "hello")
        plain = program.run(*ask)
        events = program.run(*ask, "--output-format", "ndjson")
    text = row.text.encode()
    newline = b"\n" if row.status == 0 else b""
    assert (plain.status, plain.stdout) == (row.status, text + newline)
    assert plain.code == row.code
    assert plain.stderr.count(b"\n") == (1 if row.code else 0)

    last = events.events[-1]
    assert events.status == row.status
    assert last["type"] == ("end" if row.status == 0 else "error")
    assert last["answer"] == row.text
    assert last["usage"] == row.usage
    assert last["finish_reason"] == row.finish_reason
    assert last.get("code", "") == row.code
    reasoning = [each["text"] for each in events.events if each["type"] == "reasoning"]
    assert "".join(reasoning) == row.reasoning

    for record in program.records("s"):
        assert record["answer"] == row.text
        assert record["usage"] == row.usage
        assert (record["error"] or {}).get("code", "") == row.code
        expected = "complete" if row.status == 0 else "partial" if row.text else "failed"
        assert record["status"] == expected
    assert len(program.records("s")) == 2
    assert program.spools() == []


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_stream_options_is_asked_without(
    program: Program, status: int
) -> None:
    def script(request: Any) -> Reply:
        if "stream_options" in request.body:
            return error_reply(status, "Unknown field: stream_options")
        return answer("Hi")

    with ChatServer(script) as server:
        result = program.run("ask", "--base-url", server.url, "hello")
        assert result.stdout == b"Hi\n"
        assert [("stream_options" in each.body) for each in server.requests] == [True, False]


def test_a_stream_where_none_was_asked_for_is_an_answer(program: Program) -> None:
    with ChatServer(answer("Hi")) as server:
        result = program.run("ask", "--no-stream", "--base-url", server.url, "hello")
        assert (result.status, result.stdout) == (0, b"Hi\n")
        assert "stream" not in server.requests[0].body


def test_allow_truncated_takes_an_answer_cut_by_the_token_limit(program: Program) -> None:
    with ChatServer(answer("Hi", finish_reason="length")) as server:
        arguments = ("ask", "--base-url", server.url, "--allow-truncated", "hello")
        assert program.run(*arguments).stdout == b"Hi\n"
        last = program.run(*arguments, "--output-format", "json").events[-1]
        assert (last["type"], last["finish_reason"]) == ("end", "length")


def test_a_dropped_connection_keeps_what_came_and_is_not_retried(program: Program) -> None:
    with ChatServer(stream_reply(HI, Close())) as server:
        result = program.run("ask", "--session", "s", "--base-url", server.url, "hello")
        assert (result.status, result.stdout) == (6, b"Hi")
        assert len(server.requests) == 1
