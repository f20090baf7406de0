"""A terminal's screen as a person reads it: just what pipechat writes to one, and a fault for
every escape sequence beside that. Lines that scrolled away are kept."""

import re
import unicodedata

_ESCAPE = re.compile(r"\x1b(?:7|8|\[\?7[lh]|\[K|\[[0-9;]*m)")


class Screen:
    """Fed with what a terminal was sent, in pieces or at once."""

    def __init__(self, columns: int = 80) -> None:
        self._columns = columns
        self._rows: list[dict[int, str]] = [{}]
        self._row = self._column = 0
        self._saved = (0, 0)
        self._wraps = True
        self.sent = ""

    def feed(self, data: bytes) -> "Screen":
        text = data.decode()
        self.sent += text
        place = 0
        while place < len(text):
            if text[place] == "\x1b":
                found = _ESCAPE.match(text, place)
                assert found, f"no terminal was to be sent {text[place : place + 12]!r}"
                self._obey(found[0])
                place = found.end()
            else:
                self._put(text[place])
                place += 1
        return self

    @property
    def text(self) -> str:
        """All of it, without what is blank at the end of lines."""
        rows = (
            "".join(row.get(n, " ") for n in range(max(row, default=-1) + 1)) for row in self._rows
        )
        return "\n".join(row.rstrip() for row in rows)

    @property
    def styles(self) -> set[str]:
        """The colors and such that were asked for."""
        return set(re.findall(r"\x1b\[[0-9;]*m", self.sent))

    def _obey(self, sequence: str) -> None:
        if sequence == "\x1b7":
            self._saved = (self._row, self._column)
        elif sequence == "\x1b8":
            self._row, self._column = self._saved
        elif sequence == "\x1b[K":
            row = self._rows[self._row]
            self._rows[self._row] = {n: each for n, each in row.items() if n < self._column}
        elif sequence[:3] == "\x1b[?":
            self._wraps = sequence[-1] == "h"

    def _put(self, letter: str) -> None:
        if letter == "\n":
            self._down()
            return
        if letter == "\r":
            self._column = 0
            return
        category = unicodedata.category(letter)
        assert category != "Cc", f"no terminal was to be sent {letter!r}"
        if category in ("Mn", "Me", "Cf"):
            return
        wide = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if self._column + wide > self._columns:
            if self._wraps:
                self._down()
            else:
                self._column = self._columns - wide
        row = self._rows[self._row]
        row[self._column] = letter
        if wide == 2:
            row[self._column + 1] = ""
        self._column += wide

    def _down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._rows):
            self._rows.append({})
