"""The three deadlines hold whatever a server, a handshake or a proxy does, or does not do."""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    FullBacklog,
    HttpProxy,
    RawServer,
    Reply,
    SocksProxy,
    Stall,
    Step,
    answer,
    chunk,
    drip,
    error_reply,
    event,
    http_reply,
    keep_alives,
    raw_reply,
    sse,
    stream_reply,
)
from tests.servers.peer import Peer

pytestmark = pytest.mark.in_process

SHORT_S = 0.4
# What a busy machine may add to a deadline, start-up included. The servers' own patience is
# longer, so a deadline that does not hold is seen.
SLACK_S = 15.0

TOTAL = ("--timeout", str(SHORT_S))
FIRST = ("--first-token-timeout", str(SHORT_S))
IDLE = ("--idle-timeout", str(SHORT_S))
HI = chunk("Hi")
ROLE = chunk("", role="assistant")
COMMENTS = keep_alives(every=0.02, times=1000)


class Flood(Step):
    """Comments without a pause, for ever."""

    async def play(self, peer: Peer) -> None:
        while True:
            await peer.send(b"1000\r\n" + b": kept\n\n" * 512 + b"\r\n")


@dataclass(frozen=True)
class Row:
    """A server that takes its time, the limit that is set, and what comes of it."""

    name: str
    server: Callable[[], Any]
    limit: tuple[str, ...]
    code: str
    text: str = ""
    https: bool = False
    alone: bool = False  # its thread waits on when the turn is over: only a process ends it

    @property
    def status(self) -> int:
        return 6 if self.text else 5


def slow(
    name: str, reply: Reply, limit: tuple[str, ...], code: str, text: str = "", **more: bool
) -> Row:
    return Row(name, lambda: ChatServer(reply), limit, code, text, **more)


ENDLESS = b"".join(event(chunk("x")) for _ in range(2000))
SILENT = raw_reply(Stall())

ROWS = [
    slow("headers never come", SILENT, TOTAL, "timeout"),
    slow("headers never come, first token", SILENT, FIRST, "first_token_timeout", alone=True),
    slow("headers drip", raw_reply(drip(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200, size=1,
                                        every=0.02)), TOTAL, "timeout"),
    slow("silence after the headers", stream_reply(Stall()), FIRST, "first_token_timeout"),
    slow("an error body without end", http_reply(500, b'{"error', Stall(), length=99), TOTAL,
         "timeout"),
    slow("a JSON document without end", http_reply(200, b'{"choices": [', Stall(), length=99),
         TOTAL, "timeout"),
    slow("comments only", stream_reply(COMMENTS), FIRST, "first_token_timeout"),
    slow("comments only, in all", stream_reply(COMMENTS), TOTAL, "timeout"),
    slow("a flood of comments", stream_reply(Flood()), TOTAL, "timeout"),
    slow("comments after text", stream_reply(HI, COMMENTS), IDLE, "idle_timeout", "Hi"),
    slow("comments after a role", stream_reply(ROLE, COMMENTS), IDLE, "idle_timeout"),
    slow("empty events after text", stream_reply(HI, b"data:\n\n", COMMENTS), IDLE, "idle_timeout",
         "Hi"),
    slow("silence after text", stream_reply(HI, Stall()), IDLE, "idle_timeout", "Hi"),
    slow("half an event after text", stream_reply(HI, b'data: {"ch', Stall()), IDLE,
         "idle_timeout", "Hi"),
    slow("a drip of bytes", stream_reply(HI, drip(event(chunk("y" * 2000)), size=1, every=0.02)),
         IDLE, "idle_timeout", "Hi"),
    slow("a drip of answers", stream_reply(drip(ENDLESS, size=350, every=0.02)), TOTAL, "timeout",
         "x"),
    Row("no answer to anything", lambda: RawServer(Stall()), TOTAL, "timeout"),
    Row("a full backlog", FullBacklog, TOTAL, "timeout"),
    Row("TLS that is never finished", lambda: RawServer(Stall()), TOTAL, "timeout", https=True),
    Row("TLS that is never finished, first token", lambda: RawServer(Stall()), FIRST,
        "first_token_timeout", https=True, alone=True),
]  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=pytest.mark.in_process(not row.alone), id=row.name) for row in ROWS],
)
def test_a_deadline_holds(program: Program, row: Row) -> None:
    with row.server() as server:
        url = server.https_url if row.https else server.url
        check(program, row, "--base-url", url)


@pytest.mark.in_process(False)
@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_a_deadline_holds_against_a_silent_proxy(
    program: Program, kind: Callable[..., Any], https: bool
) -> None:
    scheme = "https" if https else "http"
    with kind(mode="silent") as proxy:
        row = Row("a silent proxy", kind, TOTAL, "timeout")
        check(program, row, "--base-url", f"{scheme}://127.0.0.1:1/v1", "--proxy", proxy.url)


def check(program: Program, row: Row, *where: str) -> None:
    started = time.monotonic()
    ask = ("ask", "--session", "s", "--output-format", "ndjson", *where, *row.limit, "hello")
    result = program.run(*ask)
    took = time.monotonic() - started
    assert SHORT_S <= took < SHORT_S + SLACK_S
    last = result.events[-1]
    assert (result.status, result.code, last["code"]) == (row.status, row.code, row.code)
    assert last["retryable"]
    # The time-out counts what was gone before the request as well, `total_s` does not: how much
    # that is, is the machine's to say. That it is not early, `took` says, which began before both.
    assert last["total_s"] <= took
    if row.limit is TOTAL:
        assert f"within {SHORT_S:g} s" in last["message"]
    else:
        assert last["total_s"] >= SHORT_S * 0.99
    if row.text == "x":  # how much of a drip comes in time is chance
        assert set(last["answer"]) == {"x"}
        assert len(last["answer"]) < 2000
    else:
        assert last["answer"] == row.text
    assert [each["type"] for each in result.events].count("retry") == 0
    record = program.records("s")[0]
    assert (record["status"], record["answer"]) == (last["status"], last["answer"])
    assert program.spools() == []


def test_a_slow_answer_within_its_limits_is_whole(program: Program) -> None:
    text = "a b c d e f g h"
    with ChatServer(answer(text, pieces=8, gap=0.1)) as server:  # 1.1 s, 0.1 s of silence each
        limits = ("--timeout", "60", "--first-token-timeout", "30", "--idle-timeout", "20")
        result = program.run("ask", "--base-url", server.url, *limits, "hello")
        unlimited = ("--timeout", "0", "--first-token-timeout", "0", "--idle-timeout", "0")
        again = program.run("ask", "--base-url", server.url, *unlimited, "hello")
    assert result.stdout == again.stdout == text.encode() + b"\n"


def test_a_server_that_does_not_close_after_the_finish_holds_nobody_up(program: Program) -> None:
    whole = sse(HI, chunk(finish_reason="stop"), done=False)
    with ChatServer([stream_reply(whole, Stall()), stream_reply(whole, COMMENTS)]) as server:
        ask = ("ask", "--no-stdin", "--base-url", server.url, "--output-format", "json", "hello")
        for process in [program.start(*ask) for _ in range(2)]:
            result = program.finish(process)
            assert (result.status, result.events[-1]["answer"]) == (0, "Hi")


def test_retries_never_go_past_the_timeout(program: Program) -> None:
    with ChatServer(error_reply(503, headers={"retry-after-ms": "150"})) as server:
        limits = ("--retries", "1000", "--timeout", "1")
        ask = ("ask", "--base-url", server.url, *limits, "--output-format", "ndjson", "hello")
        result = program.run(*ask)
        times = [request.time for request in server.requests]
        assert times[-1] - times[0] < 10  # without a limit it would be 150 s
    # The limit passes while a request is under way, or forbids the next wait: both happen.
    assert result.status == 5
    assert result.events[-1]["code"] in ("server_error", "timeout")
    assert result.events[-1]["total_s"] < 10
    retries = [each["type"] for each in result.events].count("retry")
    assert retries > 0
    assert len(times) - retries in (0, 1)  # the last may not have left in time


def test_a_wait_that_would_pass_the_timeout_is_not_begun(program: Program) -> None:
    with ChatServer(error_reply(503, headers={"retry-after": "60"})) as server:
        ask = ("ask", "--base-url", server.url, "--timeout", "40", "--output-format", "ndjson")
        result = program.run(*ask, "hello")
        assert len(server.requests) == 1
    assert (result.status, result.events[-1]["code"]) == (5, "server_error")
    assert [event["type"] for event in result.events] == ["start", "error"]


def test_the_timeout_counts_from_the_first_request_not_from_the_last(program: Program) -> None:
    busy = error_reply(503, headers={"retry-after-ms": "300"})
    drips = stream_reply(drip(ENDLESS, size=350, every=0.02))
    with ChatServer([busy, drips]) as server:
        ask = ("ask", "--base-url", server.url, "--timeout", "1", "--output-format", "json")
        last = program.run(*ask, "hello").events[-1]
        first, second = (request.time for request in server.requests)
    assert last["code"] == "timeout"
    assert second - first > 0.3
    assert 0.9 <= last["total_s"] < 1.0 + (second - first)


@pytest.mark.in_process(False)
def test_waiting_for_a_busy_session_ends_at_the_timeout(program: Program) -> None:
    with ChatServer(stream_reply(HI, Stall())) as server:
        ask = ("ask", "hello", "--no-stdin", "--session", "s", "--base-url", server.url)
        holder = program.start(*ask, "--if-busy", "wait")
        server.wait_for_requests(1)
        waited = program.run(*ask, "--if-busy", "wait", "--timeout", str(SHORT_S))
        failed = program.run(*ask, "--if-busy", "fail")
        assert (waited.status, waited.code) == (failed.status, failed.code) == (9, "session_busy")
        assert b"and did not end in time. Try again when it has ended, or give" in waited.stderr
        assert b"or wait for it with --if-busy wait" in failed.stderr
        assert len(server.requests) == 1
        holder.terminate()
        assert program.finish(holder).status == 143
    assert [record["status"] for record in program.records("s")] == ["partial"]


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("pause_s", [1.5, 0.0])
def test_a_slow_reader_is_waited_for_beyond_the_timeout_and_the_server_not_blamed(
    program: Program, pause_s: float, output_format: str
) -> None:
    text = "word " * 400_000
    with ChatServer(answer(text, pieces=400)) as server:
        process = program.start(
            "ask", "--no-stdin", "--base-url", server.url, "--timeout", "1.2",
            "--output-format", output_format, "hello",
        )  # fmt: skip
        assert process.stdout is not None
        select.select([process.stdout], [], [])
        time.sleep(pause_s)  # the reader does something else
        result = program.finish(process)
    assert (result.status, result.stderr) == (0, b"")
    if output_format == "ndjson":
        assert (result.events[-1]["type"], result.events[-1]["answer"]) == ("end", text)
    else:
        assert result.stdout == text.encode() + b"\n"


def test_a_server_that_falls_silent_is_blamed_however_slow_the_reader_was(
    program: Program,
) -> None:
    with ChatServer(stream_reply(*[chunk("word " * 1000)] * 200, Stall())) as server:
        process = program.start(
            "ask", "--no-stdin", "--base-url", server.url, "--timeout", "1.2", "hello"
        )
        assert process.stdout is not None
        select.select([process.stdout], [], [])
        time.sleep(1.5)
        result = program.finish(process)
    assert (result.status, result.code) == (6, "timeout")
