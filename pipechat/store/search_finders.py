"""How bytes are found in blocks of a file, each kind in the way that is quickest for it. Pure."""

import re
from collections.abc import Callable
from functools import cached_property, partial

from pipechat.store.search_bytes import Needles

# From this length on, `find` leaps further than `re` looks.
_LONG = 12
# A byte that is rarer than one in so many is leapt to; how much is looked at to know.
_RARE = 1000
_SAMPLE = 1 << 16


class Block:
    """Whole lines of a file: those of `data` before `end`."""

    def __init__(self, data: bytes, end: int) -> None:
        self.data = data
        self.end = end

    @cached_property
    def lowered(self) -> bytes:
        """`data` with the letters of ASCII in lower case."""
        return self.data.lower()


# Where something that is sought begins, or lies, in the first line after a place that has it;
# -1: nowhere.
Finder = Callable[[Block, int], int]


def finders_of(needles: Needles) -> list[Finder]:
    """One a needle."""
    expressions = [_expression_finder(re.compile(each)) for each in needles.expressions]
    folded = [_folded_finder(each) for each in needles.folded]
    return [*expressions, *folded, *(_ExactFinder(each) for each in needles.exact)]


Search = Callable[[bytes, int, int], int]


def _quickest(needle: bytes) -> Search:
    if len(needle) >= _LONG:
        return lambda data, start, end: data.find(needle, start, end)
    return partial(_searched, re.compile(re.escape(needle)))


def _searched(expression: re.Pattern[bytes], data: bytes, start: int, end: int) -> int:
    found = expression.search(data, start, end)
    return found.start() if found else -1


def _expression_finder(expression: re.Pattern[bytes]) -> Finder:
    return lambda block, start: _searched(expression, block.data, start, block.end)


def _folded_finder(needle: bytes) -> Finder:
    search = _quickest(needle)
    return lambda block, start: search(block.lowered, start, block.end)


class _ExactFinder:
    """Leaps from one rare byte of the needle to the next, if it has one: which is rare is told
    by the data. Else, and where they are not rare after all, goes on as any search."""

    def __init__(self, needle: bytes) -> None:
        self._needle = needle
        self._search = _quickest(needle)
        self._rare: int | None = None
        self._is_known = False

    def __call__(self, block: Block, start: int) -> int:
        if not self._is_known and block.end >= _SAMPLE:
            self._look_at(block.data[:_SAMPLE])
        place = start
        if self._rare is not None:
            place = self._leap(block, start, self._rare)
            if self._rare is not None:
                return place
        return self._search(block.data, place, block.end)

    def _look_at(self, sample: bytes) -> None:
        self._is_known = True
        count, place = min((sample.count(byte), at) for at, byte in enumerate(self._needle))
        if count * _RARE <= len(sample):
            self._rare = place

    def _leap(self, block: Block, start: int, ahead: int) -> int:
        """Where the needle is; where it may be from, if its rare byte turns out to be none."""
        data, end, needle = block.data, block.end, self._needle
        byte = needle[ahead : ahead + 1]
        leaps, place = 0, start + ahead
        while (place := data.find(byte, place, end)) >= 0:
            if data.startswith(needle, place - ahead):
                return place - ahead
            place += 1
            leaps += 1
            if leaps * _RARE > place - start + 16 * _RARE:
                self._rare = None
                return place - ahead
        return -1
