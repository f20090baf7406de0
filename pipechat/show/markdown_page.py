"""A conversation as one Markdown document, to be kept with notes or put into a report.

What was asked is quoted; what was answered stands as the Markdown that it is. An answer that
would run on into the next turn, by a block of code or a comment that it leaves open, is quoted
too, since a quotation ends where its lines do. Knows no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from markdown_it import MarkdownIt

from pipechat.messages import Turn
from pipechat.show.markdown_cost import is_dear
from pipechat.show.transcript import fault_of
from pipechat.text import visible, visible_line

_LARGEST = 64 * 1024
_NEXT = "# next"
_PUNCTUATION = frozenset("\\`*_[]<>#|~&")


class MarkdownPage:
    """Turns one after the other; a system message is shown where it changes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._system: str | None = None

    def head(self) -> str:
        """What stands above the first turn."""
        return f"# {_plain(self._name)}\n"

    def turn(self, number: int, turn: Turn) -> str:
        """A turn under a heading with its number."""
        system = turn.system if turn.system != self._system else None
        self._system = turn.system
        return "\n" + "\n".join(_parts(number, turn, system))

    def foot(self) -> str:
        """Nothing: the last turn is the end."""
        return ""


def _parts(number: int, turn: Turn, system: str | None) -> Iterator[str]:
    facts = [turn.time, f"item {turn.item}" if turn.item is not None else "", turn.model]
    yield f"## Turn {number}\n"
    yield f"{', '.join(_plain(fact) for fact in facts if fact) or 'At no known time'}\n"
    if system:
        yield f"**System:**\n\n{_quoted(system)}"
    yield f"**You:**\n\n{_quoted(turn.question)}"
    if turn.answer.strip():
        yield f"**{_plain(turn.model) or 'AI'}:**\n\n{_as_it_is(turn.answer)}"
    if turn.status != "complete":
        yield f"**Not complete:** {_plain(fault_of(turn))}\n"


def _as_it_is(text: str) -> str:
    shown = visible(text.replace("\r\n", "\n")).strip("\n")
    return f"{shown}\n" if _ends(shown) else _quoted(text)


def _ends(text: str) -> bool:
    """Whether a heading behind `text` would be one."""
    if len(text) > _LARGEST or is_dear(text):
        return False
    last = _parser().parse(f"{text}\n\n{_NEXT}\n")[-1]
    return last.type == "heading_close" and last.level == 0


@cache
def _parser() -> MarkdownIt:
    # Only where blocks end is asked.
    return MarkdownIt("commonmark").disable("inline")


def _quoted(text: str) -> str:
    lines = visible(text.replace("\r\n", "\n")).strip("\n").split("\n")
    return "".join(f"> {line}".rstrip() + "\n" for line in lines)


def _plain(text: str) -> str:
    """`text` in one line, as letters that mean nothing in Markdown."""
    shown = visible_line(text)
    return "".join(f"\\{each}" if each in _PUNCTUATION else each for each in shown)
