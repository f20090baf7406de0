"""Exchanges on an event loop: a request out, a response in, many at once in one thread.

What `exchange.Exchange` is to a turn that waits for a thread. Who sends is handed in: a sender
of the loop's own, or one of threads, of which each then carries one response at a time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from pipechat.client.exchange import Request, Response, Sender
from pipechat.client.reading import Item, ResponseReading, Steps
from pipechat.errors import NetworkError, OutputError, PipechatError, as_ours
from pipechat.events import Chunk, Together

Put = Callable[[Item], bool]
"""Takes the next item of a response; whether more of it is wanted."""


class AsyncSender(Protocol):
    """Carries requests on an event loop."""

    async def carry(self, request: Request, put: Put) -> None:
        """Send `request`; `put` the Response, as soon as its headers are there, then its body
        in segments, then None, for as long as they are wanted. To be cancelled at any time.

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

        data: bytes | None = b""
        try:
            response = await loop.run_in_executor(thread, send)
            wanted = put(response)
            while wanted and data is not None:
                data = await loop.run_in_executor(thread, segment, response)
                wanted = put(data)
            if data is not None:  # the rest of it is not wanted
                response.abort()
        except asyncio.CancelledError:
            given_up = True
            for each in responses:
                each.abort()
            raise
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def aclose(self) -> None:
        """Nothing is kept between requests."""


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
    await _Drive(reading.steps(), take).through(sender, request)


class _Drive:
    """Takes a reading from step to step, by what is carried and by the clock.

    All in the task that asked: a task and a queue between it and the sender took a tenth of what
    an item of a batch costs.
    """

    def __init__(self, steps: Steps, take: Callable[[Chunk], None]) -> None:
        self._steps = steps
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = self._timed_out = False
        self._failure: Exception | None = None

    async def through(self, sender: AsyncSender, request: Request) -> None:
        """Send `request`, and read its response to the end. Raises as `read_response`."""
        assert self._task is not None
        self._go_on(next, self._steps)
        cancels = self._task.cancelling()
        try:
            await sender.carry(request, self._put)
        except asyncio.CancelledError:
            if not self._timed_out or self._task.uncancel() > cancels:
                raise
        except Exception as error:
            self._broke(error)
        finally:
            if self._timer is not None:
                self._timer.cancel()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _put(self, item: Item) -> bool:
        if not self._is_over:
            self._go_on(self._steps.send, item)
        return not self._is_over

    def _broke(self, error: Exception) -> None:
        """Nothing more is carried."""
        known = isinstance(error, PipechatError | MemoryError)
        failure = as_ours(error) if known else _lost(error)
        if not self._is_over:
            self._go_on(self._steps.throw, failure)
        if not self._is_over or isinstance(failure, OutputError):  # its recording failed
            self._failure = failure

    def _go_on(self, advance: Callable[[Any], Together | float], what: Any) -> None:
        try:
            step = advance(what)
            while isinstance(step, Together):
                for chunk in step.chunks:
                    self._take(chunk)
                step = next(self._steps)
        except StopIteration:
            self._is_over = True
        except Exception as error:
            self._is_over, self._failure = True, error
        else:
            self._wait(step)

    def _wait(self, seconds: float) -> None:
        """Look at the clock in so many seconds, unless something comes. One timer does for a
        response: that it rings too early is cheaper than another for each item."""
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and seconds < math.inf:
            self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        left_s = self._due - self._loop.time()
        if self._is_over:
            return
        if left_s > 0:
            self._wait(left_s)
            return
        self._go_on(self._steps.throw, TimeoutError())
        if self._is_over:
            assert self._task is not None
            self._timed_out = True
            self._task.cancel()


def _lost(error: Exception) -> PipechatError:
    lost = NetworkError("connection_lost", f"the response broke off: {type(error).__name__}")
    lost.__cause__ = error
    return lost
