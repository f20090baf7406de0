"""A batch in flight: items in, records out, so many at once.

Owns the way of an item: its session, its attempts, its record; and when the run ends before its
input does. Who asks, where records go and how fast is handed in. Runs on one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipechat.batch.asking import Asked, Job, Show, Worker, WorkerLostError
from pipechat.batch.items import BadItemError, Item
from pipechat.batch.keeping import Keepers, Kept
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.source import SessionOrder
from pipechat.batch.stopping import GivenUpError, Limit, TooManyFailedError
from pipechat.batch.summary import Summary
from pipechat.client.request_form import RequestForm
from pipechat.client.retries import RetryPolicy
from pipechat.errors import (
    BugError,
    ExitCode,
    Interrupted,
    OutputError,
    PipechatError,
    SessionError,
    TryLaterError,
    UsageError,
)
from pipechat.events import Retry
from pipechat.settings.resolve import Settings
from pipechat.wire.chat_completions import ChatCompletions

# What says the same of every item: nobody need ask the others.
_FINAL_CODES = ("insufficient_quota",)


class BatchRun:
    """One run over an input.

    Args:
        summary: counts what becomes of items.
        order: gives the items.
        records: takes what became of each.
        grace_s: how long what is in flight may take once the run is to stop.
    """

    def __init__(
        self,
        settings: Settings,
        summary: Summary,
        order: SessionOrder,
        worker: Worker,
        keepers: Keepers,
        records: Records,
        pace: Pace,
        *,
        jobs: int,
        grace_s: float,
        limit: Limit,
        tell: Callable[[str], None],
    ) -> None:
        self.summary = summary
        self._settings = settings
        self._order = order
        self._worker = worker
        self._keepers = keepers
        self._records = records
        self._pace = pace
        self._jobs = jobs
        self._grace_s = grace_s
        self._limit = limit
        self._dialect = ChatCompletions()
        self._form = RequestForm(tell)
        self._pacing = asyncio.Lock()
        self._lanes: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> Summary:
        """Ask all of the input, or until the run is to stop. Raises nothing: why it stopped
        stands in the summary."""
        self._lanes = {asyncio.ensure_future(self._lane()) for _ in range(self._jobs)}
        stop = asyncio.ensure_future(self._stopping.wait())
        everything = asyncio.gather(*self._lanes, return_exceptions=True)
        await asyncio.wait((stop, everything), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not everything.done():
            await asyncio.wait((everything,), timeout=self._grace_s)
            for lane in self._lanes:
                lane.cancel()
            await everything
        return self.summary

    def stop(self, cause: PipechatError, *, at_once: bool = False) -> None:
        """Start no new item; what is in flight has its grace, or none where it is `at_once`."""
        self.summary.stopped = self.summary.stopped or cause
        if at_once:
            self._grace_s = 0.0
            for lane in self._lanes:
                lane.cancel()
        self._stopping.set()
        for lane in self._lanes - self._asking:
            lane.cancel()

    async def _lane(self) -> None:
        """One of the jobs: item after item."""
        task = asyncio.current_task()
        assert task is not None
        while not self._stopping.is_set():
            try:
                found = await self._order.next()
                if found is None:
                    return
                self._asking.add(task)
                try:
                    await self._take(*found)
                except GivenUpError:
                    continue
                finally:
                    self._asking.discard(task)
            except PipechatError as error:  # the input failed, or the output
                self.stop(error, at_once=isinstance(error, OutputError | Interrupted))
            except Exception as error:
                self.stop(BugError(error))

    async def _take(self, place: int, found: Item | BadItemError) -> None:
        await self._records.wait_for_room(place)
        self._check_going()
        if isinstance(found, BadItemError):
            turn = self._keepers.of_bad_item(found)
            await self._records.bad(place, found, turn)
            self.summary.count(turn, found.hint)
        else:
            self.summary.in_flight += 1
            try:
                await self._ask(found, place)
            finally:
                self.summary.in_flight -= 1
                self._order.done(found)
        if self._limit.is_passed(self.summary):
            message = f"{self.summary.failed} of {self.summary.ended} items failed"
            stopped = TooManyFailedError("max_failures", message, "See --max-failures.")
            self.stop(stopped)

    async def _ask(self, item: Item, place: int) -> None:
        try:
            kept = await self._keepers.begin(item)
        except (UsageError, SessionError) as error:  # its session cannot be had: nothing was sent
            bad = BadItemError(item.number, error.code, error.message, item.id, error.hint)
            turn = self._keepers.of_bad_item(bad)
            await self._records.bad(place, bad, turn)
            self.summary.count(turn, bad.hint)
            return
        if kept.answered is not None:  # a run that was killed had it, and could not say so
            await self._records.keep(place, replace(kept.answered, request=item.hash))
            self.summary.count(kept.answered)
            return
        await self._records.start(item, kept.start())
        try:
            asked, attempts = await self._until_answered(item, kept)
        except BaseException:
            kept.abandon()
            raise
        turn = kept.turn(asked.terminal, item=item.id, attempts=attempts)
        # Whoever is given up now must not leave a record half told: threads go on to its end.
        await self._keepers.finish(kept, turn)
        await self._records.end(place, replace(turn, request=item.hash), asked.terminal)
        cause = asked.cause
        self.summary.count(turn, cause.hint if cause is not None else "")
        if cause is not None and (cause.exit_code == ExitCode.SETUP or cause.code in _FINAL_CODES):
            self.stop(cause)

    async def _until_answered(self, item: Item, kept: Kept) -> tuple[Asked, int]:
        """The last of the item's attempts, and how many there were."""
        policy = RetryPolicy(self._settings.retries)
        show = self._records.shower(item)
        await self._wait_for_turn()
        began, attempts = time.monotonic(), 1
        asked = await self._ask_once(kept, self._settings.timeout_s, show)
        while (again := self._again(kept, policy, asked, attempts)) is not None:
            left_s = self._left_s(began)
            if left_s is not None and left_s <= again.wait_s:
                break
            if again.wait_s:
                await self._records.retry(item, again)
                await self._rest(again.wait_s)
            await self._wait_for_turn()
            left_s = self._left_s(began)
            if left_s is not None and left_s <= 0:
                break
            attempts += 1
            asked = await self._ask_once(kept, left_s, show)
        return asked, attempts

    async def _ask_once(self, kept: Kept, left_s: float | None, show: Show | None) -> Asked:
        request = kept.request
        body = self._form.body(self._dialect, request)
        job = Job(body, self._form.own_parameters(request), left_s)
        while True:
            self.summary.requests += 1
            try:
                asked = await self._worker.ask(job, show)
            except WorkerLostError:
                continue
            self._learn(asked)
            return asked

    def _again(self, kept: Kept, policy: RetryPolicy, asked: Asked, attempt: int) -> Retry | None:
        """Whether the item is asked again, and when; None where what came of it stands."""
        cause = asked.cause
        if cause is None or asked.terminal.answer:
            return None
        if self._form.otherwise(kept.request, cause):
            return Retry(attempt, 0.0, None, cause.code)
        if not isinstance(cause, TryLaterError) or not cause.again:
            return None
        # When a limit lets the next one through, the pace knows: it is no failure of this item,
        # which ends with its time.
        limited = cause.code == "rate_limited"
        wait_s = 0.0 if limited else policy.wait_s(cause)
        return None if wait_s is None else Retry(attempt, wait_s, cause.status, cause.code)

    def _left_s(self, began: float) -> float | None:
        limit_s = self._settings.timeout_s
        return None if limit_s is None else limit_s - (time.monotonic() - began)

    async def _wait_for_turn(self) -> None:
        """Wait until the pace lets a request go. Raises GivenUpError."""
        async with self._pacing:
            while wait_s := self._pace.wait_s():
                await self._rest(wait_s)
            self._check_going()
            self._pace.starts()

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the run is to stop: then nothing more is sent. Raises GivenUpError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        self._check_going()

    def _check_going(self) -> None:
        if self._stopping.is_set():
            raise GivenUpError

    def _learn(self, asked: Asked) -> None:
        cause = asked.cause
        if isinstance(cause, TryLaterError) and cause.code == "rate_limited":
            self._pace.was_limited(asked.headers, cause.retry_after_s)
            return
        total = (asked.terminal.usage or {}).get("total_tokens")
        tokens = total if isinstance(total, int) and not isinstance(total, bool) else None
        self._pace.went_through(asked.headers, tokens)
