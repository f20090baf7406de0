"""How long an answer may take: three limits as arithmetic. Pure: the clock is handed in.

The total counts by the clock, less what the turn waited for whoever takes the answer. The others
count how long the turn listened in vain: what a slow reader of stdout, or a process that was
stopped, let pass says nothing of the server.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from pipechat.errors import NetworkError
from pipechat.events import Chunk

# After the end only usage and the server's last word can follow: enough for both, and no reason
# to let a server that never closes hold a whole answer back.
_AFTER_END_S = 3.0
# A wait that took this much longer than it was meant to: the process was stopped meanwhile.
_OVERSLEPT_S = 0.1


class Limits(NamedTuple):
    """Seconds, None for no limit.

    `total_s` counts from the start of the turn to its end, `first_token_s` from each request
    to its first text, `idle_s` between two data events.
    """

    total_s: float | None
    first_token_s: float | None
    idle_s: float | None


class Deadlines:
    """The limits of one turn, over all its attempts.

    Args:
        clock: seconds, monotonic; the turn starts now, unless `started` says when.
    """

    def __init__(
        self, limits: Limits, clock: Callable[[], float], started: float | None = None
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._total_at = (clock() if started is None else started) + _seconds(limits.total_s)
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """A request goes out."""
        self._unshown_s: float | None = 0.0  # listened to without a text; None once one came
        self._silent_s: float | None = None  # listened to since the last data; None before any
        self._after_end_s: float | None = None
        self._overslept = False

    def leave(self, seconds: float) -> bool:
        """Whether `seconds` from now is still within the total."""
        return self._clock() + seconds < self._total_at

    def spent_s(self) -> float:
        """Seconds of the total that are gone; 0 where there is no such limit."""
        total_s = self._limits.total_s
        return 0.0 if total_s is None else total_s - (self._total_at - self._clock())

    def patience_s(self) -> float:
        """Seconds until the nearest limit, infinity where there is none.

        Raises:
            NetworkError: `timeout`: the total has passed.
        """
        left = self._total_at - self._clock()
        if left <= 0:
            raise total_passed(self._limits.total_s)
        if self._unshown_s is not None:
            left = min(left, _seconds(self._limits.first_token_s) - self._unshown_s)
        if self._silent_s is not None:
            left = min(left, _seconds(self._limits.idle_s) - self._silent_s)
        if self._after_end_s is not None:
            left = min(left, _AFTER_END_S - self._after_end_s)
        return max(left, 0.0)

    def held_up(self, seconds: float) -> None:
        """Whoever takes the answer took `seconds` for a piece of it."""
        self._total_at += seconds

    def listened(self, seconds: float, meant: float, *, in_vain: bool = True) -> None:
        """Waiting for a piece of the response, and reading it, took `seconds`; it was `meant`
        to take no longer than that. `in_vain`: no data came of it.

        Raises:
            NetworkError: `first_token_timeout` or `idle_timeout`.
        """
        overslept = seconds > meant + _OVERSLEPT_S
        # Twice in a row is a slow machine, where time passes all the same.
        counted = 0.0 if overslept and not self._overslept else min(seconds, meant + _OVERSLEPT_S)
        self._overslept = overslept
        if self._unshown_s is not None:
            self._unshown_s += counted
            if self._unshown_s >= _seconds(self._limits.first_token_s):
                what = f"no text within {self._limits.first_token_s:g} s"
                raise _passed("first_token_timeout", what, "--first-token-timeout")
        if self._after_end_s is not None:
            self._after_end_s += counted
            if self._after_end_s >= _AFTER_END_S:
                raise _passed("idle_timeout", "the server does not close", "--idle-timeout")
        if in_vain and self._silent_s is not None:
            self._silent_s += counted
            if self._silent_s >= _seconds(self._limits.idle_s):
                what = f"the server fell silent for {self._silent_s:.1f} s"
                raise _passed("idle_timeout", what, "--idle-timeout")

    def saw(self, chunk: Chunk, *, ended: bool = False) -> None:
        """A data event came. Comments, which a server may send for ever, are none. `ended`: the
        answer has come to its sure end."""
        self._silent_s = 0.0
        if chunk.text or chunk.reasoning:
            self._unshown_s = None
            self._after_end_s = None
        if ended and self._after_end_s is None:
            self._after_end_s = 0.0


def total_passed(total_s: float | None) -> NetworkError:
    """The error of a turn whose time, `total_s` seconds, is over."""
    return _passed("timeout", f"no whole answer within {total_s or 0:g} s", "--timeout")


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit


def _passed(code: str, what: str, option: str) -> NetworkError:
    return NetworkError(code, what, f"Ask again, or raise {option}.", again=False)
