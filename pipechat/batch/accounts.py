"""The accounts of a batch: one for each item, whose lines go the way of its record.

Owns what an item does where the budget has no room for it: it waits for what is in flight, which
may take less than it was held for, and stops the run where nothing is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipechat.batch.groups import Entry, Lines
from pipechat.batch.items import Item
from pipechat.errors import BudgetError
from pipechat.events import Told
from pipechat.ledger.account import DEFAULT_ANSWER_TOKENS, Account, Line, Sent
from pipechat.messages import Turn, TurnStatus

if TYPE_CHECKING:
    from pipechat.ledger.account import Books

_TIER = "batch"


class BatchAccounts:
    """The accounts of one run.

    Args:
        books: keep them.
        output: the file of the batch, None where it is none.
        answer_tokens: what an answer is reckoned at that nothing limits.
    """

    def __init__(
        self, books: Books, output: str | None, answer_tokens: int = DEFAULT_ANSWER_TOKENS
    ) -> None:
        self._books = books
        self._output = output
        self._answer_tokens = answer_tokens
        self._settled = asyncio.Event()
        self.in_flight: set[ItemAccount] = set()
        self._waiting: set[ItemAccount] = set()

    def open(self, item: Item, turn: str) -> ItemAccount:
        """That of one item, whose turn has this id."""
        who = {"turn": turn, "session": item.session, "batch": self._output, "item": item.id}
        return ItemAccount(self, Account(self._books, who, self._answer_tokens))

    async def begin(self, account: Account, *request: Any) -> None:
        """Reserve what a request may take; where that waits for others, in a thread."""
        if not self._books.waits:
            account.begin(*request)
            return
        reserving = asyncio.ensure_future(asyncio.to_thread(account.begin, *request))
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            await asyncio.wait([reserving])
            raise

    async def wait_for_room(self, account: ItemAccount) -> bool:
        """Wait until something else that is in flight is settled; False where nothing is, but
        what waits as well."""
        if not self.in_flight - self._waiting - {account}:
            return False
        self._waiting.add(account)
        self._settled.clear()
        try:
            await self._settled.wait()
        finally:
            self._waiting.discard(account)
        return True

    def settle(self, entries: list[Entry]) -> None:
        """Keep the lines of `entries`, in a thread. Raises SessionError."""
        turns = {turn: lines for entry in entries for turn, lines in entry.lines.items()}
        if turns:
            self._books.settle(turns)

    def gone(self, account: ItemAccount) -> None:
        """What it held is free."""
        self.in_flight.discard(account)
        self._settled.set()


class ItemAccount:
    """The account of one item's requests."""

    def __init__(self, accounts: BatchAccounts, account: Account) -> None:
        self._accounts = accounts
        self._account = account
        self._told = Told()

    async def begin(self, host: str, api: str, model: str, body: Mapping[str, Any]) -> None:
        """A request is about to be sent. Raises PipechatError where it must not be: BudgetError
        where nothing else of the run is in flight and there is no room."""
        while True:
            try:
                await self._accounts.begin(self._account, host, api, model, body)
                break
            except BudgetError:
                if not await self._accounts.wait_for_room(self):
                    raise
        self._accounts.in_flight.add(self)
        told = self._told = Told()
        self._account.going(lambda: told)

    def ended(self, told: Told) -> None:
        """What is known of the request by now."""
        self._account.going(lambda: told)
        self._account.ended()

    def closed(self, status: TurnStatus) -> Lines:
        """The item is over: what the ledger is to have of it."""
        return self._account.closed(status)

    def gone(self) -> None:
        """What it held is free: its lines are kept, or never will be."""
        self._accounts.gone(self)


def fetched_lines(took: Sequence[tuple[Turn, Told]], host: str, output: str) -> list[Line]:
    """The lines of results that the provider's batch engine gave: each was a request of a tier of
    its own."""
    lines = []
    for turn, told in took:
        sent = Sent(host, turn.api or "chat", turn.model, {"question": turn.question})
        sent.told = partial(told._replace, tier=_TIER)
        who = {"turn": turn.id, "batch": output, "item": turn.item}
        line = sent.line(who, turn.status, DEFAULT_ANSWER_TOKENS)
        if line is not None:
            lines.append(line)
    return lines
