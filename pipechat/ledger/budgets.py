"""The book with budgets: nothing is sent that could take more than what is left of one.

What was spent is what the ledger says; what is in flight is what the holds of living processes say.
Both are looked at, and what is about to be sent is added, under one lock of this user's. A request
that told no usage, since its answer broke off or its process died, counts by its upper bound.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from pipechat.errors import BudgetError, PipechatError, SessionError, SetupError
from pipechat.ledger.account import Book, append, unwritable
from pipechat.ledger.account import Line as OwnLine
from pipechat.ledger.amounts import Budget, Line, Price, amount_of, shown
from pipechat.ledger.holds import Hold, holds_of_others
from pipechat.ledger.periods import period_at, stamp
from pipechat.ledger.spent import Spent
from pipechat.store.locked_file import lock_file, make_folder

_LOCK = ".lock"


class Standing(NamedTuple):
    """How a budget stands. `spent`, `reserved`, `left`: in its unit; `left` is never negative."""

    budget: Budget
    spent: int
    reserved: int
    unpriced: int
    renews: datetime | None

    @property
    def left(self) -> int:
        return max(self.budget.amount - self.spent - self.reserved, 0)


class BudgetBook:
    """The ledger with `budgets`, which all hold at once (the Books of accounts).

    Args:
        named_by: who set the budgets, in messages.
        price: what requests cost; `price_key` tells other prices apart.
        tell: is told what counts by a bound, and what has no price.
        no_list: what to try where the public list of prices is not there.
        clock: the local time.
    """

    waits = True

    def __init__(
        self,
        folder: str,
        budgets: Sequence[Budget],
        named_by: str,
        price: Price,
        price_key: str,
        tell: Callable[[str], None],
        no_list: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._book = Book(folder, tell, must=True)
        self._folder = folder
        self._budgets = budgets
        self._named_by = named_by
        self._price = price
        self._price_key = price_key
        self._tell = tell
        self._no_list = no_list
        self._clock = clock
        self._hold = Hold(folder)
        self._one_at_a_time = Lock()  # the threads of a batch
        self._told: set[str] = set()

    def reserve(self, key: str, lines: Callable[[], list[OwnLine]]) -> None:
        """As `Books.reserve`.

        Raises:
            BudgetError: `budget_spent`.
            SetupError: `no_price`.
            SessionError: what is sent could not be kept.
        """
        with self._locked("Nothing was sent."):
            self._book.reserve(key, lines)
            wanted = lines()
            own = [line for turn, held in self._hold.lines.items() if turn != key for line in held]
            held = [*own, *self._held_by_others()]
            for budget in self._budgets:
                session = wanted[0].get("session")
                if budget.period != "session" or session is not None:
                    self._check(budget, session, wanted, held)
            self._hold.put(key, wanted)

    def ready(self) -> None:
        """As `Books.ready`: all is there."""

    def settle(self, turns: Mapping[str, list[OwnLine]]) -> None:
        """As `Books.settle`. Where it fails, what is held is settled by whoever comes next."""
        if self._hold.lines.keys().isdisjoint(turns):
            return
        made = [line for lines in turns.values() for line in lines]
        with self._locked():
            append(self._folder, made)
            self._hold.drop(turns)
        for line in made:
            if "bound" in line:
                tokens = shown(sum(line["bound"]), "tok")
                self._tell(f"no usage was told: {tokens} are counted, the most that it may be")

    def standings(self, session: str | None = None) -> list[Standing]:
        """How each budget stands, those of a session for `session`. Raises SessionError."""
        with self._locked():
            held = list(self._held_by_others())
            return [
                self._standing(budget, session, held)
                for budget in self._budgets
                if budget.period != "session" or session is not None
            ]

    def _held_by_others(self) -> Iterator[Line]:
        """What other processes have in flight; what dead ones had is settled."""
        for found in holds_of_others(self._folder, self._hold):
            if found.is_alive:
                yield from found.lines
            else:
                append(self._folder, [dict(line) for line in found.lines])
                os.unlink(found.path)

    def _check(
        self, budget: Budget, session: str | None, wanted: Sequence[Line], held: Sequence[Line]
    ) -> None:
        need = 0
        for line in wanted:
            counted = amount_of(line, budget.unit, self._price)
            if counted is None:
                raise self._no_price(line, budget)
            need += counted
        standing = self._standing(budget, session, held)
        if standing.unpriced and budget.said not in self._told:
            self._told.add(budget.said)
            what = "request has" if standing.unpriced == 1 else "requests have"
            self._tell(
                f"{standing.unpriced} {what} no price, and {budget.said} does not count them"
            )
        if standing.spent + standing.reserved + need > budget.amount:
            raise _spent(standing, need, self._named_by)

    def _no_price(self, line: Line, budget: Budget) -> PipechatError:
        model, host = line["model"], line["host"]
        whose = f"{budget.said} ({self._named_by})"
        message = f"{model} has no known price at {host}, and {whose} is counted in money"
        say = f'Add [prices."{model}"] to config.toml'
        return SetupError("no_price", message, f"{say}, {self._no_list}or budget tokens.")

    def _standing(self, budget: Budget, session: str | None, held: Sequence[Line]) -> Standing:
        period = period_at(budget.period, self._clock())
        until = stamp(period.renews) if period.renews else ""
        unit = budget.unit

        def counts(line: Line) -> int | None:
            if budget.period == "session" and line.get("session") != session:
                return 0
            return amount_of(line, unit, self._price)

        spent = self._spent(budget, session, counts).within(period.since, until)
        reserved = sum(counts(line) or 0 for line in held if line["at"] >= period.since)
        return Standing(budget, spent.amount, reserved, spent.unpriced, period.renews)

    def _spent(
        self, budget: Budget, session: str | None, counts: Callable[[Line], int | None]
    ) -> Spent:
        name = f"{budget.unit}-{budget.period}"
        key = self._price_key if budget.unit == "usd" else ""
        if budget.period == "session":
            assert session is not None
            name += f"-{hashlib.sha256(session.encode()).hexdigest()[:32]}"
        return Spent(self._folder, f".{name}.spent", key, counts)

    @contextmanager
    def _locked(self, and_so: str = "") -> Iterator[None]:
        """With the lock of the budgets. Raises SessionError."""
        try:
            with self._one_at_a_time:
                make_folder(self._folder)
                fd = lock_file(os.path.join(self._folder, _LOCK), create=True)
                try:
                    yield
                finally:
                    os.close(fd)
        except BlockingIOError as error:
            message = "another program holds the lock of the budgets"
            hint = f"{and_so} Try again when it has let go.".strip()
            raise SessionError("ledger_busy", message, hint, retryable=True) from error
        except OSError as error:
            # Not to be turned off: without a ledger there is no budget.
            hint = "A budget needs it: see that it can be written."
            raise unwritable(self._folder, error, and_so, hint) from error


def _spent(standing: Standing, need: int, named_by: str) -> BudgetError:
    budget, unit = standing.budget, standing.budget.unit
    whose = f"{budget.said} ({named_by})"
    if need > budget.amount:
        message = f"this may take {shown(need, unit)}, more than all of {whose}"
        hint = "Ask for less, lower --max-tokens, or raise the budget."
        return BudgetError("budget_spent", message, hint)
    parts = [f"{shown(standing.spent, unit)} of {whose} are spent"]
    if standing.reserved:
        parts.append(f"{shown(standing.reserved, unit)} are held by what is in flight")
    message = f"{', '.join(parts)}, and this may take {shown(need, unit)}"
    return BudgetError("budget_spent", message, _renewal(standing), retryable=True)


def _renewal(standing: Standing) -> str:
    if standing.renews is None:
        return "It never renews: take another session, or raise the budget."
    return f"It renews on {standing.renews:%Y-%m-%d at %H:%M %Z}."
