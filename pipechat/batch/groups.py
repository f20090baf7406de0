"""Records on their way to where they go: in groups, and in the order of the input if wanted.

Many that end together are written and synced as one; whoever adds a record waits until it is
safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from pipechat.batch.held import HeldFile
from pipechat.batch.journal import SetAsideError, unwritable
from pipechat.errors import PipechatError, as_ours
from pipechat.ledger.account import Line

T = TypeVar("T")

Lines = Mapping[str, list[Line]]
"""Lines of the ledger, by the ids of their turns."""

NO_LINES: Lines = {}

# What is held for its order may take up so much, beside the record that is missing.
_MOST_HELD_BYTES = 32 << 20


class Entry(NamedTuple):
    """What became of an item: its record, by its place in the input, and what the ledger is to
    have of it. Without a place it has no record."""

    place: int | None
    record: bytes
    lines: Lines = NO_LINES


class GroupWriter(Generic[T]):
    """Hands entries to `write` in a thread: all that are there at once, one group at a time.

    Args:
        also: takes each group once it is written, or cannot be.
    """

    def __init__(
        self, write: Callable[[list[T]], None], also: Callable[[list[T]], None] | None = None
    ) -> None:
        self._write = write
        self._also = also
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._entries: list[T] = []
        self._waiting: list[asyncio.Future[PipechatError | None]] = []
        self._task: asyncio.Task[None] | None = None
        self._broken: PipechatError | None = None

    async def add(self, *entries: T) -> PipechatError | None:
        """Add entries; returns when they are safe, with what `also` raised.

        Raises:
            PipechatError: what `write` raised, now or before.
        """
        # One for each who waits, and may be given up: to shield one of a whole group takes longer.
        safe: asyncio.Future[PipechatError | None] = asyncio.get_running_loop().create_future()
        self.add_soon(*entries)
        self._waiting.append(safe)
        return await safe

    def add_soon(self, *entries: T) -> None:
        """Add entries, whatever becomes of them. Raises what `write` raised before."""
        if self._broken is not None and self._also is None:
            raise self._broken
        self._entries.extend(entries)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._entries:
            entries, self._entries = self._entries, []
            waiting, self._waiting = self._waiting, []
            failure, beside = await loop.run_in_executor(self._thread, self._in_thread, entries)
            for safe in waiting:
                if safe.done():  # who waited was given up
                    continue
                if failure is None:
                    safe.set_result(beside)
                else:
                    safe.set_exception(failure)

    def _in_thread(self, entries: list[T]) -> tuple[PipechatError | None, PipechatError | None]:
        """Write a group: why it could not be, and what `also` raised."""
        failure = self._broken or _failure_of(self._write, entries)
        if not isinstance(failure, SetAsideError):  # else others are set aside as well
            self._broken = failure
        return failure, _failure_of(self._also, entries) if self._also is not None else None

    async def aclose(self) -> None:
        """Wait until all that was added is safe."""
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)


def _failure_of(write: Callable[[T], None], what: T) -> PipechatError | None:
    try:
        write(what)
    except Exception as error:
        return as_ours(error)
    return None


def records_to(append: Callable[[list[bytes]], None] | None) -> Callable[[list[Entry]], None]:
    """Hands the records of entries to `append`, where somebody wants them."""

    def write(entries: list[Entry]) -> None:
        records = [entry.record for entry in entries if entry.record]
        if append is not None and records:
            append(records)

    return write


class InOrder:
    """Records in the order of the input: each is held back until those before it are there.

    Args:
        append: takes records, in their order.
        also: as of a GroupWriter.
        room: how far the first that is missing may be behind: so many records are held at most.
        held_file: has what is held, safe on disk; None: it is in memory alone.
        most_bytes: no item is begun while more than so much is held.
    """

    def __init__(
        self,
        append: Callable[[list[bytes]], None],
        room: int,
        held_file: HeldFile | None = None,
        most_bytes: int = _MOST_HELD_BYTES,
        also: Callable[[list[Entry]], None] | None = None,
    ) -> None:
        self._append = append
        self._room = room
        self._held_file = held_file
        self._most_bytes = most_bytes
        self._held: dict[int, bytes] = {}
        self._held_bytes = 0
        self._next = 0
        self._moved = asyncio.Event()
        self._writer = GroupWriter(self._write, also)

    async def wait_for_room(self, place: int) -> None:
        """Wait until the record of `place` may be held."""
        while place > self._next and (
            place - self._next >= self._room or self._held_bytes >= self._most_bytes
        ):
            self._moved.clear()
            await self._moved.wait()

    async def add(self, entry: Entry) -> PipechatError | None:
        """As of a GroupWriter. The record may be empty: its place has none."""
        try:
            return await self._writer.add(entry)
        finally:
            self._moved.set()

    def add_soon(self, entry: Entry) -> None:
        """As of a GroupWriter, of what has no record."""
        self._writer.add_soon(entry)

    async def aclose(self) -> None:
        """Wait until all that was added is safe, and write what is held, in its order, with what
        is missing left out: nothing comes any more. Raises PipechatError."""
        await self._writer.aclose()
        await asyncio.to_thread(self._write, [], everything=True)

    def _write(self, entries: list[Entry], *, everything: bool = False) -> None:
        new = {place: record for place, record, _ in entries if place is not None}
        self._held.update(new)
        ready = self._take_ready(everything=everything)
        self._held_bytes = sum(map(len, self._held.values()))
        file = self._held_file
        if file is None:
            if ready:
                self._append(ready)
            return
        try:
            if ready:
                self._append(ready)
        finally:
            self._hold(file, [each for each in new.items() if each[0] in self._held and each[1]])

    def _hold(self, file: HeldFile, new: list[tuple[int, bytes]]) -> None:
        try:
            file.add(new)
            file.keep(self._held)
        except OSError as error:
            raise unwritable(file.path, error) from error

    def _take_ready(self, *, everything: bool) -> list[bytes]:
        lines: list[bytes] = []
        while self._next in self._held:
            lines.append(self._held.pop(self._next))
            self._next += 1
        if everything:
            lines += [self._held.pop(place) for place in sorted(self._held)]
        return [line for line in lines if line]
