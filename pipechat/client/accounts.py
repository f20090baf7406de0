"""Who keeps account of what a client sends, as the client sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pipechat.events import Told


class Account(Protocol):
    """Who keeps account of the requests of a turn.

    `begin`, before each is sent, raises PipechatError where it must not be. `told` says what is
    known of the cost of one that goes.
    """

    def begin(self, host: str, api: str, model: str, body: Mapping[str, Any]) -> None: ...
    def going(self, told: Callable[[], Told]) -> None: ...
    def ended(self) -> None: ...


class Accounts(Protocol):
    """Who has the account of the turn in flight."""

    @property
    def account(self) -> Account: ...
