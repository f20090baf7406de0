"""Search in a session file: candidate lines by their bytes first, and only those parsed.

Owns what a pattern means, and which lines of which turns match. A line whose bytes rule it out is
not looked at, whoever wrote the JSON; one that is left may not match, and is looked at as text.
Knows no store and no output.
"""

import os
import re
import warnings
from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple

from pipechat import jsonl
from pipechat.errors import UsageError
from pipechat.messages import Turn
from pipechat.store.candidates import candidates
from pipechat.store.reading import Session, turn_of
from pipechat.store.search_bytes import needles_of
from pipechat.store.search_finders import finders_of
from pipechat.store.search_in_text import for_whole_texts
from pipechat.store.search_literals import Required, required

_RECENT_IDS = 4096
_NEAR_BYTES = 1 << 18
_LONGEST_TOLD = 60

Side = Literal["question", "answer"]
SIDES: tuple[Side, ...] = ("question", "answer")


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
                fixed = Required(frozenset({pattern}), ignore_case)
                wanted = required(self._expression) if regexp else fixed
                self._in_text = for_whole_texts(self._expression)
        except (re.error, OverflowError, RecursionError) as error:
            shown = pattern if len(pattern) <= _LONGEST_TOLD else pattern[:_LONGEST_TOLD] + "…"
            message = f"{shown!r} is no regular expression: {error}"
            raise UsageError("bad_pattern", message, "Leave out -E for fixed text.") from error
        needles = needles_of(wanted.texts, fold=wanted.fold)
        self.finders = None if needles is None else finders_of(needles)
        # `in` is several times as quick as an expression, and most lines hold none.
        self._fixed = () if wanted.fold else tuple(wanted.texts)

    def matches(self, text: str) -> Iterator[tuple[int, str, list[tuple[int, int]]]]:
        """The lines of `text` that match: number from 1, the line, what matched in it."""
        if not self._may_match(text) or (self._in_text and not self._in_text.search(text)):
            return
        for number, line in enumerate(lines_of(text), 1):
            if self._may_match(line):
                spans = [found.span() for found in self._expression.finditer(line)]
                if spans:
                    yield number, line, spans

    def _may_match(self, text: str) -> bool:
        return not self._fixed or any(fixed in text for fixed in self._fixed)


def lines_of(text: str) -> list[str]:
    """The lines of a question or an answer; an empty one has none."""
    return text.removesuffix("\n").split("\n") if text else []


def search(session: Session, query: Query) -> Generator[Hit, None, None]:
    """What matches in `session`, oldest first, in flat memory. A turn that stands there twice
    is told once; lines that are no JSON are counted in a warning."""
    recent: dict[str, None] = {}
    torn = 0
    for number, offset, line in candidates(session.fd, session.size, query.finders):
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
    for side in SIDES:
        text = record.get(side)
        if isinstance(text, str):
            for line_number, line, spans in query.matches(text):
                yield side, line_number, line, spans
