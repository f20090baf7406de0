"""FAULTS §1 row by row, through the real program: exit code, stderr, stdout, events and record.

What servers say when all is well, and their error bodies, are in `test_wire_end_to_end.py`.
"""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    Framing,
    RawServer,
    RefusedPort,
    Reply,
    Reset,
    Send,
    Stall,
    Step,
    answer,
    chunk,
    error_reply,
    http_reply,
    raw_reply,
    redirect,
    self_signed,
    stream_reply,
)
from tests.servers.dialects import APIS, Begin, Done, End, Part, Reasoning, Text, said, spoken
from tests.wire_rows import Row, check, replied, stream

HI, STREAM = chunk("Hi"), "text/event-stream"


pytestmark = pytest.mark.in_process


def bare(name: str, server: Callable[[], Any], code: str, says: str = "", url: str = "url") -> Row:
    """A row of what is reached by no request."""
    return Row(name, None, "", 5, code, says=says, url=url, server=server)


def lost(name: str, reply: Reply) -> Row:
    return replied(name, reply, text="", status=5, code="connection_lost")


def broken(name: str, *parts: Part, **expected: Any) -> Row:
    return stream(name, *parts, status=6, **expected)


def cut_in(framing: Framing, ending: Step, code: str) -> Row:
    def reply(api: str) -> Reply:
        length = 9999 if "len" in framing else None
        return spoken(api, Text("Hi"), ending, framing=framing, length=length)

    return Row(f"{ending} inside {framing}", reply, status=6, code=code)


def zipped(name: str, *texts: str, change: Callable[[bytes], bytes], **expected: Any) -> Row:
    """A row of an answer that is compressed, and then changed."""

    def reply(api: str) -> Reply:
        steps = said(api, *map(Text, texts), End())
        data = b"".join(step.data for step in steps if isinstance(step, Send))
        headers = {"content-encoding": "gzip"}
        return http_reply(200, change(gzip.compress(data)), content_type=STREAM, headers=headers)

    return Row(name, reply, **expected)


LONG = [f"{number:x} " for number in range(40_000, 41_000)]

CONNECTIONS = [
    bare("nobody listens", RefusedPort, "connection_refused", "{host} refused"),
    lost("a reset before headers", raw_reply(Reset())),
    lost("a close before headers", raw_reply(Close())),
    bare("an untrusted certificate", lambda: ChatServer(answer("no"), tls=self_signed()),
         "bad_certificate", "self-signed"),
    bare("TLS to a port that has none", lambda: RawServer(b"HTTP/1.1 400 Bad\r\n\r\n", Close()),
         "connection_failed", "{host} speaks no TLS", "https_url"),
    bare("no HTTP at all", lambda: RawServer(b"SSH-2.0-OpenSSH_9.9\r\n", Close()),
         "connection_lost"),
    lost("a reset in the headers", raw_reply(b"HTTP/1.1 200 OK\r\nconte", Reset())),
    lost("headers without end", raw_reply(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, Close())),
]  # fmt: skip

CUTS = [
    cut_in("chunked", Reset(), "connection_lost"),
    cut_in("chunked", Close(), "connection_lost"),
    cut_in("content_length", Reset(), "connection_lost"),
    cut_in("content_length", Close(), "connection_lost"),
    cut_in("close_delimited", Reset(), "connection_lost"),
    cut_in("close_delimited", Close(), "cut"),
    broken("a proper end without marker", Text("Hi"), code="cut"),
    stream("a cut before any text", Begin(), Close(), text="", status=5, code="connection_lost"),
    broken("a cut after reasoning and text", Reasoning("hm"), Text("Hi"), Close(),
           code="connection_lost", reasoning="hm"),
    broken("silence", Text("Hi"), Stall(), code="idle_timeout", options=("--idle-timeout", "0.2")),
    stream("silence before any text", Begin(), Stall(), text="", status=5,
           code="first_token_timeout", options=("--first-token-timeout", "0.2")),
    stream("a close right after the end", Text("Hi"), End(), Close()),
    stream("silence after the end", Text("Hi"), End(), Done(), Stall()),
    zipped("gzip", "Hi", change=bytes),
    zipped("gzip, truncated", *LONG, change=lambda data: data[:-30], text="".join(LONG),
           status=6, code="cut", some=True),
    zipped("gzip, corrupt", "Hi", change=lambda data: data[:12] + b"\xff" * 40, text="",
           status=5, code="connection_lost", says="decompress"),
]  # fmt: skip


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("row", [*CONNECTIONS, *CUTS], ids=lambda row: row.name)
def test_a_fault_has_its_exit_code_line_output_events_and_record(
    program: Program, row: Row, api: str
) -> None:
    check(program, row, api)


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
