"""Text set for a terminal: wrapped at its width, in columns where it is wide enough. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

WIDEST = 80
NARROWEST = 20
# Below it two columns leave the second one too little.
_TWO_COLUMNS = 60
_HEAD = 24

# A word of a shell command: blanks in quotes are a part of it.
_SHELL_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")


def wrapped(text: str, width: int, first: str = "", more: str = "") -> Iterator[str]:
    """The lines of `text`, none wider than `width`: the first one behind `first`, the others
    behind `more`. A word that is longer than a line goes on in the next."""
    line, is_empty = first, True
    for word in text.split():
        if not is_empty and len(line) + 1 + len(word) > width:
            yield line
            line, is_empty = more, True
        line += word if is_empty else f" {word}"
        is_empty = False
        while len(line) > width:
            yield line[:width]
            line = more + line[width:]
    if not is_empty:
        yield line


def paragraphs(text: str, width: int, indent: str = "") -> Iterator[str]:
    """Paragraphs that an empty line parts, each wrapped."""
    for number, each in enumerate(text.strip().split("\n\n")):
        if number:
            yield ""
        yield from wrapped(each, width, indent, indent)


def entry(head: str, text: str, width: int) -> Iterator[str]:
    """What something is called, and what it is: side by side, or one below the other."""
    indent = " " * (_HEAD + 4 if width >= _TWO_COLUMNS else 6)
    if text and width >= _TWO_COLUMNS and len(head) <= _HEAD:
        yield from wrapped(text, width, f"  {head:<{_HEAD}}  ", indent)
        return
    yield from wrapped(head, width, "  ", "    ")
    yield from wrapped(text, width, indent, indent)


def shell_command(command: str, width: int, indent: str) -> Iterator[str]:
    """A shell command, to be copied: a line that is too long goes on behind a backslash."""
    line = indent
    for word in _SHELL_WORD.findall(command):
        if line != indent and len(line) + len(word) + 2 > width:
            yield f"{line}\\"
            line = f"{indent}  "
        line += f"{word} "
    yield line.rstrip()


def table(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Rows of cells: in columns where they fit, else each row as its first cell and, below it,
    the others, but for those that are `-`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        for row in rows:
            cells = (f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True))
            yield "  ".join(cells).rstrip()
        return
    for first, *others in rows:
        yield from wrapped(first, width)
        for each in others:
            if each != "-":
                yield from wrapped(each, width, "    ", "    ")
