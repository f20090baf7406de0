"""Markdown cut into blocks as it streams: each is whole when it is given, and is never taken back.

A block ends at a blank line outside of code and lists; a heading is one by itself, so is each item
of a list, and each line of a fenced block, which is shown as it stands. Where Markdown itself
(CommonMark 0.31) would look further ahead, the cut comes first: shown soon is shown well. Pure.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["markdown", "blank", "fence", "code", "plain"]

LARGEST = 16 * 1024
"""Characters of a block; a larger one is `plain`: formatting may take a long look at all of it."""

_MOST_BLANKS = 100
_FENCE = re.compile(r"( *)(`{3,}(?=[^`\n]*\n?\Z)|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|\n|\Z)")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})\n?\Z")
_ITEM = re.compile(r"( {0,3})(?:[-+*]|([0-9]{1,9})[.)])(?:([ \t]{1,4})(?=\S)|[ \t]*\n?\Z|[ \t])")


class Block(NamedTuple):
    """A piece of the text as it stands there.

    `kind`: `markdown` is to be formatted; `blank` is a line between blocks; `fence` begins or ends
    lines of `code`; `plain` was too large to be looked at.
    """

    kind: Kind
    text: str


class BlockSplitter:
    """Pieces of text in, blocks out. However the text was cut, the blocks are the same, and their
    texts joined are the text."""

    def __init__(self) -> None:
        self._parts: list[str] = []  # of a line that has not ended
        self._size = 0
        self._mid_line = False  # the beginning of that line was given already
        self._held: list[str] = []  # lines of the block that has not ended
        self._held_size = 0
        self._blanks: list[str] = []  # behind it: a list may go on
        self._indent: int | None = None  # of what stands in the item of the list that is held
        self._fence: str | None = None
        self._inner: str | None = None  # a fence within that item

    def feed(self, text: str) -> Iterator[Block]:
        """Take a piece; the blocks that it ended."""
        start = 0
        while start < len(text):
            end = text.find("\n", start) + 1 or len(text)
            part = text[start : min(end, start + LARGEST - self._size)]
            start += len(part)
            self._parts.append(part)
            self._size += len(part)
            if part.endswith("\n") or self._size == LARGEST:
                yield from self._take(self._whole_part())

    def end(self) -> Iterator[Block]:
        """No more comes; what is left."""
        if self._parts:
            yield from self._take(self._whole_part())
        yield from self._close()

    def _whole_part(self) -> str:
        whole = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        return whole

    def _take(self, line: str) -> Iterator[Block]:
        """A line, or as much of it as is taken at once."""
        if self._mid_line or (len(line) == LARGEST and line[-1] != "\n"):
            yield from self._close()
            self._mid_line = line[-1] != "\n"
            yield Block("code" if self._fence else "plain", line)
        elif self._fence is not None:
            ends = not line.startswith(("    ", "\t")) and _ends_fence(line, self._fence)
            if ends:
                self._fence = None
            yield Block("fence" if ends else "code", line)
        elif self._indent is not None:
            yield from self._take_in_list(line)
        else:
            yield from self._take_outside(line)

    def _take_outside(self, line: str) -> Iterator[Block]:
        if line.isspace():
            yield from self._close()
            yield Block("blank", line)
            return
        if (fence := _FENCE.match(line)) and len(fence[1]) < 4:
            yield from self._close()
            self._fence = fence[2]
            yield Block("fence", line)
            return
        if _HEADING.match(line):
            yield from self._close()
            yield Block("markdown", line)
            return
        item = None if _RULE.match(line) else _ITEM.match(line)
        # CommonMark 5.2: a paragraph goes on where a number other than 1 begins a line.
        if item and not (self._held and item[2] and item[2].lstrip("0") != "1"):
            yield from self._close()
            self._indent = _content_indent(item)
            self._inner = _fence_in(line[item.end() :])
        yield from self._hold(line)

    def _take_in_list(self, line: str) -> Iterator[Block]:
        assert self._indent is not None
        if line.isspace():
            self._blanks.append(line)
            if len(self._blanks) > _MOST_BLANKS:
                yield from self._close()
            return
        indent = len(line) - len(line.lstrip(" "))
        inside = indent >= self._indent or line.startswith("\t")
        if not inside and (self._blanks or self._inner or _begins_block(line)):
            yield from self._close()
            yield from self._take_outside(line)
            return
        if self._inner is not None:
            if _ends_fence(line, self._inner):
                self._inner = None
        else:
            self._inner = _fence_in(line)
        blanks, self._blanks = self._blanks, []
        for each in (*blanks, line):
            yield from self._hold(each)

    def _hold(self, line: str) -> Iterator[Block]:
        self._held.append(line)
        self._held_size += len(line)
        if self._held_size > LARGEST:
            yield from self._close("plain")

    def _close(self, kind: Kind = "markdown") -> Iterator[Block]:
        """The block that is held ends here."""
        held, blanks = self._held, self._blanks
        self._held, self._blanks, self._held_size = [], [], 0
        self._indent = self._inner = None
        if held:
            yield Block(kind, "".join(held))
        for blank in blanks:
            yield Block("blank", blank)


def _content_indent(item: re.Match[str]) -> int:
    """How far what belongs to the item is indented (CommonMark 5.2)."""
    marker = len(item[0]) - len(item[3] or "") if item[3] else len(item[0].rstrip())
    return marker + (len(item[3]) if item[3] else 1)


def _fence_in(text: str) -> str | None:
    """The fence that a line within an item begins, or None."""
    fence = _FENCE.match(text)
    return fence[2] if fence else None


def _ends_fence(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and bare == fence[0] * len(bare)


def _begins_block(line: str) -> bool:
    """Whether a line that is less indented than an item is no more of it, though no blank line
    stands between."""
    fence = _FENCE.match(line)
    other = _HEADING.match(line) or _RULE.match(line) or _ITEM.match(line)
    return bool(other or (fence and len(fence[1]) < 4))
