"""What holds of either dialect, whatever a server says in it and however it is cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import PipechatError
from pipechat.wire.dialect import dialect_of
from pipechat.wire.sse import ServerEvent
from tests.properties import MODEST, any_text, cut, cut_points, outcome_of
from tests.servers import USAGE, Send
from tests.servers.dialects import (
    APIS,
    Begin,
    Done,
    End,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    said,
)

texts = any_text.filter(bool)
talk: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, texts),
    st.builds(Reasoning, texts),
    st.builds(Refusal, texts),
    st.sampled_from([Tool(), Begin(), b": c\n\n", b"data:\n\n"]),
)
ends = st.builds(
    End, st.sampled_from(["stop", "length", "content_filter"]), st.sampled_from([None, USAGE])
)


def ended(parts: tuple[list[Part], End | None]) -> list[Part]:
    """The parts of an answer, with the end that servers give to one of their kind."""
    said, end = parts
    if end is None:
        return said
    if Tool() in said and end.reason == "stop":
        end = End("tool_calls", end.usage)
    return [*said, end, Done()]


answers = st.tuples(st.lists(talk, max_size=6), st.none() | ends).map(ended)
"""What one answer may hold, which comes to its end or does not. An end of Chat Completions without
`[DONE]` is judged by what it stands beside, and that of the other dialect never is."""
noise = st.sampled_from(
    [b"data: {oops\n\n", b'data: {"error": "x"}\n\n', b"event: error\n", b"data: [DONE]\n\n"]
)


def streamed(api: str, parts: list[Part]) -> bytes:
    return b"".join(step.data for step in said(api, *parts) if isinstance(step, Send))


@MODEST
@given(answers)
def test_an_answer_comes_to_the_same_in_either_dialect(parts: list[Part]) -> None:
    chat, other = (outcome_of([streamed(api, parts)], api=api) for api in APIS)
    assert chat == other


@MODEST
@given(st.lists(talk | ends | noise, max_size=8), cut_points, st.sampled_from(["\n", "\r\n", "\r"]))
def test_how_the_bytes_of_a_response_were_cut_changes_nothing(
    parts: list[Part], points: list[int], newline: str
) -> None:
    stream = streamed("responses", parts).replace(b"\n", newline.encode())
    outcome = outcome_of([stream], api="responses")
    assert outcome_of(cut(stream, points), api="responses") == outcome
    assert outcome_of((bytes([byte]) for byte in stream), api="responses") == outcome
    assert outcome.text == outcome.terminal.answer


@pytest.mark.parametrize("done", [[], [Done()]], ids=["", "[DONE]"])
def test_a_response_cut_at_any_byte_is_whole_by_its_terminal_event_alone(
    done: list[Part],
) -> None:
    stream = streamed("responses", [Text("Grüße, "), Text("世界!"), End(usage=USAGE), *done])
    finished = stream.index(b"\n\n", stream.index(b"event: response.completed"))
    for at in range(len(stream)):
        outcome = outcome_of([stream[:at]], api="responses")
        assert "Grüße, 世界!".startswith(outcome.text)
        # A line that is cut at its end is all there.
        assert (outcome.terminal.status == "complete") == (at >= finished), at


keys = st.sampled_from(
    [
        "type", "response", "delta", "item", "output", "content", "text", "refusal", "summary",
        "part", "error", "message", "status", "incomplete_details", "reason", "usage", "code",
        "output_tokens", "output_index", "content_index", "summary_index", "detail", "base_resp",
    ]
)  # fmt: skip
kinds = st.sampled_from(
    [
        "response.output_text.delta", "response.refusal.delta", "response.reasoning_text.delta",
        "response.reasoning_summary_part.added", "response.output_item.added", "message",
        "response.output_item.done", "response.content_part.done",
        "response.output_text.done", "response.refusal.done", "response.completed", "completed",
        "response.incomplete", "response.failed", "response.created", "error", "ping", "reasoning",
        "output_text", "refusal", "incomplete", "function_call",
    ]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | kinds,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=16,
)


@MODEST
@given(st.lists(json_values, min_size=1, max_size=4), kinds)
def test_no_json_value_crashes_the_reader_of_responses(values: list[Any], kind: str) -> None:
    for wrap in (
        lambda value: value,
        lambda value: {"type": kind, "delta": value, "text": value, "item": value, "part": value},
        lambda value: {"type": "response.completed", "response": value},
        lambda value: {"type": "response.completed", "response": {"output": value}},
        lambda value: {"type": kind, "status": value, "output": [value], "usage": value},
    ):
        reader = dialect_of("responses").reader("host", {"max_output_tokens": values[0]})
        for value in values:
            data = json.dumps(wrap(value)).encode()
            try:
                chunks = [reader.event(ServerEvent(data, "")), *reader.document(data)]
            except PipechatError:
                continue
            for chunk in chunks:
                assert isinstance(chunk.text + chunk.reasoning, str)
                assert chunk.finish_reason is None or isinstance(chunk.finish_reason, str)
