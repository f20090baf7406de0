"""`pipechat schema` describes what pipechat writes: all of it, and nothing that is broken."""

import json
from typing import Any, Literal

import jsonschema
import pytest

from pipechat.events import End, Error, Event, Fallback, Reasoning, Retry, Start, TextChunk
from pipechat.show.schema import MEANINGS, event_schema, hint_schema, turn_schema
from tests.history_kit import turn, write_session
from tests.program import Program
from tests.servers import ChatServer, error_reply

USAGE = {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1}
EVENTS: list[Event] = [
    Start("id", "2026-11-23T00:00:00Z", None, "m", 0, 0),
    Start("id", "2026-11-23T00:00:00Z", "work", "m", 2, 1),
    Start("id", "2026-11-23T00:00:00Z", "work", "m", 0, 0, replayed=True),
    Retry(1, 0.5, 429, "rate_limited"),
    Retry(2, 1, None, "network"),
    Fallback("local", "overloaded"),
    Reasoning("hm"),
    TextChunk(0, "so"),
    End(
        answer="so",
        finish_reason="stop",
        usage=USAGE,
        first_token_s=0.1,
        total_s=0.2,
        request_id="req_1",
    ),
    End(answer="", total_s=1),
    Error(
        status="partial",
        code="cut",
        exit_code=6,
        retryable=True,
        message="It was cut.",
        answer="s",
        first_token_s=0.1,
        total_s=0.2,
    ),
    Error(
        status="failed",
        code="no_key",
        exit_code=3,
        retryable=False,
        message="No key.",
        answer="",
        total_s=0.0,
    ),
]


def is_valid(schema: dict[str, Any], record: object) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(record)


@pytest.mark.parametrize("schema", [event_schema(), turn_schema()])
def test_the_schemas_are_themselves_valid(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_valid_and_every_key_of_it_described(event: Event) -> None:
    schema = event_schema()
    assert is_valid(schema, event.record())
    [own] = [one for one in schema["oneOf"] if one["title"] == event.record()["type"]]
    assert set(own["properties"]) == set(own["required"]) == set(event.record())
    assert all(value["description"] for value in own["properties"].values())


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_with_a_key_missing_or_of_another_type_is_rejected(event: Event) -> None:
    record = event.record()
    for key in record:
        assert not is_valid(event_schema(), {k: v for k, v in record.items() if k != key}), key
        if key != "json":  # which is any value
            assert not is_valid(event_schema(), {**record, key: [1]}), key


def test_an_unknown_event_is_rejected_and_an_unknown_key_allowed() -> None:
    record = EVENTS[-1].record()
    assert not is_valid(event_schema(), {**record, "type": "other"})
    assert not is_valid(event_schema(), {**record, "status": "complete"})
    assert is_valid(event_schema(), {**record, "new": 1})


def test_a_turn_is_valid_described_and_rejected_when_broken() -> None:
    schema = turn_schema()
    error = {"code": "cut", "message": "It was cut."}
    whole = turn(1, usage=USAGE, system="s").record()
    partial = turn(2, status="partial", error=error).record()
    assert is_valid(schema, whole)
    assert is_valid(schema, partial)
    assert set(schema["properties"]) == set(schema["required"]) == set(whole)
    for key in whole:
        assert not is_valid(schema, {k: v for k, v in whole.items() if k != key}), key
        assert not is_valid(schema, {**whole, key: [1]}), key
    assert not is_valid(schema, {**partial, "error": {"code": "cut"}})
    assert not is_valid(schema, {**whole, "status": "done"})
    assert is_valid(schema, {**whole, "new": 1})


def test_no_meaning_is_given_for_a_key_that_nobody_writes() -> None:
    used = {key for one in event_schema()["oneOf"] for key in one["properties"]}
    assert set(MEANINGS) == used | set(turn_schema()["properties"])


@pytest.mark.in_process
def test_what_the_program_writes_is_what_the_program_says_it_writes(program: Program) -> None:
    printed = [program.run("schema", what) for what in ("event", "turn")]
    assert [result.status for result in printed] == [0, 0]
    schemas = [json.loads(result.stdout) for result in printed]
    assert schemas == [event_schema(), turn_schema()]
    with ChatServer([error_reply(429), error_reply(429)]) as server:
        runs = [
            program.run("ask", "--offline", "--session", "w", "--output-format", "ndjson", "why?"),
            program.run(
                *("ask", "--base-url", server.url, "--session", "w", "--retries", "0"),
                *("--output-format", "ndjson", "why?"),
            ),
        ]
    assert [result.status for result in runs] == [0, 5]
    events = [event for result in runs for event in result.events]
    assert {event["type"] for event in events} >= {"start", "chunk", "end", "error"}
    assert all(is_valid(schemas[0], event) for event in events)
    assert all(is_valid(schemas[1], record) for record in program.records("w"))
    assert len(program.records("w")) == 2


@pytest.mark.in_process
def test_an_unknown_schema_exits_2(program: Program) -> None:
    result = program.run("schema", "batches")
    assert (result.status, result.code, result.stdout) == (2, "bad_option", b"")


def test_a_type_that_json_has_not_is_told_when_the_schema_is_made() -> None:
    assert hint_schema(Literal["a", "b"] | None) == {
        "anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]
    }
    with pytest.raises(TypeError, match="no schema for"):
        hint_schema(set[str])


def test_records_of_the_kit_are_as_those_of_the_program(program: Program) -> None:
    path = write_session(program, "w", [turn(1)])
    assert is_valid(turn_schema(), json.loads(path.read_bytes()))


@pytest.mark.in_process
@pytest.mark.parametrize(
    "arguments",
    [
        ("schema", "turn"),
        ("schema", "event"),
        *((*command, "--help") for command in ((), ("ask",), ("chat",), ("history",), ("schema",))),
    ],
)
def test_what_is_printed_refers_to_nothing_that_a_user_has_not(
    program: Program, arguments: tuple[str, ...]
) -> None:
    shown = program.run(*arguments).stdout.decode()
    assert shown
    assert not [word for word in ("DESIGN", "FAULTS", "WIRE", "§") if word in shown]
