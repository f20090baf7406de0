"""The rows of an input, carried to the event loop: from a file when they are wanted, from a stream
the moment they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain, islice
from threading import Condition, Thread

from pipechat.batch.rows import Row
from pipechat.errors import PipechatError, as_ours

# So many rows are looked at before others get their turn.
_AT_ONCE = 256
# Rows that may wait for the loop, of so many bytes together: a row may be large.
_ROWS_AHEAD = 256
_BYTES_AHEAD = 1 << 18

Rows = AsyncIterator[Iterable[Row]]
"""Rows as they come, so many at a time; each lot is to be taken to its end."""


async def rows_at_hand(rows: Iterator[Row]) -> Rows:
    """The rows of a file, which are there when they are wanted."""
    while (first := next(rows, None)) is not None:
        yield chain((first,), islice(rows, _AT_ONCE))
        await asyncio.sleep(0)


async def rows_as_they_come(rows: Iterator[Row]) -> Rows:
    """The rows of a stream, each the moment it is there: a thread waits for them."""
    loop = asyncio.get_running_loop()
    pump = _Pump(rows, loop)
    Thread(target=pump.run, daemon=True, name="input").start()
    ended = False
    try:
        while not ended:
            rows_there, ended = await pump.next_rows()
            yield rows_there
    finally:
        pump.close()
    if pump.error is not None:
        raise pump.error


class _Pump:
    """Carries rows from a thread to the loop, no further ahead than `_ROWS_AHEAD` rows and
    `_BYTES_AHEAD` bytes, or a row that is larger."""

    def __init__(self, rows: Iterator[Row], loop: asyncio.AbstractEventLoop) -> None:
        self._rows = rows
        self._loop = loop
        self._ready: list[Row] = []
        self._bytes = 0
        self._changed = Condition()
        self._came = asyncio.Event()
        self._told = False
        self._ended = False
        self._closed = False
        self.error: PipechatError | None = None

    def run(self) -> None:
        try:
            for row in self._rows:
                if not self._put(row):
                    return
        except PipechatError as error:
            self.error = error
        except Exception as error:
            self.error = as_ours(error)
        with self._changed:
            self._tell()
            self._ended = True

    def _put(self, row: Row) -> bool:
        """Whether the row is wanted."""
        with self._changed:
            while self._is_full() and not self._closed:
                self._changed.wait()
            self._ready.append(row)
            self._bytes += row.size
            self._tell()
            return not self._closed

    def _is_full(self) -> bool:
        return len(self._ready) >= _ROWS_AHEAD or self._bytes >= _BYTES_AHEAD

    def close(self) -> None:
        """Nobody takes any more: the thread ends, unless it waits for the input."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _tell(self) -> None:
        if not self._told and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.set)
        self._told = True

    async def next_rows(self) -> tuple[list[Row], bool]:
        """What came since, perhaps nothing, and whether it was the last."""
        await self._came.wait()
        with self._changed:
            rows, self._ready, self._bytes = self._ready, [], 0
            self._came.clear()
            self._told = False
            self._changed.notify()
            return rows, self._ended
