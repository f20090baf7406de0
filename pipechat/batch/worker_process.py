"""A worker in a process of its own: what is said over its pipe, and its side of it.

Frames of pickles go both ways: first what all jobs have in common, then each job and what came of
it, by number. Only this program's own processes talk so.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipechat.batch.asking import LocalWorker
from pipechat.batch.frames import frame, next_frame
from pipechat.client.async_senders import network_sender
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted


class SetUp(NamedTuple):
    """What all jobs of a worker have in common. `jobs`: how many may be on their way at once."""

    settings: Settings
    environ: Mapping[str, str]
    wanted: Wanted | None
    jobs: int


def pickled(value: Any) -> bytes:
    """`value` as a frame's content."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def main() -> None:
    """The worker: ends when its pipe does, and not by what a terminal sends to all."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    asyncio.run(_serve())
    os._exit(0)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.streams.FlowControlMixin()
    with open(0, "rb") as source, open(1, "wb") as target:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, _ = await loop.connect_write_pipe(lambda: protocol, target)
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        await _take_jobs(reader, writer)


async def _take_jobs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first = await next_frame(reader)
    if first is None:
        return
    common: SetUp = pickle.loads(first[1])
    sender = network_sender(common.settings, common.environ, common.jobs)
    worker = LocalWorker(common.settings, sender, common.wanted)
    tasks: set[asyncio.Task[None]] = set()
    while (came := await next_frame(reader)) is not None:
        task = asyncio.ensure_future(_answer(worker, writer, *came))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:  # nobody is there to be answered
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await worker.aclose()


async def _answer(
    worker: LocalWorker, writer: asyncio.StreamWriter, number: int, job: bytes
) -> None:
    writer.write(frame(number, pickled(await worker.ask(pickle.loads(job)))))


if __name__ == "__main__":
    main()
