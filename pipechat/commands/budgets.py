"""--budget: accounts that hold what is sent to it. Imported only where there is one."""

from __future__ import annotations

import hashlib
from decimal import Decimal

from pipechat import jsonl
from pipechat.environment import Environment
from pipechat.errors import SetupError, UsageError
from pipechat.ledger.budgets import BudgetBook
from pipechat.ledger.prices import OwnPrices, list_is_missing, price_of
from pipechat.messages import Usage
from pipechat.settings.config import find_folders
from pipechat.settings.resolve import Settings


def open_budget_book(env: Environment, settings: Settings) -> BudgetBook:
    """The book that holds `settings.budget`.

    Raises:
        SetupError: `no_ledger`: there is no ledger to count by.
        UsageError: a budget of a session, and no session.
    """
    named_by = settings.origins["budget"]
    if not settings.ledger:
        message = f"{named_by} counts by the ledger, and {settings.origins['ledger']} turns it off"
        raise SetupError("no_ledger", message, "Turn it on, or take --budget none.")
    if settings.session is None:
        _refuse_those_of_sessions(settings)
    own, is_missing = settings.prices, list_is_missing()

    def price(
        model: str,
        host: str | None,
        tier: str | None,
        usage: Usage | None,
        at: str | None,
        is_bound: bool,
    ) -> Decimal | None:
        return price_of(model, host, tier, usage, own, at, at_most=is_bound)

    return BudgetBook(
        find_folders(env.environ).ledger,
        settings.budget,
        named_by,
        price,
        _key_of(own, has_list=not is_missing),
        env.warn,
        no_list="or install pipechat[prices], " if is_missing else "",
    )


def _key_of(own: OwnPrices, *, has_list: bool) -> str:
    """As long for a thousand prices as for one."""
    return hashlib.sha256(jsonl.dumps_ordered([own, has_list])).hexdigest()[:32]


def _refuse_those_of_sessions(settings: Settings) -> None:
    """Refuse a flag with a budget of a session where there is none; what is set for all runs
    waits for one. Raises UsageError."""
    origin = settings.origins["budget"]
    for budget in settings.budget:
        if budget.period == "session" and origin.startswith("--"):
            message = f"{origin} {budget.said}: this is in no session"
            raise UsageError(
                "bad_option", message, "Give --session, or a budget of a day or month."
            )
