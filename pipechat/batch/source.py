"""The items of a batch as they are asked for: read, told apart from those that need not be asked,
and those of one session one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from heapq import heappop, heappush
from typing import NamedTuple

from pipechat.batch.items import BadItemError, Item, ItemReader
from pipechat.batch.known import KnownItems
from pipechat.batch.row_lots import Rows
from pipechat.batch.rows import Row

# Items that may wait for their session, of so many bytes.
_ROOM = 1024
_ROOM_BYTES = 16 << 20


class Skipped(NamedTuple):
    """An item that is not asked: `complete` in the output, a `double` of one before it, or
    `failed` and left alone."""

    why: str


_SKIPPED = {why: Skipped(why) for why in ("complete", "double")}

Skip = Callable[[str], None]
"""Told why an item is not asked."""


async def items_to_ask(
    lots: Rows, reader: ItemReader, known: KnownItems, skip: Skip, *, retry_failed: bool
) -> AsyncIterator[Item | BadItemError]:
    """What is to be done of the rows: items to ask, and what is none."""
    async for rows in lots:
        for row in rows:
            found = found_in(row, reader, known, retry_failed=retry_failed)
            if isinstance(found, Skipped):
                skip(found.why)
            else:
                yield found


def found_in(
    row: Row, reader: ItemReader, known: KnownItems, *, retry_failed: bool
) -> Item | BadItemError | Skipped:
    """What becomes of a row: an item to ask, one that is none, or one that is skipped."""
    try:
        item = reader.item(row)
    except BadItemError as error:
        return _noted(error, known)
    standing = known.meet(item.id, item.hash)
    if standing == "other":
        message = f"id {item.id!r} was there before, with another question"
        return _noted(BadItemError(row.number, "double_id", message, item.id), known)
    if standing != "new":
        return _SKIPPED[standing]
    if not retry_failed and known.has_failed(item.id, item.hash):
        return Skipped("failed")
    return item


def _noted(error: BadItemError, known: KnownItems) -> BadItemError:
    error.is_told = known.is_told(error.id, error.code)
    return error


Found = tuple[int, Item | BadItemError]
"""What is to be done, and its place in the order of the input (from 0)."""


class SessionOrder:
    """Holds items back whose session has one on its way already, in their order.

    Args:
        items: what `items_to_ask` gives.
    """

    def __init__(self, items: AsyncIterator[Item | BadItemError]) -> None:
        self._items = items
        self._lock = asyncio.Lock()
        self._busy: dict[str, deque[tuple[int, Item]]] = {}
        self._held = 0
        self._held_bytes = 0
        # The first in the order of the input goes first: others may wait for its record.
        self._freed: list[tuple[int, Item]] = []
        self._changed = asyncio.Event()
        self._places = 0
        self._ended = False
        self._pending: asyncio.Future[Item | BadItemError | None] | None = None

    async def next(self) -> Found | None:
        """The next that may be asked; None at the end."""
        async with self._lock:
            while True:
                if self._freed:
                    return heappop(self._freed)
                if self._ended or self._is_full():
                    if not self._held:
                        return None
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                found = await self._next_or_freed()
                if found is None:
                    continue
                place, self._places = self._places, self._places + 1
                if not isinstance(found, Item) or found.session is None:
                    return place, found
                waiting = self._busy.get(found.session)
                if waiting is None:
                    self._busy[found.session] = deque()
                    return place, found
                waiting.append((place, found))
                self._held += 1
                self._held_bytes += found.size

    def _is_full(self) -> bool:
        return self._held >= _ROOM or self._held_bytes >= _ROOM_BYTES

    async def _next_or_freed(self) -> Item | BadItemError | None:
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
            freed = waiting.popleft()
            heappush(self._freed, freed)
            self._held -= 1
            self._held_bytes -= freed[1].size
        else:
            del self._busy[item.session]
        self._changed.set()
