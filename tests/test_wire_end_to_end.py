"""WIRE.md row by row, through the real program: exit code, stdout, events and record.

Each row is played in both dialects where it exists in both; what only the Responses API has is in
`test_responses.py`, and what goes wrong below HTTP's body in `test_faults.py`.
"""

import re
from collections.abc import Iterable
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    USAGE,
    ChatServer,
    Close,
    Reply,
    Reset,
    Step,
    Wait,
    answer,
    chunk,
    done,
    error_reply,
    event,
    http_reply,
    json_reply,
    stream_reply,
    text_reply,
)
from tests.servers.dialects import (
    APIS,
    Begin,
    Done,
    End,
    Reasoning,
    Refusal,
    Text,
    Tool,
    document,
    spoken,
)
from tests.wire_rows import Row, check, refusal, replied, stream

pytestmark = pytest.mark.in_process

STOP = chunk(finish_reason="stop")
HI = chunk("Hi")
OTHER_USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached": 0}
DETAILED = USAGE | {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def bare(delta: Any) -> dict[str, Any]:
    return chunk(delta=delta)


def chat(name: str, *parts: Any, **expected: Any) -> Row:
    """A row that there is in Chat Completions alone."""
    return replied(name, stream_reply(*parts), **expected)


REASONING = [
    stream("reasoning", Reasoning("h"), Reasoning("m"), Text("Hi"), End(), reasoning="hm"),
    stream("reasoning alone", Reasoning("hm"), text="", status=5, code="no_answer",
           reasoning="hm"),
]  # fmt: skip

USAGES = [
    stream("usage", Text("Hi"), End(usage=USAGE), Done(), usage=USAGE),
    stream("usage in detail", Text("Hi"), End(usage=DETAILED), usage=DETAILED),
    stream("usage with a name of the server's own", Text("Hi"), End(usage=OTHER_USAGE),
           usage=OTHER_USAGE),
    stream("no usage though asked", Text("Hi"), End(), Done()),
]  # fmt: skip

ENDS = [
    stream("a whole answer", Text("H"), Text("i"), End(), Done()),
    stream("a clean close behind the end", Text("Hi"), End()),
    stream("a reset behind the end", Text("Hi"), End(), Reset()),
    stream("no end, clean close", Text("Hi"), status=6, code="cut"),
    stream("no end, no text", Begin(), text="", status=5, code="no_answer"),
    stream("no end, broken off", Text("Hi"), Close(), status=6, code="connection_lost"),
    stream("an end that is cut in two", Text("Hi"), b'data: {"choices":[], "type":"resp', status=6,
           code="cut"),
    stream("length", Text("Hi"), End("length", USAGE), status=6, code="truncated",
           finish_reason="length", usage=USAGE),
    stream("length, allowed", Text("Hi"), End("length", USAGE), finish_reason="length",
           usage=USAGE, options=("--allow-truncated",)),
    stream("content_filter", Text("Hi"), End("content_filter"), status=6, code="filtered",
           finish_reason="content_filter"),
    stream("a tool", Tool(), End("tool_calls"), text="", status=6, code="tool_calls",
           finish_reason="tool_calls"),
    stream("a tool, cut", Tool(), text="", status=6, code="tool_calls"),
    stream("a tool after text", Text("Hi"), Tool(), End("tool_calls"), status=6,
           code="tool_calls", finish_reason="tool_calls"),
    stream("a refusal is text", Refusal("Hi"), End(), status=6, code="refused",
           finish_reason="stop"),
    stream("a refusal after text", Text("H"), Refusal("i"), End(), status=6, code="refused",
           finish_reason="stop"),
]  # fmt: skip

NO_ANSWERS = [
    stream("zero events", text="", status=5, code="no_answer"),
    stream("[DONE] alone", Done(), text="", status=5, code="no_answer"),
    refusal("an empty body", text_reply(200, "text/event-stream", ""), 5, "no_answer"),
    Row("a whole document", lambda api: document(api, "Hi", USAGE), usage=USAGE),
    Row("a document that was asked for", lambda api: document(api, "Hi"),
        options=("--no-stream",)),
    Row("a stream where none was asked for", lambda api: spoken(api, Text("Hi"), End()),
        options=("--no-stream",)),
    refusal("an error object", json_reply(200, {"error": {"message": "no", "type":
            "server_error"}}), 5, "server_error", "no"),
    refusal("an error word", json_reply(200, {"error": "context length exceeded"}), 4,
            "context_too_long"),
    refusal("an error in a list", json_reply(200, [{"error": {"message": "no", "code": 404}}]), 4,
            "not_found", "no"),
    refusal("an error in base_resp", json_reply(200, {"choices": None, "base_resp": {
        "status_code": 1008, "status_msg": "no balance"}}), 4, "insufficient_quota", "no balance"),
    refusal("an error in error_msg", json_reply(200, {"error_code": 17, "error_msg": "no, sir"}), 5,
            "server_error", "no, sir"),
    refusal("an error in detail", json_reply(200, {"detail": [{"msg": "field required"}]}), 5,
            "server_error", "field required"),
    refusal("an error by its object", json_reply(200, {"object": "error", "message": "no",
            "code": 404}), 4, "not_found", "no"),
    refusal("a document of something else", json_reply(200, {"hello": "you"}), 5,
            "malformed_stream", "hello"),
    refusal("a list of something else", json_reply(200, [1]), 5, "malformed_stream", "[1]"),
    refusal("HTML with a login", text_reply(200, "text/html; charset=utf-8", "<html>Login"), 4,
            "not_an_api", "{host} answered with text/html"),
    refusal("garbage", text_reply(200, "text/plain", "hello?"), 4, "not_an_api"),
    refusal("an HTML page", text_reply(200, "text/html", "<!doctype html><p>Hi"), 4, "not_an_api"),
]  # fmt: skip

CUT: dict[str, Any] = {"status": 6, "says": "boom"}
STREAM_ERRORS = [
    stream("an error object after text", Text("Hi"), event({"error": {"message": "boom"}}), **CUT,
           code="server_error"),
    stream("an error object, then [DONE]", Text("Hi"), event({"error": {"message": "boom"}}),
           Done(), **CUT, code="server_error"),
    stream("an error word before text", event({"error": "overloaded"}), text="", status=5,
           code="server_error"),
    stream("an error with unescaped quotes", Text("Hi"),
           event('{"error": {"message": "a "boom" c"}}'), **CUT, code="server_error"),
    stream("event: error", Text("Hi"), b'event: error\ndata: {"message": "boom"}\n\n', **CUT,
           code="server_error"),
    stream("event: error with an error in it", Text("Hi"),
           b'event: error\ndata: {"error": {"message": "boom", "code": 404}}\n\n', **CUT,
           code="not_found"),
    stream("event: error with words alone", Text("Hi"), b"event: error\ndata: boom\n\n", **CUT,
           code="server_error"),
    stream("a field named error", Text("Hi"), b'error: {"message": "boom"}\n\n', **CUT,
           code="server_error"),
    stream("a field named error beside data", Text("Hi"),
           b'data: {}\nerror: {"message": "boom"}\n\n', **CUT, code="server_error"),
    stream("an error in base_resp in the stream", Text("Hi"), event(
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "boom"}}), **CUT,
        code="insufficient_quota"),
    stream("an error in error_msg in the stream", Text("Hi"), event(
        {"error_code": "17", "error_msg": "boom"}), **CUT, code="server_error"),
    stream("an error in a list in the stream", Text("Hi"), event(
        '[{"error": {"message": "boom"}}]'), **CUT, code="server_error"),
    stream("event: error before text",
           b'event: error\ndata: {"error": {"message": "no model x", "code": 404}}\n\n', text="",
           status=4, code="not_found", says="no model x"),
    stream("a rate limit in the stream", event({"error": {"message": "slow", "code": 429}}),
           text="", status=5, code="rate_limited", says="slow"),
    stream("malformed JSON", Text("Hi"), event('{"choices": [}'), status=6,
           code="malformed_stream"),
    stream("malformed JSON before text", event("{oops"), End(), text="", status=5,
           code="malformed_stream", says="no JSON"),
    stream("data that is no object", event("[1]"), text="", status=5, code="malformed_stream"),
    stream("text of another type", Text(42), text="", status=5, code="malformed_stream"),
]  # fmt: skip

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
    refusal("429 in arrears", error_reply(429, "pay", None, "1113"), 4, "insufficient_quota"),
    refusal(
        "429 of one request",
        error_reply(429, "Limit 100, requested 200", None, "rate_limit_exceeded"),
        4,
        "too_large",
    ),
    refusal(
        "429 rate",
        error_reply(429, "slow down", None, "rate_limit_exceeded"),
        5,
        "rate_limited",
    ),
    refusal("408", text_reply(408, "text/plain", "late"), 5, "server_timeout"),
    refusal("409", json_reply(409, {"detail": "busy"}), 5, "conflict"),
    refusal(
        "500 code in digits",
        json_reply(500, {"error": {"message": "x", "code": "500"}}),
        5,
        "server_error",
    ),
    refusal("502 HTML", text_reply(502, "text/html", "<h1>Bad gateway</h1>"), 5, "server_error"),
    refusal(
        "529 overloaded",
        json_reply(529, {"error": {"type": "overloaded_error"}}),
        5,
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


def plain(data: bytes) -> bytes:
    """JSON without its escapes for letters."""
    return re.sub(rb"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)).encode(), data)


def halves(data: bytes) -> Iterable[bytes | Step]:
    """An event in two segments, cut within its one letter that is no ASCII."""
    data = plain(data)
    cut = next((at for at, byte in enumerate(data) if byte > 0x7F), len(data)) + 1
    return [data[:cut], Wait(0.01), data[cut:]] if cut <= len(data) else [data]


TEXTS = [
    stream("one character over two segments", Text("你"), End(), form=halves, text="你"),
    stream("a surrogate pair over two deltas", Text("\ud83d"), Text("\ude00"), End(), text="😀"),
    stream("a lone surrogate for good", Text("a\ud83d"), End(), text="a�"),
    stream("line separators that are none", Text("a\u2028b\u2029c\u0085d"), End(),
           form=lambda data: [plain(data)], text="a\u2028b\u2029c\u0085d"),
    stream("NUL, ESC and U+FFFD", Text("\0\x1b[31m�"), End(), text="\0\x1b[31m�"),
    stream("[DONE] as content", Text("data: [DONE]"), End(), Done(), text="data: [DONE]"),
    stream("a line of 3 MB", Text("x" * 3_000_000), End(), text="x" * 3_000_000),
    stream("comments and fields", b": keep-alive\n\n: OPENROUTER PROCESSING\n\nid: 1\nretry: 3\n\n",
           Text("Hi"), b"event: message\n\n", End(), b"data:\n\n"),
    stream("blocks without data", b"event: ping\n\nid: 7\n\nretry: 9\n\n", Text("Hi"), End()),
    stream("empty data lines", b"data:\n\n", Text("Hi"), b"data: \n\n", End(), Done()),
    stream("CRLF", Text("Hi"), End(), form=lambda data: [data.replace(b"\n", b"\r\n")]),
    stream("CR", Text("Hi"), End(), form=lambda data: [data.replace(b"\n", b"\r")]),
    stream("no blank behind data:", Text("Hi"), End(),
           form=lambda data: [data.replace(b"data: ", b"data:")]),
    stream("several data lines in one event", Text("Hi"), End(),
           form=lambda data: [data.replace(b",", b",\ndata: ", 1)]),
    stream("a BOM", b"\xef\xbb\xbf", Text("Hi"), End()),
    stream("bytes that are not UTF-8", b": \xff\xfe\n\n", Text("<H>"), End(), text="<�>",
           form=lambda data: [data.replace(b"<H>", b"<\xff>")]),
]  # fmt: skip

BOTH = [*REASONING, *USAGES, *ENDS, *NO_ANSWERS, *STREAM_ERRORS, *ERROR_BODIES, *TEXTS]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("row", BOTH, ids=lambda row: row.name)
def test_what_servers_send_is_taken_as_it_stands(program: Program, row: Row, api: str) -> None:
    check(program, row, api)


FIRST_CHUNKS = [
    chat("role and empty text", chunk("", role="assistant"), HI, STOP, done()),
    chat("role and null", chunk(None, role="assistant"), HI, STOP, done()),
    chat("role alone", chunk(role="assistant"), HI, STOP, done()),
    chat("role with text", chunk("Hi", role="assistant"), STOP, done()),
    chat("no role", HI, STOP, done()),
    chat("role on every chunk", chunk("H", role="a"), chunk("i", role="a"), STOP, done()),
    chat("no id and no choices", chunk(id="", choices=[]), HI, STOP, done()),
    chat("a choice without delta", chunk(choices=[{"index": 0, "finish_reason": None}]), HI, STOP),
    chat("delta null", bare(None), HI, STOP, done()),
    chat("content in parts", chunk([{"type": "text", "text": "H"}, {"text": "i"}]), STOP),
    chat("extra keys", chunk("Hi", x_extra={"a": [1]}, obfuscation="zzz"), STOP, done()),
    chat(
        "a second choice is not mixed in",
        chunk("Hi"),
        chunk(choices=[{"index": 1, "delta": {"content": "NO"}, "finish_reason": None}]),
        STOP,
    ),
]

OTHERWISE = [
    chat("reasoning_content", bare({"reasoning_content": "hm"}), HI, STOP, reasoning="hm"),
    chat("reasoning beside no content", bare({"reasoning": "hm", "content": ""}), HI, STOP,
         reasoning="hm"),
    chat("usage with an empty choice", HI, STOP, chunk(delta={}, usage=OTHER_USAGE), done(),
         usage=OTHER_USAGE),
    chat("usage in the finish", HI, chunk(finish_reason="stop", usage=USAGE), usage=USAGE),
    chat("null finish, then [DONE]", HI, done(), finish_reason=None),
    chat("finish key missing, [DONE]", chunk(choices=[{"index": 0, "delta": {"content": "Hi"}}]),
         done(), status=6, code="cut"),
    chat("an unknown reason of a whole answer", HI, chunk(finish_reason="eos"),
         finish_reason="eos"),
    chat("finish_reason error", HI, chunk(finish_reason="error"), status=6, code="stream_error",
         finish_reason="error"),
    chat("a choice that is no object", HI, chunk(choices=["x"]), status=6,
         code="malformed_stream"),
    chat("an error in a choice", HI, chunk(choices=[{"index": 0, "finish_reason": "stop",
         "error": {"message": "boom"}}]), status=6, code="server_error", says="boom"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*FIRST_CHUNKS, *OTHERWISE], ids=lambda row: row.name)
def test_what_servers_of_chat_completions_send_is_taken_as_it_stands(
    program: Program, row: Row
) -> None:
    check(program, row, "chat")


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
