"""Turns of a conversation that is kept nowhere: for as long as the process lives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipechat.messages import Turn, new_turn_id
from pipechat.turn.run import TurnWriter


class InMemory:
    """Turns for as long as the process lives, as in the tutorial."""

    name: str | None = None

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def begin(self) -> TurnWriter:
        return _MemoryWriter(self._turns)

    def earlier(self, last_turns: int) -> tuple[list[Turn], str | None]:
        complete = [turn for turn in self._turns if turn.is_context]
        return complete[-last_turns:] if last_turns else [], None

    def last(self, *, answered: bool = False) -> Turn | None:
        """The last turn of any status that was not left out; `answered`: that something came of."""
        turns = (turn for turn in reversed(self._turns) if turn.context is not False)
        return next((turn for turn in turns if turn.answer.strip() or not answered), None)

    def mark(self, turn_id: str, *, context: bool) -> None:
        """Say of a turn whether it goes along with later questions."""
        self._turns[:] = [
            replace(turn, context=context) if turn.id == turn_id else turn for turn in self._turns
        ]

    def all(self) -> Iterator[Turn]:
        """Every turn, oldest first."""
        yield from self._turns


class _MemoryWriter:
    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns
        self.id = new_turn_id()

    def head(self, turn: Turn) -> None:
        """Nothing to prepare."""

    def text(self, text: str) -> None:
        """The reducer has it."""

    def finish(self, turn: Turn) -> None:
        self._turns.append(turn)

    def abandon(self) -> None:
        """Nothing to undo."""
