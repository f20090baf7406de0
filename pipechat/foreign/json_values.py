"""A file of JSON read value by value: the elements of one array, or values behind each other.

A value is held at a time, so that an export of years takes no more memory than its longest
conversation. Handed bytes; opens nothing.
"""

import json
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from typing import Any

_FIRST = 1 << 16
_BLANKS = " \t\n\r"
# What is read of a word or an escape that the end of the text cuts is no longer than this.
_LONGEST_WORD = 16
_MOST_DIGITS = 18


def json_values(blocks: Iterable[bytes]) -> Iterator[Any]:
    """The values, in their order.

    Raises:
        ValueError: it is no JSON, is not UTF-8, or ends in the middle.
    """
    text = _Text(blocks)
    in_array = text.next() == "["
    if in_array:
        text.skip()
    while (mark := text.next()) and not (in_array and mark == "]"):
        yield text.value()
        if in_array and text.next() == ",":
            text.skip()
        elif in_array and text.next() != "]":
            raise ValueError(text.fault())
    if in_array and not mark:
        raise ValueError(text.fault())
    text.skip()
    if text.next():
        raise ValueError("something stands behind the array")


class _Text:
    """The text as it comes, and how far it was read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._decoder = getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._is_whole = False
        self._json = json.JSONDecoder(parse_int=_number, parse_constant=lambda _: None)

    def next(self) -> str:
        """The next letter that is no blank; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._read_more():
                return ""

    def skip(self) -> None:
        """Pass over that letter."""
        self._at += 1

    def value(self) -> Any:
        """The value that begins there."""
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError("it is nested too deeply") from error
            except json.JSONDecodeError as error:
                may_go_on = (
                    error.msg.startswith("Unterminated")
                    or error.pos >= len(self._text) - _LONGEST_WORD
                )
                if not (may_go_on and self._read_more()):
                    raise ValueError(self.fault(error.pos)) from error
                continue
            # A number at the end may have more digits.
            if end < len(self._text) or not self._read_more():
                self._at = end
                return value

    def fault(self, at: int | None = None) -> str:
        """What is wrong at this place of the text."""
        at = self._at if at is None else at
        if self._is_whole and (at >= len(self._text) - 1 or self._text[at] == '"'):
            return "it ends in the middle"
        return f"it is no JSON from character {self._dropped + at + 1} on"

    def _read_more(self) -> bool:
        """Read as much again as is held; False at the end."""
        if self._is_whole:
            return False
        self._dropped += self._at
        self._text = self._text[self._at :]
        self._at = 0
        wanted = len(self._text) + _FIRST
        parts = [self._text]
        while wanted > 0 and not self._is_whole:
            block = next(self._blocks, b"")
            self._is_whole = not block
            parts.append(self._decoded(block))
            wanted -= len(block)
        self._text = "".join(parts)
        return True

    def _decoded(self, block: bytes) -> str:
        try:
            return self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise ValueError("it is not UTF-8") from error


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)
