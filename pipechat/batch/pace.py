"""How fast requests may go out: what the user allows, and what the server is seen to allow. Pure.

Two allowances are kept, of requests and of tokens, both by the minute and both spent evenly. The
server's own is learned: from a 429 on, requests keep to the pace that went through just before,
which then grows again; what `x-ratelimit-*` headers say is believed at once. One Pace stands
before all that asks, on however many machines.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping

# Requests that were let through are looked at over this long.
_WINDOW_S = 5.0
# The first 429 only tells what a burst got through: from there the pace is searched for. After
# one that met a pace, a step below it, then up to it again, then slowly beyond.
_STEP_DOWN = 0.9
_SEARCH_PER_S = 0.5
_BACK_UP_PER_S = 0.05
_BEYOND_PER_S = 0.01
# A server's 429 without a word of when: this long nobody asks.
_PAUSE_S = 0.25
_LONGEST_UNTOLD_S = 8.0
_LONGEST_PAUSE_S = 3600.0
# A reset further away than this is the time of day, or nonsense.
_FARTHEST_RESET_S = 2 * 86400.0
_SLOWEST_PER_S = 1 / 60
_LATE_S = 0.02
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Allowance:
    """So many units a second, spent evenly: what was not used is lost but for what a late
    timer lets pass, so that a limit counted in any window holds."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        self.per_s = per_s
        self._clock = clock
        self._free_at = clock()

    def wait_s(self) -> float:
        """Seconds until something may be spent."""
        return max(self._free_at - self._clock(), 0.0)

    def spend(self, units: float) -> None:
        earliest = self._clock() - _LATE_S
        self._free_at = max(self._free_at, earliest) + units / self.per_s


class Pace:
    """When the next request may go out.

    Args:
        clock: seconds, monotonic.
        rpm, tpm: requests and tokens a minute that the user allows; None: any number.
    """

    def __init__(
        self, clock: Callable[[], float], rpm: float | None = None, tpm: float | None = None
    ) -> None:
        self._clock = clock
        self._requests = Allowance(rpm / 60, clock) if rpm else None
        self._tokens = Allowance(tpm / 60, clock) if tpm else None
        self._learned: Allowance | None = None
        self._ceiling_per_s: float | None = None  # where the last 429 met a pace
        self._grown_at = 0.0
        self._paused_until = 0.0
        self._in_vain = 0  # 429s, each after a pause, since one was let through
        self._let_through: deque[float] = deque()
        self._tokens_each = 0.0  # what one cost, on average

    @property
    def learned_per_s(self) -> float | None:
        """Requests a second that the server is taken to allow; None: no limit was met."""
        return self._learned.per_s if self._learned is not None else None

    def wait_s(self) -> float:
        """Seconds until a request may go out; 0: now."""
        wait = self._paused_until - self._clock()
        self._grow()
        for allowance in (self._requests, self._tokens, self._learned):
            if allowance is not None:
                wait = max(wait, allowance.wait_s())
        return max(wait, 0.0)

    def starts(self) -> None:
        """A request goes out now."""
        for allowance in (self._requests, self._learned):
            if allowance is not None:
                allowance.spend(1)
        if self._tokens is not None:
            self._tokens.spend(self._tokens_each)

    def went_through(self, headers: Mapping[str, str], tokens: int | None) -> None:
        """A request was answered. `tokens`: what it cost."""
        now = self._clock()
        self._in_vain = 0
        self._let_through.append(now)
        while self._let_through[0] < now - _WINDOW_S:
            self._let_through.popleft()
        if tokens:
            if self._tokens is not None:
                self._tokens.spend(tokens - self._tokens_each)
            self._tokens_each += (tokens - self._tokens_each) / 8 if self._tokens_each else tokens
        self._believe(headers)

    def was_limited(self, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        """A request was answered 429: everybody waits, then goes on more slowly."""
        now = self._clock()
        told = retry_after_s if retry_after_s is not None else _reset_s(headers)
        pause = min(told if told is not None else _PAUSE_S, _LONGEST_PAUSE_S)
        if now < self._paused_until:  # one of those that were on their way already
            self._paused_until = max(self._paused_until, now + pause)
            return
        if self._in_vain and told is None:  # nobody is let through: that says nothing of a pace
            pause = min(pause * 2**self._in_vain, _LONGEST_UNTOLD_S)
        self._in_vain = min(self._in_vain + 1, 16)
        if self._in_vain > 1:
            self._paused_until = now + pause
            return
        pace, seen = self.learned_per_s, self._seen_per_s(now)
        if pace is None:
            self._learn(seen)
        else:
            self._ceiling_per_s = min(pace, max(seen, pace / 2))
            self._learn(self._ceiling_per_s * _STEP_DOWN)
        self._paused_until = now + pause

    def _seen_per_s(self, now: float) -> float:
        """How many a second went through, in the last seconds that any did."""
        recent = [at for at in self._let_through if at >= now - _WINDOW_S]
        if not recent:
            return 0.0 if self._learned is not None else 1.0
        span = max(now - recent[0], 1.0)
        return len(recent) / span

    def _learn(self, per_s: float) -> None:
        per_s = max(per_s, _SLOWEST_PER_S)
        if self._learned is None:
            self._learned = Allowance(per_s, self._clock)
        self._learned.per_s = per_s
        self._grown_at = self._clock()

    def _grow(self) -> None:
        learned, now = self._learned, self._clock()
        if learned is None or now < self._paused_until:
            return
        elapsed = now - max(self._grown_at, self._paused_until)
        if elapsed < 0.1:
            return
        ceiling = self._ceiling_per_s
        if ceiling is None:
            growth = _SEARCH_PER_S
        else:
            growth = _BACK_UP_PER_S if learned.per_s < ceiling else _BEYOND_PER_S
        learned.per_s *= 1 + growth * elapsed
        self._grown_at = now

    def _believe(self, headers: Mapping[str, str]) -> None:
        """What is left and when all of it is there again make a pace; told before it is hit."""
        if not headers:
            return
        for kind in ("requests", "tokens"):
            limit, left = (_number(headers, f"x-ratelimit-{what}-{kind}") for what in _LEFT)
            reset_s = _seconds(headers.get(f"x-ratelimit-reset-{kind}"))
            if limit is None or left is None or reset_s is None or not 0 <= left < limit:
                continue
            each = 1.0 if kind == "requests" else max(self._tokens_each, 1.0)
            if left < each:
                self._paused_until = max(
                    self._paused_until, self._clock() + min(reset_s, _LONGEST_PAUSE_S)
                )
            elif left < limit / 10 and reset_s > 0:
                per_s = (limit - left) / reset_s / each
                if self._learned is None or per_s < self._learned.per_s:
                    self._ceiling_per_s = per_s
                    self._learn(per_s)


_LEFT = ("limit", "remaining")


def _reset_s(headers: Mapping[str, str]) -> float | None:
    """When the allowance that ran out is there again, where the headers say so."""
    for kind in ("requests", "tokens"):
        if _number(headers, f"x-ratelimit-remaining-{kind}") == 0:
            return _seconds(headers.get(f"x-ratelimit-reset-{kind}"))
    return None


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers.get(name, ""))
    except ValueError:
        return None
    return value if value >= 0 else None


def _seconds(text: str | None) -> float | None:
    """`6m0s`, `1.5s`, `120ms`, or a bare number of seconds."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            return None
        value = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    return value if 0 <= value < _FARTHEST_RESET_S else None
