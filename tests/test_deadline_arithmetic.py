"""The limits of a turn as arithmetic: no server, no thread, a clock that is told the time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.client.deadlines import Deadlines, Limits
from pipechat.client.retries import RetryPolicy
from pipechat.errors import NetworkError, TryLaterError
from pipechat.events import Chunk
from tests.properties import MODEST

ROLE, HI = Chunk(), Chunk(text="Hi")
END = Chunk(finish_reason="stop")  # what the reducer takes for the sure end
STUTTER = Chunk(text="Hi", finish_reason="stop")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def code_after(deadlines: Deadlines, *waits: float) -> str:
    """The code of the limit that passes in these waits in vain; "" where none does."""
    try:
        for seconds in waits:
            deadlines.listened(seconds, seconds)
    except NetworkError as error:
        return error.code
    return ""


def code_after_oversleeping(deadlines: Deadlines, times: int) -> str:
    """The same, where each wait took much longer than it was meant to."""
    try:
        for _ in range(times):
            deadlines.listened(3.0, 0.25)
    except NetworkError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("limits", "seen", "waits", "code"),
    [
        (Limits(None, 5, None), [], (4.9,), ""),
        (Limits(None, 5, None), [], (2.5, 2.5), "first_token_timeout"),
        (Limits(None, 5, None), [ROLE], (2.5, 2.5), "first_token_timeout"),
        (Limits(None, 5, None), [HI], (100,), ""),
        (Limits(None, None, 5), [], (100,), ""),  # before any data it is not idle
        (Limits(None, None, 5), [ROLE], (5,), "idle_timeout"),
        (Limits(None, None, 5), [HI], (2, 2, 1), "idle_timeout"),
        (Limits(None, None, None), [HI], (1e6,), ""),
        (Limits(None, None, None), [HI, END], (3.0,), "idle_timeout"),
        (Limits(None, None, None), [HI, END, ROLE], (3.0,), "idle_timeout"),
        (Limits(None, None, None), [HI, STUTTER], (1e6,), ""),  # a reason beside text is no timer
        (Limits(None, None, None), [HI, END, HI], (1e6,), ""),
    ],
)
def test_a_limit_passes_by_the_time_that_was_listened_in_vain(
    limits: Limits, seen: list[Chunk], waits: tuple[float, ...], code: str
) -> None:
    deadlines = Deadlines(limits, Clock())
    for chunk in seen:
        deadlines.saw(chunk, ended=chunk is END)
    assert code_after(deadlines, *waits) == code


def test_only_the_total_goes_by_the_clock() -> None:
    clock = Clock()
    deadlines = Deadlines(Limits(10, 5, 5), clock)
    deadlines.saw(ROLE)
    clock.now += 9.9  # somebody else's time: a slow reader, a stopped process
    assert deadlines.patience_s() == pytest.approx(0.1)
    clock.now += 0.1
    with pytest.raises(NetworkError) as caught:
        deadlines.patience_s()
    assert (caught.value.code, caught.value.again) == ("timeout", False)


def test_a_wait_that_was_overslept_is_no_silence_but_twice_in_a_row_is() -> None:
    deadlines = Deadlines(Limits(None, None, 1), Clock())
    deadlines.saw(HI)
    deadlines.listened(60.0, 0.25)  # the process was stopped meanwhile
    assert deadlines.patience_s() == 1
    deadlines.listened(0.5, 0.5)
    assert deadlines.patience_s() == 0.5
    deadlines.listened(3.0, 0.25)
    # A machine so slow that every wait is overslept.
    assert code_after_oversleeping(deadlines, 3) == "idle_timeout"


def test_a_new_attempt_has_its_own_first_text_and_the_same_total() -> None:
    clock = Clock()
    deadlines = Deadlines(Limits(10, 5, None), clock)
    assert code_after(deadlines, 4.0) == ""
    clock.now += 8
    deadlines.begin_attempt()
    assert deadlines.patience_s() == 2
    assert code_after(deadlines, 4.0) == ""
    assert (deadlines.leave(1.9), deadlines.leave(2.0)) == (True, False)


def test_what_was_spent_before_the_request_is_taken_from_the_total() -> None:
    clock = Clock()
    deadlines = Deadlines(Limits(10, None, None), clock, started=clock.now - 7)
    assert deadlines.patience_s() == 3


@MODEST
@given(st.lists(st.tuples(st.sampled_from([ROLE, HI, END, STUTTER, None]),
                          st.floats(0, 2)), max_size=20))  # fmt: skip
def test_patience_is_never_negative_and_without_limits_ends_only_after_the_end(
    steps: list[tuple[Chunk | None, float]],
) -> None:
    deadlines = Deadlines(Limits(None, None, None), Clock())
    ended = False
    for chunk, seconds in steps:
        if chunk is not None:
            deadlines.saw(chunk, ended=chunk is END)
            ended = chunk is END or (ended and chunk is ROLE)
        else:
            try:
                deadlines.listened(seconds, seconds)
            except NetworkError:
                assert ended
                return
        assert (deadlines.patience_s() == math.inf) == (not ended)
        assert deadlines.patience_s() >= 0


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_policy_gives_as_many_waits_as_there_are_retries(retries: int) -> None:
    policy = RetryPolicy(retries, lambda: 0.5)
    busy = TryLaterError("rate_limited", "x", retry_after_s=0.25)
    waits = [policy.wait_s(busy) for _ in range(retries + 2)]
    assert waits == [0.25] * retries + [None, None]
    assert policy.attempt == retries


def test_a_policy_gives_no_wait_for_what_would_fail_again() -> None:
    policy = RetryPolicy(5, lambda: 0.5)
    assert policy.wait_s(TryLaterError("malformed_stream", "x", again=False)) is None
    assert policy.attempt == 0
