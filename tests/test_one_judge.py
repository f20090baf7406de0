"""Whole or cut, sent again or not, and what a server's words may cost: kind by kind, end to end.

Each row runs in text and in ndjson: the same exit code, one line on stderr, one terminal event.
"""

import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pipechat.client import deadlines
from pipechat.client.deadlines import _AFTER_END_S
from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    Mark,
    Reply,
    Reset,
    Stall,
    Wait,
    answer,
    chunk,
    done,
    error_reply,
    event,
    http_reply,
    json_reply,
    sse,
    stream_reply,
    usage_chunk,
)

STOP = chunk(finish_reason="stop")
HI = chunk("Hi")
NO_RETRIES = ("--retries", "0")


@dataclass(frozen=True)
class Row:
    """What a server does, and what comes of it. `asked`: how many requests that takes."""

    name: str
    replies: Reply | Sequence[Reply]
    status: int = 0
    code: str = ""
    text: str = ""
    says: str = ""
    asked: int = 1
    flags: tuple[str, ...] = ()
    after_end_s: float = _AFTER_END_S


def in_choice(error: Any) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "error": error}])


REFUSES_USAGE = error_reply(400, "Unknown parameter: 'stream_options'.")
BUSY_AFTER = {"retry-after-ms": "5"}

SENT_AGAIN = [
    Row("never after text, where an error in the stream reads like a 400",
        [stream_reply(chunk("Once upon "), event({"error": {"message": "bad", "code": 400}})),
         answer("Once upon a time")], 6, "bad_request", "Once upon "),
    Row("never after text, where it reads like a refusal of stream_options",
        [stream_reply(chunk("Once "), event({"error": {
            "message": "stream_options is unknown", "code": 400}})), answer("no")],
        6, "bad_request", "Once "),
    Row("never after text, where it may be tried later",
        [stream_reply(chunk("Once "), event({"error": {"message": "slow", "code": 429}})),
         answer("no")], 6, "rate_limited", "Once "),
    Row("never after reasoning was shown",
        [stream_reply(chunk(delta={"reasoning_content": "hm"}),
                      event({"error": {"message": "slow", "code": 503}})), answer("no")],
        5, "server_error", says="slow"),
    Row("without stream_options where the refusal names it", [REFUSES_USAGE, answer("Yes.")],
        text="Yes.", asked=2, flags=NO_RETRIES),
    Row("without stream_options where a 422 points at it",
        [json_reply(422, {"detail": [{"loc": ["body", "stream_options"],
                                      "msg": "Extra inputs are not permitted"}]}),
         answer("Yes.")], text="Yes.", asked=2, flags=NO_RETRIES),
    Row("without stream_options where the refusal says nothing",
        [http_reply(400, b""), answer("Yes.")], text="Yes.", asked=2, flags=NO_RETRIES),
    Row("not where the refusal is about something else",
        [error_reply(400, "temperature must be below 2"), answer("no")], 4, "bad_request",
        says="temperature"),
    Row("not where the model is not there",
        [error_reply(400, "The model `x` does not exist"), answer("no")], 4, "not_found"),
    Row("not where the message is too long",
        [error_reply(400, "maximum context length is 10 tokens"), answer("no")], 4,
        "context_too_long"),
]  # fmt: skip

BUSY = event({"error": {"message": "busy", "code": 503}})
HAUNTED = [
    Row("a finish reason of a failed attempt", [stream_reply(STOP, BUSY),
        stream_reply(HI, Close())], 6, "connection_lost", "Hi", asked=2),
    Row("a length of a failed attempt", [stream_reply(chunk(finish_reason="length"), BUSY),
        answer("Whole.")], text="Whole.", asked=2),
    Row("a tool call of a failed attempt",
        [stream_reply(chunk(delta={"tool_calls": [{"index": 0}]}), BUSY), answer("Whole.")],
        text="Whole.", asked=2),
    Row("a refusal of a failed attempt", [stream_reply(chunk(delta={"refusal": "\ud83d"}), BUSY),
        answer("Whole.")], text="Whole.", asked=2),
    Row("a [DONE] after a stated null of a failed attempt",
        [stream_reply(chunk(role="assistant"), BUSY), stream_reply(chunk("Hi"))],
        6, "cut", "Hi", asked=2),
]  # fmt: skip


def stutter(*texts: str, end: bytes = b"") -> Reply:
    return stream_reply(*(chunk(text, finish_reason="stop") for text in texts), end)


NOT_WHOLE = [
    Row("stop on every chunk, cut by a clean close", stutter("a", "b"), 6, "cut", "ab"),
    Row("stop on every chunk, cut after the first", stutter("a"), 6, "cut", "a"),
    Row("the word null, then cut", stream_reply(chunk("a", finish_reason="null")), 6, "cut", "a"),
    Row("length, then stop beside the usage", stream_reply(
        HI, chunk(finish_reason="length"), chunk("", finish_reason="stop", usage={"a": 1}),
        done()), 6, "truncated", "Hi"),
    Row("an error inside the choice", stream_reply(HI, in_choice({"message": "up"}), done()), 6,
        "server_error", "Hi", "up"),
    *(Row(f"the reason {reason}", stream_reply(HI, chunk(finish_reason=reason), done()), 6, code,
          "Hi") for reason, code in (
        ("model_context_window_exceeded", "truncated"), ("max_output_tokens", "truncated"),
        ("insufficient_system_resource", "stream_error"), ("repetition_truncation", "cut"),
        ("recitation", "filtered"), ("SPII", "filtered"), ("no_such_reason", "unknown_finish"))),
    Row("stop on every chunk, an empty one among them, then a reset",
        stream_reply(chunk("a", finish_reason="stop"), chunk("b", finish_reason="stop"),
                     chunk("", finish_reason="stop"), Reset()), 6, "connection_lost", "ab"),
    Row("stop on every chunk, an empty one among them, then a close",
        stream_reply(chunk("a", finish_reason="stop"), chunk("", finish_reason="stop"), Close()),
        6, "connection_lost", "a"),
    Row("stop and usage on every chunk, then a clean close",
        stream_reply(chunk("a", finish_reason="stop"), usage_chunk(),
                     chunk("b", finish_reason="stop"), usage_chunk()), 6, "cut", "ab"),
    Row("stop before any text, then a close", stream_reply(
        chunk("", role="assistant", finish_reason="stop"), Close()), 5, "connection_lost",
        flags=NO_RETRIES),
    *(Row(f"words of an error in mid-stream: {list(said)}", stream_reply(
        chunk("Once"), event(said), done()), 6, code, "Once", says)
      for said, code, says in (
        ({"errors": [{"message": "overloaded"}], "success": False}, "server_error", "overloaded"),
        ({"choices": [], "message": "upstream failed", "code": 500}, "server_error", "upstream"),
        ({"status": 500, "title": "Internal Server Error"}, "server_error", "Internal"),
        ({"error": {}}, "server_error", "an error"),
        ({"what": "is this"}, "cut", "cut"))),
    Row("a refusal that comes as a part", stream_reply(
        chunk([{"type": "refusal", "refusal": "I can't."}]), STOP, done()), 6, "refused",
        "I can't."),
    Row("a text behind the stop, then cut", stream_reply(HI, STOP, chunk(" there")), 6, "cut",
        "Hi there"),
]  # fmt: skip

WHOLE = [
    Row("stop on every chunk, then [DONE]", stutter("a", "b", end=done()), text="ab"),
    Row("stop on every chunk and before the first, with pauses", stream_reply(
        chunk("", role="assistant", finish_reason="stop"), Wait(0.4),
        chunk("a", finish_reason="stop"), chunk("", finish_reason="stop"), Wait(0.4),
        chunk("b", finish_reason="stop"), done()), text="ab", after_end_s=0.2),
    Row("the shape of the older completions", stream_reply(
        chunk(choices=[{"index": 0, "text": "Hi", "finish_reason": None}]), STOP), text="Hi"),
    Row("stop on every chunk, with a pause longer than any timer",
        stream_reply(chunk("a", finish_reason="stop"), Wait(0.6), chunk("b", finish_reason="stop"),
                     done()), text="ab", after_end_s=0.2),
    Row("a stop beside the last text alone", stream_reply(HI, chunk("!", finish_reason="stop")),
        text="Hi!"),
    *(Row(f"the reason {reason}", stream_reply(HI, chunk(finish_reason=reason), done()),
          text="Hi") for reason in ("end_turn", "eos_token", "COMPLETED", "stop_sequence")),
]  # fmt: skip

FINAL = [
    *(Row(name, [json_reply(status, body), answer("no")], 4, code, says=says)
      for name, status, body, code, says in (
        ("no balance, by a number", 429, {"error": {"code": "1113", "message": "余额不足"}},
         "insufficient_quota", "余额不足"),
        ("no balance, by a word", 429, {"error": {"type": "insufficient_balance_error",
         "message": "pay"}}, "insufficient_quota", "pay"),
        ("no balance, by its message", 429, {"error": {"message":
         "Your account has insufficient balance"}}, "insufficient_quota", "insufficient balance"),
        ("a quota that is used up", 429, {"error": {"type": "exceeded_current_quota_error",
         "message": "over"}}, "insufficient_quota", "over"),
        ("a hard limit", 400, {"error": {"code": "billing_hard_limit_reached", "message": "x"}},
         "insufficient_quota", "x"),
        ("a request larger than the limit", 429, {"error": {"code": "rate_limit_exceeded",
         "message": "Request too large: Limit 30000, Requested 35,000."}}, "too_large", "35,000"),
        ("the same by 413", 413, {"error": {"code": "rate_limit_exceeded",
         "message": "limit 10, requested 11"}}, "too_large", "11"))),
    Row("a limit that is full for now", [error_reply(429, "Limit 3, Used 3, Requested 1",
        headers=BUSY_AFTER), answer("Yes.")], text="Yes.", asked=2),
]  # fmt: skip

BOUNDED = [
    Row("an error message of 400 kB that repeats the word model", error_reply(
        400, "model " * 70_000 + "!"), 4, "bad_request", says="model model"),
    Row("an error that nests 1,010 deep", http_reply(
        400, b'{"error":' * 1010 + b"1" + b"}" * 1010, content_type="application/json"), 4,
        "bad_request"),
    Row("an error zipped twice", http_reply(
        400, gzip.compress(gzip.compress(b"x" * 5_000_000)),
        headers={"content-encoding": "gzip"}), 4, "bad_request"),
    Row("content in parts within parts", stream_reply(HI, chunk(json.loads("[" * 90 + "]" * 90))),
        6, "malformed_stream", "Hi"),
    Row("an encoding that was not asked for", http_reply(
        200, sse(HI, STOP), content_type="text/event-stream", headers={"content-encoding": "br"}),
        5, "malformed_stream", says="br"),
    Row("a Retry-After that no clock knows", [error_reply(
        429, "Busy.", headers={"retry-after": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}),
        answer("Yes.")], text="Yes.", asked=2),
    Row("a Retry-After that is no date", [error_reply(503, headers={"retry-after": "soon, " * 9}),
        answer("Yes.")], text="Yes.", asked=2),
    Row("a Retry-After beyond any float", [error_reply(503, headers={"retry-after": "9" * 400}),
        answer("Yes.")], text="Yes.", asked=2),
]  # fmt: skip


@pytest.mark.in_process
@pytest.mark.parametrize(
    "row",
    [*SENT_AGAIN, *HAUNTED, *NOT_WHOLE, *WHOLE, *FINAL, *BOUNDED],
    ids=lambda row: ascii(row.name),
)
def test_an_answer_is_judged_once_and_asked_for_as_often_as_is_right(
    program: Program, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "_AFTER_END_S", row.after_end_s)
    for more in ((), ("--output-format", "ndjson")):
        with ChatServer(row.replies) as server:
            ask = ("ask", "--session", "s", "--base-url", server.url, *row.flags, *more, "hello")
            result = program.run(*ask)
            assert len(server.requests) == row.asked
        assert (result.status, result.code) == (row.status, row.code), result.stderr
        assert result.stderr.count(b"\n") == (1 if row.code else 0)
        assert row.says in result.stderr.decode() or not row.code
        assert len(result.stderr) < 1000
        if more:
            last = result.events[-1]
            assert (last["type"], last["answer"]) == ("error" if row.code else "end", row.text)
        else:
            assert result.stdout.decode() == row.text + ("" if row.code else "\n")
    statuses = {(turn["status"], turn["answer"]) for turn in program.records("s")}
    kept = "complete" if not row.code else "partial" if row.text else "failed"
    assert statuses == {(kept, row.text)}


@pytest.mark.in_process
@pytest.mark.parametrize(
    "key", ["1", "local", "token", "none", "prompt_tokens", "sk-no-key-required"]
)
def test_a_short_key_or_a_placeholder_breaks_nothing_that_holds_its_letters(
    program: Program, key: str
) -> None:
    with ChatServer(answer("1 local token.")) as server:
        url = server.url
        ask = ("ask", "--base-url", url, "--output-format", "ndjson", "hello")
        result = program.run(*ask, env={"OPENAI_API_KEY": key})
        refused = program.run("ask", "--base-url", "http://localhost:1/v1", "hello", *NO_RETRIES,
                              env={"OPENAI_API_KEY": key})  # fmt: skip
    last = result.events[-1]
    assert (result.status, last["answer"]) == (0, "1 local token.")
    assert set(last["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert (refused.status, refused.code) == (5, "connection_refused")
    assert b"localhost:1 refused" in refused.stderr


def test_a_reader_that_pauses_is_no_silent_server(program: Program) -> None:
    pieces = [event(chunk("x" * 60_000)) for _ in range(12)]
    script = stream_reply(*pieces, sse(STOP))
    with ChatServer(script) as server:
        ask = ("ask", "--no-stdin", "--base-url", server.url, "--idle-timeout", "0.7", "hello")
        process = program.start(*ask)
        server.wait_for_requests(1)
        time.sleep(1.5)  # the reader's pause, longer than the server may be silent
        result = program.finish(process)
    assert (result.status, len(result.stdout)) == (0, 12 * 60_000 + 1)


@pytest.mark.parametrize("after", [0.1, 0.4, 0.7])
def test_a_process_that_was_stopped_takes_what_came_meanwhile(
    program: Program, after: float
) -> None:
    sent = threading.Event()
    reply = stream_reply(HI, Wait(0.9), chunk("!"), STOP, done(), Mark(sent))
    with ChatServer(reply) as server:
        ask = ("ask", "--no-stdin", "--base-url", server.url, "--idle-timeout", "1.2", "hello")
        process = program.start(*ask)
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 2)
        time.sleep(after)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.3)  # longer than the server may be silent
        assert sent.wait(30)
        process.send_signal(signal.SIGCONT)
        result = program.finish(process)
    assert (result.status, result.stdout) == (0, b"!\n")


def test_comments_zipped_into_nothing_do_not_outlast_the_timeout(program: Program) -> None:
    flood = gzip.compress(b"data: {}\n\n" * 20_000_000, compresslevel=1)
    reply = http_reply(200, flood, Stall(), content_type="text/event-stream",
                       headers={"content-encoding": "gzip"}, length=len(flood) + 1)  # fmt: skip
    with ChatServer(reply) as server:
        ask = ("ask", "--base-url", server.url, "--timeout", "1", "--output-format", "json")
        process = program.start(*ask, "hello", stdin=subprocess.DEVNULL)
        result = program.finish(process)
    assert (result.status, result.events[-1]["code"]) == (5, "timeout")
    assert result.events[-1]["total_s"] < 5


@pytest.mark.in_process
def test_a_reason_that_the_user_vouches_for_is_whole(program: Program) -> None:
    (program.home / "config.toml").write_text('whole_reasons = ["Fini"]\n')
    with ChatServer(stream_reply(HI, chunk(finish_reason="fini"), done())) as server:
        result = program.run("ask", "--base-url", server.url, "hello")
    assert (result.status, result.stdout) == (0, b"Hi\n")
