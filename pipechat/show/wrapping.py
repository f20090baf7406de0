"""Styled text laid out in lines of so many columns: between words, and between wide letters. Pure.

Words that are wider than a line stay whole, so that an address can be copied; the terminal goes on
with them in its next row.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pipechat.show.width import is_wide, width

# What no line begins, and what no line ends with (kinsoku).
_CLOSING = frozenset("，。、！？；：）】」』”’…％》〉.,;:!?)]}%")
_OPENING = frozenset("（【「『“‘《〈([{")


class Span(NamedTuple):
    """Text in one style: the parameters of SGR, as `1;4`, or "" for none."""

    text: str
    style: str = ""


Line = list[Span]


def wrapped(spans: Iterable[Span], columns: int, *, breaks_words: bool = False) -> list[Line]:
    """`spans`, whose newlines end lines, in lines of at most so many columns.

    Args:
        breaks_words: also cut a word that is wider than a line.
    """
    lines: list[Line] = [[]]
    left = columns
    for blank, word in _words(spans):
        if blank == "\n":
            lines.append([])
            left = columns
        wide = sum(width(span.text) for span in word)
        gap = blank if blank.isspace() and blank != "\n" and lines[-1] else ""
        if wide + len(gap) > left and lines[-1]:
            lines.append([])
            left, gap = columns, ""
        if breaks_words and wide > left:
            *full, word = _cut(word, columns)
            lines[-1:] = [*full, []]
            wide = sum(width(span.text) for span in word)
        if gap:
            style = lines[-1][-1].style
            lines[-1].append(Span(gap, style if word and word[0].style == style else ""))
        lines[-1] += word
        left -= wide + len(gap)
    return [_joined(line) for line in lines]


def line_width(line: Line) -> int:
    """The columns that a line takes."""
    return sum(width(span.text) for span in line)


def _words(spans: Iterable[Span]) -> Iterator[tuple[str, Line]]:
    """What may not be cut, and the blanks, or the newline, before it."""
    blank, word, sticks = "", Line(), True
    for span in spans:
        for letter in span.text:
            if letter in " \t\n":
                if word or blank == "\n":
                    yield blank, word
                    blank, word = "", []
                blank = "\n" if letter == "\n" else blank + " "
                sticks = True
                continue
            if word and not sticks and letter not in _CLOSING and _breaks(word[-1].text, letter):
                yield blank, word
                blank, word = "", []
            word.append(Span(letter, span.style))
            sticks = letter in _OPENING
    if word or blank == "\n":
        yield blank, word


def _breaks(before: str, letter: str) -> bool:
    """Whether a line may end between two letters of a word."""
    return (_is_wide(before) or _is_wide(letter)) and width(letter) > 0


@lru_cache(1024)
def _is_wide(letter: str) -> bool:
    return is_wide(letter)


def _cut(word: Line, columns: int) -> list[Line]:
    lines: list[Line] = [[]]
    left = columns
    for span in word:
        wide = width(span.text)
        if wide > left and lines[-1]:
            lines.append([])
            left = columns
        lines[-1].append(span)
        left -= wide
    return lines


def _joined(line: Line) -> Line:
    """The same with neighbours of one style as one."""
    found: list[tuple[list[str], str]] = []
    for text, style in line:
        if found and found[-1][1] == style:
            found[-1][0].append(text)
        else:
            found.append(([text], style))
    return [Span("".join(texts), style) for texts, style in found]
