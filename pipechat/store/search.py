"""Search in a session file: candidate lines by their bytes first, and only those parsed.

Owns what a pattern means, and which bytes a line that may match must hold. A line that holds
none of them cannot match, whoever wrote the JSON; one that does may not, and is looked at as
text. Knows no store and no output.
"""

import os
import re
import warnings
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pipechat import jsonl
from pipechat.errors import UsageError
from pipechat.messages import Turn
from pipechat.store.reading import Session, turn_of
from pipechat.store.search_bytes import Needles, needles_of, required_literal

_BLOCK = 1 << 18
_RECENT_IDS = 4096
_NEAR_BYTES = 1 << 18

Side = Literal["question", "answer"]
_SIDES: tuple[Side, ...] = ("question", "answer")


class Hit(NamedTuple):
    """A line of text that matches.

    `turn_number`: of the record's line in the file, from 1; `line_number`: of the line in the
    question or the answer, from 1; `spans`: what matched of `text`, from and to, in characters.
    """

    turn_number: int
    turn: Turn
    side: Side
    line_number: int
    text: str
    spans: list[tuple[int, int]]


class Query:
    """What is looked for: a fixed text, or a regular expression in Python's syntax.

    Lines of text are looked at one by one, as grep does.

    Raises:
        UsageError: `bad_pattern`.
    """

    def __init__(self, pattern: str, *, regexp: bool = False, ignore_case: bool = False) -> None:
        if "\n" in pattern:
            raise UsageError(
                "bad_pattern",
                "the pattern holds a newline",
                "Text is searched line by line: look for one line of it.",
            )
        flags = re.IGNORECASE if ignore_case else re.NOFLAG
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Python may once read otherwise
                self._expression = re.compile(pattern if regexp else re.escape(pattern), flags)
                literal = required_literal(pattern, flags) if regexp else pattern
        except (re.error, OverflowError, RecursionError) as error:
            message = f"{pattern!r} is no regular expression: {error}"
            raise UsageError("bad_pattern", message, "Leave out -E for fixed text.") from error
        fold = bool(self._expression.flags & re.IGNORECASE)
        self.needles = needles_of(literal, fold=fold)
        # `in` is several times as quick as an expression, and most candidates are none.
        self._fixed = literal if not fold else ""

    def matches(self, text: str) -> Iterator[tuple[int, str, list[tuple[int, int]]]]:
        """The lines of `text` that match: number from 1, the line, what matched in it."""
        if self._fixed not in text:
            return
        for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
            if self._fixed in line:
                spans = [found.span() for found in self._expression.finditer(line)]
                if spans:
                    yield number, line, spans


def search(session: Session, query: Query) -> Iterator[Hit]:
    """What matches in `session`, oldest first, in flat memory. A turn that stands there twice
    is told once; lines that are no JSON are counted in a warning."""
    recent: dict[str, None] = {}
    torn = 0
    for number, offset, line in candidates(session.fd, session.size, query.needles):
        try:
            record = jsonl.loads_line(line)
        except ValueError:
            torn += bool(line.strip())
            continue
        found = list(_found_in(record, query))
        turn = turn_of(line) if found else None  # to make one costs more than to look
        if turn and turn.id not in recent and not _gives_way(session, turn, offset):
            recent[turn.id] = None
            if len(recent) > _RECENT_IDS:
                del recent[next(iter(recent))]
            for side, line_number, text, spans in found:
                yield Hit(number, turn, side, line_number, text, spans)
    if torn:
        lines = "1 line that may match is" if torn == 1 else f"{torn} lines that may match are"
        session.tell_torn(f"{lines} no turn", "such lines")


def _gives_way(session: Session, turn: Turn, offset: int) -> bool:
    """Whether a turn that is not complete has a complete double near its line, which stands."""
    if turn.status == "complete":
        return False
    start = max(0, offset - _NEAR_BYTES)
    around = os.pread(session.fd, min(2 * _NEAR_BYTES, session.size - start), start)
    needle = turn.id.encode()
    for line in around.split(b"\n") if around.count(needle) > 1 else ():
        double = turn_of(line) if needle in line else None
        if double and double.id == turn.id and double.status == "complete":
            return True
    return False


def _found_in(
    record: object, query: Query
) -> Iterator[tuple[Side, int, str, list[tuple[int, int]]]]:
    if not isinstance(record, dict):
        return
    for side in _SIDES:
        text = record.get(side)
        if isinstance(text, str):
            for line_number, line, spans in query.matches(text):
                yield side, line_number, line, spans


def candidates(
    fd: int, size: int, needles: Needles | None, *, block: int = _BLOCK
) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a file that hold one of `needles`, as (number from 1, offset in bytes, line);
    all of them where `needles` is None."""
    if needles is None:
        offset = 0
        for number, line in jsonl.lines_forwards(fd, size):
            yield number, offset, line
            offset += len(line) + 1
        return
    finders = needles.finders()
    lines_before = -1  # not counted yet: where nothing is found, nobody asks
    for position, data, end in _blocks_of_lines(fd, size, block):
        hay = data.lower() if needles.fold else data
        nexts = [find(hay, 0, end) for find in finders]
        counted = 0
        while (hit := min((place for place in nexts if place >= 0), default=-1)) >= 0:
            if lines_before < 0:
                lines_before = jsonl.count_lines(fd, position)
            start = data.rfind(b"\n", 0, hit) + 1
            stop = data.find(b"\n", hit, end)
            stop = end if stop < 0 else stop
            lines_before += data.count(b"\n", counted, start)
            counted = start
            yield lines_before + 1, position + start, data[start:stop]
            nexts = [
                find(hay, stop, end) if 0 <= place < stop else place
                for find, place in zip(finders, nexts, strict=True)
            ]
        if lines_before >= 0:
            lines_before += data.count(b"\n", counted, end)


def _blocks_of_lines(fd: int, size: int, block: int) -> Iterator[tuple[int, bytes, int]]:
    """The file in pieces of whole lines, as (position, data, where its last whole line ends). A
    line that a block cuts is read again with the next: cheaper than to put it together."""
    position = 0
    length = block
    while position < size and (data := os.pread(fd, min(length, size - position), position)):
        end = data.rfind(b"\n") + 1
        if position + len(data) >= size:
            end = len(data)
        if end:
            yield position, data, end
            position += end
            length = block
        else:
            length *= 2
