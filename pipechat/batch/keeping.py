"""How an item's turn is made and kept: by itself, or as a turn of the session that it names.

Sessions are files: what touches them runs in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from pipechat.batch.items import BadItemError, Item
from pipechat.events import Start, TerminalEvent
from pipechat.messages import ChatRequest, Turn, new_turn_id, now
from pipechat.settings.resolve import Settings
from pipechat.turn.context import Context
from pipechat.turn.conversation import Keeper, Prepared, Wanted, prepare_turn
from pipechat.turn.prompt import Question
from pipechat.turn.run import TurnWriter

_NO_CONTEXT = Context((), 0)


class Kept(NamedTuple):
    """An item's turn, ready to be sent. `writer`: keeps it in its session, None where it names
    none. `answered`: the turn itself, where the session has its answer already."""

    prepared: Prepared
    hash: str
    session: str | None = None
    writer: TurnWriter | None = None
    answered: Turn | None = None

    def in_output(self, turn: Turn) -> Turn:
        """`turn` as the output of the batch has it: known by what the item asks by itself."""
        if turn.request == self.hash and turn.once is None:
            return turn
        return replace(turn, request=self.hash, once=None)

    @property
    def request(self) -> ChatRequest:
        return self.prepared.request

    def start(self) -> Start:
        """The event that says what is about to be asked."""
        return self.prepared.start(self.session)

    def turn(
        self,
        terminal: TerminalEvent,
        *,
        item: str,
        attempts: int,
        corrected: bool = False,
        api: str | None = None,
    ) -> Turn:
        """The turn as it is kept, with what came of it; what a corrected one was sent with is not
        what later ones know of it."""
        prepared = self.prepared._replace(exact=False) if corrected else self.prepared
        return prepared.turn(terminal, api, item=item, attempts=attempts)

    def abandon(self) -> None:
        """Nothing came of it."""
        if self.writer is not None:
            self.writer.abandon()


class Keepers:
    """Makes turns of items.

    Args:
        open_keeper: opens a session by its name.
        answered: looks for the turn of an item in its session, by their names and the item's hash;
            None: what is there is asked all the same.
    """

    def __init__(
        self,
        settings: Settings,
        dialect: str,
        open_keeper: Callable[[str], Keeper],
        wanted: Wanted | None,
        answered: Callable[[str, str, str], Turn | None] | None = None,
    ) -> None:
        self._settings = settings
        self._dialect = dialect
        self._open_keeper = open_keeper
        self._wanted = wanted
        self._answered = answered

    async def begin(self, item: Item) -> Kept:
        """The turn of `item`.

        Raises:
            UsageError: `bad_session_name`.
            SessionError: the turn could not be kept; nothing was sent.
        """
        if item.session is not None:
            return await asyncio.to_thread(self._begin_in_session, item, item.session)
        head = Turn(
            id=new_turn_id(),
            time=now(),
            status="partial",
            model=item.request.model,
            system=item.system,
            question=item.question,
            answer="",
            request=item.hash,
            schema=self._schema(),
        )
        return Kept(Prepared(head, _NO_CONTEXT, item.request), item.hash)

    async def finish(self, kept: Kept, turn: Turn) -> None:
        """Keep `turn` in its session. Raises SessionError."""
        if kept.writer is not None:
            await asyncio.shield(asyncio.to_thread(kept.writer.finish, turn))

    def of_bad_item(self, error: BadItemError) -> Turn:
        """The record of a row that is no item."""
        return turn_of_bad_item(error)

    def _begin_in_session(self, item: Item, session: str) -> Kept:
        if self._answered is not None:
            answered = self._answered(session, item.id, item.hash)
            if answered is not None:
                prepared = Prepared(answered, _NO_CONTEXT, item.request)
                return Kept(prepared, item.hash, session, answered=answered)
        settings = self._settings._replace(
            model=item.request.model,
            options=item.request.options,
            system=item.own_system if item.own_system is not None else self._settings.system,
        )
        keeper = self._open_keeper(session)
        writer = keeper.begin()
        try:
            question = Question(item.question)
            prepared = prepare_turn(settings, keeper, writer.id, question, self._wanted)
            # By its item and what that asks by itself a run that resumes knows it again.
            prepared = prepared.hashed(self._dialect, {"request": item.hash})
            writer.head(replace(prepared.head, item=item.id))
        except BaseException:
            writer.abandon()
            raise
        return Kept(prepared, item.hash, session, writer)

    def _schema(self) -> dict[str, object] | None:
        wanted = self._wanted
        has_schema = wanted is not None and wanted.schema_hash
        return {"sha256": has_schema, "matched": None} if has_schema else None


def turn_of_bad_item(error: BadItemError) -> Turn:
    """The record of a row that is no item."""
    return Turn(
        id=new_turn_id(),
        time=now(),
        status="failed",
        model="",
        question="",
        answer="",
        error={"code": error.code, "message": error.message},
        item=error.id,
        attempts=0,
    )
