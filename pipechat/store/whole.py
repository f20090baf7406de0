"""All of a session, from its beginning, with what its marks say: to be copied or shown whole."""

from collections.abc import Iterator
from dataclasses import replace

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.reading import Session, turn_of, turns_forwards


def turn_lines(session: Session, last: int | None = None) -> Iterator[bytes]:
    """The lines that the turns stand in, up to that of number `last`."""
    for number, _, line in turns_forwards(session):
        yield line
        if number == last:
            return


def mark_lines(session: Session, last: int | None = None) -> Iterator[bytes]:
    """The lines up to there that are marks; a copy wants them behind the turns."""
    for _, line in _marks(session, last):
        yield line


def marked_turns(session: Session) -> Iterator[tuple[int, Turn]]:
    """Every turn, oldest first, with the number of its line, and the `context` that its newest
    mark says."""
    marks = {turn.id: turn.context for turn, _ in _marks(session, None)}
    for number, turn, _ in turns_forwards(session):
        if turn.id in marks:
            turn = replace(turn, context=marks[turn.id])
        yield number, turn


def _marks(session: Session, last: int | None) -> Iterator[tuple[Turn, bytes]]:
    for number, line in jsonl.lines_forwards(session.fd, session.size):
        if b'"context":true' in line or b'"context":false' in line:
            turn = turn_of(line)
            if turn is not None and turn.context is not None:
                yield turn, line
        if number == last:
            return
