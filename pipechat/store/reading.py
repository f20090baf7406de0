"""Turns out of an open session file, from either end; what is no turn is skipped and told.

Owns the rules for doubles, for marks and for torn lines. Knows no folder and takes no lock.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from pipechat import jsonl
from pipechat.messages import Summary, Turn
from pipechat.store.names import called, is_path

# Doubles come from a crash between an append and the removal of its spool, so they are near
# each other: this many ids are remembered, whatever the size of the session.
_RECENT_IDS = 4096
_HELD, _HELD_BYTES = 64, 1 << 24
_TOLD_ONE_BY_ONE = 3
_LINES_FOR_A_SUMMARY = 100
# A mark holds it; so may an object within a turn, and no text does: a quote in it is escaped.
_MARK = re.compile(rb'"context"\s*:\s*(?:true|false)')
_LONGEST_MARK = 64
_BLOCK = 1 << 20


class Tail(NamedTuple):
    """The end of a session: its last complete turns, oldest first, and the system message of
    its very last record."""

    turns: list[Turn]
    system: str | None


class Session(NamedTuple):
    """A session file that is open for reading: its first `size` bytes do not change. `name`: of
    the session, or the path of a file that is none of the store's."""

    name: str
    fd: int
    size: int
    warn: Callable[[str], None]

    def tell_torn(self, what: str, moved: str) -> None:
        """Warn of lines that are no turns. `moved`: what `history repair` would move aside; that
        is for sessions alone, and a file is its owner's to mend."""
        hint = f"; `pipechat history repair {self.name}` moves {moved} aside"
        self.warn(f"{called(self.name)}: {what}{'' if is_path(self.name) else hint}")


def turn_of(line: bytes) -> Turn | None:
    """The turn that `line` holds; None where it is torn, blank, or something else."""
    try:
        return Turn.from_record(jsonl.loads_line(line))
    except ValueError:
        return None


def turns_forwards(session: Session) -> Iterator[tuple[int, Turn, bytes]]:
    """Every turn, oldest first, with the number and the bytes of its line; of two with one id
    the complete one, else the first. The number of its line is the number of a turn wherever one
    is named."""
    skipped = _Skipped(session)
    try:
        yield from standing(_all_forwards(session, skipped))
    finally:
        skipped.sum_up()


def _all_forwards(session: Session, skipped: "_Skipped") -> Iterator[tuple[int, Turn, bytes]]:
    for number, line in jsonl.lines_forwards(session.fd, session.size):
        turn = turn_of(line)
        if turn is None:
            skipped.tell(line, f"line {number}")
        else:
            yield number, turn, line


def standing(turns: Iterable[tuple[int, Turn, bytes]]) -> Iterator[tuple[int, Turn, bytes]]:
    """Those of `turns` that stand: of two with one id, near each other, the complete one, else
    the first. A turn that is not complete is held back until its double would have come."""
    told: dict[str, None] = {}
    held: deque[tuple[int, Turn, bytes]] = deque()
    held_bytes = 0
    for found in turns:
        turn = found[1]
        if turn.id in told:
            continue
        double = next((each for each in held if each[1].id == turn.id), None) if held else None
        if double is not None and turn.status != "complete":
            continue
        if double is not None:
            held.remove(double)
        held.append(found)
        held_bytes += len(found[2])
        while held and (
            held[0][1].status == "complete" or len(held) > _HELD or held_bytes > _HELD_BYTES
        ):
            first = held.popleft()
            held_bytes -= len(first[2])
            told[first[1].id] = None
            if len(told) > _RECENT_IDS:
                del told[next(iter(told))]
            yield first
    yield from held


def turns_backwards(session: Session) -> Iterator[Turn]:
    """Every turn, newest first, doubles included."""
    skipped = _Skipped(session)
    try:
        for offset, line in jsonl.lines_backwards(session.fd, session.size):
            turn = turn_of(line)
            if turn is None:
                skipped.tell(line, f"the line at byte {offset}")
            else:
                yield turn
    finally:  # the reader has mostly had enough before the beginning
        skipped.sum_up()


def read_tail(session: Session, last_complete: int) -> Tail:
    """The last complete turns that may go along; reads no further back than they stand."""
    turns: dict[str, Turn] = {}
    last: Turn | None = None
    for turn in unmarked_backwards(session):
        last = last or turn
        if turn.is_context and len(turns) < last_complete:
            turns.setdefault(turn.id, turn)
        if len(turns) >= last_complete:
            break
    return Tail(list(reversed(turns.values())), last.system if last else None)


def unmarked_backwards(session: Session) -> Iterator[Turn]:
    """Every turn, newest first, with the `context` that its newest mark says. A mark is a later
    record of the same turn, and none by itself."""
    marks: dict[str, bool] = {}
    for turn in turns_backwards(session):
        if turn.context is not None:
            marks.setdefault(turn.id, turn.context)
        elif turn.id in marks:
            yield replace(turn, context=marks[turn.id])
        else:
            yield turn


def last_turns(session: Session, count: int) -> list[Turn]:
    """The last turns of any status, oldest first, by the same rule for doubles."""
    last: list[Turn] = []
    for turn in unmarked_backwards(session):
        last.append(turn)
        whole = all(each.status == "complete" for each in last)
        if len(last) >= (count if whole else count + _HELD) and _distinct(last) >= count:
            break
    numbered = [(number, turn, b"") for number, turn in enumerate(reversed(last))]
    return [turn for _, turn, _ in standing(numbered)][-count:] if count else []


def _distinct(turns: list[Turn]) -> int:
    return len({turn.id for turn in turns})


def summarize(session: Session) -> Summary:
    """What one line tells. Reads all bytes but parses only the first turn, the last and marks."""
    count = jsonl.count_lines(session.fd, session.size) - count_marks(session)
    first = last = None
    for number, line in jsonl.lines_forwards(session.fd, session.size, block=1 << 16):
        if first := turn_of(line):
            break
        if number == _LINES_FOR_A_SUMMARY:
            break
    for read, (_, line) in enumerate(jsonl.lines_backwards(session.fd, session.size)):
        if last := turn_of(line):
            break
        if read == _LINES_FOR_A_SUMMARY:
            break
    return Summary(
        name=session.name,
        turns=count,
        last_time=last.time if last else "",
        size=session.size,
        first_question=first.question if first else "",
    )


def is_mark(line: bytes) -> bool:
    """Whether `line` is no turn of its own, but says of one whether it goes along."""
    turn = turn_of(line) if _MARK.search(line) else None
    return turn is not None and turn.context is not None


def count_marks(session: Session) -> int:
    """How many lines are marks. Looks into the lines only where a mark may be among them."""
    position, before = 0, b""
    while block := os.pread(session.fd, min(_BLOCK, session.size - position), position):
        data = before + block
        if _MARK.search(data):
            lines = jsonl.lines_forwards(session.fd, session.size)
            return sum(is_mark(line) for _, line in lines)
        position += len(block)
        before = data[-_LONGEST_MARK:]
    return 0


class _Skipped:
    """Tells of lines that are no turns: the first ones each, the others by their number."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._count = 0

    def tell(self, line: bytes, where: str) -> None:
        if not line.strip():
            return
        self._count += 1
        if self._count <= _TOLD_ONE_BY_ONE:
            self._session.tell_torn(f"{where} is no turn and was skipped", "it")

    def sum_up(self) -> None:
        if self._count > _TOLD_ONE_BY_ONE:
            more = self._count - _TOLD_ONE_BY_ONE
            self._session.warn(f"{called(self._session.name)}: {more} more lines are no turns")
