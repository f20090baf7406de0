"""The names in a row that an item does not have: told, so that nothing is dropped unseen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipechat.text import visible_line

ITEM_NAMES = frozenset(("id", "question", "session", "system", "model", "options"))
_MOST_NAMES, _MOST_OF_A_NAME = 8, 40
_MOST_LINES = 3


class UnreadNames:
    """Tells of each name that no item has, once, and of no more than a few rows.

    Args:
        tell: is told a line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._left = _MOST_LINES
        self._told: set[str] = set()

    def look_at(self, number: int, row: Mapping[str, Any]) -> None:
        """Look at the row of line `number`; of one without a question more is told elsewhere."""
        if not self._left or "question" not in row or row.keys() <= ITEM_NAMES:
            return
        unread = [name for name in row if name not in ITEM_NAMES and name not in self._told]
        if unread:
            self._left -= 1
            self._told.update(unread)
            known = "id, question, session, system, model and options"
            self._tell(f"line {number}: not read: {_listed(unread)}. An item has {known}.")


def other_names(row: Mapping[str, Any]) -> str:
    """What to try with a row that has other names than a `question`."""
    if not row:
        return ""
    shown = [_shown(name) for name in row]
    example = next((name for name in shown if name.isidentifier() and name != "id"), "NAME")
    template = f"--template '{{{{ {example} }}}}'"
    return f"It has {_listed(row)}: call one `question`, or make one of them: {template}."


def _listed(names: Iterable[str]) -> str:
    shown = [_shown(name) for name in names]
    more = ["…"] if len(shown) > _MOST_NAMES else []
    return ", ".join(shown[:_MOST_NAMES] + more)


def _shown(name: str) -> str:
    return visible_line(name)[:_MOST_OF_A_NAME]
