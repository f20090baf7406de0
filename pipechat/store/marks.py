"""Marks: whether a turn goes along with later questions, said after it was recorded.

A session is only ever added to: a mark is the turn's record once more, with `context` true or
false. So what was acknowledged stays, and the newest mark holds for every reader.
"""

import os

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import Turn
from pipechat.store.reading import unmarked_backwards
from pipechat.store.replacing import locked
from pipechat.store.sessions import SessionStore


def last_turn(store: SessionStore, name: str, *, answered: bool = False) -> Turn | None:
    """The last turn of any status that no mark left out, or where it is to be `answered` that
    something came of; None where there is none.

    Raises:
        SessionError
    """
    store.adopt(name)
    if not store.exists(name):
        return None
    with store.reading(name) as session:
        turns = (turn for turn in unmarked_backwards(session) if turn.context is not False)
        return next((turn for turn in turns if turn.answer.strip() or not answered), None)


def mark(store: SessionStore, name: str, turn_id: str, *, context: bool) -> None:
    """Say of a turn whether it goes along with later questions.

    Raises:
        SessionError: there is no such turn, or the session cannot be written.
    """
    with locked(store, name) as file:
        needle = turn_id.encode()
        for _, line in jsonl.lines_backwards(file.fd, os.fstat(file.fd).st_size):
            if needle in line and (record := _record_of(line, turn_id)) is not None:
                file.append(jsonl.dumps({**record, "context": context}))
                return
    message = f"session {name!r}: the turn {turn_id} is not there any more"
    raise SessionError("turn_missing", message)


def _record_of(line: bytes, turn_id: str) -> dict[str, object] | None:
    try:
        record = jsonl.loads_line(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("id") == turn_id else None
