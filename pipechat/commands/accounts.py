"""Who keeps account of what is sent, for the commands that send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipechat.environment import Environment
from pipechat.settings.config import find_folders
from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    from pipechat.ledger.account import Accounts, Books


def open_accounts(env: Environment, settings: Settings) -> Accounts | None:
    """The accounts of turns that come one after the other; None, and raises: as `open_books`."""
    books = open_books(env, settings)
    if books is None:
        return None
    from pipechat.ledger.account import Accounts

    return Accounts(books, settings.budget_max_tokens)


def open_books(env: Environment, settings: Settings) -> Books | None:
    """Where account is kept of what is sent; None where nobody wants that, or nothing is sent.

    Raises:
        SetupError: `no_ledger`: there are budgets, and no ledger to count by.
        UsageError: a budget of a session, and no session.
    """
    if settings.offline or settings.only_replays:
        return None
    if settings.budget:
        from pipechat.commands.budgets import open_budget_book

        return open_budget_book(env, settings)
    if not settings.ledger:
        return None
    from pipechat.ledger.account import Book

    return Book(find_folders(env.environ).ledger, env.warn, must="ledger" in settings.origins)
