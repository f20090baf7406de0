"""Where the records of a batch go: a file that is a session file, or stdout.

Many that end together are written and synced as one; whoever adds a record waits until it is
safe. Owns the lock that keeps a second run off.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from pipechat.errors import BugError, OutputError, PipechatError, SessionError, unwritable_file
from pipechat.store.faults import words_for
from pipechat.store.locked_file import LockedFile, lock_file, open_to_read


class OutputFile:
    """The file of a batch, for one run at a time, until it is closed.

    The lock of the run is a file of its own, hidden beside it: the file's own lock is that of
    each append, so that readers see it grow.

    Args:
        fresh: begin with an empty one.

    Raises (opening):
        SessionError: `batch_busy`: another run has it.
        OutputError: it cannot be written.
    """

    def __init__(self, path: str, *, fresh: bool = False) -> None:
        self.path = path
        folder, name = os.path.split(path)
        self._lock_path = os.path.join(folder, f".{name}.run")
        try:
            self._lock = lock_file(self._lock_path, create=True, wait_s=0)
        except BlockingIOError as error:
            message = f"another run writes to {path}"
            hint = "Wait until it has ended, or name another file with -o."
            raise SessionError("batch_busy", message, hint, retryable=True) from error
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            with LockedFile(path, create=True) as file:
                if fresh:
                    os.ftruncate(file.fd, 0)
            os.close(open_to_read(path))
        except OSError as error:
            self.close()
            raise unwritable(path, error) from error

    def append(self, lines: list[bytes]) -> None:
        """Add records, all of them safe on disk.

        Raises:
            OutputError: none of them was added.
        """
        try:
            with LockedFile(self.path, create=True, wait_s=None) as file:
                file.append(*lines)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Let another run have it."""
        with suppress(OSError):
            os.unlink(self._lock_path)
        os.close(self._lock)


class GroupWriter:
    """Hands records to `write` in a thread: all that are there at once, one group at a time."""

    def __init__(self, write: Callable[[list[bytes]], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._lines: list[bytes] = []
        self._written: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._broken: PipechatError | None = None

    async def add(self, *lines: bytes) -> None:
        """Add records; returns when they are safe.

        Raises:
            PipechatError: what `write` raised, now or before.
        """
        # Who waits may be given up; the others still wait for the same group.
        await asyncio.shield(self.add_soon(*lines))

    def add_soon(self, *lines: bytes) -> asyncio.Future[None]:
        """Add records, and say when they are safe."""
        loop = asyncio.get_running_loop()
        if self._broken is not None:
            raise self._broken
        self._lines.extend(lines)
        if self._written is None:
            self._written = loop.create_future()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return self._written

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._lines:
            lines, self._lines = self._lines, []
            written, self._written = self._written, None
            assert written is not None
            try:
                await loop.run_in_executor(self._thread, self._write, lines)
            except Exception as error:
                self._broken = error if isinstance(error, PipechatError) else BugError(error)
                written.set_exception(self._broken)
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
        room: how far the first that is missing may be behind: so many records are held at most.
    """

    def __init__(self, writer: GroupWriter, room: int) -> None:
        self._writer = writer
        self._room = room
        self._held: dict[int, tuple[bytes, ...]] = {}
        self._next = 0
        self._moved = asyncio.Event()

    async def wait_for_room(self, number: int) -> None:
        """Wait until the record of place `number` (from 0) may be held."""
        while number - self._next >= self._room:
            self._moved.clear()
            await self._moved.wait()

    async def add(self, number: int, *lines: bytes) -> None:
        """The lines of place `number`, which may be none."""
        self._held[number] = lines
        ready: list[bytes] = []
        while self._next in self._held:
            ready += self._held.pop(self._next)
            self._next += 1
        self._moved.set()
        if ready:
            await self._writer.add(*ready)

    async def flush(self) -> None:
        """Write what is held, in its order, with what is missing left out."""
        lines = [line for place in sorted(self._held) for line in self._held.pop(place)]
        if lines:
            await self._writer.add(*lines)


def unwritable(path: str, error: OSError) -> OutputError:
    """The error for a file of a batch that the system refused to write."""
    is_none = error.errno in (errno.ELOOP, errno.EINVAL, errno.ENXIO)
    hint = "Name a file with -o; `-` is stdout." if is_none else ""
    return unwritable_file("output_failed", path, error, words_for(error)[0], hint)
