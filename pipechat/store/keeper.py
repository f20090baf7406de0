"""Where the turns of a conversation in a session are kept (the Keeper of `turn`)."""

from collections.abc import Iterator
from typing import Literal

from pipechat.messages import Turn
from pipechat.store.sessions import SessionStore
from pipechat.store.spool import TurnWriter


class InSession:
    """Turns in a session of the store.

    Args:
        if_busy: take the session for the whole turn, and where another has it, wait for
            `wait_s` seconds at most or fail; None: do not take it.
    """

    def __init__(
        self,
        store: SessionStore,
        name: str,
        if_busy: Literal["wait", "fail"] | None,
        wait_s: float | None,
    ) -> None:
        self._store = store
        self._if_busy = if_busy
        self._wait_s = wait_s
        self.name: str | None = name

    def begin(self) -> TurnWriter:
        assert self.name is not None
        return self._store.begin(self.name, if_busy=self._if_busy, wait_s=self._wait_s)

    def earlier(self, last_turns: int) -> tuple[list[Turn], str | None]:
        """The last complete turns, oldest first, and the system message that sticks."""
        assert self.name is not None
        tail = self._store.read_tail(self.name, last_turns)
        return list(tail.turns), tail.system

    def last(self, *, answered: bool = False) -> Turn | None:
        """The last turn of any status that was not left out; `answered`: that something came of."""
        from pipechat.store.marks import last_turn

        assert self.name is not None
        return last_turn(self._store, self.name, answered=answered)

    def mark(self, turn_id: str, *, context: bool) -> None:
        """Say of a turn whether it goes along with later questions. Raises SessionError."""
        from pipechat.store.marks import mark

        assert self.name is not None
        mark(self._store, self.name, turn_id, context=context)

    def all(self) -> Iterator[Turn]:
        """Every turn, oldest first."""
        assert self.name is not None
        if self._store.exists(self.name):
            yield from self._store.all_turns(self.name)
