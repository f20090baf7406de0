"""Every shape of payload that WIRE.md has seen, as the chunk it means or the error it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import PipechatError
from pipechat.events import Chunk
from pipechat.wire.chat_completions import read_payload
from tests.properties import MODEST

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def choice(delta: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **more}]}


@pytest.mark.parametrize(
    ("payload", "chunk"),
    [
        # First chunks.
        (choice({"role": "assistant", "content": ""}), Chunk()),
        (choice({"role": "assistant", "content": None}), Chunk()),
        (choice({"role": "assistant"}), Chunk()),
        (choice({"role": "assistant", "content": "Hi"}), Chunk(text="Hi")),
        (choice({"content": "Hi"}), Chunk(text="Hi")),
        ({"id": "", "choices": []}, Chunk()),
        ({"choices": [{"index": 0}]}, Chunk()),
        (choice(None), Chunk()),
        (choice({}), Chunk()),
        ({}, Chunk()),
        ({"choices": None, "id": "x"}, Chunk()),
        # Content.
        (choice({"content": None}), Chunk()),
        (choice({"content": [{"type": "text", "text": "a"}, "b", {"type": "image"}]}),
         Chunk(text="ab")),
        (choice({"content": "a"}, finish_reason=None), Chunk(text="a")),
        (choice({"role": "assistant", "content": "a", "x": 1}, logprobs=None), Chunk(text="a")),
        (choice({"content": "\ud83d"}), Chunk(text="\ud83d")),
        (choice({"content": "data: [DONE]"}), Chunk(text="data: [DONE]")),
        # Reasoning, refusals, tools.
        (choice({"reasoning_content": "hm"}), Chunk(reasoning="hm")),
        (choice({"reasoning": "hm", "content": ""}), Chunk(reasoning="hm")),
        (choice({"reasoning_content": "a", "reasoning": "a"}), Chunk(reasoning="a")),
        (choice({"reasoning": None, "content": "x"}), Chunk(text="x")),
        (choice({"refusal": "No."}), Chunk(text="No.", refusal=True)),
        (choice({"content": "a", "refusal": None}), Chunk(text="a")),
        (choice({"tool_calls": [{"index": 0}]}), Chunk(tool_calls=True)),
        (choice({"function_call": {"name": "f"}}), Chunk(tool_calls=True)),
        (choice({"tool_calls": [], "content": "x"}), Chunk(text="x")),
        # Ends.
        (choice({}, finish_reason="stop"), Chunk(finish_reason="stop")),
        (choice({}, finish_reason=None), Chunk()),
        (choice({}, finish_reason=""), Chunk()),
        (choice({"content": "a"}, finish_reason="length"),
         Chunk(text="a", finish_reason="length")),
        # Usage, wherever it comes.
        ({"choices": [], "usage": USAGE}, Chunk(usage=USAGE)),
        ({"usage": USAGE}, Chunk(usage=USAGE)),
        ({"choices": [{"index": 1}], "usage": USAGE}, Chunk(usage=USAGE)),
        (choice({}, finish_reason="stop") | {"usage": USAGE},
         Chunk(finish_reason="stop", usage=USAGE)),
        (choice({"content": ""}) | {"usage": USAGE}, Chunk(usage=USAGE)),
        (choice({"content": "a"}) | {"usage": None}, Chunk(text="a")),
        (choice({"content": "a"}) | {"usage": "none"}, Chunk(text="a")),
        (choice({"content": "a"}) | {"usage": {}}, Chunk(text="a")),
        # Other choices than the first.
        ({"choices": [{"index": 1, "delta": {"content": "b"}}]}, Chunk()),
        ({"choices": [{"index": 1, "delta": {"content": "b"}},
                      {"index": 0, "delta": {"content": "a"}}]}, Chunk(text="a")),
        ({"choices": [{"index": None, "delta": {"content": "a"}}]}, Chunk(text="a")),
        # A whole completion.
        ({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal":
           None}, "finish_reason": "stop"}], "usage": USAGE},
         Chunk(text="Hi", finish_reason="stop", usage=USAGE)),
        # No errors.
        (choice({"content": "a"}) | {"error": None}, Chunk(text="a")),
        (choice({"content": "a"}) | {"message": "fine"}, Chunk(text="a")),
    ],
)  # fmt: skip
def test_every_shape_of_payload_is_read(payload: object, chunk: Chunk) -> None:
    assert read_payload(payload, host="host") == chunk


@pytest.mark.parametrize(
    "payload",
    [
        None, 7, "text", [], [1], True,
        {"choices": "a"}, {"choices": {"0": 1}}, {"choices": [1]}, {"choices": [None]},
        choice("text"), choice([1]), choice(7),
        choice({"content": 7}), choice({"content": {"text": "a"}}), choice({"content": [7]}),
        choice({"content": True}), choice({"role": "a", "content": 1.5}),
        choice({"refusal": 7}), choice({"reasoning": 7}), choice({}, finish_reason=7),
        choice({"content": "a"}, finish_reason={"reason": "stop"}),
    ],
)  # fmt: skip
def test_a_payload_of_other_types_is_malformed_and_not_sent_again(payload: object) -> None:
    with pytest.raises(PipechatError) as caught:
        read_payload(payload, host="host")
    assert (caught.value.code, int(caught.value.exit_code)) == ("malformed_stream", 5)
    assert not getattr(caught.value, "again", True)


@pytest.mark.parametrize(
    ("payload", "code", "exit_code", "message"),
    [
        ({"error": {"message": "boom", "code": 500}}, "server_error", 5, "boom"),
        ({"error": "boom"}, "server_error", 5, "boom"),
        ({"error": {"message": "slow down", "code": 429}}, "rate_limited", 5, "slow down"),
        ({"error": {"code": "insufficient_quota"}}, "insufficient_quota", 4, "an error"),
        ({"error": {"code": "402", "message": "Pay"}}, "insufficient_quota", 4, "Pay"),
        ({"error": {"code": 401, "message": "Bad"}}, "unauthorized", 3, "Bad"),
        ({"error": "the request exceeds the available context size"}, "context_too_long", 4, ""),
        (choice({"content": ""}, finish_reason="error") | {"error": {"message": "up"}},
         "server_error", 5, "up"),
        ({"object": "error", "message": "no", "code": 404}, "not_found", 4, "no"),
        ({"message": "bad input", "type": "invalid_request_error"}, "bad_request", 4, "bad input"),
        ({"detail": "nope"}, "server_error", 5, "nope"),
        ({"detail": [{"msg": "field required"}]}, "server_error", 5, "field required"),
    ],
)  # fmt: skip
def test_an_error_in_a_payload_is_the_error_it_names(
    payload: object, code: str, exit_code: int, message: str
) -> None:
    with pytest.raises(PipechatError) as caught:
        read_payload(payload, host="host:1")
    assert (caught.value.code, int(caught.value.exit_code)) == (code, exit_code)
    assert "host:1" in caught.value.message
    assert message in caught.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "choices", "delta", "message", "content", "index", "finish_reason", "usage",
                "error", "text", "role", "refusal", "reasoning", "tool_calls", "code", "type",
                "detail", "msg", "object", "status",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@MODEST
@given(json_values)
def test_no_json_value_crashes_the_reader(payload: object) -> None:
    for value in (payload, {"choices": [payload]}, choice(payload), {"error": payload}):
        try:
            chunk = read_payload(value, host="host")
        except PipechatError:
            continue
        assert isinstance(chunk.text, str)
        assert chunk.finish_reason is None or isinstance(chunk.finish_reason, str)
