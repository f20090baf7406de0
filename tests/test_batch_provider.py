"""The provider's own batch engine, end to end: nothing is created twice and no answer is lost,
whatever fails on the way. That it holds where the process is killed is test_batch_kills.py's."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipechat.batch.job import Splitter
from tests.program import PLANTED_KEY, Program, Result
from tests.servers import Batches, Call, ChatServer, Trouble, answered, expired, refused

pytestmark = pytest.mark.in_process

QUESTIONS = ("one", "two", "three", "four")


class Desk:
    """A folder with an input, and the program at a provider with a batch engine."""

    def __init__(self, folder: Path, program: Program, batches: Batches, url: str) -> None:
        self.folder = folder
        self.program = program
        self.batches = batches
        self.url = url
        self.items(*({"id": question, "question": question} for question in QUESTIONS))

    def items(self, *items: Any) -> None:
        lines = (each if isinstance(each, str) else json.dumps(each) for each in items)
        (self.folder / "in.ndjson").write_text("".join(f"{line}\n" for line in lines))

    def run(self, *arguments: str, env: dict[str, str | None] | None = None) -> Result:
        environ = {"OPENAI_BASE_URL": self.url, **(env or {})}
        if arguments[0] == "run":  # its event loop takes the signals of a whole process
            return Program.run(
                self.program, "batch", *arguments, env=environ, cwd=self.folder, events=False
            )
        return self.program.run("batch", *arguments, env=environ, cwd=self.folder)

    def submit(self, *more: str) -> Result:
        return self.run("submit", "in.ndjson", "-o", "out.jsonl", *more)

    def fetch(self, *more: str) -> Result:
        return self.run("fetch", "out.jsonl", *more)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_bytes().splitlines()]

    def outcome(self) -> dict[str, str]:
        """Of each item, how its one record says it ended."""
        records = self.records()
        assert max(Counter(each["item"] for each in records).values()) == 1, "a record is doubled"
        return {
            each["item"]: each["error"]["code"] if each["error"] else each["status"]
            for each in records
        }

    def asked(self) -> list[str]:
        """The questions that were asked, in all batches."""
        return sorted(line["body"]["messages"][-1]["content"] for line in self.batches.asked)

    def left(self) -> list[str]:
        """The files beside the output."""
        return sorted(path.name for path in self.folder.glob("*out.jsonl*"))


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked for again, or waited for, is so after 10 ms."""
    monkeypatch.setattr("pipechat.batch.fetching.backoff_s", lambda *_: 0.01)
    monkeypatch.setattr("pipechat.batch.fetching._FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("pipechat.batch.submitting._LOOKS_AGAIN_S", (0.01, 0.01, 0.01))


@pytest.fixture(autouse=True)
def _shorter_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_waits(monkeypatch)


@contextmanager
def a_desk(folder: Path, program: Program) -> Iterator[Desk]:
    """One in a folder of its own below `folder`."""
    own = folder / "desk"
    own.mkdir()
    batches = Batches()
    with ChatServer(batches) as server:
        yield Desk(own, program, batches, server.url)


@pytest.fixture
def desk(tmp_path: Path, program: Program) -> Iterator[Desk]:
    with a_desk(tmp_path, program) as desk:
        yield desk


ALL_COMPLETE = dict.fromkeys(QUESTIONS, "complete")


def test_what_is_submitted_is_fetched_as_the_records_of_a_run(desk: Desk) -> None:
    desk.items({"id": "a", "question": "one", "system": "Be brief.", "options": {"seed": 1}},
               {"id": "b", "question": "two", "model": "other"}, {"question": "three"})  # fmt: skip
    desk.batches.backwards = True
    assert desk.submit("-t", "0.5").status == 0
    assert desk.fetch().status == 0
    there = {record["item"]: record for record in desk.records()}
    again = desk.run("run", "in.ndjson", "-o", "run.jsonl", "-t", "0.5")
    assert again.status == 0
    for line in (desk.folder / "run.jsonl").read_bytes().splitlines():
        mine = json.loads(line)
        other = there.pop(mine["item"])
        for differs in ("id", "time", "first_token_s", "total_s", "request_id", "usage",
                        "turn_tokens"):  # fmt: skip
            mine.pop(differs), other.pop(differs)
        assert other == mine
    assert there == {}


def test_the_file_that_is_uploaded_is_as_the_api_wants_it(desk: Desk) -> None:
    desk.items({"id": "a", "question": "one", "system": "Be brief."})
    desk.submit("--max-tokens", "5")
    assert desk.batches.asked == [
        {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "gpt-5.4-mini",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "one"},
                ],
                "max_tokens": 5,
            },
        }
    ]


def test_every_item_is_checked_and_what_is_none_fails_alone(desk: Desk) -> None:
    desk.items({"id": "a", "question": "one"}, "zzz", {"id": "s", "question": "x", "session": "s"},
               {"id": "e", "question": " "}, {"id": "a", "question": "one"},
               {"id": "a", "question": "other"},
               {"id": "t", "question": "x", "options": {"stream": True}})  # fmt: skip
    result = desk.submit("--output-format", "json")
    assert result.status == 10
    (told,) = result.events
    assert (told["items"], told["failed"], told["skipped"]["double"]) == (1, 5, 1)
    assert desk.asked() == ["one"]
    once = desk.records()
    codes = {record["item"]: record["error"]["code"] for record in once}
    assert codes == {"line 2": "bad_item", "s": "bad_item", "e": "empty_question",
                     "a": "double_id", "t": "bad_item"}  # fmt: skip
    assert desk.submit().status == 10
    assert desk.records() == once, "a failure that is told already is told again"
    assert desk.asked() == ["one"]


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_a_second_submit_sends_nothing_that_was_submitted(desk: Desk, output_format: str) -> None:
    assert desk.submit("--output-format", output_format).status == 0
    assert desk.submit("--output-format", output_format).status == 0
    desk.items(*({"id": question, "question": question} for question in (*QUESTIONS, "five")))
    assert desk.submit("--output-format", output_format).status == 0
    assert desk.asked() == sorted([*QUESTIONS, "five"])
    assert desk.fetch("--output-format", output_format).status == 0
    assert desk.outcome() == {**ALL_COMPLETE, "five": "complete"}
    assert desk.submit("--output-format", output_format).status == 0
    assert len(desk.batches.batches) == 2


# The others are of the same kind as one that is here.
ALIKE = [pytest.param(trouble, marks=pytest.mark.storm) for trouble in ("429", "reset_before")]


@pytest.mark.parametrize("trouble", ["500", "reset_after", "cut", "garbage", *ALIKE])
@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "content"])
def test_a_step_that_fails_is_taken_again_and_done_once(
    desk: Desk, call: Call, trouble: Trouble
) -> None:
    desk.batches.trouble[call] = [trouble]
    until_done(desk, "submit", "in.ndjson", "-o", "out.jsonl", "--retries", "0")
    until_done(desk, "fetch", "out.jsonl", "--retries", "0")
    assert desk.batches.trouble[call] == []
    assert desk.asked() == sorted(QUESTIONS)
    assert len(desk.batches.batches) == desk.batches.uploads == 1
    assert desk.outcome() == ALL_COMPLETE


@pytest.mark.parametrize("trouble", ["500", "reset_after", "cut", *ALIKE])
@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "content"])
def test_what_fails_for_now_is_tried_again_by_itself(
    desk: Desk, call: Call, trouble: Trouble
) -> None:
    desk.batches.trouble[call] = [trouble]
    assert desk.submit("-q").status == 0
    assert desk.fetch("-q").status == 0
    assert len(desk.batches.batches) == desk.batches.uploads == 1
    assert desk.outcome() == ALL_COMPLETE


def until_done(desk: Desk, *arguments: str) -> None:
    """Run it until it ends well; it may fail for now, and by nothing else."""
    statuses = [desk.run(*arguments).status]
    while statuses[-1] == 5 and len(statuses) < 4:
        statuses.append(desk.run(*arguments).status)
    assert statuses[-1] == 0, statuses


@pytest.mark.parametrize(
    ("call", "trouble", "status", "code"),
    [
        ("upload", "401", 3, "unauthorized"),
        ("create", "403", 3, "forbidden"),
        ("create", "tokens", 4, "bad_request"),
        ("upload", "404", 4, "not_found"),
    ],
)
def test_what_is_refused_ends_the_submission_and_it_can_be_gone_on_with(
    desk: Desk, call: Call, trouble: Trouble, status: int, code: str
) -> None:
    desk.items({"id": "a", "question": "one", "model": "m1"},
               {"id": "b", "question": "two", "model": "m2"})  # fmt: skip
    assert desk.submit().status == 0
    desk.items({"id": "a", "question": "one", "model": "m1"},
               {"id": "b", "question": "two", "model": "m2"},
               {"id": "c", "question": "three", "model": "m3"},
               {"id": "d", "question": "four", "model": "m4"})  # fmt: skip
    desk.batches.trouble[call] = [trouble]
    result = desk.submit()
    assert (result.status, result.code) == (status, code)
    assert desk.asked() == ["one", "two"], "what was submitted before stays, and no more is tried"
    assert desk.submit().status == 0
    assert desk.asked() == ["four", "one", "three", "two"]
    assert desk.fetch().status == 0
    assert desk.outcome() == dict.fromkeys("abcd", "complete")


def test_a_file_that_is_not_seen_yet_is_waited_for(desk: Desk) -> None:
    desk.batches.trouble["create"] = ["unseen", "unseen"]
    assert desk.submit().status == 0
    assert desk.asked() == sorted(QUESTIONS)
    desk.items({"question": "five"})
    desk.batches.trouble["create"] = ["unseen"] * 3
    assert desk.submit().status == 4
    assert desk.submit().status == 0
    assert len(desk.batches.batches) == desk.batches.uploads == 2


@pytest.mark.parametrize("call", ["list_files", "list_batches"])
def test_what_may_stand_at_the_provider_is_not_made_again_before_it_was_looked_for(
    desk: Desk, call: Call
) -> None:
    made: Call = "upload" if call == "list_files" else "create"
    desk.batches.trouble[made] = ["reset_after"]
    desk.batches.trouble[call] = ["500"]
    until_done(desk, "submit", "in.ndjson", "-o", "out.jsonl", "--retries", "0")
    assert len(desk.batches.batches) == desk.batches.uploads == 1


def test_an_orphan_is_found_where_a_server_keeps_no_metadata(desk: Desk) -> None:
    desk.batches.trouble["create"] = ["reset_after"]
    assert desk.submit("--retries", "0").status == 5
    desk.batches.batches["batch_1"].made["metadata"] = None
    assert desk.submit().status == 0
    assert len(desk.batches.batches) == 1


@pytest.mark.parametrize(("age_s", "oldest_first", "pages"), [
    (0, False, 3), (0, True, 1), (9e6, False, 1), (9e6, True, 3),
])  # fmt: skip
def test_orphans_are_found_among_what_others_made(
    desk: Desk, age_s: float, oldest_first: bool, pages: int
) -> None:
    desk.batches.oldest_first = oldest_first
    desk.batches.trouble["create"] = ["reset_after"]
    assert desk.submit("--retries", "0").status == 5
    (mine,) = desk.batches.batches.values()
    others = {}
    for number in range(2, 250):
        made = {**mine.made, "id": f"batch_{number}", "input_file_id": f"file-{number}",
                "metadata": {"pipechat_job": "other"},
                "created_at": mine.made["created_at"] - age_s + number / 100}  # fmt: skip
        others[made["id"]] = type(mine)(made, [])
    before, after = (others, {}) if age_s else ({}, others)
    desk.batches.batches = {**before, "batch_1": mine, **after}
    assert desk.submit().status == 0
    assert desk.asked() == sorted(QUESTIONS)
    assert desk.batches.calls["list_batches"] == pages


def test_a_fetch_takes_up_a_batch_that_was_created_and_not_noted(desk: Desk) -> None:
    desk.batches.trouble["create"] = ["reset_after"]
    assert desk.submit("--retries", "0").status == 5
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_a_fetch_creates_nothing_that_was_not_submitted(desk: Desk) -> None:
    desk.batches.trouble["create"] = ["tokens"]
    assert desk.submit().status == 4
    for more in ((), ("--wait",)):
        result = desk.fetch(*more)
        assert (result.status, result.code) == (5, "not_ready")
        assert b"submit" in result.stderr
    assert desk.batches.batches == {}


def test_parts_are_split_at_the_limits_and_by_model(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(Splitter, most_requests=3, most_bytes=100_000)
    monkeypatch.setattr("pipechat.batch.planning.Splitter", small)
    desk.items(*({"question": f"q{n}", "model": f"m{n % 2}"} for n in range(8)),
               {"id": "large", "question": "x" * 100_000})  # fmt: skip
    assert desk.submit().status == 10
    sizes = sorted(len(batch.requests) for batch in desk.batches.batches.values())
    assert sizes == [1, 1, 3, 3]
    assert desk.fetch().status == 0
    assert Counter(desk.outcome().values()) == {"complete": 8, "too_large": 1}


def test_an_id_that_the_api_may_not_take_comes_back_as_it_was(desk: Desk) -> None:
    ids = ["x" * 300, "naïve", "a b", 'q"\\', "line\u2028"]
    desk.items(*({"id": item, "question": f"q{n}"} for n, item in enumerate(ids)))
    desk.submit()
    for line in desk.batches.asked:
        assert len(line["custom_id"]) <= 64
        assert line["custom_id"].isascii()
    desk.fetch()
    assert desk.outcome() == dict.fromkeys(ids, "complete")


def only(question: str, line: Any) -> Any:
    """A result: the request for `question` is answered, the others are as `line` says."""

    def result(request: dict[str, Any]) -> Any:
        is_it = request["body"]["messages"][-1]["content"] == question
        return answered(request) if is_it else line(request)

    return result


ENDINGS = [
    ("completed", refused, "bad_request"),
    ("expired", expired, "expired"),
    ("expired", lambda _: None, "expired"),
    ("cancelled", lambda _: None, "cancelled"),
    ("completed", lambda _: None, "no_result"),
]


@pytest.mark.parametrize("empty_id", [None, ""])
@pytest.mark.parametrize(("state", "line", "code"), ENDINGS)
def test_what_was_finished_is_kept_however_the_batch_ended(
    desk: Desk, state: str, line: Any, code: str, empty_id: str | None
) -> None:
    desk.batches.states, desk.batches.empty_id = (state,), empty_id
    desk.batches.result = only("two", line)
    desk.submit()
    result = desk.fetch("--output-format", "json")
    assert result.status == 10
    (summary,) = result.events
    assert (summary["complete"], summary["codes"]) == (1, {code: 3})
    assert desk.outcome() == {**dict.fromkeys(QUESTIONS, code), "two": "complete"}
    again = desk.fetch("--output-format", "json")
    assert (again.status, again.events[0]["skipped"]["failed"]) == (10, 3)


@pytest.mark.parametrize("empty_id", [None, ""])
@pytest.mark.parametrize(("state", "line", "code"), ENDINGS)
def test_a_batch_of_which_all_failed_is_read(
    desk: Desk, state: str, line: Any, code: str, empty_id: str | None
) -> None:
    desk.batches.states, desk.batches.empty_id = (state,), empty_id
    desk.batches.result = line
    desk.submit()
    assert desk.fetch().status == 10
    assert desk.outcome() == dict.fromkeys(QUESTIONS, code)


def test_an_empty_error_file_id_is_no_file(desk: Desk) -> None:
    desk.batches.empty_id = ""
    desk.submit()
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE
    assert desk.batches.calls["content"] == 1


def test_a_file_that_was_refused_fails_its_items_each_with_its_reason(desk: Desk) -> None:
    desk.batches.states = ("failed",)
    desk.batches.errors = [
        {"code": "invalid_json_line", "message": "Line 2.", "line": 2},
        {"code": "token_limit_exceeded", "message": "Full.", "line": None},
    ]
    desk.submit()
    assert desk.fetch().status == 10
    others = dict.fromkeys(QUESTIONS, "token_limit_exceeded")
    assert desk.outcome() == {**others, "two": "invalid_json_line"}


def test_what_failed_is_submitted_again_and_only_that(desk: Desk) -> None:
    desk.batches.result = only("two", expired)
    desk.submit()
    assert desk.fetch().status == 10
    desk.batches.result = answered
    assert desk.submit("--retry-failed", "no").status == 0
    assert len(desk.batches.batches) == 1
    assert desk.submit().status == 0
    assert len(desk.batches.asked) == 7
    assert desk.fetch().status == 0
    complete = [each["item"] for each in desk.records() if each["status"] == "complete"]
    assert sorted(complete) == sorted(QUESTIONS)


@pytest.mark.parametrize("empty_id", [None, ""])
def test_an_output_that_comes_late_is_asked_for_again(desk: Desk, empty_id: str | None) -> None:
    desk.batches.late, desk.batches.empty_id = 2, empty_id
    desk.submit()
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_an_output_that_does_not_come_is_not_taken_for_an_empty_one(desk: Desk) -> None:
    desk.batches.late = 100
    desk.submit()
    result = desk.fetch()
    assert (result.status, result.code) == (5, "not_ready")
    assert desk.records() == []
    desk.batches.late = 0
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_an_output_that_is_shorter_than_its_count_is_not_taken_for_all(desk: Desk) -> None:
    desk.submit()
    desk.run("status", "out.jsonl")  # the batch ends when it is looked at: its file is there now
    (name, whole) = desk.batches.files["file-2"]
    desk.batches.files["file-2"] = (name, whole[: len(whole) // 2])
    result = desk.fetch()
    assert (result.status, result.code) == (5, "not_ready")
    assert 0 < len(desk.records()) < 4
    desk.batches.files["file-2"] = (name, whole)
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_what_is_not_at_its_end_is_told_and_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.batches.states = ("validating", "in_progress", "finalizing", "completed")
    desk.submit()
    result = desk.fetch("--output-format", "json")
    assert (result.status, result.code) == (5, "not_ready")
    assert result.events[0]["stopped"] == "not_ready"
    with monkeypatch.context() as patched:
        patched.setattr("pipechat.batch.fetching._FIRST_WAIT_S", 61.0)
        limited = desk.fetch("--wait", "--timeout", "60")
    assert (limited.status, limited.code) == (5, "not_ready")
    assert desk.fetch("--wait").status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_a_fetch_that_waits_outlasts_what_passes_and_nothing_else(desk: Desk) -> None:
    desk.items({"id": "a", "question": "one"}, {"id": "b", "question": "two", "model": "m2"})
    desk.submit()
    # The first part is fetched; the second cannot be asked for then.
    desk.batches.trouble["retrieve"] = ["none", "500", "reset_before", "429", "401"]
    result = desk.fetch("--wait", "--retries", "0")
    assert (result.status, result.code) == (3, "unauthorized")
    assert desk.outcome() == {"a": "complete"}
    desk.batches.trouble["content"] = ["cut", "500"]
    assert desk.fetch("--wait", "--retries", "0").status == 0
    assert desk.outcome() == {"a": "complete", "b": "complete"}


def test_the_parts_that_are_at_their_end_do_not_wait_for_the_others(desk: Desk) -> None:
    desk.items({"id": "a", "question": "one"}, {"id": "b", "question": "two", "model": "m2"})
    desk.submit()
    desk.batches.states = ("in_progress", "completed")
    desk.batches.batches["batch_1"].looks = 1
    assert desk.fetch().status == 5
    assert desk.outcome() == {"a": "complete"}
    assert desk.fetch().status == 0
    assert desk.outcome() == {"a": "complete", "b": "complete"}


def test_answers_are_held_against_the_schema_they_were_asked_with(desk: Desk) -> None:
    def result(request: dict[str, Any]) -> Any:
        question = request["body"]["messages"][-1]["content"]
        line = answered(request)
        value = {"name": question} if question != "two" else {"age": 2}
        line["response"]["body"]["choices"][0]["message"]["content"] = json.dumps(value)
        return line

    desk.batches.result = result
    desk.submit("--schema", "name")
    assert all("response_format" in line["body"] for line in desk.batches.asked)
    assert desk.fetch().status == 10
    assert desk.outcome() == {**ALL_COMPLETE, "two": "schema_mismatch"}
    matched = {each["item"]: each["schema"]["matched"] for each in desk.records()}
    assert matched == {**dict.fromkeys(QUESTIONS, True), "two": False}


def test_a_cut_answer_is_not_complete_unless_it_is_allowed(desk: Desk) -> None:
    def result(request: dict[str, Any]) -> Any:
        line = answered(request)
        line["response"]["body"]["choices"][0]["finish_reason"] = "length"
        return line

    desk.batches.result = result
    desk.items({"id": "a", "question": "one"})
    desk.submit()
    assert desk.fetch().status == 10
    assert desk.outcome() == {"a": "truncated"}
    desk.submit()
    assert desk.fetch("--allow-truncated").status == 0


def test_a_run_finishes_what_the_provider_left_and_the_other_way_round(desk: Desk) -> None:
    desk.batches.result = only("two", expired)
    desk.submit()
    assert desk.fetch().status == 10
    assert desk.run("run", "in.ndjson", "-o", "out.jsonl").status == 0
    desk.items(*({"id": question, "question": question} for question in (*QUESTIONS, "five")))
    assert desk.submit("--output-format", "json").events[0]["skipped"]["complete"] == 4
    assert desk.fetch().status == 10
    assert desk.asked() == sorted([*QUESTIONS, "five"])


def test_a_run_asks_nothing_that_the_provider_has(desk: Desk) -> None:
    desk.submit()
    result = desk.run("run", "in.ndjson", "-o", "out.jsonl")
    assert (result.status, result.code) == (9, "at_provider")
    assert b"4 items" in result.stderr
    assert b"fetch" in result.stderr
    fresh = desk.run("run", "in.ndjson", "-o", "out.jsonl", "--fresh")
    assert fresh.status == 0
    assert b"batch_1" in fresh.stderr, "what is given up is named"
    assert desk.left() == ["out.jsonl"]
    assert desk.outcome() == ALL_COMPLETE


def test_what_is_cancelled_gives_what_it_has_finished(desk: Desk) -> None:
    desk.batches.states = ("in_progress",)
    desk.batches.result = only("two", lambda _: None)
    desk.submit()
    result = desk.run("cancel", "out.jsonl")
    assert result.status == 0
    assert b"part 1: cancelling" in result.stdout
    assert desk.batches.calls["cancel"] == 1
    assert desk.fetch().status == 10
    assert desk.outcome() == {**dict.fromkeys(QUESTIONS, "cancelled"), "two": "complete"}


@pytest.mark.parametrize("trouble", ["500", "reset_after", "cut", "garbage", *ALIKE])
@pytest.mark.parametrize("call", ["retrieve", "cancel"])
def test_a_cancel_that_fails_is_taken_again(desk: Desk, call: Call, trouble: Trouble) -> None:
    desk.batches.states = ("in_progress",)
    desk.submit()
    desk.batches.trouble[call] = [trouble]
    until_done(desk, "cancel", "out.jsonl", "--retries", "0")
    assert desk.batches.batches["batch_1"].cancelled


def test_a_batch_that_has_ended_is_not_cancelled(desk: Desk) -> None:
    desk.submit()
    assert desk.run("cancel", "out.jsonl").status == 0
    assert desk.batches.calls["cancel"] == 0
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_a_batch_that_ends_while_it_is_cancelled_is_none_that_failed(desk: Desk) -> None:
    desk.batches.states = ("in_progress", "completed")
    desk.submit()
    desk.batches.trouble["cancel"] = ["400"]
    assert desk.run("cancel", "out.jsonl").status == 0
    assert desk.fetch().status == 0


def test_what_was_not_submitted_yet_is_free_again_once_it_is_cancelled(desk: Desk) -> None:
    desk.batches.trouble["create"] = ["tokens"]
    assert desk.submit().status == 4
    assert desk.run("cancel", "out.jsonl").status == 0
    assert desk.run("run", "in.ndjson", "-o", "out.jsonl").status == 0
    assert desk.outcome() == ALL_COMPLETE
    desk.items({"question": "five"})
    assert desk.submit().status == 0
    assert desk.asked() == ["five"], "the file that was left there is not taken for the new one"


def test_the_status_of_each_part_is_told_in_both_formats(desk: Desk) -> None:
    desk.items({"id": "a", "question": "one"}, {"id": "b", "question": "two", "model": "m2"})
    desk.batches.states = ("in_progress",)
    desk.submit()
    lines = desk.run("status", "out.jsonl").stdout.decode().splitlines()
    assert lines[0].startswith("part 1: in_progress, 0 of 1 done; gpt-5.4-mini; expires 20")
    assert lines[1].startswith("part 2: in_progress, 0 of 1 done; m2; expires 20")
    (told,) = desk.run("status", "out.jsonl", "--output-format", "json").events
    assert [(each["part"], each["state"], each["batch"]) for each in told["parts"]] == [
        (1, "in_progress", "batch_1"),
        (2, "in_progress", "batch_2"),
    ]
    desk.batches.states = ("completed",)
    desk.fetch()
    assert desk.run("status", "out.jsonl").stdout.count(b"fetched") == 2


@pytest.mark.parametrize("output_format", ["text", "json"])
@pytest.mark.parametrize(("trouble", "status"), [("500", 5), ("reset_before", 5), ("401", 3)])
def test_a_status_that_cannot_be_asked_says_so(
    desk: Desk, trouble: Trouble, status: int, output_format: str
) -> None:
    desk.submit()
    desk.batches.trouble["retrieve"] = [trouble] * 3
    result = desk.run("status", "out.jsonl", "--output-format", output_format, "--retries", "0")
    assert (result.status, result.stdout) == (status, b"")


@pytest.mark.parametrize("command", ["status", "fetch", "cancel"])
def test_where_nothing_was_submitted_it_is_said_and_nothing_is_made(
    desk: Desk, command: str
) -> None:
    result = desk.run(command, "out.jsonl")
    assert (result.status, result.code) == (9, "no_batch")
    assert desk.left() == []


@pytest.mark.parametrize("command", ["status", "fetch", "cancel", "submit"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]\n", b'{"v":1,"parts":3}'])
def test_a_job_that_cannot_be_read_is_left_alone(desk: Desk, command: str, content: bytes) -> None:
    path = desk.folder / "out.jsonl.batch.json"
    path.write_bytes(content)
    arguments = ("in.ndjson", "-o", "out.jsonl") if command == "submit" else ("out.jsonl",)
    result = desk.run(command, *arguments)
    assert (result.status, result.code) == (9, "unreadable_batch")
    assert path.read_bytes() == content


@pytest.mark.parametrize("command", ["status", "fetch", "cancel", "submit"])
def test_a_job_is_asked_for_where_it_was_submitted_and_nowhere_else(
    desk: Desk, command: str
) -> None:
    desk.submit()
    calls = desk.batches.calls.copy()
    arguments = ("in.ndjson", "-o", "out.jsonl") if command == "submit" else ("out.jsonl",)
    result = desk.run(command, *arguments, env={"OPENAI_BASE_URL": desk.url + "/elsewhere"})
    assert (result.status, result.code) == (2, "other_endpoint")
    assert desk.batches.calls == calls


@pytest.mark.parametrize(
    ("more", "env"),
    [
        ((), {"PIPECHAT_OFFLINE": "1"}),
        ((), {"PIPECHAT_REPLAY": "recording"}),
        ((), {"PIPECHAT_RECORD": "recording"}),
        (("--var", "a=b"), {}),
        (("--base-url", "x"), {}),
    ],
)
def test_an_option_that_cannot_hold_is_refused(
    desk: Desk, more: tuple[str, ...], env: dict[str, str | None]
) -> None:
    result = desk.run("submit", "in.ndjson", "-o", "out.jsonl", *more, env=env)
    assert (result.status, result.code) == (2, "bad_option")


@pytest.mark.parametrize("output", [(), ("-o", "-"), ("-o", ""), ("-o", "in.ndjson")])
def test_answers_that_come_later_need_a_file(desk: Desk, output: tuple[str, ...]) -> None:
    result = desk.run("submit", "in.ndjson", *output)
    assert (result.status, result.code) == (2, "bad_option")
    assert desk.batches.calls == {}


def test_the_files_of_a_job_are_the_users_alone_and_go_once_it_is_fetched(desk: Desk) -> None:
    desk.submit()
    assert desk.left() == ["out.jsonl", "out.jsonl.batch.1.items", "out.jsonl.batch.1.jsonl",
                           "out.jsonl.batch.json"]  # fmt: skip
    for name in desk.left():
        assert (desk.folder / name).stat().st_mode & 0o777 == 0o600
    desk.fetch()
    assert desk.left() == ["out.jsonl", "out.jsonl.batch.json"]


def test_files_of_parts_that_were_never_finished_do_not_stay(desk: Desk) -> None:
    for name in ("out.jsonl.batch.7.items", "out.jsonl.batch.7.jsonl"):
        (desk.folder / name).write_text("torn")
    for name in ("out.jsonl.batch.x.items", "out.jsonl.batch.7.txt", "my.out.jsonl"):
        (desk.folder / name).write_text("somebody else's")
    desk.submit()
    desk.fetch()
    assert desk.left() == ["my.out.jsonl", "out.jsonl", "out.jsonl.batch.7.txt",
                           "out.jsonl.batch.json", "out.jsonl.batch.x.items"]  # fmt: skip


def test_a_key_that_the_provider_echoes_is_shown_nowhere(desk: Desk) -> None:
    desk.batches.states = ("failed",)
    desk.batches.errors = [{"code": PLANTED_KEY, "message": f"The key {PLANTED_KEY} is bad."}]
    desk.submit()
    for command in ("status", "cancel", "fetch"):
        assert b"[key]" in (result := desk.run(command, "out.jsonl")).stdout or command == "fetch"
        assert PLANTED_KEY.encode() not in result.stdout + result.stderr
    assert "[key]" in desk.records()[0]["error"]["message"]


def test_items_come_by_stdin_as_well(desk: Desk) -> None:
    result = desk.program.run(
        "batch", "submit", "--input-format", "lines", "-o", "out.jsonl",
        input=b"one\ntwo\n", env={"OPENAI_BASE_URL": desk.url}, cwd=desk.folder,
    )  # fmt: skip
    assert result.status == 0
    assert desk.asked() == ["one", "two"]


def test_the_question_comes_from_a_template_and_from_a_table(desk: Desk) -> None:
    (desk.folder / "in.csv").write_text("id,city\na,Lyon\nb,Porto\n")
    result = desk.run("submit", "in.csv", "-o", "out.jsonl", "--template", "Where is {{ city }}?")
    assert result.status == 0
    assert desk.asked() == ["Where is Lyon?", "Where is Porto?"]
    desk.fetch()
    assert {each["question"] for each in desk.records()} == {"Where is Lyon?", "Where is Porto?"}


def test_a_line_of_a_batch_file_goes_as_it_is(desk: Desk) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "one"}], "seed": 1}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    desk.items(line)
    desk.submit()
    assert desk.batches.asked == [line]


def test_what_is_fetched_is_a_session_file(desk: Desk) -> None:
    desk.submit()
    desk.fetch()
    for record in desk.records():
        assert record["v"] == 1
    found = desk.program.run(
        "schema", "turn", env={"OPENAI_BASE_URL": desk.url}, cwd=desk.folder, events=False
    )
    import jsonschema

    validator = jsonschema.Draft202012Validator(json.loads(found.stdout))
    for record in desk.records():
        validator.validate(record)
