"""Several workers as one: this process, and others beside it where one core is not enough."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from pipechat.batch.asking import Asked, Job, LocalWorker, Show, Worker, WorkerLostError
from pipechat.batch.frames import frame, next_frame
from pipechat.batch.worker_process import SetUp, pickled
from pipechat.events import TextChunk

_LOOK_EVERY_S = 1.0
# A core that is this busy is full.
_FULL = 0.8


class ProcessWorker:
    """A worker in a process of its own, which starts with its first job."""

    def __init__(self, common: SetUp) -> None:
        self._common = common
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Future[Asked]] = {}
        self._number = 0
        self._starting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self.is_lost = False

    async def start(self) -> None:
        """Start the process."""
        async with self._starting:
            if self._process is not None:
                return
            # In no case a module of the folder that the run was started in.
            flags = ["-I" if sys.flags.isolated else "-P"]
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *flags,
                "-m",
                "pipechat.batch.worker_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
            assert self._process.stdin is not None
            self._process.stdin.write(frame(0, pickled(self._common)))
            self._reading = asyncio.ensure_future(self._read())

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """As `Worker.ask`; the events of the answer come when it has ended."""
        await self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        if self.is_lost:
            raise WorkerLostError
        self._number += 1
        number = self._number
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._process.stdin.write(frame(number, pickled(job)))
            asked: Asked = await future
        finally:
            self._waiting.pop(number, None)
        if show is not None and asked.terminal.answer:
            show(TextChunk(0, asked.terminal.answer))
        return asked

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while (came := await next_frame(self._process.stdout)) is not None:
            future = self._waiting.get(came[0])
            if future is not None and not future.done():
                future.set_result(pickle.loads(came[1]))
        self.is_lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkerLostError())

    async def aclose(self) -> None:
        """End the process; what it has in flight is given up."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        if self._reading is not None:
            await self._reading


class Workers:
    """Gives each job to the worker that has the fewest.

    Args:
        local: asks in this process.
        make: makes one more, in a process of its own.
        count: how many processes ask; 0: one more whenever this one's core is full, while cores
            are left.
    """

    def __init__(self, local: LocalWorker, make: Callable[[], ProcessWorker], count: int) -> None:
        self._local = local
        self._make = make
        self._others = [make() for _ in range(count - 1)]
        self._in_flight: dict[Worker, int] = dict.fromkeys((local, *self._others), 0)
        self._watch = None if count else asyncio.ensure_future(self._grow())

    @property
    def processes(self) -> int:
        """How many processes ask."""
        return len(self._in_flight)

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """As `Worker.ask`."""
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

    async def _grow(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        while self.processes < cores:
            began, used = time.monotonic(), time.process_time()
            await asyncio.sleep(_LOOK_EVERY_S)
            if time.process_time() - used < _FULL * (time.monotonic() - began):
                continue
            worker = self._make()
            await worker.start()
            self._others.append(worker)
            self._in_flight[worker] = 0

    async def aclose(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self._local.aclose()
        for other in self._others:
            await other.aclose()
