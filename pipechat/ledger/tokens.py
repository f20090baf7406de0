"""The tokens of a request by what is paid for them, out of what a server reported. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

_LARGEST = 1 << 62  # more than anybody will ever send
_NO_COUNTS: Mapping[str, Any] = {}


class Tokens(NamedTuple):
    """How many tokens of each kind; no token is of two.

    `plain`: of the input, neither read from a cache (`cached`) nor kept in one (`written`).
    `answer`: of the output, without those of thinking (`reasoning`). `sound`: those of the others
    that are audio, which has prices of its own.
    """

    plain: int
    cached: int
    written: int
    answer: int
    reasoning: int
    sound: int = 0

    @property
    def prompt(self) -> int:
        """All of the input."""
        return self.plain + self.cached + self.written

    @property
    def completion(self) -> int:
        """All of the output."""
        return self.answer + self.reasoning


def tokens_of(usage: Mapping[str, Any] | None) -> Tokens | None:
    """The tokens that a `usage` reports, under the names of Chat Completions; None where it has
    no count of both sides.

    Most servers count what was cached as a part of the prompt, and thinking as a part of the
    completion; some count either apart, which shows in their sums. Gemini and some gateways tell
    of thinking by the sum alone.
    """
    if not usage:
        return None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    inputs, outputs = _of(usage, "prompt_tokens_details"), _of(usage, "completion_tokens_details")
    cached = _count(inputs, "cached_tokens") or 0
    written = _count(inputs, "cache_write_tokens") or 0
    reasoning = _count(outputs, "reasoning_tokens") or 0
    beyond = (_count(usage, "total_tokens") or 0) - prompt - completion
    kept = cached + written
    is_beside = kept > prompt or (not reasoning and beyond == kept)
    plain = prompt if is_beside else prompt - kept
    is_apart = reasoning <= beyond
    if not reasoning and beyond > 0:
        reasoning = max(beyond - kept, 0) if is_beside else beyond
    answer = completion if is_apart or reasoning > completion else completion - reasoning
    sound = (_count(inputs, "audio_tokens") or 0) + (_count(outputs, "audio_tokens") or 0)
    return Tokens(plain, cached, written, answer, reasoning, sound)


def _of(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = usage.get(name)
    return value if type(value) is dict else _NO_COUNTS


def _count(counts: Mapping[str, Any], name: str) -> int | None:
    value = counts.get(name)
    if type(value) is int:  # by exact types, since every line comes this way
        return value if 0 <= value < _LARGEST else None
    return int(value) if type(value) is float and 0 <= value < _LARGEST else None
