"""Turns out of an open session file, from either end; what is no turn is skipped and told.

Owns the rules for doubles and for torn lines. Knows no folder and takes no lock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipechat import jsonl
from pipechat.messages import Summary, Turn

# Doubles come from a crash between an append and the removal of its spool, so they are near
# each other: this many ids are remembered, whatever the size of the session.
_RECENT_IDS = 4096
_TOLD_ONE_BY_ONE = 3
_LINES_FOR_A_SUMMARY = 100


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a session: its last complete turns, oldest first, and the system message of
    its very last record."""

    turns: list[Turn]
    system: str | None


class Session(NamedTuple):
    """A session file that is open for reading: its first `size` bytes do not change."""

    name: str
    fd: int
    size: int
    warn: Callable[[str], None]


def turn_of(line: bytes) -> Turn | None:
    """The turn that `line` holds; None where it is torn, blank, or something else."""
    try:
        return Turn.from_record(jsonl.loads_line(line))
    except ValueError:
        return None


def turns_forwards(session: Session) -> Iterator[tuple[int, Turn, bytes]]:
    """Every turn, oldest first, with the number and the bytes of its line; of two with one id
    the first. The number of its line is the number of a turn wherever one is named."""
    recent: dict[str, None] = {}
    skipped = _Skipped(session)
    try:
        for number, line in jsonl.lines_forwards(session.fd, session.size):
            turn = turn_of(line)
            if turn is None:
                skipped.tell(line, f"line {number}")
            elif turn.id not in recent:
                recent[turn.id] = None
                if len(recent) > _RECENT_IDS:
                    del recent[next(iter(recent))]
                yield number, turn, line
    finally:
        skipped.sum_up()


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
    """The last complete turns; reads no further back than they stand."""
    turns: dict[str, Turn] = {}
    last: Turn | None = None
    for turn in turns_backwards(session):
        last = last or turn
        if turn.status == "complete" and len(turns) < last_complete:
            turns.setdefault(turn.id, turn)
        if len(turns) >= last_complete:
            break
    return Tail(list(reversed(turns.values())), last.system if last else None)


def last_turns(session: Session, count: int) -> list[Turn]:
    """The last turns of any status, oldest first."""
    turns: dict[str, Turn] = {}
    for turn in turns_backwards(session):
        if len(turns) >= count and turn.id not in turns:
            break
        turns.pop(turn.id, None)  # of two with one id the earlier counts
        turns[turn.id] = turn
    return list(reversed(turns.values()))


def summarize(session: Session) -> Summary:
    """What one line tells. Reads all bytes but parses only the first turn and the last."""
    count = jsonl.count_lines(session.fd, session.size)
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


class _Skipped:
    """Tells of lines that are no turns: the first ones each, the others by their number."""

    def __init__(self, session: Session) -> None:
        self._name = session.name
        self._warn = session.warn
        self._count = 0

    def tell(self, line: bytes, where: str) -> None:
        if not line.strip():
            return
        self._count += 1
        if self._count <= _TOLD_ONE_BY_ONE:
            hint = f"`pipechat history repair {self._name}` moves it aside"
            self._warn(f"session {self._name!r}: {where} is no turn and was skipped; {hint}")

    def sum_up(self) -> None:
        if self._count > _TOLD_ONE_BY_ONE:
            more = self._count - _TOLD_ONE_BY_ONE
            self._warn(f"session {self._name!r}: {more} more lines are no turns")
