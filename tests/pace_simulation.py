"""A Pace before a simulated server, in simulated time: what it lets through, and what it costs."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pipechat.batch.pace import Pace


class Reply(NamedTuple):
    """What a server says to one request: whether it was answered, and its headers."""

    answered: bool
    headers: Mapping[str, str]


class Server(Protocol):
    def ask(self, now: float) -> Reply: ...


@dataclass
class FixedWindow:
    """So many requests in each second of the clock."""

    per_s: int
    retry_after: str | None = None
    window: int = -1
    count: int = 0

    def ask(self, now: float) -> Reply:
        if int(now) != self.window:
            self.window, self.count = int(now), 0
        self.count += 1
        return _reply(self.count <= self.per_s, self.retry_after)


@dataclass
class SlidingWindow:
    """So many requests in any second."""

    per_s: int
    retry_after: str | None = None
    taken: deque[float] = field(default_factory=deque)

    def ask(self, now: float) -> Reply:
        while self.taken and self.taken[0] <= now - 1:
            self.taken.popleft()
        answered = len(self.taken) < self.per_s
        if answered:
            self.taken.append(now)
        return _reply(answered, self.retry_after)


@dataclass
class TokenBucket:
    """So many requests a second, and a burst of as many."""

    per_s: float
    retry_after: str | None = None
    burst: float = 0.0
    level: float = -1.0
    at: float = 0.0

    def ask(self, now: float) -> Reply:
        most = self.burst or self.per_s
        self.level = (
            most if self.level < 0 else min(most, self.level + (now - self.at) * self.per_s)
        )
        self.at = now
        answered = self.level >= 1
        if answered:
            self.level -= 1
        return _reply(answered, self.retry_after)


@dataclass
class TellsByHeaders:
    """A bucket that says in every answer what is left of a minute's allowance."""

    per_minute: int
    bucket: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = TokenBucket(self.per_minute / 60, burst=self.per_minute)

    def ask(self, now: float) -> Reply:
        reply = self.bucket.ask(now)
        left = int(self.bucket.level)
        reset_s = (self.per_minute - left) / (self.per_minute / 60)
        headers = {
            "x-ratelimit-limit-requests": str(self.per_minute),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{int(reset_s // 60)}m{reset_s % 60:.3f}s",
        }
        return Reply(reply.answered, headers)


def _reply(answered: bool, retry_after: str | None) -> Reply:
    return Reply(answered, {} if answered or retry_after is None else {"retry-after": retry_after})


class Run(NamedTuple):
    """`answered`: when each answer was given. `limited`: how many 429s there were."""

    answered: list[float]
    limited: int


def simulate(
    server: Server,
    *,
    seconds: float,
    jobs: int = 64,
    took_s: float = 0.02,
    make_pace: Callable[[Callable[[], float]], Pace] = Pace,
    tokens: int | None = None,
) -> Run:
    """Ask without end, `jobs` at once, for `seconds`. A request that was limited is asked again
    after what the server said, and counts as one of the jobs meanwhile."""
    now = [0.0]
    pace = make_pace(lambda: now[0])
    done: list[tuple[float, int]] = []  # when it comes back, and its number
    replies: dict[int, Reply] = {}
    answered: list[float] = []
    limited = number = 0
    while now[0] < seconds:
        while done and done[0][0] <= now[0]:
            _, which = heapq.heappop(done)
            reply = replies.pop(which)
            if reply.answered:
                answered.append(now[0])
                pace.went_through(reply.headers, tokens)
            else:
                limited += 1
                told = reply.headers.get("retry-after")
                pace.was_limited(reply.headers, float(told) if told else None)
        if len(done) < jobs and pace.wait_s() == 0:
            pace.starts()
            number += 1
            replies[number] = server.ask(now[0] + took_s / 2)
            heapq.heappush(done, (now[0] + took_s, number))
            continue
        steps = [done[0][0]] if done else []
        if len(done) < jobs:
            steps.append(now[0] + max(pace.wait_s(), 1e-4))
        now[0] = min(steps)
    return Run(answered, limited)
