"""The pace of a batch, in simulated time: a limit is neither hammered nor wasted."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.batch.pace import Allowance, Pace
from tests.pace_simulation import (
    FixedWindow,
    Reply,
    Server,
    SlidingWindow,
    TellsByHeaders,
    TokenBucket,
    simulate,
)
from tests.properties import MODEST

SERVERS: dict[str, Callable[[], Server]] = {
    "window": lambda: FixedWindow(50),
    "window that says when": lambda: FixedWindow(50, "1"),
    "sliding": lambda: SlidingWindow(50),
    "sliding that says when": lambda: SlidingWindow(50, "1"),
    "bucket": lambda: TokenBucket(50),
    "bucket that says when": lambda: TokenBucket(50, "1"),
    "small bucket": lambda: TokenBucket(50, burst=10),
    "slow": lambda: TokenBucket(5, "1"),
}


@pytest.mark.parametrize("took_s", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("name", SERVERS)
def test_a_limit_that_is_met_is_used_to_four_fifths_and_seldom_met_again(
    name: str, took_s: float
) -> None:
    per_s = 5 if name == "slow" else 50
    run = simulate(SERVERS[name](), seconds=65, took_s=took_s)
    later = [at for at in run.answered if at >= 5]
    assert len(later) / 60 >= 0.8 * per_s
    assert run.limited <= 64 + 65, "the first jobs at once, then about one a second at most"


@pytest.mark.parametrize("per_minute", [600, 3000])
def test_a_limit_that_headers_tell_of_is_never_met(per_minute: int) -> None:
    run = simulate(TellsByHeaders(per_minute), seconds=120)
    assert run.limited == 0
    assert len([at for at in run.answered if at >= 60]) >= 0.8 * per_minute


def test_without_a_limit_nothing_waits() -> None:
    run = simulate(TokenBucket(1e6), seconds=5, jobs=8, took_s=0.1)
    assert len(run.answered) >= 8 * 10 * 4.8


class Lifted:
    """Ten requests a second, and after 20 seconds any number."""

    def __init__(self) -> None:
        self._bucket = TokenBucket(10, "1")

    def ask(self, now: float) -> Reply:
        if now > 20:
            self._bucket.per_s = self._bucket.burst = 1e6
        return self._bucket.ask(now)


def test_a_limit_that_is_lifted_is_found_out() -> None:
    run = simulate(Lifted(), seconds=320)
    early = len([at for at in run.answered if 10 <= at < 20])
    late = len([at for at in run.answered if 310 <= at < 320])
    assert late > 5 * early


@MODEST
@given(
    rpm=st.integers(60, 6000),
    jobs=st.integers(1, 64),
    took_s=st.sampled_from([0.01, 0.1, 1.0]),
)
def test_rpm_holds_in_every_minute_whatever_the_server_does(
    rpm: int, jobs: int, took_s: float
) -> None:
    run = simulate(
        TokenBucket(1e6), seconds=20, jobs=jobs, took_s=took_s, make_pace=lambda c: Pace(c, rpm=rpm)
    )
    for first in range(0, len(run.answered), max(len(run.answered) // 20, 1)):
        window = [at for at in run.answered[first:] if at < run.answered[first] + 10]
        assert len(window) <= rpm / 6 + 2


def test_tpm_holds_once_it_is_known_what_one_costs() -> None:
    run = simulate(
        TokenBucket(1e6), seconds=60, make_pace=lambda c: Pace(c, tpm=6000), tokens=100, jobs=4
    )
    later = [at for at in run.answered if at >= 10]
    assert 0.8 * 5000 <= 100 * len(later) <= 1.1 * 5000


def left(kind: str, remaining: str, reset: str) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{kind}": remaining, f"x-ratelimit-reset-{kind}": reset}


@pytest.mark.parametrize(
    ("headers", "told", "least", "most"),
    [
        ({}, None, 0.1, 1),
        ({}, 7.0, 7, 7),
        (left("requests", "0", "12s"), None, 12, 12),
        (left("tokens", "0", "1m2.5s"), None, 62, 63),
        (left("tokens", "0", "500ms"), None, 0.5, 0.5),
        (left("requests", "x", "soon"), None, 0.1, 1),
        ({}, 1e300, 3600, 3600),
    ],
)
def test_what_the_server_says_of_when_is_believed(
    headers: dict[str, str], told: float | None, least: float, most: float
) -> None:
    pace = Pace(lambda: 100.0)
    assert pace.wait_s() == 0
    pace.was_limited(headers, told)
    assert least <= pace.wait_s() <= most


def test_an_allowance_that_was_not_used_is_lost() -> None:
    now = [0.0]
    allowance = Allowance(10, lambda: now[0])
    now[0] = 100.0
    allowance.spend(1)
    assert allowance.wait_s() > 0
