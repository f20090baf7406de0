"""Jobs spread over actors: the least busy one gets the next, and one that is lost has a successor.

Owns who is asked, and when to give up. What an actor is, and where it stands, is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from pipechat.batch.asking import WorkerLostError
from pipechat.client.retries import backoff_s
from pipechat.errors import PipechatError, TryLaterError, as_ours

# So many more may be lost, or not start, than there are to be, before one of them answers. One
# that does not start counts while there is no other.
TRIES = 5


class Actor(Protocol):
    """One of those that ask, many jobs at once."""

    async def ask(self, job: bytes) -> bytes:
        """What came of `job`. Raises WorkerLostError."""
        ...

    def end(self) -> None:
        """It is not needed any more, or was lost; it may be gone."""
        ...


class Spreader:
    """Asks through `count` actors.

    Args:
        start: starts one more; raises WorkerLostError where that failed for now, another
            PipechatError where it would fail again.
        wait_s: seconds before try number 1, 2, … to start one that would not start.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[Actor]],
        count: int,
        wait_s: Callable[[int], float] = lambda attempt: backoff_s(attempt, 0.5),
    ) -> None:
        self._start = start
        self._count = count
        self._wait_s = wait_s
        self._in_flight: dict[Actor, int] = {}
        self._failures = 0
        self._broken: PipechatError | None = None
        self._changed = asyncio.Event()
        self._starting: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Returns when the first of the actors is there. Raises as `ask`, but WorkerLostError."""
        for _ in range(self._count):
            self._add_one()
        await self._least_busy()

    async def ask(self, job: bytes) -> bytes:
        """What came of `job`.

        Raises:
            WorkerLostError: the actor that had it is no more.
            PipechatError: there are no actors, and none can be had.
        """
        actor = await self._least_busy()
        self._in_flight[actor] += 1
        try:
            answer = await actor.ask(job)
        except WorkerLostError as error:
            self._lose(actor, error)
            raise
        finally:
            if actor in self._in_flight:
                self._in_flight[actor] -= 1
        self._failures = 0
        return answer

    def close(self) -> None:
        """End all actors."""
        for task in self._starting:
            task.cancel()
        for actor in self._in_flight:
            actor.end()
        self._in_flight.clear()

    async def _least_busy(self) -> Actor:
        while self._broken is None and not self._in_flight:
            self._changed.clear()
            await self._changed.wait()
        if self._broken is not None:
            raise self._broken
        return min(self._in_flight, key=self._in_flight.__getitem__)

    def _lose(self, actor: Actor, error: WorkerLostError) -> None:
        if self._in_flight.pop(actor, None) is None:
            return  # another of its jobs has told
        actor.end()
        self._count_failure(error)
        self._add_one()

    def _add_one(self) -> None:
        task = asyncio.ensure_future(self._try_to_add())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _try_to_add(self) -> None:
        attempt = 0
        while self._broken is None:
            try:
                actor = await self._start()
            except WorkerLostError as error:
                if not self._in_flight:
                    self._count_failure(error)
                attempt += 1
                await asyncio.sleep(self._wait_s(attempt))
            except PipechatError as error:
                self._break(error)
            except Exception as error:
                self._break(as_ours(error))
            else:
                self._in_flight[actor] = 0
                self._changed.set()
                return

    def _count_failure(self, error: WorkerLostError) -> None:
        self._failures += 1
        if self._failures >= self._count + TRIES:
            message = f"{self._failures} workers were lost or did not start: {error}"
            hint = "See that pipechat is installed on every node, in the same version."
            self._break(TryLaterError("workers_lost", message, hint))

    def _break(self, error: PipechatError) -> None:
        """Nobody is asked any more; who was asked may still answer."""
        self._broken = self._broken or error
        self._changed.set()
