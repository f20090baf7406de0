"""FAULTS §1 row by row, through the real program: exit code, stderr, stdout, events and record.

What servers say when all is well, and their error bodies, are in `test_wire_end_to_end.py`.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    RawServer,
    RefusedPort,
    Reply,
    Reset,
    answer,
    chunk,
    done,
    error_reply,
    event,
    http_reply,
    raw_reply,
    redirect,
    self_signed,
    sse,
    stream_reply,
    text_reply,
)

HI, STOP = chunk("Hi"), chunk(finish_reason="stop")
WHOLE = sse(HI, STOP)
STREAM = "text/event-stream"


pytestmark = pytest.mark.in_process


@dataclass(frozen=True)
class Row:
    """What a server does, and what comes of it. `says`: what stderr holds, `{host}` filled in;
    `text`: the answer; `url`: the name of the server's attribute."""

    name: str
    server: Callable[[], Any]
    status: int
    code: str = ""
    says: str = ""
    text: str = ""
    url: str = "url"


def answered(
    name: str, reply: Reply, status: int, code: str = "", says: str = "", **more: Any
) -> Row:
    return Row(name, lambda: ChatServer(reply), status, code, says, **more)


def zipped(data: bytes) -> Reply:
    return http_reply(200, data, content_type=STREAM, headers={"content-encoding": "gzip"})


def cut_in(framing: Any, ending: Any, code: str) -> Row:
    reply = stream_reply(HI, ending, framing=framing, length=9999 if "len" in framing else None)
    return answered(f"{ending} inside {framing}", reply, 6, code, text="Hi")


LONG = b"".join(event(chunk(f"{number:x} ")) for number in range(40_000, 41_000))
LONG_TEXT = "".join(f"{number:x} " for number in range(40_000, 41_000))

CONNECTIONS = [
    Row("nobody listens", RefusedPort, 5, "connection_refused", "{host} refused"),
    Row("a reset before headers", lambda: ChatServer(raw_reply(Reset())), 5, "connection_lost"),
    Row("a close before headers", lambda: ChatServer(raw_reply(Close())), 5, "connection_lost"),
    Row("an untrusted certificate", lambda: ChatServer(answer("no"), tls=self_signed()), 5,
        "bad_certificate", "self-signed"),
    Row("TLS to a port that has none", lambda: RawServer(b"HTTP/1.1 400 Bad\r\n\r\n", Close()), 5,
        "connection_failed", "{host} speaks no TLS", url="https_url"),
    Row("no HTTP at all", lambda: RawServer(b"SSH-2.0-OpenSSH_9.9\r\n", Close()), 5,
        "connection_lost"),
    answered("a reset in the headers", raw_reply(b"HTTP/1.1 200 OK\r\nconte", Reset()), 5,
             "connection_lost"),
    answered("headers without end", raw_reply(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, Close()),
             5, "connection_lost"),
]  # fmt: skip

CUTS = [
    cut_in("chunked", Reset(), "connection_lost"),
    cut_in("chunked", Close(), "connection_lost"),
    cut_in("content_length", Reset(), "connection_lost"),
    cut_in("content_length", Close(), "connection_lost"),
    cut_in("close_delimited", Reset(), "connection_lost"),
    cut_in("close_delimited", Close(), "cut"),
    answered("a proper end without marker", stream_reply(HI), 6, "cut", "finish reason",
             text="Hi"),
    answered("a cut before any text", stream_reply(chunk(role="assistant"), Close()), 5,
             "connection_lost"),
    answered("a close right after the finish", stream_reply(HI, STOP, Close()), 0, text="Hi"),
    answered("gzip", zipped(gzip.compress(WHOLE)), 0, text="Hi"),
    answered("gzip, truncated", zipped(gzip.compress(LONG + WHOLE)[:-30]), 6, "cut"),
    answered("gzip, corrupt", zipped(gzip.compress(WHOLE)[:12] + b"\xff" * 40), 5,
             "connection_lost", "decompress"),
]  # fmt: skip

BODIES = [
    answered("an empty data line", stream_reply(b"data:\n\n", HI, b"data: \n\n", STOP, done()), 0,
             text="Hi"),
    answered("blocks without data", stream_reply(b"event: ping\n\nid: 7\n\nretry: 9\n\n", HI, STOP),
             0, text="Hi"),
    answered("malformed JSON before text", stream_reply(event("{oops"), STOP), 5,
             "malformed_stream", "no JSON"),
    answered("a choice that is no object", stream_reply(HI, chunk(choices=["x"])), 6,
             "malformed_stream", text="Hi"),
    answered("an error event before text", stream_reply(
        b'event: error\ndata: {"error": {"message": "no model x", "code": 404}}\n\n'), 4,
        "not_found", "no model x"),
    answered("a rate limit inside the stream", stream_reply(
        event({"error": {"message": "slow", "code": 429}})), 5, "rate_limited", "slow"),
    answered("HTML with 200", text_reply(200, "text/html; charset=utf-8", "<html>Login</html>"), 4,
             "not_an_api", "{host} answered with text/html"),
    answered("HTML with 502", text_reply(502, "text/html", "<h1>Bad gateway</h1>"), 5,
             "server_error", "{host} answered 502"),
    answered("a quota that is used up", error_reply(429, "Pay.", "insufficient_quota"), 4,
             "insufficient_quota", "Pay."),
]  # fmt: skip


@pytest.mark.parametrize("row", [*CONNECTIONS, *CUTS, *BODIES], ids=lambda row: row.name)
def test_a_fault_has_its_exit_code_line_output_events_and_record(
    program: Program, row: Row
) -> None:
    with row.server() as server:
        url = getattr(server, row.url)
        ask = ("ask", "--session", "s", "--retries", "0", "--base-url", url, "hello")
        plain = program.run(*ask)
        events = program.run(*ask, "--output-format", "ndjson")
        requests = getattr(server, "requests", None)
        assert requests is None or len(requests) in (0, 2)

    assert (plain.status, plain.code) == (row.status, row.code), plain.stderr
    host = url.removeprefix("https://").removeprefix("http://").removesuffix("/v1")
    assert row.says.format(host=host) in plain.stderr.decode()
    assert plain.stderr.count(b"\n") == (1 if row.code else 0)

    last = events.events[-1]
    text = row.text or (LONG_TEXT + "Hi")[: len(last["answer"])]
    assert (events.status, last["answer"], last.get("code", "")) == (row.status, text, row.code)
    assert last["type"] == ("error" if row.code else "end")
    assert last.get("exit_code", 0) == row.status
    newline = "" if row.code else "\n"
    assert plain.stdout.decode() == text + newline

    status = "complete" if not row.code else "partial" if text else "failed"
    for record in program.records("s"):
        assert (record["status"], record["answer"]) == (status, text)
        assert (record["error"] or {}).get("code", "") == row.code
    assert len(program.records("s")) == 2
    assert program.spools() == []


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_three_times_and_then_exits_5(program: Program, status: int) -> None:
    with ChatServer(error_reply(status, "Busy.", headers={"retry-after-ms": "5"})) as server:
        result = program.run("ask", "--base-url", server.url, "-v", "hello")
        assert len(server.requests) == 3
    assert (result.status, result.stdout) == (5, b"")
    assert result.stderr.count(b"trying again in 0.005 s") == 2
    assert b"Busy." in result.stderr


@pytest.mark.parametrize(("status", "code"), [(400, 4), (401, 3), (403, 3), (404, 4), (413, 4)])
def test_what_will_not_pass_is_not_tried_again(program: Program, status: int, code: int) -> None:
    with ChatServer(error_reply(status, "No.")) as server:
        result = program.run("ask", "--base-url", server.url, "hello")
        asked_usage = ["stream_options" in request.body for request in server.requests]
    assert result.status == code
    assert asked_usage == [True]


def test_a_lost_connection_is_tried_again_before_text_and_never_after_it(
    program: Program,
) -> None:
    with ChatServer([raw_reply(Reset()), stream_reply(HI, Reset()), answer("no")]) as server:
        result = program.run("ask", "--base-url", server.url, "hello")
        assert len(server.requests) == 2
    assert (result.status, result.stdout, result.code) == (6, b"Hi", "connection_lost")


def test_retry_after_is_obeyed_in_each_of_its_forms_up_to_the_deadline(program: Program) -> None:
    soon = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    late = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    replies = [
        error_reply(503, headers={"retry-after-ms": "20"}),
        error_reply(503, headers={"retry-after": "0.03"}),
        error_reply(503, headers={"retry-after": soon}),
        error_reply(503, headers={"retry-after": late}),
        answer("no"),
    ]
    with ChatServer(replies) as server:
        ask = ("ask", "--base-url", server.url, "--retries", "9", "--output-format", "ndjson")
        result = program.run(*ask, "--timeout", "60", "hello")
        assert len(server.requests) == 4
    waits = [each["wait_s"] for each in result.events if each["type"] == "retry"]
    assert waits[:2] == [0.02, 0.03]
    assert len(waits) == 3
    assert result.status == 5
    assert result.events[-1]["retryable"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_not_even_in_a_loop(program: Program, status: int) -> None:
    with ChatServer(redirect(status, "/v1/chat/completions")) as server:
        result = program.run("ask", "--base-url", server.url, "hello")
        assert len(server.requests) == 1
    assert (result.status, result.code) == (4, "redirected")


@pytest.mark.parametrize(
    ("key", "url", "status", "code"),
    [
        ("sk-a\nb", None, 3, "bad_key"),
        ("sk-ключ", None, 3, "bad_key"),
        ("sk with blanks", None, 3, "bad_key"),
        (None, "htp://127.0.0.1/v1", 2, "bad_option"),
        (None, "127.0.0.1:8080/v1", 2, "bad_option"),
        (None, "http://127.0.0.1:99999/v1", 2, "bad_option"),
        (None, "http:///v1", 2, "bad_option"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_sdk_sees_it(
    program: Program, key: str | None, url: str | None, status: int, code: str
) -> None:
    env = {"OPENAI_API_KEY": key} if key else {}
    result = program.run("ask", "--base-url", url or "http://127.0.0.1:1/v1", "hello", env=env)
    assert (result.status, result.code, result.stdout) == (status, code, b"")
    assert result.stderr.count(b"\n") == 1
    assert not key or key.encode() not in result.stderr


@pytest.mark.in_process(False)
def test_a_name_that_does_not_resolve_is_told(program: Program) -> None:
    ask = ("ask", "--base-url", "http://no-such-host.invalid/v1", "--retries", "0", "hello")
    result = program.run(*ask, env={"OPENAI_API_KEY": None, **program.without_names()})
    assert (result.status, result.code) == (5, "unknown_host")
    assert b"no-such-host.invalid" in result.stderr
