"""The lines of a session file that may hold what is sought, told by their bytes; the others are
not even taken apart. Knows no pattern and no turn."""

import os
from collections.abc import Iterator, Sequence

from pipechat import jsonl
from pipechat.store.search_finders import Block, Finder

_BLOCK = 1 << 18


def candidates(
    fd: int, size: int, finders: Sequence[Finder] | None, *, block: int = _BLOCK
) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a file in which one of `finders` finds something, as (number from 1, offset
    in bytes, line); all of them where `finders` is None."""
    if finders is None:
        offset = 0
        for number, line in jsonl.lines_forwards(fd, size):
            yield number, offset, line
            offset += len(line) + 1
        return
    lines_before = -1  # not counted yet: where nothing is found, nobody asks
    for position, lines in _blocks_of_lines(fd, size, block):
        data, counted, here = lines.data, 0, 0
        for hit in _hits(lines, finders):
            if lines_before < 0:
                lines_before = jsonl.count_lines(fd, position)
            start = data.rfind(b"\n", 0, hit) + 1
            stop = data.find(b"\n", hit, lines.end)
            here += data.count(b"\n", counted, start)
            counted = start
            number = lines_before + here + 1
            yield number, position + start, data[start : stop if stop >= 0 else lines.end]
        if lines_before >= 0:
            lines_before += jsonl.newlines(data)  # behind `lines.end` there is none


def _hits(lines: Block, finders: Sequence[Finder]) -> Iterator[int]:
    """A place in each line in which something is found."""
    nexts = [find(lines, 0) for find in finders]
    while (hit := min((place for place in nexts if place >= 0), default=-1)) >= 0:
        yield hit
        stop = lines.data.find(b"\n", hit, lines.end)
        if stop < 0:
            return
        nexts = [
            find(lines, stop) if 0 <= place < stop else place
            for find, place in zip(finders, nexts, strict=True)
        ]


def _blocks_of_lines(fd: int, size: int, block: int) -> Iterator[tuple[int, Block]]:
    """The file in pieces of whole lines, each with its position. A line that a
    block cuts is read again with the next: cheaper than to put it together."""
    position = 0
    length = block
    while position < size and (data := os.pread(fd, min(length, size - position), position)):
        end = data.rfind(b"\n") + 1
        if position + len(data) >= size:
            end = len(data)
        if end:
            yield position, Block(data, end)
            position += end
            length = block
        else:
            length *= 2
