"""Requests, records and ids: the shapes that servers and other programs see."""

import re
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat import jsonl
from pipechat.messages import ChatRequest, Message, Turn, new_turn_id, now
from pipechat.wire.chat_completions import ChatCompletions
from tests.properties import MODEST

KEYS = [
    "v", "id", "time", "status", "model", "system", "question", "answer", "finish_reason",
    "usage", "first_token_s", "total_s", "error", "request_id", "turn_tokens", "request",
    "schema", "files", "once", "item", "attempts", "api", "context",
]  # fmt: skip

maybe_text = st.none() | st.text(max_size=10)
seconds = st.none() | st.floats(0, 1e6)
turns = st.builds(
    Turn,
    id=st.text(max_size=5),
    time=st.text(max_size=5),
    status=st.sampled_from(["complete", "partial", "failed"]),
    model=st.text(max_size=5),
    question=st.text(max_size=20),
    answer=st.text(max_size=20),
    system=maybe_text,
    finish_reason=maybe_text,
    usage=st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 99), max_size=3),
    first_token_s=seconds,
    total_s=seconds,
    error=st.none() | st.fixed_dictionaries({"code": st.text(), "message": st.text()}),
    request_id=maybe_text,
    turn_tokens=st.none() | st.integers(0, 1 << 40),
    request=st.none() | st.text(),
    files=st.none() | st.just([{"name": "a", "bytes": 1}]),
    item=st.none() | st.text(),
    attempts=st.none() | st.integers(0, 99),
    context=st.none() | st.booleans(),
    schema=st.none() | st.just({"sha256": "0", "matched": True}),
)


@MODEST
@given(turns)
def test_a_turn_comes_back_from_its_record_through_json(turn: Turn) -> None:
    record = turn.record()
    assert list(record) == KEYS
    assert record["v"] == 1
    assert Turn.from_record(jsonl.loads_line(jsonl.dumps(record))) == turn
    assert Turn.from_record({**record, "later": [1]}) == turn


LEAST = {"id": "i", "status": "complete", "question": "q", "answer": "a"}


def test_a_record_of_only_what_is_needed_is_a_turn() -> None:
    turn = Turn.from_record(LEAST)
    assert (turn.question, turn.answer, turn.model, turn.time) == ("q", "a", "", "")
    assert Turn.from_record({**LEAST, "total_s": 3}).total_s == 3.0


@pytest.mark.parametrize(
    "record",
    [
        None, 7, "text", [LEAST], {},
        *({key: value for key, value in LEAST.items() if key != without} for without in LEAST),
        *({**LEAST, key: 7} for key in LEAST),
        {**LEAST, "status": "whole"}, {**LEAST, "status": []},
    ],
)  # fmt: skip
def test_what_is_no_turn_is_refused(record: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Turn.from_record(record)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 7) for key in ("time", "model", "system", "usage", "error")),
        *((key, "7") for key in ("first_token_s", "total_s", "turn_tokens", "usage")),
        *((key, True) for key in ("total_s", "turn_tokens")),
        ("turn_tokens", 1.5), ("total_s", 10**400), ("total_s", 1e300),
        ("first_token_s", -(10**400)),
    ],
)  # fmt: skip
def test_an_optional_field_of_another_type_reads_as_absent_and_drops_no_turn(
    key: str, value: object
) -> None:
    assert Turn.from_record({**LEAST, key: value}) == Turn.from_record(LEAST)


MESSAGES: list[Message] = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (ChatRequest("m", MESSAGES), {"stream": True, "stream_options": {"include_usage": True}}),
        (ChatRequest("m", MESSAGES, stream=False), {}),
        (ChatRequest("m", MESSAGES, stream=False, options={"temperature": 0, "stop": ["x"]}),
         {"temperature": 0, "stop": ["x"]}),
    ],
)  # fmt: skip
def test_a_request_is_its_model_messages_and_options(
    request_: ChatRequest, body: dict[str, Any]
) -> None:
    assert ChatCompletions().body(request_) == {"model": "m", "messages": MESSAGES, **body}


def test_ids_are_uuids_of_version_7_that_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1, 1_000_000, 2**60, 1_700_000_000_000_000_000, 1_700_000_000_001_000_000]
    ids = []
    for time_ns in times:
        monkeypatch.setattr(time, "time_ns", lambda time_ns=time_ns: time_ns)
        ids.append(new_turn_id())
        value = uuid.UUID(ids[-1])
        assert (value.version, value.variant) == (7, uuid.RFC_4122)
        assert value.int >> 80 == time_ns // 1_000_000
        assert str(value) == ids[-1]
    assert ids == sorted(ids)
    assert len({new_turn_id() for _ in range(1000)}) == 1000


def test_the_time_is_utc_to_the_millisecond() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())
