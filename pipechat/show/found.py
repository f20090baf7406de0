"""Lines that a search found, with where they stand, as text. Pure.

Into a pipe a line is what it is; for a person what matches is set off as grep does, and a line
that is wider than the terminal is cut around it.
"""

from collections.abc import Sequence

from pipechat.show.transcript import Look
from pipechat.show.width import width
from pipechat.text import visible_line, whole_text

BETWEEN_GROUPS = "--"
# What is shown of a line at least, however long the name of its session is.
_LEAST_ROOM = 24
_NAME, _NUMBER, _SEPARATOR = "35", "32", "36"  # as grep: magenta, green, cyan

Spans = Sequence[tuple[int, int]]


class FoundText:
    """What was found, line by line.

    Args:
        columns: of the terminal, for lines to be cut to; None: they are not cut.
    """

    def __init__(self, look: Look, columns: int | None = None) -> None:
        self._look = look
        self._columns = columns

    def name(self, name: str) -> str:
        """The name of a session, or a path; on a terminal with nothing in it to be obeyed."""
        return self._painted(_NAME, self._shown_name(name))

    def count(self, name: str, count: int) -> str:
        """How many of its turns match."""
        return self.name(name) + self._painted(_SEPARATOR, ":") + str(count)

    def between_groups(self) -> str:
        """What stands between lines that do not follow each other."""
        return self._painted(_SEPARATOR, BETWEEN_GROUPS)

    def line(self, name: str, turn: int, side: str, text: str, spans: Spans | None) -> str:
        """A line of a turn. `spans`: what matches in it, None where it stands beside a line that
        does."""
        mark = "-" if spans is None else ":"
        separator = self._painted(_SEPARATOR, mark)
        parts = (self.name(name), self._painted(_NUMBER, str(turn)), self._painted(_NUMBER, side))
        address = "".join(part + separator for part in parts) + " "
        if self._columns is None:
            return address + self._highlighted(text, spans or ())
        taken = width(f"{self._shown_name(name)}{mark}{turn}{mark}{side}{mark} ")
        return address + self._cut(text, spans or (), max(self._columns - taken, _LEAST_ROOM))

    def _shown_name(self, name: str) -> str:
        return visible_line(whole_text(name)) if self._look.terminal else name

    def _cut(self, text: str, spans: Spans, room: int) -> str:
        start = next((start for start, stop in spans if stop > start), 0)
        begin, end = _window(text, start, room)
        inside = ((max(one, begin) - begin, min(other, end) - begin) for one, other in spans)
        shown = self._highlighted(text[begin:end], [span for span in inside if span[0] < span[1]])
        return ("…" if begin else "") + shown + ("…" if end < len(text) else "")

    def _highlighted(self, text: str, spans: Spans) -> str:
        shown, end = "", 0
        for start, stop in spans if self._look.color else ():
            if stop > start:
                hit = self._look.hit(self._visible(text[start:stop]))
                shown += self._visible(text[end:start]) + hit
                end = stop
        return shown + self._visible(text[end:])

    def _visible(self, text: str) -> str:
        return self._look.text(text) if self._columns is None else visible_line(text)

    def _painted(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._look.color else text


def _window(text: str, start: int, room: int) -> tuple[int, int]:
    """From where to where `text` is shown in so many columns, an `…` at a cut end included: from
    a third of them before `start`, or from sooner where little follows."""
    lead = max(room // 3, room - _columns_to(text[start:], room))
    begin = start - _fitting(text[:start][::-1], lead)
    if begin:
        begin = start - _fitting(text[:start][::-1], lead - 1)
    room -= bool(begin)
    end = begin + _fitting(text[begin:], room)
    if end < len(text):
        end = begin + _fitting(text[begin:], room - 1)
    return begin, end


def _columns_to(text: str, most: int) -> int:
    return width(visible_line(text[: _fitting(text, most)]))


def _fitting(text: str, columns: int) -> int:
    """How many letters of `text`, from the first on, fit into so many columns."""
    for index, letter in enumerate(text):
        columns -= width(visible_line(letter))
        if columns < 0:
            return index
    return len(text)
