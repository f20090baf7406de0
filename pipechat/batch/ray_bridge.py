"""The process between a run and Ray: `python -m pipechat.batch.ray_bridge`, a socket at stdin.

Ray prints to stdout when a node dies, takes signals, and ends the process that it runs in when
its cluster is gone. Here it may. Frame 0 begins; any other is a job of that number, or gives it
up where it is empty; each has an answer of the same number, pickled. The end of the socket ends
it all.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import socket
import time
import traceback
from contextlib import ExitStack
from threading import Thread

from pipechat.batch.asking import WorkerLostError
from pipechat.batch.frames import frame, next_frame
from pipechat.batch.ray_cluster import connected
from pipechat.batch.ray_plan import Begin
from pipechat.batch.spreading import Spreader
from pipechat.errors import PipechatError, as_ours

# Less than the run waits for the end of this process.
_END_S = 12.0


class Bridge:
    """Serves one run, until it is left."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._stack = ExitStack()
        self._spreader: Spreader | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Do what the frames say, until there are no more."""
        with self._stack:
            while (came := await next_frame(self._reader)) is not None:
                number, content = came
                if content:
                    task = asyncio.ensure_future(self._answer(number, content))
                    self._tasks[number] = task
                elif number in self._tasks:
                    self._tasks[number].cancel()
            in_flight = list(self._tasks.values())
            for task in in_flight:
                task.cancel()
            # Before Ray ends: who gives up a request of its tells it so.
            await asyncio.gather(*in_flight, return_exceptions=True)
            if self._spreader is not None:
                self._spreader.close()

    async def _answer(self, number: int, content: bytes) -> None:
        try:
            if number:
                assert self._spreader is not None
                answer = await self._spreader.ask(content)
            else:
                await self._begin(pickle.loads(content))
                answer = pickle.dumps(None)
        except (PipechatError, WorkerLostError) as error:
            answer = pickle.dumps(error)
        except Exception as error:
            traceback.print_exc()  # the run shows it with -v
            answer = pickle.dumps(as_ours(error))
        finally:
            del self._tasks[number]
        self._writer.write(frame(number, answer))
        await self._writer.drain()

    async def _begin(self, begin: Begin) -> None:
        # In the main thread, though it takes seconds: a cluster of our own dies with the thread
        # that started it.
        cluster = self._stack.enter_context(connected(begin.address, begin.plan, begin.jobs))
        self._spreader = Spreader(cluster.start, len(cluster.nodes))
        await self._spreader.open()


def _end_with(run: socket.socket) -> None:
    """End this process some time after the run has, where it does not end by itself: Ray may wait
    for its cluster for minutes, and takes no notice of anything meanwhile."""
    gone = select.poll()
    gone.register(run, 0)  # what ends it is always told
    gone.poll()
    time.sleep(_END_S)
    os._exit(1)


def main() -> None:
    """Serve the run at the other end of stdin."""
    run = socket.socket(fileno=os.dup(0))
    Thread(target=_end_with, args=(run.dup(),), daemon=True, name="end").start()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # what is started here has no business with the run
    os.close(null)

    async def serve() -> None:
        await Bridge(*await asyncio.open_connection(sock=run)).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
