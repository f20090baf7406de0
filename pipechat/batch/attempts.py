"""The requests of one item, one after the other, until what came of it stands.

Owns whether an item is asked again, when, and how: after a failure for now, when a limit lets it
through, put otherwise, or told what is wrong with its answer. All within the item's time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from pipechat.batch.asking import Asked, Job, Show, Worker, WorkerLostError, failed_unasked
from pipechat.batch.items import Item
from pipechat.batch.keeping import Kept
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.stopping import GivenUpError
from pipechat.batch.summary import Summary
from pipechat.client.deadlines import total_passed
from pipechat.client.request_form import MemoryOf, Refusals, RequestForm, Way, told
from pipechat.client.retries import RetryPolicy
from pipechat.errors import ExitCode, TryLaterError
from pipechat.events import Again, Error, Event, Retry
from pipechat.messages import ChatRequest, Usage
from pipechat.settings.resolve import Settings
from pipechat.turn.prompt import corrections_of

_LIMITED = "rate_limited"


class Answered(NamedTuple):
    """What came of an item: the last of its requests, with the tokens of all its answers; how
    many requests there were; whether its answer was corrected."""

    asked: Asked
    attempts: int
    corrected: bool


class _Tries:
    """What an item is asked next, and in which way it was, since when, and what it took so far.

    `show`: takes the events of its answer, where somebody looks: those of one answer alone.
    """

    def __init__(self, request: ChatRequest, settings: Settings, show: Show | None) -> None:
        self.request = request
        self.way = Way("")
        self._shown = show
        self._held: list[Event] = []
        may_correct = settings.schema is not None and settings.schema_retries > 0
        self.show = self._held.append if show is not None and may_correct else show
        self.policy = RetryPolicy(settings.retries)
        self.count = 0
        self.corrections = 0
        self._began = time.monotonic()
        self._limit_s = settings.timeout_s
        self._tokens: Counter[str] = Counter()
        self.refusals: Refusals = []

    def left_s(self) -> float | None:
        """Seconds that are left of the item's time; None: it has no end."""
        limit_s = self._limit_s
        return None if limit_s is None else limit_s - (time.monotonic() - self._began)

    def leaves(self, seconds: float) -> bool:
        """Whether there is time left after so many seconds."""
        left_s = self.left_s()
        return left_s is None or left_s > seconds

    def correct(self, asked: Asked) -> None:
        """Ask for the same again, told what is wrong with the answer."""
        assert asked.cause is not None
        self._tokens.update(_counts(asked.terminal.usage))
        self._held.clear()
        self.corrections += 1
        more = corrections_of(asked.terminal.answer, asked.cause)
        self.request = self.request._replace(messages=[*self.request.messages, *more])

    def answered(self, asked: Asked) -> Answered:
        """`asked` stands."""
        if self._shown is not None:
            for event in self._held:
                self._shown(event)
        terminal = asked.terminal
        if self.refusals and asked.cause is not None and isinstance(terminal, Error):
            cause = told(asked.cause, self.way, self.refusals)
            terminal = replace(terminal, code=cause.code, message=cause.message)
            asked = asked._replace(terminal=terminal, cause=cause)
        if self._tokens:
            self._tokens.update(_counts(terminal.usage))
            usage = {**(terminal.usage or {}), **self._tokens}
            asked = asked._replace(terminal=replace(terminal, usage=usage))
        return Answered(asked, self.count, self.corrections > 0)


def _counts(usage: Usage | None) -> dict[str, int]:
    return {name: value for name, value in (usage or {}).items() if type(value) is int}


class Attempts:
    """Asks items through `worker`, at the pace, until they are answered.

    Args:
        stopping: set once the run is to stop: nothing more is sent.
        tell: is told what is asked for in another way.
        memory: what the endpoint refused before, for a model.
    """

    def __init__(
        self,
        settings: Settings,
        worker: Worker,
        records: Records,
        pace: Pace,
        summary: Summary,
        stopping: asyncio.Event,
        tell: Callable[[str], None],
        memory: MemoryOf | None = None,
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._records = records
        self._pace = pace
        self._summary = summary
        self._stopping = stopping
        self._tell = tell
        self._memory = memory
        self._forms: dict[str, RequestForm] = {}
        self._pacing = asyncio.Lock()

    async def until_answered(self, item: Item, kept: Kept) -> Answered:
        """What comes of the item. Raises GivenUpError."""
        show = self._records.shower(item)
        await self._wait_for_turn()
        tries = _Tries(kept.request, self._settings, show)
        asked = await self._ask_once(tries)
        while (again := self._again(tries, asked)) is not None:
            if isinstance(again, Retry):
                if not tries.leaves(again.wait_s):
                    break
                await self._records.retry(item, again)
                if again.code != _LIMITED:  # else the pace waits, for all
                    await self._rest(again.wait_s)
            await self._wait_for_turn()
            if not tries.leaves(0.0):
                break
            if asked.terminal.exit_code == ExitCode.MISMATCH:
                tries.correct(asked)
            asked = await self._ask_once(tries)
        return tries.answered(asked)

    def check_going(self) -> None:
        """Let the run go on, or raise GivenUpError."""
        if self._stopping.is_set():
            raise GivenUpError

    async def _ask_once(self, tries: _Tries) -> Asked:
        request = tries.request
        while True:
            form = self._form(request)
            tries.way = form.way
            own = form.own_parameters(request)
            job = Job(form.dialect.name, form.body(request), own, tries.left_s())
            self._summary.requests += 1
            tries.count += 1
            try:
                asked = await self._worker.ask(job, tries.show)
            except WorkerLostError:
                await self._wait_for_turn()
                if tries.leaves(0.0):
                    continue
                asked = failed_unasked(self._settings, total_passed(self._settings.timeout_s))
            self._learn(asked)
            return asked

    def _again(self, tries: _Tries, asked: Asked) -> Retry | Again | None:
        """Whether the item is asked again, and when; None where what came of it stands."""
        cause = asked.cause
        if cause is None:
            self._form(tries.request).worked()
            return None
        if asked.terminal.exit_code == ExitCode.MISMATCH and self._may_correct(tries):
            return Retry(tries.corrections + 1, 0.0, None, cause.code)
        if asked.terminal.answer:
            return None
        if self._form(tries.request).otherwise(tries.request, cause, tries.way):
            tries.refusals.append((tries.way, cause))
            return Again()
        if not isinstance(cause, TryLaterError) or not cause.again:
            return None
        if cause.code == _LIMITED:
            # When a limit lets the next one through, the pace knows: it is no failure of this
            # item, which ends with its time.
            return Retry(tries.count, round(self._pace.wait_s(), 3), cause.status, cause.code)
        wait_s = tries.policy.wait_s(cause)
        return None if wait_s is None else Retry(tries.count, wait_s, cause.status, cause.code)

    def _form(self, request: ChatRequest) -> RequestForm:
        """What was learned of a model holds for that model."""
        if request.model not in self._forms:
            memory = self._memory(request.model) if self._memory is not None else None
            self._forms[request.model] = RequestForm(self._settings, self._tell, memory)
        return self._forms[request.model]

    def _may_correct(self, tries: _Tries) -> bool:
        has_schema = self._settings.schema is not None
        return has_schema and tries.corrections < self._settings.schema_retries

    async def _wait_for_turn(self) -> None:
        """Wait until the pace lets a request go. Raises GivenUpError."""
        async with self._pacing:
            while wait_s := self._pace.wait_s():
                await self._rest(wait_s)
            self.check_going()
            self._pace.starts()

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the run is to stop: then nothing more is sent. Raises GivenUpError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        self.check_going()

    def _learn(self, asked: Asked) -> None:
        cause = asked.cause
        if isinstance(cause, TryLaterError) and cause.code == _LIMITED:
            self._pace.was_limited(asked.headers, cause.retry_after_s)
            return
        total = (asked.terminal.usage or {}).get("total_tokens")
        tokens = total if isinstance(total, int) and not isinstance(total, bool) else None
        self._pace.went_through(asked.headers, tokens)
