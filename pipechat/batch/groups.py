"""Records on their way to where they go: in groups, and in the order of the input if wanted.

Many that end together are written and synced as one; whoever adds a record waits until it is
safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from pipechat.batch.held import HeldFile
from pipechat.batch.journal import SetAsideError, unwritable
from pipechat.errors import PipechatError, as_ours

T = TypeVar("T")

# What is held for its order may take up so much, beside the record that is missing.
_MOST_HELD_BYTES = 32 << 20


class GroupWriter(Generic[T]):
    """Hands entries to `write` in a thread: all that are there at once, one group at a time."""

    def __init__(self, write: Callable[[list[T]], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._entries: list[T] = []
        self._written: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._broken: PipechatError | None = None

    async def add(self, *entries: T) -> None:
        """Add entries; returns when they are safe.

        Raises:
            PipechatError: what `write` raised, now or before.
        """
        # Who waits may be given up; the others still wait for the same group.
        await asyncio.shield(self.add_soon(*entries))

    def add_soon(self, *entries: T) -> asyncio.Future[None]:
        """Add entries, and say when they are safe."""
        loop = asyncio.get_running_loop()
        if self._broken is not None:
            raise self._broken
        self._entries.extend(entries)
        if self._written is None:
            self._written = loop.create_future()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return self._written

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._entries:
            entries, self._entries = self._entries, []
            written, self._written = self._written, None
            assert written is not None
            try:
                await loop.run_in_executor(self._thread, self._write, entries)
            except Exception as error:
                failure = as_ours(error)
                if not isinstance(failure, SetAsideError):  # else others are set aside as well
                    self._broken = failure
                written.set_exception(failure)
                written.exception()  # looked at, though nobody may wait any more
            else:
                written.set_result(None)

    async def aclose(self) -> None:
        """Wait until all that was added is safe."""
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)


class InOrder:
    """Records in the order of the input: each is held back until those before it are there.

    Args:
        append: takes records, in their order.
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
    ) -> None:
        self._append = append
        self._room = room
        self._held_file = held_file
        self._most_bytes = most_bytes
        self._held: dict[int, bytes] = {}
        self._held_bytes = 0
        self._next = 0
        self._moved = asyncio.Event()
        self._writer: GroupWriter[tuple[int, bytes]] = GroupWriter(self._write)

    async def wait_for_room(self, place: int) -> None:
        """Wait until the record of `place` may be held."""
        while place > self._next and (
            place - self._next >= self._room or self._held_bytes >= self._most_bytes
        ):
            self._moved.clear()
            await self._moved.wait()

    async def add(self, place: int, line: bytes = b"") -> None:
        """The record of `place`; empty: it has none. Returns when it is safe."""
        try:
            await self._writer.add((place, line))
        finally:
            self._moved.set()

    async def aclose(self) -> None:
        """Wait until all that was added is safe, and write what is held, in its order, with what
        is missing left out: nothing comes any more. Raises PipechatError."""
        await self._writer.aclose()
        await asyncio.to_thread(self._write, [], everything=True)

    def _write(self, entries: list[tuple[int, bytes]], *, everything: bool = False) -> None:
        self._held.update(entries)
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
            self._hold(file, [each for each in entries if each[0] in self._held and each[1]])

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
