"""What `batch run` takes of memory and reading: bounded by bytes and by jobs, not by items."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from pipechat.batch.items import BadItemError, Item, ItemReader
from pipechat.batch.row_lots import rows_as_they_come
from pipechat.batch.rows import Row
from pipechat.batch.source import SessionOrder
from pipechat.jsonl import dumps
from pipechat.messages import ChatRequest, Turn, new_turn_id, now
from pipechat.settings.resolve import resolve_settings
from pipechat.wire.chat_completions import ChatCompletions
from tests.peak import Taken, fed_until
from tests.program import Program
from tests.servers import ChatServer
from tests.servers.mirror import mirror
from tests.test_batch_processes import start
from tests.test_batch_run import ndjson

pytestmark = pytest.mark.cold

MIB = 1 << 20


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.parametrize(("size", "most"), [(100_000, 4), (5_000_000, 2), (10, 300)])
def test_rows_are_read_ahead_by_bytes(size: int, most: int) -> None:
    given = 0
    blocked = threading.Event()

    def rows() -> Iterator[Row]:
        nonlocal given
        for number in range(2000):
            given += 1
            if given > most + 2:
                blocked.set()
            yield Row(number, {}, size)

    async def take() -> int:
        lots = rows_as_they_come(rows())
        await anext(lots)
        await asyncio.to_thread(blocked.wait, 0.3)
        ahead = given
        await lots.aclose()  # type: ignore[attr-defined]  # because it is a generator
        return ahead

    assert asyncio.run(take()) <= 2 * most + 2, "a lot was taken, and one waits"


@pytest.mark.parametrize(("size", "most"), [(5_000_000, 5), (100, 1025)])
def test_items_that_wait_for_their_session_are_bounded_by_bytes_and_count(
    size: int, most: int
) -> None:
    request = ChatRequest("m", ())

    async def read() -> int:
        given = 0

        async def items() -> AsyncIterator[Item | BadItemError]:
            nonlocal given
            for number in range(5000):
                given += 1
                yield Item(number, str(number), "", "q", request, "s", size=size)

        order = SessionOrder(items())
        first = await order.next()
        assert first is not None
        waiting = asyncio.ensure_future(order.next())
        for _ in range(12_000):
            await asyncio.sleep(0)
        ahead = given
        assert isinstance(first[1], Item)
        order.done(first[1])
        second = await waiting
        assert second is not None
        assert second[0] == 1
        return ahead

    assert asyncio.run(read()) <= most + 1


def items_of(count: int, size: int = 0) -> Iterator[bytes]:
    for n in range(count):
        yield b'{"id":"i%d","question":"question %d%s"}\n' % (n, n, b" q" * (size // 2))


def taken_by(program: Program, out: Path, count: int, *more: str, size: int = 0) -> Taken:
    """What a run takes until it has answered `count` items, each asked once."""
    with ChatServer(mirror(text=lambda _request: "an answer")) as server:
        process = start(program, server, "-", "-o", out, "--workers", "1", "-q", *more)
        took = fed_until(process, items_of(count, size), out, count)
        result = program.finish(process, input=b"")
        questions = Counter(request.question.split()[1] for request in server.requests)
    assert result.status == 0
    assert questions == Counter({str(n): 1 for n in range(count)})
    out.unlink()
    return took


def test_large_items_from_a_pipe_take_the_memory_of_a_few(program: Program, out: Path) -> None:
    small = taken_by(program, out, 30, "-j", "1")
    large = taken_by(program, out, 30, "-j", "1", size=5_000_000)
    assert large.peak_bytes - small.peak_bytes < 20 * 5_000_000


@pytest.mark.parametrize("more", [(), pytest.param(("--ordered",), marks=pytest.mark.storm)])
def test_memory_grows_with_jobs_and_not_with_items(
    program: Program, out: Path, more: tuple[str, ...]
) -> None:
    few = taken_by(program, out, 200, "-j", "16", *more)
    many = taken_by(program, out, 1000, "-j", "16", *more)
    assert many.peak_bytes - few.peak_bytes < 8 * MIB


def skipped(program: Program, out: Path, count: int) -> Taken:
    """What a run takes to find that `count` items are complete, and to ask one more."""
    write_complete(out, count)
    with ChatServer(mirror()) as server:
        process = start(program, server, "-", "-o", out, "--workers", "1", "-q")
        more = ndjson({"id": "more", "question": "more"})
        took = fed_until(process, chain(items_of(count), (more,)), out, count + 1)
        result = program.finish(process, input=b"")
        assert len(server.requests) == 1
    assert result.status == 0
    out.unlink()
    return took


def write_complete(out: Path, count: int) -> None:
    """An output that holds the first `count` of `items_of`."""
    settings = resolve_settings({}, {}, {})
    reader = ItemReader(settings, ChatCompletions().name)
    turn = Turn(id=new_turn_id(), time=now(), status="complete", model="m", question="", answer="a")
    with out.open("wb") as file:
        for n, line in enumerate(items_of(count)):
            item = reader.item(Row(n + 1, json.loads(line)))
            done = replace(turn, item=item.id, request=item.hash, question=item.question)
            file.write(dumps(done.record()) + b"\n")


def test_what_is_complete_is_read_once_and_costs_no_more_than_its_hashes(
    program: Program, out: Path
) -> None:
    few, many = skipped(program, out, 1000), skipped(program, out, 21_000)
    bytes_each = sum(map(len, items_of(21_000))) / 21_000 + 500
    assert many.read_bytes - few.read_bytes < 20_000 * bytes_each
    assert many.peak_bytes - few.peak_bytes < 20_000 * 350 + 2 * MIB


@pytest.mark.storm
def test_a_million_complete_items_are_skipped_in_flat_memory_but_for_their_hashes(
    program: Program, out: Path
) -> None:
    few, many = skipped(program, out, 1000), skipped(program, out, 1_000_000)
    print(
        "EACH", (many.peak_bytes - few.peak_bytes) / 1e6, (many.read_bytes - few.read_bytes) / 1e6
    )
    assert many.peak_bytes - few.peak_bytes < 1_000_000 * 300


@pytest.mark.storm
def test_ten_thousand_items_take_twenty_mib_more_than_a_thousand_at_most(
    program: Program, out: Path
) -> None:
    few = taken_by(program, out, 1000, "-j", "64")
    many = taken_by(program, out, 10_000, "-j", "64")
    assert many.peak_bytes - few.peak_bytes < 20 * MIB
