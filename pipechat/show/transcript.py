"""Turns and sessions as text, for people at a terminal and for pipes. Pure.

Into a pipe what was said goes out byte for byte and times as they were recorded; on a terminal
control characters are shown, times are local, and who speaks is set off. Knows no stream.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pipechat.messages import Summary, Turn
from pipechat.show.width import cut, width
from pipechat.text import visible, visible_line

# A name takes this much of a line, if need be, and the first words as much again.
_NAME_WIDTH = 32
_WORDS_LENGTH = 48
_TIME_WIDTH = len("2026-01-31 09:15:00")
_USUAL_COLUMNS = 80
_ROOM_FOR_NUMBERS = 60
# All but the name, of the first words as much as their heading takes.
_OTHERS_WIDTH = 55
_PREFIXES = "kMGTPE"


class Look(NamedTuple):
    """How text is shown. `terminal`: to a person, so made visible; `color`: with ANSI codes."""

    terminal: bool = False
    color: bool = False

    @classmethod
    def of(cls, *, terminal: bool, environ: Mapping[str, str], color: str = "auto") -> "Look":
        """Plain into a pipe; on a terminal with colors unless NO_COLOR (no-color.org) is set.
        `color` may say `always` or `never` instead; colors are for a terminal, at once or later."""
        plain = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
        colored = color == "always" or (color == "auto" and terminal and not plain)
        return cls(terminal=terminal or colored, color=colored)

    def text(self, text: str) -> str:
        """What somebody said."""
        return visible(text) if self.terminal else text

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.color else text

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.color else text

    def hit(self, text: str) -> str:
        """What a search found, in grep's bold red."""
        return f"\x1b[1;31m{text}\x1b[0m" if self.color else text

    def time(self, time: str) -> str:
        """An RFC 3339 time: as it is, or for people the local one without its fraction."""
        if not self.terminal:
            return visible_line(time)
        try:
            return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        except (ValueError, OverflowError):
            return visible_line(time)


class Transcript:
    """Turns one after the other; a system message is shown where it changes."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._system: str | None = None
        self._at_start = True

    def turn(self, turn: Turn) -> str:
        """Who said what, when, and with which model; why it is not whole, where it is not."""
        look = self._look
        blocks = []
        if turn.system and turn.system != self._system:
            blocks.append(self._block("System", "", turn.system))
        self._system = turn.system
        item = f"item {turn.item}" if turn.item is not None else ""
        parts = (look.time(turn.time), visible_line(turn.id), visible_line(item))
        about = ", ".join(part for part in parts if part)
        blocks.append(self._block("You", about, turn.question))
        blocks.append(self._block(visible_line(turn.model) or "AI", fault_of(turn), turn.answer))
        gap = "" if self._at_start else "\n"
        self._at_start = False
        return gap + "\n".join(blocks)

    def _block(self, who: str, about: str, text: str) -> str:
        heading = self._look.bold(who) + (self._look.dim(f", {about}") if about else "") + ":\n"
        return heading + self._look.text(text) + ("\n" if text and text[-1] != "\n" else "")


def fault_of(turn: Turn) -> str:
    """Why a turn is not complete, in a line; "" where it is."""
    if turn.status == "complete":
        return ""
    error: Mapping[str, object] = turn.error or {}
    said = [str(error[key]) for key in ("code", "message") if error.get(key)]
    return f"{turn.status} ({visible_line(': '.join(said))})" if said else turn.status


class SessionTable:
    """Sessions one a line: name, turns, last time, size, first words.

    Into a pipe: separated by tabs, the size in bytes. On a terminal: aligned, under a heading.

    Args:
        names: of all the sessions that will come, for the width of their column.
        columns: of the terminal; no row is wider. A narrow one is told no numbers.
    """

    def __init__(self, look: Look, names: Sequence[str], columns: int = _USUAL_COLUMNS) -> None:
        self._look = look
        self._columns = columns
        widest = max((width(name) for name in names), default=0) if look.terminal else 0
        self._is_narrow = columns < _ROOM_FOR_NUMBERS
        others = _TIME_WIDTH + 2 if self._is_narrow else _OTHERS_WIDTH
        self._width = max(min(widest, _NAME_WIDTH, columns - others), len("session"))

    def heading(self) -> str:
        """The names of the columns, on a terminal."""
        if not self._look.terminal:
            return ""
        row = self._row("session", "turns", "last", "size", "begins with")
        return self._look.dim(row) + "\n"

    def row(self, summary: Summary) -> str:
        """A session."""
        words = first_words(summary.first_question)
        time = self._look.time(summary.last_time)
        if self._look.terminal:
            size = human_size(summary.size)
            row = self._row(summary.name, str(summary.turns), time, size, visible_line(words))
            return row + "\n"
        return f"{summary.name}\t{summary.turns}\t{time}\t{summary.size}\t{words}\n"

    def _row(self, name: str, turns: str, time: str, size: str, words: str) -> str:
        padded = name + " " * (self._width - width(name))
        when = f"{time:<{_TIME_WIDTH}}"
        cells = [padded, f"{turns:>7}", when, f"{size:>8}", words]
        if self._is_narrow:
            cells = [padded, when, words]
        return cut("  ".join(cells).rstrip(), self._columns)


def first_words(text: str) -> str:
    """The beginning of `text` in one line of at most 48 characters."""
    words = " ".join(text[: 16 * _WORDS_LENGTH].split())
    return words if len(words) <= _WORDS_LENGTH else words[: _WORDS_LENGTH - 1] + "…"


def human_size(size: int) -> str:
    """Bytes with a decimal prefix: `999 B`, `1.2 kB`, `34 MB`."""
    if size < 1000:
        return f"{size} B"
    value = size / 1000
    for prefix in _PREFIXES:
        if value < 999.5 or prefix == _PREFIXES[-1]:
            break
        value /= 1000
    return f"{value:.1f} {prefix}B" if value < 9.95 else f"{value:.0f} {prefix}B"
