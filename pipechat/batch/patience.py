"""How long a command of the provider's batch tries again, and waits: within its time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from pipechat.client.retries import RetryPolicy
from pipechat.errors import PipechatError, TryLaterError

T = TypeVar("T")

# A server may ask for more: whoever runs the command is told so, and comes back.
_LONGEST_WAIT_S = 60.0


class Patience:
    """Tries calls again that failed for now.

    Args:
        retries: how often each is tried after the first time.
        ends_at: when, by `time.monotonic()`, the command must have come to its end.
        tell: is told of each wait.
    """

    def __init__(
        self, retries: int, ends_at: float | None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._retries = retries
        self._ends_at = math.inf if ends_at is None else ends_at
        self._tell = tell

    def until_done(
        self, call: Callable[[], T], *, also: Callable[[PipechatError], bool] = lambda _: False
    ) -> T:
        """What `call` gives, tried again where that may help.

        Args:
            also: whether a failure that is none for now may pass all the same.

        Raises:
            PipechatError: the last that `call` raised.
        """
        policy = RetryPolicy(self._retries)
        while True:
            try:
                return call()
            except PipechatError as error:
                passes = also(error)
                later = error if isinstance(error, TryLaterError) and not passes else None
                if later is None and not passes:
                    raise
                wait_s = policy.wait_s(later or TryLaterError(error.code, error.message))
                if wait_s is None or wait_s > _LONGEST_WAIT_S or not self.rest(wait_s):
                    raise
                self._tell(f"{error.code}: tried again after {wait_s:g} s")

    def rest(self, seconds: float) -> bool:
        """Wait so long; False, at once, where there is not the time."""
        if time.monotonic() + seconds >= self._ends_at:
            return False
        time.sleep(seconds)
        return True
