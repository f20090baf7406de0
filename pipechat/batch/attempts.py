"""The requests of one item, one after the other, until what came of it stands.

Owns whether an item is asked again, when, and how: after a failure for now, when a limit lets it
through, put otherwise, or told what is wrong with its answer. All within the item's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pipechat.batch.accounts import BatchAccounts, ItemAccount
from pipechat.batch.asking import Asked, Job, Worker, WorkerLostError, failed_unasked
from pipechat.batch.items import Item
from pipechat.batch.keeping import Kept
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.stopping import GivenUpError
from pipechat.batch.summary import Summary
from pipechat.batch.tries import Answered, Tries
from pipechat.client.deadlines import total_passed
from pipechat.client.request_form import MemoryOf, RequestForm
from pipechat.errors import BudgetError, ExitCode, TryLaterError
from pipechat.events import Again, Retry
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import Settings

_LIMITED = "rate_limited"


class Attempts:
    """Asks items through `worker`, at the pace, until they are answered.

    Args:
        stopping: set once the run is to stop: nothing more is sent.
        tell: is told what is asked for in another way.
        memory: what the endpoint refused before, for a model.
        accounts: of what is sent; None: nobody keeps any.
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
        accounts: BatchAccounts | None = None,
    ) -> None:
        self._accounts = accounts
        self._settings = settings
        self._ledger_host = settings.ledger_host
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
        """What comes of the item.

        Raises:
            GivenUpError: it was not asked, or not to its end.
            BudgetError, SetupError, SessionError: it must not be asked.
        """
        account = None
        if self._accounts is not None:
            account = self._accounts.open(item, kept.prepared.head.id)
        try:
            return await self._until_answered(item, kept, account)
        except BaseException:
            if account is not None:
                self._records.give_up(account.closed("failed"))
                account.gone()
            raise

    async def _until_answered(
        self, item: Item, kept: Kept, account: ItemAccount | None
    ) -> Answered:
        show = self._records.shower(item)
        await self._wait_for_turn()
        tries = Tries(kept.request, self._settings, show, account)
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
            try:
                asked = await self._ask_once(tries)
            except BudgetError:  # what was sent is what failed
                tries.stay_with(asked)
                break
        return tries.answered(asked)

    def check_going(self) -> None:
        """Let the run go on, or raise GivenUpError."""
        if self._stopping.is_set():
            raise GivenUpError

    async def _ask_once(self, tries: Tries) -> Asked:
        request = tries.request
        while True:
            form = self._form(request)
            tries.way = form.way
            body = form.body(request)
            own = form.own_parameters(request, body)
            job = Job(form.dialect.name, body, own, tries.left_s())
            if tries.account is not None:
                await tries.account.begin(self._ledger_host, job.api, request.model, job.body)
            self._summary.requests += 1
            tries.count += 1
            try:
                asked = await self._worker.ask(job, tries.show)
                if tries.account is not None:
                    tries.account.ended(asked.told)
            except WorkerLostError:
                await self._wait_for_turn()
                if tries.leaves(0.0):
                    continue
                asked = failed_unasked(self._settings, total_passed(self._settings.timeout_s))
            self._learn(asked)
            return asked

    def _again(self, tries: Tries, asked: Asked) -> Retry | Again | None:
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

    def _may_correct(self, tries: Tries) -> bool:
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
