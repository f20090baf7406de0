"""--budget: accounts that hold what is sent to it. Imported only where there is one."""

from __future__ import annotations

from pipechat.environment import Environment
from pipechat.errors import SetupError
from pipechat.ledger.account import Accounts
from pipechat.settings.resolve import Settings


def accounts_with_budgets(env: Environment, settings: Settings) -> Accounts | None:
    """The accounts of what is sent within `settings.budget`; None where the ledger is off.

    Raises:
        SetupError: `no_ledger`: there are budgets, and no ledger to count by.
    """
    if not settings.ledger:
        if settings.budget:
            message = f"{settings.origins['budget']} counts by the ledger, and it is off"
            hint = f"Take `ledger = false` away ({settings.origins['ledger']}), or --budget none."
            raise SetupError("no_ledger", message, hint)
        return None
    raise NotImplementedError
