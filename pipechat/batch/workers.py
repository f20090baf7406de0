"""Several workers as one: this process, and others beside it where one core is not enough."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pipechat.batch.asking import Asked, Job, LocalWorker, Show, WorkerLostError
from pipechat.batch.frames import Frames, frame
from pipechat.batch.worker_process import Lots, SetUp, pickled
from pipechat.events import TextChunk
from pipechat.signals import held_off

_LOOK_EVERY_S = 1.0
# A core that is this busy is full.
_FULL = 0.8


class ProcessWorker(asyncio.SubprocessProtocol):
    """A worker in a process of its own."""

    def __init__(self) -> None:
        self._transport: asyncio.SubprocessTransport | None = None
        self._write: Callable[[bytes], None] = lambda _: None
        self._lots = Lots(self._send)
        self._frames = Frames(self._take)
        self._waiting: dict[int, asyncio.Future[Asked]] = {}
        self._number = 0
        self._ready = asyncio.Event()
        self._exited = asyncio.Event()
        self.is_lost = False

    async def start(self) -> None:
        """Start the process, which makes ready by itself. Raises OSError."""
        # In no case a module of the folder that the run was started in.
        flags = ["-I" if sys.flags.isolated else "-P"]
        command = [sys.executable, *flags, "-m", "pipechat.batch.worker_process"]
        loop = asyncio.get_running_loop()
        # A signal is not for it, neither while Python starts and has not read so yet.
        with held_off():
            await loop.subprocess_exec(lambda: self, *command, stderr=None)

    async def set_up(self, common: SetUp) -> None:
        """Returns when it can be asked. Raises WorkerLostError."""
        self._send(frame(0, pickled(common)))
        await self._ready.wait()
        if self.is_lost:
            raise WorkerLostError

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """As `Worker.ask`; the events of the answer come when it has ended."""
        if self.is_lost:
            raise WorkerLostError
        self._number += 1
        number = self._number
        future: asyncio.Future[Asked] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._lots.put(number, job)
            asked = await future
        finally:
            self._waiting.pop(number, None)
        if show is not None and asked.terminal.answer:
            show(TextChunk(0, asked.terminal.answer))
        return asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, _fd: int, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        self._frames.feed(data)

    def pipe_connection_lost(self, fd: int, _error: Exception | None) -> None:
        if fd != 1:
            return
        self.is_lost = True
        self._ready.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkerLostError())

    def process_exited(self) -> None:
        self._exited.set()

    def _take(self, _number: int, content: bytes) -> None:
        self._ready.set()
        for number, asked in pickle.loads(content):
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(asked)

    def _send(self, data: bytes) -> None:
        pipe = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if isinstance(pipe, asyncio.WriteTransport):
            pipe.write(data)

    async def aclose(self) -> None:
        """End the process; what it has in flight is given up."""
        if self._transport is None:
            return
        with suppress(ProcessLookupError):
            self._transport.kill()
        await self._exited.wait()
        self._transport.close()


async def started(count: int) -> list[ProcessWorker]:
    """So many workers, to be set up; fewer where the system has no room for more."""
    workers: list[ProcessWorker] = []
    try:
        while len(workers) < count:
            worker = ProcessWorker()
            await worker.start()
            workers.append(worker)
    except OSError:
        return workers
    except BaseException:
        await close_all(workers)
        raise
    return workers


async def close_all(workers: Sequence[ProcessWorker]) -> None:
    """End them."""
    for worker in workers:
        await worker.aclose()


class Workers:
    """Gives each job to the worker that has the fewest; to this process where there is no other.

    It has enough to do beside them: to read the items and to keep the records takes as long as to
    ask.

    Args:
        local: asks in this process.
        others: those that are started.
        common: what they are set up with.
        may_grow: one more is started whenever this one's core is full, while cores are left.
    """

    def __init__(
        self,
        local: LocalWorker,
        others: Sequence[ProcessWorker],
        common: SetUp,
        *,
        may_grow: bool,
    ) -> None:
        self._local = local
        self._others = list(others)
        self._common = common
        self._in_flight: dict[ProcessWorker, int] = {}
        self._tasks = [asyncio.ensure_future(self._add(worker)) for worker in others]
        self._growing = asyncio.ensure_future(self._grow()) if may_grow else None

    async def open(self) -> None:
        """Returns when the first of the others can be asked, or none of them ever will."""
        coming = set(self._tasks)
        while coming and not self._in_flight:
            _, coming = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """As `Worker.ask`."""
        if not self._in_flight:
            return await self._local.ask(job, show)
        worker = min(self._in_flight, key=self._in_flight.__getitem__)
        self._in_flight[worker] += 1
        try:
            return await worker.ask(job, show)
        except WorkerLostError:
            self._in_flight.pop(worker, None)
            raise
        finally:
            if worker in self._in_flight:
                self._in_flight[worker] -= 1

    async def _add(self, worker: ProcessWorker) -> None:
        with suppress(Exception):  # there are others, or this process, which says what is wrong
            await worker.set_up(self._common)
            self._in_flight[worker] = 0

    async def _grow(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        while 1 + len(self._in_flight) < cores:
            began, used = time.monotonic(), time.process_time()
            await asyncio.sleep(_LOOK_EVERY_S)
            if time.process_time() - used < _FULL * (time.monotonic() - began):
                continue
            for worker in await started(1):
                self._others.append(worker)
                await self._add(worker)

    async def aclose(self) -> None:
        for task in (*self._tasks, self._growing):
            if task is not None:
                task.cancel()
        await self._local.aclose()
        await close_all(self._others)
