"""A batch in flight: items in, records out, so many at once.

Owns the way of an item: its session, its attempts, its record; and when the run ends before its
input does. Who asks, where records go and how fast is handed in. Runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipechat.batch.accounts import BatchAccounts
from pipechat.batch.asking import Worker
from pipechat.batch.attempts import Attempts
from pipechat.batch.groups import NO_LINES
from pipechat.batch.items import BadItemError, Item
from pipechat.batch.journal import SetAsideError
from pipechat.batch.keeping import Keepers, Kept
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.source import SessionOrder
from pipechat.batch.stopping import GivenUpError, Limit, TooManyFailedError
from pipechat.batch.summary import Summary
from pipechat.batch.tries import Answered
from pipechat.client.request_form import MemoryOf
from pipechat.errors import (
    ExitCode,
    Interrupted,
    OutputError,
    PipechatError,
    SessionError,
    UsageError,
    as_ours,
)
from pipechat.settings.resolve import Settings

# What says the same of every item: nobody need ask the others.
_FINAL_CODES = ("insufficient_quota",)


class BatchRun:
    """One run over an input.

    Args:
        summary: counts what becomes of items.
        order: gives the items.
        records: takes what became of each.
        grace_s: how long what is in flight may take once the run is to stop.
        memory: what the endpoint refused before, for a model.
        accounts: of what is sent.
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
        memory: MemoryOf | None = None,
        accounts: BatchAccounts | None = None,
    ) -> None:
        self.summary = summary
        self._order = order
        self._keepers = keepers
        self._records = records
        self._jobs = jobs
        self._grace_s = grace_s
        self._limit = limit
        self._lanes: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._attempts = Attempts(
            settings,
            worker,
            records,
            pace,
            summary,
            self._stopping,
            tell,
            memory,
            accounts,
        )

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
        if isinstance(self.summary.stopped, TooManyFailedError):
            self.summary.stopped.count(self.summary)
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
                lost = isinstance(error, OutputError) and not isinstance(error, SetAsideError)
                self.stop(error, at_once=lost or isinstance(error, Interrupted))
            except Exception as error:
                self.stop(as_ours(error))

    async def _take(self, place: int, found: Item | BadItemError) -> None:
        await self._records.wait_for_room(place)
        self._attempts.check_going()
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
            self.stop(TooManyFailedError(self._limit))

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
            await self._records.keep(place, kept.in_output(kept.answered))
            self.summary.count(kept.answered)
            return
        await self._records.start(item, kept.start())
        try:
            answered = await self._attempts.until_answered(item, kept)
        except BaseException:
            kept.abandon()
            raise
        try:
            await self._keep(item, place, kept, answered)
        finally:
            if answered.account is not None:
                answered.account.gone()

    async def _keep(self, item: Item, place: int, kept: Kept, answered: Answered) -> None:
        asked, attempts, corrected, account = answered
        if isinstance(asked.cause, OutputError):  # its recording's, which fails all the others
            self.stop(asked.cause)
        turn = kept.turn(
            asked.terminal, item=item.id, attempts=attempts, corrected=corrected, api=asked.api
        )
        lines = account.closed(asked.terminal.status) if account is not None else NO_LINES
        # Whoever is given up now must not leave a record half told: threads go on to its end.
        try:
            await self._keepers.finish(kept, turn)
        except BaseException:
            self._records.give_up(lines)
            raise
        unkept = await self._records.end(place, kept.in_output(turn), asked.terminal, lines)
        cause = asked.cause
        self.summary.count(turn, cause.hint if cause is not None else "", item.number)
        if cause is not None and (cause.exit_code == ExitCode.SETUP or cause.code in _FINAL_CODES):
            self.stop(cause)
        if unkept is not None:
            raise unkept
