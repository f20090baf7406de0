"""Which earlier turns go along, and what a turn adds to a context. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from pipechat.messages import Turn, Usage

# Where the server reported nothing: a token is three bytes of text, a little less than what
# tokenizers make of English, so that the estimate is rather too high.
_BYTES_A_TOKEN = 3


class Context(NamedTuple):
    """The turns that go along, oldest first, and how many of the last ones do not."""

    turns: Sequence[Turn]
    dropped: int

    @property
    def tokens(self) -> int:
        return sum(tokens_of(turn) for turn in self.turns)


def select_context(turns: Sequence[Turn], context_tokens: int | None) -> Context:
    """The newest of `turns` whose tokens fit into `context_tokens`, without gaps: a turn that
    does not fit ends the context, however small the ones before it."""
    if context_tokens is None:
        return Context(turns, 0)
    left = context_tokens
    first = len(turns)
    while first > 0 and (left := left - tokens_of(turns[first - 1])) >= 0:
        first -= 1
    return Context(turns[first:], first)


def tokens_of(turn: Turn) -> int:
    """What `turn` adds to a context: what the server's figures told when it was recorded, else
    what they tell of the answer and an estimate of the question."""
    if turn.turn_tokens is not None and turn.turn_tokens >= 0:
        return turn.turn_tokens
    completion = _count(turn.usage, "completion_tokens")
    if completion is None:
        completion = _estimate(turn.answer)
    return completion + _estimate(turn.question)


def own_tokens(usage: Usage | None, context: Context) -> int | None:
    """What a new turn adds to a later context: the server's total less what went along with
    it; None where the server reported nothing."""
    total = _count(usage, "total_tokens")
    completion = _count(usage, "completion_tokens")
    if total is None or completion is None:
        return None
    return max(total - context.tokens, completion)


def _count(usage: Usage | None, key: str) -> int | None:
    value = usage.get(key) if usage else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)
