"""What decides in a batch at the provider, by itself: steps, splitting, what a batch says, and
what a line of its results is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.batch.job import BatchJob, Part, Splitter
from pipechat.batch.job_files import KeptItem
from pipechat.batch.results import Results
from pipechat.batch.seen import BatchError, Seen
from pipechat.batch.standing import Standing
from pipechat.messages import Turn
from pipechat.settings.resolve import resolve_settings
from tests.servers import completion

ITEM = KeptItem("c1", "one", "ab" * 32, "019a0000-0000-7000-8000-000000000001", "why?", None)
PART = Part(1, "m", 2, 100, "2026-11-25T00:00:00.000Z")


def results() -> Results:
    settings = resolve_settings({"base_url": "http://127.0.0.1:1/v1"}, {}, {})
    return Results(settings, None, "m", PART.time)


def turn_of(**line: Any) -> Turn:
    return results().turn(ITEM, {"custom_id": "c1", "response": None, "error": None} | line)


def test_a_part_is_created_once_its_batch_is_known_and_not_before() -> None:
    steps = [PART]
    steps.append(steps[-1].begins("uploading"))
    steps.append(steps[-1].uploaded("file-1"))
    steps.append(steps[-1].begins("creating"))
    steps.append(steps[-1].created("batch_1"))
    steps.append(steps[-1].fetched(1, 1))
    assert [part.is_uploaded for part in steps] == [False, False, True, True, True, True]
    assert [part.is_created for part in steps] == [False] * 4 + [True, True]
    assert [part.is_fetched for part in steps] == [False] * 5 + [True]
    for part in steps:
        job = BatchJob("j", "http://x/v1", 1.0).adding([part])
        assert BatchJob.from_record(json.loads(json.dumps(job.record()))) == job
        assert job.held_items == (0 if part.is_fetched else 2)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"v": 2},
        {"v": 1, "job": "j"},
        {"v": 1, "job": "j", "endpoint": "", "since": 1, "last": 1, "parts": [{"number": 1}]},
        BatchJob("j", "", 1.0).adding([PART.begins("eaten")]).record(),  # type: ignore[arg-type]  # because it is wrong
    ],
)
def test_what_is_no_job_is_told_apart(record: object) -> None:
    with pytest.raises(ValueError, match=r"job|step"):
        BatchJob.from_record(record)


def test_a_number_that_a_part_had_is_never_given_again() -> None:
    job = BatchJob("j", "", 1.0).adding([PART, PART.__class__(2, "m", 1, 1, "")])
    assert job.without(2).last == 2
    assert job.without(1, 2).parts == ()


@given(
    requests=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 10)), max_size=60),
    most_requests=st.integers(1, 5),
    most_bytes=st.integers(10, 30),
)
def test_no_part_is_of_two_models_or_beyond_a_limit(
    requests: list[tuple[str, int]], most_requests: int, most_bytes: int
) -> None:
    splitter = Splitter(7, most_requests, most_bytes)
    placed: dict[int, list[tuple[str, int]]] = {}
    for model, size in requests:
        placed.setdefault(splitter.place(model, size), []).append((model, size))
    for number, inside in placed.items():
        assert number >= 7
        assert len({model for model, _ in inside}) == 1
        assert len(inside) <= most_requests
        assert sum(size for _, size in inside) <= most_bytes
    assert sorted(placed) == list(range(7, 7 + len(placed)))


@pytest.mark.parametrize(
    ("batch", "then"),
    [
        ({"status": "validating"}, "wait"),
        ({"status": "in_progress", "request_counts": {"completed": 3}}, "wait"),
        ({"status": "finalizing", "output_file_id": "file-1"}, "wait"),
        ({"status": "cancelling"}, "wait"),
        ({"status": "a new word"}, "wait"),
        ({}, "wait"),
        ({"status": "completed", "output_file_id": "file-1"}, "read"),
        ({"status": "completed", "request_counts": {"completed": 1}}, "late"),
        ({"status": "completed", "output_file_id": "", "request_counts": {"completed": 1}}, "late"),
        ({"status": "expired", "request_counts": {"completed": 2}}, "late"),
        ({"status": "cancelled", "request_counts": {"completed": 2}}, "late"),
        ({"status": "completed", "request_counts": {"completed": 0, "failed": 3}}, "read"),
        ({"status": "failed", "errors": {"data": []}}, "read"),
        ({"status": "expired", "request_counts": None}, "read"),
    ],
)
def test_a_batch_is_read_at_its_end_and_once_its_answers_are_there(
    batch: dict[str, Any], then: str
) -> None:
    assert Seen.of(batch).next() == then


@pytest.mark.parametrize("nothing", [None, "", 0, [], {}, ".", "..", "a\nb", "x" * 513])
def test_what_names_no_file_is_none(nothing: object) -> None:
    seen = Seen.of({"status": "completed", "output_file_id": nothing, "error_file_id": nothing})
    assert (seen.output_file_id, seen.error_file_id) == (None, None)


ERRORS = {
    "data": [
        {"code": "bad_line", "message": "Line 2 is bad.", "line": 2},
        {"code": "token_limit_exceeded", "message": "Enqueued.", "line": None},
    ]
}


@pytest.mark.parametrize(
    ("batch", "line", "code"),
    [
        ({"status": "expired"}, 1, "expired"),
        ({"status": "cancelled"}, 1, "cancelled"),
        ({"status": "completed"}, 1, "no_result"),
        ({"status": "failed"}, 1, "batch_failed"),
        ({"status": "failed", "errors": ERRORS}, 1, "token_limit_exceeded"),
        ({"status": "failed", "errors": ERRORS}, 2, "bad_line"),
        ({"status": "failed", "errors": {"data": ERRORS["data"][:1]}}, 1, "batch_failed"),
        ({"status": "failed", "errors": [{"message": "No."}]}, 1, "batch_failed"),
    ],
)
def test_an_item_without_a_result_says_why(batch: dict[str, Any], line: int, code: str) -> None:
    why = Seen.of(batch).why_no_result(line)
    assert why.code == code
    assert why.message
    turn = results().failed(ITEM, why)
    assert (turn.status, turn.error) == ("failed", {"code": code, "message": why.message})


def test_a_whole_answer_is_a_complete_turn_of_its_item() -> None:
    turn = turn_of(response={"status_code": 200, "request_id": "r", "body": completion("yes")})
    assert (turn.status, turn.answer, turn.finish_reason) == ("complete", "yes", "stop")
    assert (turn.item, turn.attempts, turn.request) == ("one", 1, "ab" * 32)
    assert (turn.id, turn.question, turn.request_id) == (ITEM.turn, "why?", "r")
    assert turn.usage is not None
    assert (turn.total_s, turn.first_token_s) == (None, None)


ERROR = {"error": {"message": "No.", "code": None}}


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ({"response": {"status_code": 200, "body": completion("y", finish_reason="length")}},
         "partial", "truncated"),
        ({"response": {"status_code": 200, "body": completion("", finish_reason="refusal")}},
         "failed", "refused"),
        ({"response": {"status_code": 400, "body": ERROR}}, "failed", "bad_request"),
        ({"response": {"status_code": 429, "body": ERROR}}, "failed", "rate_limited"),
        ({"response": {"status_code": 500, "body": None}}, "failed", "server_error"),
        ({"response": {"status_code": 401, "body": ERROR}}, "failed", "unauthorized"),
        ({"response": {"body": ERROR}}, "failed", "server_error"),
        ({"response": {"status_code": 0, "body": ERROR}}, "failed", "server_error"),
        ({"response": {"status_code": 200, "body": {}}}, "failed", "malformed_stream"),
        ({"response": {"status_code": 200, "body": "<html>"}}, "failed", "not_an_api"),
        ({"error": {"code": "batch_expired", "message": "Late."}}, "failed", "expired"),
        ({"error": {"code": "batch_cancelled", "message": "Gone."}}, "failed", "cancelled"),
        ({"error": {"code": "odd_thing", "message": "Odd."}}, "failed", "odd_thing"),
        ({"error": {"code": 500, "message": "Five."}}, "failed", "server_error"),
        ({"error": "just words"}, "failed", "server_error"),
        ({}, "failed", "no_result"),
    ],
)  # fmt: skip
def test_what_is_no_whole_answer_says_what_happened(
    line: dict[str, Any], status: str, code: str
) -> None:
    turn = turn_of(**line)
    assert turn.error is not None
    assert (turn.status, turn.error["code"]) == (status, code)


def test_a_key_that_the_provider_echoes_is_in_no_record() -> None:
    key = "sk-echo-1234567890"
    settings = resolve_settings({}, {"OPENAI_API_KEY": key}, {})
    reader = Results(settings, None, "m", PART.time)
    body = {"error": {"message": f"Incorrect key {key}."}}
    lines: list[dict[str, Any]] = [
        {"response": {"status_code": 401, "body": body}},
        {"response": {"status_code": 200, "request_id": key, "body": completion("y")}},
        {"error": {"code": "x", "message": f"the key {key} is bad"}},
    ]
    turns = [reader.turn(ITEM, line) for line in lines]
    turns.append(reader.failed(ITEM, BatchError("x", f"with {key}")))
    for turn in turns:
        assert key not in json.dumps(turn.record())


def test_a_part_is_told_in_a_line_and_as_json() -> None:
    batch = {"status": "in_progress", "expires_at": 0.5, "request_counts": {"completed": 1}}
    standing = Standing(PART.created("batch_1"), Seen.of(batch))
    assert standing.line() == (
        "part 1: in_progress, 1 of 2 done; m; expires 1970-01-01T00:00:00Z; batch_1"
    )
    assert standing.record()["state"] == "in_progress"
    assert Standing(PART).record()["state"] == "planned"
    assert Standing(PART, Seen.of({"expires_at": 1e300})).record()["expires"] is None
