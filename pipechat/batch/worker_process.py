"""A worker in a process of its own: what is said over its pipe, and its side of it.

Frames go both ways, a length of four bytes and a pickle: first what all jobs have in common, then
each job and what came of it, by number. Only this program's own processes talk so.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from pipechat.batch.asking import LocalWorker
from pipechat.client.async_senders import network_sender
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted

_LENGTH_BYTES = 4


class SetUp(NamedTuple):
    """What all jobs of a worker have in common. `jobs`: how many may be on their way at once."""

    settings: Settings
    environ: Mapping[str, str]
    wanted: Wanted | None
    jobs: int


def frame(value: Any) -> bytes:
    """`value` as a frame."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH_BYTES) + data


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """The next frame's value.

    Raises:
        EOFError: the other side is gone.
    """
    try:
        size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
        return pickle.loads(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError from error


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
        with suppress(ExceptionGroup, EOFError):  # nobody is there to be answered
            await _take_jobs(reader, writer)


async def _take_jobs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    common: SetUp = await read_frame(reader)
    sender = network_sender(common.settings, common.environ, common.jobs)
    worker = LocalWorker(common.settings, sender, common.wanted)
    async with asyncio.TaskGroup() as tasks:
        while True:
            number, job = await read_frame(reader)
            tasks.create_task(_answer(worker, writer, number, job))


async def _answer(worker: LocalWorker, writer: asyncio.StreamWriter, number: int, job: Any) -> None:
    writer.write(frame((number, await worker.ask(job))))


if __name__ == "__main__":
    main()
