"""What nobody foresaw, wherever in a batch it comes up: a bug is one, and memory that is short is
no bug (exit 5: try later)."""

import asyncio
import json
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest

from pipechat.batch.asking import Job, LocalWorker
from pipechat.batch.frames import next_frame
from pipechat.batch.groups import GroupWriter
from pipechat.batch.items import BadItemError, Item
from pipechat.batch.job_files import KeptItem
from pipechat.batch.keeping import Keepers
from pipechat.batch.pace import Pace
from pipechat.batch.ray_bridge import Bridge
from pipechat.batch.records import Records
from pipechat.batch.results import Results
from pipechat.batch.row_lots import rows_as_they_come
from pipechat.batch.rows import Row
from pipechat.batch.run import BatchRun
from pipechat.batch.source import SessionOrder
from pipechat.batch.spreading import Actor, Spreader
from pipechat.batch.stopping import Limit
from pipechat.batch.summary import Summary
from pipechat.client.async_exchange import Put
from pipechat.client.exchange import Request, Response, in_one
from pipechat.errors import PipechatError, TryLaterError
from pipechat.events import Event
from pipechat.settings.resolve import resolve_settings
from pipechat.turn.in_memory import InMemory
from tests.servers import completion

SETTINGS = resolve_settings({}, {}, {})
JOB = Job("chat", {"model": "m", "messages": []}, (), None)

Found = tuple[str, int]
"""The code and the exit code of what came of it."""


class BrokenSender:
    """Nothing is carried."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def carry(self, _request: Request, _put: Put) -> None:
        raise self._error

    async def aclose(self) -> None: ...


class AnsweringSender:
    """Each request has an answer."""

    async def carry(self, _request: Request, put: Put) -> None:
        put(Response(200, {"content-type": "application/json"}, in_one(b"")))
        put(json.dumps(completion("yes")).encode())
        put(None)

    async def aclose(self) -> None: ...


def worker(error: Exception) -> LocalWorker:
    return LocalWorker(SETTINGS, BrokenSender(error), None)


def found_in(error: PipechatError | None) -> Found:
    assert error is not None
    return error.code, int(error.exit_code)


async def raised(work: Awaitable[Any]) -> Found:
    with pytest.raises(PipechatError) as caught:
        await work
    return found_in(caught.value)


async def in_an_answer(error: Exception) -> Found:
    def show(_event: Event) -> None:
        raise error

    asked = await LocalWorker(SETTINGS, AnsweringSender(), None).ask(JOB, show)
    assert asked.terminal.record()["code"] == found_in(asked.cause)[0]
    return found_in(asked.cause)


async def in_a_result(error: Exception) -> Found:
    class Broken(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise error

    result: Mapping[str, Any] = Broken()
    item = KeptItem("c", "i", "h", "t", "q", None)
    turn = Results(SETTINGS, None, "m", "2026-01-01T00:00:00.000Z").turn(item, result)
    assert turn.error is not None
    return turn.error["code"], 5 if turn.error["code"] == "no_memory" else 1


async def in_the_input(error: Exception) -> Found:
    async def items() -> AsyncIterator[Item | BadItemError]:
        raise error
        yield

    keepers = Keepers(SETTINGS, "chat", lambda _: InMemory(), None)
    run = BatchRun(
        SETTINGS, Summary(), SessionOrder(items()), worker(error), keepers, Records(None),
        Pace(time.monotonic), jobs=1, grace_s=0, limit=Limit(), tell=lambda _: None,
    )  # fmt: skip
    summary = await run.run()
    assert summary.exit_code == found_in(summary.stopped)[1]
    return found_in(summary.stopped)


async def in_a_stream_of_rows(error: Exception) -> Found:
    def rows() -> Iterator[Row]:
        raise error
        yield

    async def all_of_them() -> None:
        async for _ in rows_as_they_come(rows()):
            pass

    return await raised(all_of_them())


async def in_a_write(error: Exception) -> Found:
    def write(_entries: list[bytes]) -> None:
        raise error

    return await raised(GroupWriter(write).add(b"{}"))


async def in_the_start_of_an_actor(error: Exception) -> Found:
    async def start() -> Actor:
        raise error

    return await raised(Spreader(start, 1).open())


async def in_the_bridge(error: Exception) -> Found:
    class Broken:
        def __reduce__(self) -> Any:
            return _raise, (error,)

    bridge, reader = _a_bridge()
    await bridge._answer(0, pickle.dumps(Broken()))
    came = await next_frame(reader)
    assert came is not None
    return found_in(pickle.loads(came[1]))


def _a_bridge() -> tuple[Bridge, asyncio.StreamReader]:
    """A bridge, and what reads its answers."""
    answers = asyncio.StreamReader()

    class Writer:
        def write(self, data: bytes) -> None:
            answers.feed_data(data)

        async def drain(self) -> None: ...

    bridge: Any = Bridge(asyncio.StreamReader(), Writer())  # type: ignore[arg-type]  # as much of it as is used
    bridge._tasks[0] = None
    return bridge, answers


def _raise(error: Exception) -> None:
    raise error


PLACES: tuple[Callable[[Exception], Awaitable[Found]], ...] = (
    in_an_answer, in_a_result, in_the_input, in_a_stream_of_rows, in_a_write,
    in_the_start_of_an_actor, in_the_bridge,
)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), ("no_memory", 5)),
        (KeyError("x"), ("bug", 1)),
        (RecursionError(), ("bug", 1)),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else each[0],
)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_in_a_batch_too_memory_that_is_short_is_no_bug(
    place: Callable[[Exception], Awaitable[Found]], error: Exception, found: Found
) -> None:
    async def look() -> Found:
        return await place(error)

    assert asyncio.run(look()) == found


def test_memory_that_is_short_while_a_request_is_carried_is_no_lost_connection() -> None:
    asked = asyncio.run(worker(MemoryError()).ask(JOB))
    assert found_in(asked.cause) == ("no_memory", 5)
    assert isinstance(asked.cause, TryLaterError)
    assert not asked.cause.again
