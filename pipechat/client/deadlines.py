"""How long a response may take: reads from the pump, bounded by the three deadlines.

Knows when data came and what it said, not how it was carried.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipechat.client.exchange import Pump
from pipechat.errors import NetworkError
from pipechat.events import Chunk

if TYPE_CHECKING:
    import httpx2

# After the finish reason only usage and [DONE] can follow: enough for both, and no reason to
# let a server that never closes hold a whole answer back.
_AFTER_FINISH_S = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, None for no limit.

    `total_s` counts from the first request of the turn to its end, `first_token_s` from each
    request to its first text, `idle_s` between two data events.
    """

    total_s: float | None
    first_token_s: float | None
    idle_s: float | None

    def leave(self, seconds: float, started: float) -> bool:
        """Whether `seconds` from now is still within the total, counted from `started`."""
        return time.monotonic() + seconds < started + _seconds(self.total_s)


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit


class Reading:
    """One response, read no longer than its limits allow.

    Raises:
        NetworkError: `timeout`, `first_token_timeout` or `idle_timeout`, from every read.
    """

    def __init__(self, pump: Pump, limits: Limits, started: float) -> None:
        self._pump = pump
        self._limits = limits
        self._total_at = started + _seconds(limits.total_s)
        self._first_at = time.monotonic() + _seconds(limits.first_token_s)
        self._heard: float | None = None
        self._shown = False
        self._finished: float | None = None

    def response(self) -> httpx2.Response:
        """The response, as soon as its headers are there."""
        item = self._next()
        assert item is not None
        assert not isinstance(item, bytes)
        return item

    def segments(self) -> Iterator[bytes]:
        """The body, as it comes."""
        while (item := self._next()) is not None:
            assert isinstance(item, bytes)
            yield item

    def saw(self, chunk: Chunk) -> None:
        """A data event came. Comments, which a server may send for ever, are none."""
        self._heard = time.monotonic()
        self._shown = self._shown or bool(chunk.text or chunk.reasoning)
        if chunk.finish_reason is not None and self._finished is None:
            self._finished = self._heard

    def _next(self) -> httpx2.Response | bytes | None:
        at = self._ends_at()
        left = at - time.monotonic()
        if left <= 0:  # checked first: a flood of comments always has a next item
            raise self._passed(at)
        try:
            return self._pump.next_item(None if left == math.inf else left)
        except TimeoutError:
            raise self._passed(at) from None

    def _ends_at(self) -> float:
        """When the nearest deadline passes, by the monotonic clock."""
        at = self._total_at
        if not self._shown:
            at = min(at, self._first_at)
        if self._heard is not None and self._limits.idle_s is not None:
            at = min(at, self._heard + self._limits.idle_s)
        if self._finished is not None:
            at = min(at, self._finished + _AFTER_FINISH_S)
        return at

    def _passed(self, at: float) -> NetworkError:
        limits = self._limits
        if at == self._total_at:
            code, option, what = (
                "timeout",
                "--timeout",
                f"no whole answer within {limits.total_s:g} s",
            )
        elif at == self._first_at:
            code, option = "first_token_timeout", "--first-token-timeout"
            what = f"no text within {limits.first_token_s:g} s"
        else:
            code, option = "idle_timeout", "--idle-timeout"
            what = f"the server fell silent for {time.monotonic() - (self._heard or 0):.1f} s"
        return NetworkError(code, what, f"Ask again, or raise {option}.", again=False)
