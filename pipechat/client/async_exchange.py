"""Exchanges on an event loop: a request out, a response in, many at once in one thread.

What `exchange.Exchange` is to a turn that waits for a thread. Who sends is handed in: a sender
of the loop's own, or one of threads, of which each then carries one response at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from pipechat.client.exchange import Request, Response, Sender
from pipechat.client.reading import Item, ResponseReading
from pipechat.errors import NetworkError, OutputError, PipechatError, as_ours
from pipechat.events import Chunk, Together

_ROOM = 64  # items that may wait for the turn

Put = Callable[[Item], Awaitable[None]]
"""Takes the next item of a response; waits where the turn is slow."""


class AsyncSender(Protocol):
    """Carries requests on an event loop."""

    async def carry(self, request: Request, put: Put) -> None:
        """Send `request`; `put` the Response, as soon as its headers are there, then its body
        in segments, then None. To be cancelled at any time.

        Raises:
            PipechatError: there is no response, or no more of it.
        """
        ...

    async def aclose(self) -> None: ...


class ThreadedSender:
    """A Sender of threads as one of the loop: each response has a thread of its own, so that one
    that is given up, and hangs, keeps no other waiting."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def carry(self, request: Request, put: Put) -> None:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="exchange")
        responses: list[Response] = []
        given_up = False

        def send() -> Response:
            response = self._sender.send(request)
            responses.append(response)
            if given_up:
                response.abort()
            return response

        def segment(response: Response) -> bytes | None:
            return next(response.segments, None)

        try:
            response = await loop.run_in_executor(thread, send)
            await put(response)
            while (data := await loop.run_in_executor(thread, segment, response)) is not None:
                await put(data)
            await put(None)
        except asyncio.CancelledError:
            given_up = True
            for each in responses:
                each.abort()
            raise
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def aclose(self) -> None:
        """Nothing is kept between requests."""


class AsyncExchange:
    """One response on its way, as `exchange.Exchange` is for a thread."""

    def __init__(self, sender: AsyncSender, request: Request) -> None:
        self._items: deque[Item | Exception] = deque()
        self._came = asyncio.Event()
        self._space = asyncio.Event()
        self._task = asyncio.ensure_future(self._carry(sender, request))

    async def next_item(self, timeout_s: float) -> Item:
        """The next item. Raises TimeoutError, or what broke the exchange."""
        if not self._items:
            self._came.clear()
            async with asyncio.timeout(timeout_s if timeout_s != float("inf") else None):
                await self._came.wait()
        item = self._items.popleft()
        self._space.set()
        if isinstance(item, Exception):
            raise item
        return item

    async def stop(self) -> None:
        """Give up what has not come. Raises OutputError where its recording failed meanwhile."""
        self._task.cancel()
        await asyncio.wait([self._task])
        for item in self._items:
            if isinstance(item, OutputError):
                raise item

    async def _carry(self, sender: AsyncSender, request: Request) -> None:
        try:
            await sender.carry(request, self._put)
        except Exception as error:
            known = isinstance(error, PipechatError | MemoryError)
            self._append(as_ours(error) if known else _lost(error))

    async def _put(self, item: Item) -> None:
        while len(self._items) >= _ROOM:
            self._space.clear()
            await self._space.wait()
        self._append(item)

    def _append(self, item: Item | Exception) -> None:
        self._items.append(item)
        self._came.set()


def _lost(error: Exception) -> PipechatError:
    lost = NetworkError("connection_lost", f"the response broke off: {type(error).__name__}")
    lost.__cause__ = error
    return lost


async def read_response(
    sender: AsyncSender,
    request: Request,
    reading: ResponseReading,
    take: Callable[[Chunk], None],
) -> None:
    """Send `request`, and hand the chunks of its response to `take`.

    Raises:
        PipechatError: there is no answer, or it broke off.
    """
    steps = reading.steps()
    exchange = AsyncExchange(sender, request)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Together):
                for chunk in step.chunks:
                    take(chunk)
                step = next(steps)
                continue
            try:
                item = await exchange.next_item(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(item)
    except StopIteration:
        return
    finally:
        await exchange.stop()
