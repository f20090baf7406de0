"""The items of a batch as they are asked for: read, told apart from those that need not be asked,
and those of one session one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from threading import Condition, Thread
from typing import NamedTuple

from pipechat.batch.items import BadItemError, Item, ItemReader
from pipechat.batch.known import KnownItems
from pipechat.batch.rows import Row
from pipechat.errors import BugError, PipechatError

# So many rows are looked at before others get their turn.
_AT_ONCE = 256
# Rows that may wait for the loop, and items that may wait for their session.
_ROOM = 1024


class Skipped(NamedTuple):
    """An item that is not asked: `complete` in the output, a `double` of one before it, or
    `failed` and left alone."""

    why: str


async def rows_at_hand(rows: Iterator[Row]) -> AsyncIterator[Row]:
    """The rows of a file, which are there when they are wanted."""
    for count, row in enumerate(rows, 1):
        yield row
        if count % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def rows_as_they_come(rows: Iterator[Row]) -> AsyncIterator[Row]:
    """The rows of a stream, each the moment it is there: a thread waits for them."""
    loop = asyncio.get_running_loop()
    pump = _Pump(rows, loop)
    Thread(target=pump.run, daemon=True, name="input").start()
    while True:
        for row in await pump.next_rows():
            if row is None:
                return
            if isinstance(row, Exception):
                raise row
            yield row


class _Pump:
    """Carries rows from a thread to the loop, no more than `_ROOM` ahead."""

    def __init__(self, rows: Iterator[Row], loop: asyncio.AbstractEventLoop) -> None:
        self._rows = rows
        self._loop = loop
        self._ready: deque[Row | Exception | None] = deque()
        self._changed = Condition()
        self._came = asyncio.Event()
        self._told = False

    def run(self) -> None:
        try:
            for row in self._rows:
                self._put(row)
            self._put(None)
        except PipechatError as error:
            self._put(error)
        except Exception as error:
            self._put(BugError(error))

    def _put(self, row: Row | Exception | None) -> None:
        with self._changed:
            while len(self._ready) >= _ROOM:
                self._changed.wait()
            self._ready.append(row)
            tell, self._told = not self._told, True
        if tell and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.set)

    async def next_rows(self) -> list[Row | Exception | None]:
        await self._came.wait()
        with self._changed:
            rows = list(self._ready)
            self._ready.clear()
            self._came.clear()
            self._told = False
            self._changed.notify()
        return rows


async def items_to_ask(
    rows: AsyncIterator[Row], reader: ItemReader, known: KnownItems, *, retry_failed: bool
) -> AsyncIterator[Item | BadItemError | Skipped]:
    """What becomes of each row."""
    async for row in rows:
        yield found_in(row, reader, known, retry_failed=retry_failed)


def found_in(
    row: Row, reader: ItemReader, known: KnownItems, *, retry_failed: bool
) -> Item | BadItemError | Skipped:
    """What becomes of a row: an item to ask, one that is none, or one that is skipped."""
    number, value = row
    try:
        item = reader.item(number, value)
    except BadItemError as error:
        error.is_told = known.has_failed(error.id, None, error.code)
        return error
    standing = known.meet(item.id, item.hash)
    if standing == "other":
        message = f"id {item.id!r} was there before, with another question"
        return BadItemError(number, "double_id", message, item.id)
    if standing != "new":
        return Skipped(standing)
    if not retry_failed and known.has_failed(item.id, item.hash):
        return Skipped("failed")
    return item


class SessionOrder:
    """Holds items back whose session has one on its way already, in their order.

    Args:
        items: what `items_to_ask` gives.
    """

    def __init__(self, items: AsyncIterator[Item | BadItemError | Skipped]) -> None:
        self._items = items
        self._lock = asyncio.Lock()
        self._busy: dict[str, deque[Item]] = {}
        self._held = 0
        self._freed: deque[Item] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._pending: asyncio.Future[Item | BadItemError | Skipped | None] | None = None

    async def next(self) -> Item | BadItemError | Skipped | None:
        """The next that may be asked; None at the end."""
        async with self._lock:
            while True:
                if self._freed:
                    return self._freed.popleft()
                if self._ended or self._held >= _ROOM:
                    if not self._held:
                        return None
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                found = await self._next_or_freed()
                if found is None:
                    continue
                if not isinstance(found, Item) or found.session is None:
                    return found
                waiting = self._busy.get(found.session)
                if waiting is None:
                    self._busy[found.session] = deque()
                    return found
                waiting.append(found)
                self._held += 1

    async def _next_or_freed(self) -> Item | BadItemError | Skipped | None:
        """The next of the input; None where it has ended, or where one was freed before."""
        if self._pending is None and not self._held:
            found = await anext(self._items, None)
            self._ended = found is None
            return found
        if self._pending is None:
            self._pending = asyncio.ensure_future(anext(self._items, None))
        self._changed.clear()
        change = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait((self._pending, change), return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        if not self._pending.done():
            return None
        found, self._pending = self._pending.result(), None
        self._ended = found is None
        return found

    def done(self, item: Item) -> None:
        """`item` has come to its end: the next of its session may go."""
        if item.session is None:
            return
        waiting = self._busy[item.session]
        if waiting:
            self._freed.append(waiting.popleft())
            self._held -= 1
        else:
            del self._busy[item.session]
        self._changed.set()
