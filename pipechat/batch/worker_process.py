"""A worker in a process of its own: what is said over its pipe, and its side of it.

Frames of pickles go both ways. The first is what all jobs have in common, and has an empty lot for
an answer; then lots of jobs, and of what came of them, each with its number. Only this program's
own processes talk so.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from pipechat.batch.asking import Job, LocalWorker
from pipechat.batch.frames import Frames, frame
from pipechat.client.aio_sender import Head
from pipechat.client.async_senders import network_sender
from pipechat.errors import PipechatError
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted


class SetUp(NamedTuple):
    """What all jobs of a worker have in common. `jobs`: how many may be on their way at once.
    `heads`: as of `network_sender`."""

    settings: Settings
    environ: Mapping[str, str]
    wanted: Wanted | None
    jobs: int
    heads: Mapping[str, Head]


class Lots:
    """Sends values with their numbers: those of one turn of the event loop as one lot, since
    most of what a frame costs is the same for one and for ten.

    Args:
        write: takes the bytes of a frame.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._lot: list[tuple[int, Any]] = []

    def put(self, number: int, value: Any) -> None:
        """Send `value` soon."""
        if not self._lot:
            asyncio.get_running_loop().call_soon(self._send)
        self._lot.append((number, value))

    def _send(self) -> None:
        lot, self._lot = self._lot, []
        self._write(frame(0, pickled(lot)))


def pickled(value: Any) -> bytes:
    """`value` as a frame's content."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def main() -> None:
    """The worker: ends when its pipe does, and not by what a terminal sends to all."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    if find_spec("aiohttp") is not None:
        import aiohttp  # noqa: F401 — while the run makes ready
    asyncio.run(_serve())
    os._exit(0)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    with open(0, "rb") as source, open(1, "wb") as target:
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, target)
        served = _Served(transport.write)
        await loop.connect_read_pipe(lambda: served, source)
        await served.to_the_end()


class _Served(asyncio.Protocol):
    """The run at the other end, whose jobs are done until there are no more.

    Args:
        write: takes what is said to it.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._lots = Lots(write)
        self._common: asyncio.Future[SetUp | None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._worker: LocalWorker | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._frames = Frames(self._take)

    def data_received(self, data: bytes) -> None:
        self._frames.feed(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._common.done():
            self._common.set_result(None)
        self._over.set()

    async def to_the_end(self) -> None:
        """Returns when the run is gone."""
        common = await self._common
        if common is None:
            return
        try:
            sender = network_sender(common.settings, common.environ, common.jobs, common.heads)
        except PipechatError:
            return  # which the run says of itself
        self._worker = LocalWorker(common.settings, sender, common.wanted)
        gc.freeze()  # as of the run
        self._write(frame(0, pickled([])))
        await self._over.wait()
        for task in self._tasks:  # nobody is there to be answered
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._worker.aclose()

    def _take(self, _number: int, content: bytes) -> None:
        if not self._common.done():
            self._common.set_result(pickle.loads(content))
            return
        for number, job in pickle.loads(content):
            task = asyncio.ensure_future(self._answer(number, job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, job: Job) -> None:
        assert self._worker is not None
        self._lots.put(number, await self._worker.ask(job))


if __name__ == "__main__":
    main()
