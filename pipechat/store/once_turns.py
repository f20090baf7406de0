"""Turns that carry a mark of --once, or of a batch, found in an open session. Writes nothing."""

import hashlib
import os
import re
from collections.abc import Iterator

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.reading import Session, turn_of

_NAME = b'"once"'
_MARK = re.compile(rb'"once"\s*:\s*\{')
_BLOCK = 1 << 16
_HASH_BYTES = 16


def key_hash(key: str) -> bytes:
    """What stands for `key` where not any text would do: 16 bytes."""
    return hashlib.sha256(key.encode()).digest()[:_HASH_BYTES]


def key_of(turn: Turn) -> str | None:
    """The key that `turn` answers: None where it carries none, or is not complete."""
    key = turn.once.get("key") if turn.once is not None and turn.status == "complete" else None
    return key if isinstance(key, str) else None


def keyed_turns(session: Session, start: int = 0) -> Iterator[tuple[int, str, Turn]]:
    """The turns that answer a key, oldest first, from offset `start` on, where a line begins: the
    offset of its line, its key, itself."""
    for offset, turn in marked_turns(session, start):
        key = key_of(turn)
        if key is not None:
            yield offset, key, turn


def marked_turns(session: Session, start: int = 0) -> Iterator[tuple[int, Turn]]:
    """The turns that say what they asked by itself, oldest first, from offset `start` on, where a
    line begins: the offset of its line, and itself."""
    offset = start
    for _, line in jsonl.lines_forwards(session.fd, session.size, start=start):
        # In JSON's texts a quote has a backslash before it, so this is looked for and no more.
        name_at = line.find(_NAME)
        if name_at >= 0 and _MARK.search(line, name_at):
            turn = turn_of(line)
            if turn is not None:
                yield offset, turn
        offset += len(line) + 1


def first_of_key(session: Session, key: str) -> Turn | None:
    """The first turn that answers `key`; looks through the session."""
    return next((turn for _, found, turn in keyed_turns(session) if found == key), None)


def turn_at(session: Session, offset: int) -> Turn | None:
    """The turn whose line begins at `offset`; None where none does. Reads little more than its
    line, which may stand behind the session's settled size: an index that somebody else has
    brought up to date since knows it."""
    size = os.fstat(session.fd).st_size
    if not 0 <= offset < size:
        return None
    lines = jsonl.lines_forwards(session.fd, size, block=_BLOCK, start=offset)
    return next((turn_of(line) for _, line in lines), None)
