"""Which earlier turns go along: the newest, without gaps, never more than the cap."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.messages import Turn
from pipechat.turn.context import Context, own_tokens, select_context, tokens_of
from tests.properties import MODEST, any_text


def turn(question: str = "q", answer: str = "a", **more: Any) -> Turn:
    return Turn(
        id="id",
        time="time",
        status="complete",
        model="model",
        question=question,
        answer=answer,
        **more,
    )


usages = st.none() | st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]),
    st.integers(-5, 200) | st.none() | st.booleans() | st.text(max_size=2),
)
turns = st.lists(
    st.builds(turn, any_text, any_text, usage=usages,
              turn_tokens=st.none() | st.integers(-5, 200)),
    max_size=8,
)  # fmt: skip


@MODEST
@given(turns, st.integers(0, 500))
def test_the_context_is_the_longest_suffix_that_fits(earlier: list[Turn], cap: int) -> None:
    context = select_context(earlier, cap)
    assert context.tokens <= cap
    assert list(context.turns) == earlier[context.dropped :]
    assert all(tokens_of(each) >= 0 for each in earlier)
    if context.dropped:
        assert context.tokens + tokens_of(earlier[context.dropped - 1]) > cap


@MODEST
@given(turns)
def test_without_a_cap_all_turns_go_along(earlier: list[Turn]) -> None:
    assert select_context(earlier, None) == Context(earlier, 0)


def test_a_turn_that_does_not_fit_ends_the_context_however_small_the_ones_before_it() -> None:
    earlier = [turn(turn_tokens=n) for n in (1, 100, 10, 10)]
    assert select_context(earlier, 50) == Context(earlier[2:], 2)
    assert select_context(earlier, 9) == Context([], 4)
    assert select_context(earlier, 120) == Context(earlier[1:], 1)


@pytest.mark.parametrize(
    ("earlier", "tokens"),
    [
        (turn(turn_tokens=7, usage={"completion_tokens": 99}), 7),
        (turn(turn_tokens=0), 0),
        (turn("123456", "x" * 300, usage={"completion_tokens": 40}), 42),
        (turn("1234", "56"), 3),
        (turn("日本", ""), 2),
        (turn("", ""), 0),
        (turn("123", "456", usage={"completion_tokens": True}), 2),
        (turn("123", "456", usage={"completion_tokens": -1}), 2),
        (turn("\ud800", ""), 1),
        (turn("123", "456", turn_tokens=-9), 2),
    ],
)
def test_a_turn_counts_what_the_server_told_else_an_estimate(earlier: Turn, tokens: int) -> None:
    assert tokens_of(earlier) == tokens


@pytest.mark.parametrize(
    ("usage", "own"),
    [
        ({"total_tokens": 100, "completion_tokens": 20}, 70),
        ({"total_tokens": 40, "completion_tokens": 20}, 20),
        ({"total_tokens": 100}, None),
        ({"completion_tokens": 20}, None),
        ({"total_tokens": "100", "completion_tokens": 20}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_new_turn_adds_the_servers_total_less_what_went_along(
    usage: dict[str, Any] | None, own: int | None
) -> None:
    context = Context([turn(turn_tokens=10), turn(turn_tokens=20)], 0)
    assert own_tokens(usage, context) == own


@MODEST
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6))
def test_turn_tokens_add_up_to_the_servers_own_total(sizes: list[tuple[int, int]]) -> None:
    earlier: list[Turn] = []
    total = 0
    for question_tokens, answer_tokens in sizes:
        total += question_tokens + answer_tokens
        usage = {"total_tokens": total, "completion_tokens": answer_tokens}
        context = select_context(earlier, None)
        earlier.append(turn(turn_tokens=own_tokens(usage, context)))
    assert Context(earlier, 0).tokens == total
