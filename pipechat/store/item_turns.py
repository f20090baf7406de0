"""What sessions have of a batch's items already: a complete turn, known by its item and by the hash
of what was asked by itself, wherever it stands.

A session is looked at once, when the first of its items comes: what others do meanwhile adds no
turn of these items. A run that died had one turn of a session that its output has not; behind it
stands only what others have added since. Kept of each turn are two numbers.
"""

import os
from collections import OrderedDict
from hashlib import blake2b
from threading import Lock

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.once_turns import marked_turns, turn_at
from pipechat.store.reading import Session
from pipechat.store.sessions import SessionStore

# How far back turns are looked for.
_SEARCH_BYTES = 1 << 24
# So many turns are remembered; a session that was forgotten is looked at again.
_TURNS = 250_000


class ItemTurns:
    """The turns of items in the sessions of a store. May be asked from several threads.

    `remembered`: how many turns it knows of, and sessions.

    Args:
        since: turns whose ids are less are passed over: ids sort by time.
    """

    def __init__(self, store: SessionStore, since: str = "") -> None:
        self._store = store
        self._since = since
        self._known: OrderedDict[str, dict[int, int]] = OrderedDict()
        self.remembered = 0
        self._lock = Lock()

    def find(self, name: str, item: str, alone: str) -> Turn | None:
        """The last complete turn of `item` in session `name` that asked `alone`.

        Raises:
            UsageError: `bad_session_name`.
            SessionError: the session cannot be read.
        """
        with self._lock:
            known = self._known.get(name)
        if known is None and not self._store.exists(name):
            return None
        number = _number(item, alone)
        if known is not None and number not in known:
            return None
        with self._store.reading(name, tell_mode=False) as session:
            if known is None:
                known = _offsets(session)
                self._keep(name, known)
            offset = known.get(number)
            turn = turn_at(session, offset) if offset is not None else None
        if turn is None or turn.id < self._since or _key(turn) != (item, alone):
            return None
        return turn

    def _keep(self, name: str, known: dict[int, int]) -> None:
        with self._lock:
            self._known[name] = known
            self.remembered += len(known) + 1
            while self.remembered > _TURNS and len(self._known) > 1:
                _, forgotten = self._known.popitem(last=False)
                self.remembered -= len(forgotten) + 1


def _offsets(session: Session) -> dict[int, int]:
    """Where the last complete turn of each item stands."""
    found: dict[int, int] = {}
    for offset, turn in marked_turns(session, _first_line(session)):
        key = _key(turn)
        if key is not None:
            found[_number(*key)] = offset
    return found


def _first_line(session: Session) -> int:
    """The offset of the first line that is looked at."""
    start = session.size - _SEARCH_BYTES
    if start <= 0:
        return 0
    lines = jsonl.lines_forwards(session.fd, session.size, block=1 << 16, start=start)
    return start + len(next(lines)[1]) + 1


def _key(turn: Turn) -> tuple[str, str] | None:
    alone = turn.once.get("request") if turn.once is not None else None
    complete = turn.status == "complete" and turn.item is not None
    return (turn.item or "", alone) if complete and isinstance(alone, str) else None


def _number(item: str, alone: str) -> int:
    key = os.fsencode("\0".join((alone, item)))
    return int.from_bytes(blake2b(key, digest_size=8).digest())
