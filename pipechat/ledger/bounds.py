"""The most that a request may take, where nobody says what it took. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipechat import jsonl

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_BYTES_A_TOKEN = 3
_MOST_DIGITS = 18
_MOST = 10**18  # no count beyond it is one


def upper_bound(body: Mapping[str, Any], answer_tokens: int) -> list[int]:
    """The most tokens that a request may take: of its question, by its bytes, and its answers,
    each of `answer_tokens` where the request says nothing of it."""
    limits = [count for name in _LIMITS if (count := _count(body.get(name)))]
    size = len(jsonl.dumps(body))
    each = max(limits, default=answer_tokens)
    return [-(-size // _BYTES_A_TOKEN), min(each * (_count(body.get("n")) or 1), _MOST)]


def _count(value: object) -> int | None:
    """A count as a server may read it: many take 3.0 and "3" for 3."""
    if type(value) is str and len(value) <= _MOST_DIGITS and value.isascii() and value.isdecimal():
        return int(value)
    if type(value) is float and value.is_integer() and value >= 0:
        return int(value)
    return value if type(value) is int and value >= 0 else None
