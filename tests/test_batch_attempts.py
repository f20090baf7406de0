"""The requests of one item of a batch: told, corrected by its schema, and all within its time."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipechat.batch.asking import Asked, Job, Show, WorkerLostError
from pipechat.batch.attempts import Attempts
from pipechat.batch.items import ItemReader
from pipechat.batch.keeping import Keepers
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.rows import Row
from pipechat.batch.summary import Summary
from pipechat.settings.resolve import resolve_settings
from pipechat.turn.in_memory import InMemory
from tests.program import Program
from tests.servers import (
    ChatServer,
    Reply,
    Request,
    Stall,
    completion,
    error_reply,
    json_reply,
    raw_reply,
)
from tests.servers.mirror import first_tries, mirror
from tests.test_batch_run import items, ndjson, records, run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("429", "rate_limited", 429),
        ("500", "server_error", 500),
        ("503", "server_error", 503),
        ("close_first", "connection_lost", None),
    ],
)
def test_every_further_try_is_told_as_ask_tells_it(
    program: Program, out: Path, fault: Any, code: str, status: int | None
) -> None:
    with ChatServer(mirror(fault=first_tries(fault))) as server:
        result = run(program, server, items(1), "--events", "-o", str(out))
        asked = program.run(
            "ask", "q", "--base-url", server.url, "--output-format", "ndjson", "--no-stream"
        )
    assert result.status == asked.status == 0
    [told] = [event for event in result.events if event["type"] == "retry"]
    [same] = [event for event in asked.events if event["type"] == "retry"]
    assert told.pop("item") == "i0"
    assert told.keys() == same.keys()
    assert (told["attempt"], told["code"], told["status"]) == (1, code, status)
    assert (same["attempt"], same["code"], same["status"]) == (1, code, status)
    assert told["wait_s"] > 0


def answers(*texts: str) -> Any:
    """A script that gives each question these answers, one after the other."""
    tries: dict[str, int] = {}

    def choose(request: Request) -> Reply:
        first = next(each["content"] for each in request.messages if each["role"] == "user")
        count = tries[first] = tries.get(first, 0) + 1
        usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}
        return json_reply(200, completion(texts[min(count, len(texts)) - 1], usage=usage))

    return choose


@pytest.mark.in_process
@pytest.mark.parametrize("session", [None, "s"])
def test_an_answer_that_does_not_match_is_asked_for_again_told_what_is_wrong(
    program: Program, out: Path, session: str | None
) -> None:
    more = {"session": session} if session else {}
    source = ndjson({"id": "a", "question": "q", **more})
    with ChatServer(answers('{"n": "x"}', "none", '{"n": 1}')) as server:
        result = run(
            program, server, source, "-o", str(out), "--schema", "n int", "--schema-retries", "2"
        )
        sent = [request.messages for request in server.requests]
    assert result.status == 0
    assert [len(messages) for messages in sent] == [1, 3, 5]
    assert sent[1][1]["content"] == '{"n": "x"}'
    assert "n" in sent[1][2]["content"]
    [record] = records(out)
    assert (record["status"], record["attempts"], record["answer"]) == ("complete", 3, '{"n": 1}')
    assert record["usage"]["total_tokens"] == 11 + 12 + 13, "every try was paid"
    assert record["schema"]["matched"] is True
    if session:
        [kept] = program.records(session)
        assert (kept["answer"], kept["turn_tokens"]) == ('{"n": 1}', None)


@pytest.mark.in_process
def test_the_last_try_stands_where_none_matches_and_each_counts_as_a_request(
    program: Program, out: Path
) -> None:
    with ChatServer(answers("no")) as server:
        result = run(
            program, server, items(3), "-o", str(out), "--schema", "n int", "--schema-retries",
            "1", "--output-format", "json", "--rpm", "600", "-j", "1",
        )  # fmt: skip
        count = len(server.requests)
    assert result.status == 10
    assert count == 6
    assert result.events[0]["requests"] == 6
    assert [(each["attempts"], each["error"]["code"]) for each in records(out)] == [
        (2, "schema_mismatch")
    ] * 3


@pytest.mark.in_process
def test_the_text_of_a_try_that_is_corrected_is_in_no_event(program: Program) -> None:
    with ChatServer(answers('{"n": "x"}', '{"n": 1}')) as server:
        result = run(
            program, server, items(1), "--events", "--schema", "n int", "--schema-retries", "1"
        )
    assert [event["type"] for event in result.events] == ["start", "retry", "chunk", "end"]
    assert result.events[1]["code"] == "schema_mismatch"
    assert result.events[2]["text"] == '{"n": 1}'


class LosingWorker:
    """A worker that is lost so often, each time after a while, and then answers nothing."""

    def __init__(self, losses: int, seconds: float) -> None:
        self._losses = losses
        self._seconds = seconds
        self.given: list[float | None] = []

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        assert show is None
        self.given.append(job.timeout_s)
        await asyncio.sleep(self._seconds)
        if len(self.given) <= self._losses:
            raise WorkerLostError
        raise AssertionError("there was no time left for this")

    async def aclose(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize("losses", [2, 50])
def test_an_item_of_a_lost_worker_has_only_what_is_left_of_its_time(losses: int) -> None:
    settings = resolve_settings({"timeout": 0.3}, {}, {})
    worker = LosingWorker(losses, 0.16)

    async def ask() -> tuple[Asked, int]:
        [item] = [ItemReader(settings, "chat").item(Row(1, {"id": "a", "question": "q"}))]
        keepers = Keepers(settings, "chat", lambda _: InMemory(), None)
        kept = await keepers.begin(item)
        attempts = Attempts(
            settings, worker, Records(None), Pace(time.monotonic), Summary(), asyncio.Event(),
            lambda _: None,
        )  # fmt: skip
        answered = await attempts.until_answered(item, kept)
        return answered.asked, answered.attempts

    asked, attempts = asyncio.run(ask())
    assert worker.given[0] == pytest.approx(0.3, abs=0.01)
    assert worker.given[1] == pytest.approx(0.14, abs=0.05)
    assert len(worker.given) == 2
    assert asked.cause is not None
    assert (asked.cause.code, attempts) == ("timeout", 2)
    assert "0.3 s" in asked.cause.message, "the time that was given to the item"


@pytest.mark.in_process
def test_what_is_told_of_a_time_that_passed_is_the_time_of_the_item(
    program: Program, out: Path
) -> None:
    tries: list[float] = []

    def choose(_request: Request) -> Reply:
        tries.append(time.monotonic())
        return error_reply(500, "no") if len(tries) == 1 else raw_reply(Stall())

    with ChatServer(choose) as server:
        run(program, server, items(1), "-o", str(out), "--timeout", "1.5")
    [record] = records(out)
    assert record["error"]["code"] == "timeout"
    assert "within 1.5 s" in json.dumps(record["error"])


@pytest.mark.in_process
def test_an_answer_that_there_was_no_time_to_correct_stands_as_it_came(
    program: Program, out: Path
) -> None:
    with ChatServer(answers("no")) as server:
        result = run(
            program, server, items(1), "--events", "-o", str(out), "--schema", "n int",
            "--schema-retries", "1", "--rpm", "60", "--timeout", "0.5",
        )  # fmt: skip
        assert len(server.requests) == 1
    assert [event["type"] for event in result.events] == ["start", "retry", "chunk", "error"]
    [record] = records(out)
    assert (record["attempts"], record["usage"]["total_tokens"]) == (1, 11)
    assert record["error"]["code"] == "schema_mismatch"
