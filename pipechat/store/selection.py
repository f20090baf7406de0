"""Which turns of a session somebody wants to see, as turns or as the lines they stand in."""

from collections.abc import Iterator
from typing import NamedTuple

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import Turn
from pipechat.store.names import called
from pipechat.store.reading import Session, last_turns, turn_of, turns_forwards


class Wanted(NamedTuple):
    """Which turns: the last ones, the one at a place from the start, or all."""

    last: int | None = None
    place: int | None = None
    only_first_of_last: bool = False


def turns(session: Session, wanted: Wanted) -> Iterator[Turn]:
    """The turns that are wanted; for the last ones only the file's end is read."""
    if wanted.last is None:
        for turn, _ in _forwards(session, wanted.place):
            yield turn
        return
    found = last_turns(session, wanted.last)
    if wanted.only_first_of_last:
        if len(found) < wanted.last:
            raise _no_turn(session, -wanted.last)
        found = found[:1]
    yield from found


def records(session: Session, wanted: Wanted) -> Iterator[bytes]:
    """The same as the lines they stand in, unknown keys and all."""
    if wanted.last is None:
        for _, line in _forwards(session, wanted.place):
            yield _fit(line)
        return
    found = {turn.id: turn for turn in turns(session, wanted)}
    lines: dict[str, bytes] = {}
    for _, line in jsonl.lines_backwards(session.fd, session.size):
        if len(lines) == len(found):
            break
        turn = turn_of(line)
        if turn and found.get(turn.id) == turn:
            lines[turn.id] = line
    for turn_id in found:
        yield _fit(lines[turn_id])


def _forwards(session: Session, place: int | None) -> Iterator[tuple[Turn, bytes]]:
    """All turns with their lines, or the one at `place`, the number of its line."""
    for number, turn, line in turns_forwards(session):
        if place is None or number == place:
            yield turn, line
        if number == place:
            return
    if place is not None:
        raise _no_turn(session, place)


def _no_turn(session: Session, place: int) -> SessionError:
    hint = "`pipechat history list` shows how many there are."
    return SessionError("turn_missing", f"{called(session.name)} has no turn {place}", hint)


def _fit(line: bytes) -> bytes:
    """`line` itself; one that is not UTF-8, which JSON has to be, written anew."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return jsonl.dumps(jsonl.loads_line(line))
    return line.strip()
