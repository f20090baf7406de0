"""Which items of a batch failed: for people, the first of each kind. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipechat.errors import PipechatError

_DIGITS = 12
_MOST = 3
"""So many kinds are told; the records tell the rest."""


class FirstFailures:
    """The first failure of each code, so that who sees a count also sees what was wrong."""

    def __init__(self) -> None:
        self._by_code: dict[str, PipechatError] = {}

    def note(
        self, code: str, item: str | None, message: str, hint: str = "", number: int | None = None
    ) -> None:
        """An item failed. `number`: of its line."""
        if code in self._by_code or len(self._by_code) > _MOST:
            return
        # A row without an id is called by its line, and its message begins with that.
        named = item is None or message.startswith(f"{item}: ")
        what = message if named else f"{_called(item or '', number)}: {message}"
        self._by_code[code] = PipechatError(code, what, hint)

    def lines(self, stopped: PipechatError | None) -> Iterator[str]:
        """A line for each; what stopped the batch has its own."""
        told = [each for each in self._by_code.values() if not _is_same(each, stopped)]
        for error in told[:_MOST]:
            yield error.line()


def _called(item: str, number: int | None) -> str:
    """An item by its id; where that is a hash, by as much of it as tells items apart, and by its
    line."""
    if not re.fullmatch("[0-9a-f]{64}", item):
        return f"item {item!r}"
    short = f"item {item[:_DIGITS]}…"
    return short if number is None else f"{short} (line {number})"


def _is_same(error: PipechatError, stopped: PipechatError | None) -> bool:
    return stopped is not None and error.code == stopped.code
