"""What a 200 may hold (WIRE.md): the answer, status and usage it comes to, however it is cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import PipechatError
from pipechat.wire import body as body_module
from tests.properties import MODEST, Outcome, any_text, cut, cut_points, outcome_of

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(content: Any = None, *, usage: object = None, **choice: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    more = {} if usage is None else {"usage": usage}
    return event({"choices": [{"index": 0, "delta": delta, **choice}], **more})


def completion(**choice: Any) -> bytes:
    message = {"role": "assistant", "content": "whole"}
    return json.dumps({"choices": [{"message": message, **choice}], "usage": USAGE}).encode()


HI = chunk("H", finish_reason=None) + chunk("i", finish_reason=None)
BARE = chunk("H") + chunk("i")
STOP = chunk(finish_reason="stop")

WHOLE = {
    "the documented shape": HI + STOP + DONE,
    "no [DONE] after the finish": HI + STOP,
    "a stated null finish_reason, then [DONE]": HI + DONE,
    "usage after the finish": HI + STOP + event({"choices": [], "usage": USAGE}) + DONE,
    "usage in an empty choice": HI + STOP + chunk("", usage=USAGE) + DONE,
    "usage in the finish chunk": HI + chunk(finish_reason="stop", usage=USAGE),
    "usage in every chunk": chunk("H", usage={"a": 1}) + chunk("i", finish_reason="stop",
                                                             usage=USAGE),
    "missing keys but a finish": BARE + STOP + DONE,
    "an unknown finish": BARE + chunk(finish_reason="eos") + DONE,
    "content with the finish": chunk("H") + chunk("i", finish_reason="stop"),
    "CRLF": (HI + STOP + DONE).replace(b"\n", b"\r\n"),
    "CR": (HI + STOP + DONE).replace(b"\n", b"\r"),
    "a BOM": b"\xef\xbb\xbf" + HI + STOP + DONE,
    "a BOM and blank lines": b"\xef\xbb\xbf\n\r\n" + HI + STOP + DONE,
    "comments and fields": b": keep-alive\n\n" + HI.replace(b"data:", b"id: 1\ndata:")
    + b"retry: 3\n\nevent: ping\n\n: OPENROUTER PROCESSING\n" + STOP,
    "several data lines": HI.replace(b'{"index"', b'\ndata: {"index"') + STOP,
    "empty data lines": b"data:\n\ndata: \n\n" + HI + b"data:\n\n" + STOP + DONE,
    "invalid UTF-8 in a comment": b": \xff\xfe\n\n" + HI + STOP,
    "no last newline": (HI + STOP).rstrip(b"\n"),
    "what comes after [DONE]": HI + STOP + DONE + b"data: garbage\n\n" + chunk("no"),
    "blanks around [DONE]": HI + b"data:   [DONE] \n\n",
    "other events": b'event: ping\ndata: {"type": "ping"}\n\n' + HI + STOP,
}  # fmt: skip


@pytest.mark.parametrize("stream", WHOLE.values(), ids=WHOLE)
def test_a_whole_answer_is_complete_however_its_server_speaks(stream: bytes) -> None:
    outcome = outcome_of([stream])
    assert (outcome.text, outcome.terminal.answer) == ("Hi", "Hi")
    assert outcome.terminal.status == "complete"
    assert outcome.terminal.usage == (USAGE if b"total_tokens" in stream else None)
    assert outcome_of(bytes([byte]) for byte in stream) == outcome


def test_the_last_finish_reason_is_told() -> None:
    assert outcome_of([HI + STOP]).terminal.finish_reason == "stop"
    assert outcome_of([HI + DONE]).terminal.finish_reason is None


ENDS = {
    # stream: code, exit code, status, text
    "cut before any finish": (BARE, "cut", 6, "Hi"),
    "cut with stated nulls": (HI, "cut", 6, "Hi"),
    "no finish_reason key, then [DONE]": (BARE + DONE, "cut", 6, "Hi"),
    "a null once, missing since": (chunk("H", finish_reason=None) + chunk("i") + DONE, "cut", 6,
                                   "Hi"),
    "cut in the middle of an event": (HI + STOP[:-9], "cut", 6, "Hi"),
    "cut in [DONE]": (HI + b"data: [DON", "cut", 6, "Hi"),
    "length": (HI + chunk(finish_reason="length") + DONE, "truncated", 6, "Hi"),
    "content filter": (HI + chunk(finish_reason="content_filter") + DONE, "filtered", 6, "Hi"),
    "tool calls": (HI + chunk(finish_reason="tool_calls") + DONE, "tool_calls", 6, "Hi"),
    "finish error": (HI + chunk(finish_reason="error") + DONE, "stream_error", 6, "Hi"),
    "finish error, no text": (chunk(finish_reason="error") + DONE, "stream_error", 5, ""),
    "an error object after text": (HI + event({"error": {"message": "x", "code": 500}}),
                                   "server_error", 6, "Hi"),
    "an error object first": (event({"error": {"message": "x", "code": 429}}), "rate_limited", 5,
                              ""),
    "an error string": (event({"error": "overloaded"}), "server_error", 5, ""),
    "unescaped quotes": (b'data: {"error": "bad "thing" here"}\n\n', "server_error", 5, ""),
    "unescaped quotes, spaced": (b'data: { "error" : "bad "thing""}\n\n', "server_error", 5, ""),
    "unescaped quotes on context": (
        b'data: {"error":"the "context size" was exceeded"}\n\n', "context_too_long", 4, ""),
    "a context error by its words": (
        b'data: {"error":"the "prompt" exceeds the context size"}\n\n', "context_too_long", 4, ""),
    "event: error with an object": (b'event: error\ndata: {"error": {"message": "x"}}\n\n',
                                    "server_error", 5, ""),
    "event: error without a key": (b'event: error\ndata: {"message": "x", "code": 404}\n\n',
                                   "not_found", 4, ""),
    "event: error with words": (b"event: error\ndata: it broke\n\n", "server_error", 5, ""),
    "event: error with a string": (HI + b'event: error\ndata: "it broke"\n\n', "server_error", 6,
                                   "Hi"),
    "an error without a last newline": (HI + b'data: {"error": "x"}', "server_error", 6, "Hi"),
    "malformed JSON first": (b"data: {oops\n\n", "malformed_stream", 5, ""),
    "malformed JSON after text": (HI + b"data: {oops\n\n" + STOP, "malformed_stream", 6, "Hi"),
    "data that is no object": (HI + b"data: 7\n\n", "malformed_stream", 6, "Hi"),
    "nothing": (b"", "no_answer", 5, ""),
    "white space": (b"\n\r\n  \n", "no_answer", 5, ""),
    "comments alone": (b": keep-alive\n\n" * 3, "no_answer", 5, ""),
    "[DONE] alone": (DONE, "no_answer", 5, ""),
    "a role and no more": (event({"choices": [{"delta": {"role": "assistant"}}]}), "no_answer", 5,
                           ""),
    "usage alone": (event({"choices": [], "usage": USAGE}) + DONE, "no_answer", 5, ""),
    "HTML": (b"<!DOCTYPE html><title>502</title>", "not_an_api", 4, ""),
    "a JSON error": (b'{"error": {"message": "x", "code": "model_not_found"}}', "not_found", 4, ""),
    "a JSON error string": (b'{"error": "busy"}', "server_error", 5, ""),
    "a JSON error with unescaped quotes": (b'{"error": "the "context size" is 5"}',
                                           "context_too_long", 4, ""),
    "a JSON detail": (b'{"detail": "Not Found"}', "server_error", 5, ""),
    "JSON that is no completion": (b'{"models": []}', "malformed_stream", 5, ""),
    "a JSON list": (b"[]", "malformed_stream", 5, ""),
    "broken JSON": (b'{"choices": [', "malformed_stream", 5, ""),
    "a completion cut by length": (completion(finish_reason="length"), "truncated", 6, "whole"),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "code", "exit_code", "text"), ENDS.values(), ids=ENDS)
def test_what_is_no_whole_answer_never_looks_whole(
    stream: bytes, code: str, exit_code: int, text: str
) -> None:
    outcome = outcome_of([stream])
    assert (outcome.error.code, outcome.error.exit_code) == (code, exit_code)
    assert outcome.text == outcome.error.answer == text
    assert outcome.error.status == ("partial" if text else "failed")
    assert outcome_of(bytes([byte]) for byte in stream) == outcome


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"hello there", "not_an_api"), (b"\xef\xbb", "not_an_api"), (b"ok\n\n", "not_an_api"),
     (b"\xef\xbb\xbf", "no_answer"), (b" \n", "no_answer")],
)  # fmt: skip
@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", ""])
def test_garbage_that_is_called_no_stream_is_no_api(
    data: bytes, code: str, content_type: str
) -> None:
    assert outcome_of([data], content_type=content_type).error.code == code


def test_a_stream_under_another_content_type_is_still_a_stream() -> None:
    outcome = outcome_of([HI + STOP], content_type="application/json")
    assert (outcome.terminal.status, outcome.text) == ("complete", "Hi")
    for content_type in ("Text/Event-Stream", "text/event-stream; charset=utf-8"):
        assert outcome_of([b"garbage"], content_type=content_type).error.code == "no_answer"


@pytest.mark.parametrize(
    "data",
    [
        completion(finish_reason="stop"),
        completion(finish_reason=None),
        completion(),
        b"\xef\xbb\xbf \n" + completion(finish_reason="stop") + b"\n",
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_a_whole_completion_where_a_stream_was_asked_for_is_an_answer(
    data: bytes, content_type: str
) -> None:
    outcome = outcome_of(cut(data, [1, 2, 3, 9]), content_type=content_type)
    assert (outcome.terminal.status, outcome.text) == ("complete", "whole")
    assert outcome.terminal.usage == USAGE


def test_a_json_document_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "MAX_EVENT_BYTES", 100)
    outcome = outcome_of([b'{"a": "', *([b"x" * 30] * 9)])
    assert outcome.error.code == "malformed_stream"


def test_a_line_of_several_megabytes_is_an_answer() -> None:
    text = "\N{HEAVY BLACK HEART}x" * (1 << 20)
    data = chunk(text) + STOP
    outcome = outcome_of(data[start : start + 65536] for start in range(0, len(data), 65536))
    assert (outcome.terminal.status, outcome.text == text) == ("complete", True)


@pytest.mark.parametrize(
    "text",
    ["data: [DONE]", "a\u2028b\u2029c\u0085d", "\x00\x1b[2J\ufffd", "\r\n\r\n", "\n\ndata: x\n\n",
     "\U0001f469\u200d\U0001f4bb e\u0301", "[DONE]"],
)  # fmt: skip
@pytest.mark.parametrize("escaped", [True, False])
def test_any_text_comes_through_raw_or_escaped(text: str, escaped: bool) -> None:
    value = {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}
    data = f"data: {json.dumps(value, ensure_ascii=escaped)}\n\n".encode() + DONE
    for segments in ([data], [bytes([byte]) for byte in data]):
        outcome = outcome_of(segments)
        assert (outcome.text, outcome.terminal.status) == (text, "complete")


def test_invalid_utf_8_in_a_text_is_replaced_and_no_crash() -> None:
    data = b'data: {"choices": [{"delta": {"content": "a\xffb"}, "finish_reason": "stop"}]}\n\n'
    assert outcome_of([data]).text == "a\ufffdb"


pieces = st.lists(
    st.one_of(
        any_text.map(chunk),
        any_text.map(lambda text: chunk(text, finish_reason=None)),
        st.sampled_from(
            [STOP, DONE, b": c\n\n", b"data:\n\n", chunk(finish_reason="length"),
             event({"choices": [], "usage": USAGE}), event({"error": "x"}), b"data: {oops\n\n",
             event({"choices": [{"delta": {"reasoning": "hm \ud83d"}}]}), b"event: error\n"]
        ),
    ),
    max_size=8,
).map(b"".join)  # fmt: skip


@MODEST
@given(pieces, cut_points, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_how_the_bytes_were_cut_changes_neither_answer_nor_status_nor_usage(
    stream: bytes, points: list[int], newline: bytes, bom: bool
) -> None:
    stream = (b"\xef\xbb\xbf" if bom else b"") + stream.replace(b"\n", newline)
    outcome = outcome_of([stream])
    assert outcome_of(cut(stream, points)) == outcome
    assert outcome_of(bytes([byte]) for byte in stream) == outcome
    assert outcome.text == outcome.terminal.answer
    outcome.text.encode()


@MODEST
@given(pieces, st.integers(0, 1 << 16))
def test_a_stream_that_ends_early_shows_a_prefix_and_is_whole_only_by_its_own_word(
    stream: bytes, at: int
) -> None:
    part = stream[: at % (len(stream) + 1)]
    whole, early = outcome_of([stream]), outcome_of([part])
    assert whole.text.startswith(early.text.rstrip("\ufffd"))
    if early.terminal.status == "complete":
        assert b'"finish_reason": ' in part


@MODEST
@given(st.binary(max_size=200), st.sampled_from(["", "text/event-stream", "application/json"]))
def test_no_bytes_crash_the_reader(data: bytes, content_type: str) -> None:
    for prefix in (b"", b"data: ", b"{", HI + b"data: "):
        outcome = outcome_of([prefix + data], content_type=content_type)
        assert isinstance(outcome, Outcome)
        outcome.text.encode()


def test_what_the_connection_raises_passes_through_with_the_text_kept() -> None:
    def segments() -> Any:
        yield HI
        raise PipechatError("lost", "the line went dead")

    assert outcome_of(segments()).error.answer == "Hi"
