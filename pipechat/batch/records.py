"""What a batch writes: a record for each item, and with --events what happens to it on the way."""

from __future__ import annotations

from typing import Any

from pipechat import jsonl
from pipechat.batch.asking import Show
from pipechat.batch.groups import NO_LINES, Entry, GroupWriter, InOrder, Lines
from pipechat.batch.items import BadItemError, Item
from pipechat.errors import PipechatError
from pipechat.events import Error, Event, Retry, Start, TerminalEvent
from pipechat.messages import Turn


class Records:
    """Writes what became of items.

    Args:
        writer: takes the records, and what the ledger is to have; None where there is neither, or
            an order.
        events: takes the events; None where there are none.
        in_order: takes the records instead, and puts them in the order of the input.
    """

    def __init__(
        self,
        writer: GroupWriter[Entry] | None,
        events: GroupWriter[bytes] | None = None,
        in_order: InOrder | None = None,
    ) -> None:
        self._writer = writer
        self._events = events
        self._in_order = in_order

    async def wait_for_room(self, place: int) -> None:
        """Wait until the record of `place`, in the order of the input, may be written or held."""
        if self._in_order is not None:
            await self._in_order.wait_for_room(place)

    def shower(self, item: Item) -> Show | None:
        """What takes the events of an answer as they come; None where nobody looks."""
        events = self._events
        if events is None:
            return None

        def show(event: Event) -> None:
            events.add_soon(_event(event.record(), item.id))

        return show

    async def start(self, item: Item, start: Start) -> None:
        if self._events is not None:
            await self._events.add(_event(start.record(), item.id))

    async def retry(self, item: Item, retry: Retry) -> None:
        if self._events is not None:
            await self._events.add(_event(retry.record(), item.id))

    async def end(
        self, place: int, turn: Turn, terminal: TerminalEvent, lines: Lines = NO_LINES
    ) -> PipechatError | None:
        """An item ended: its record first, which makes it safe, then what the ledger is to have
        of it, then its last event. Returns why the ledger has it not. Raises OutputError."""
        unkept = await self.keep(place, turn, lines)
        if self._events is not None:
            await self._events.add(_event(terminal.record(), turn.item))
        return unkept

    async def keep(self, place: int, turn: Turn, lines: Lines = NO_LINES) -> PipechatError | None:
        """As `end`, of one that has no events."""
        to = self._in_order or self._writer
        if to is None:
            return None
        return await to.add(Entry(place, jsonl.dumps(turn.record()), lines))

    def give_up(self, lines: Lines) -> None:
        """An item has no record by this run: what was sent of it may cost all the same."""
        to = self._in_order or self._writer
        if lines and to is not None:
            to.add_soon(Entry(None, b"", lines))

    async def bad(self, place: int, error: BadItemError, turn: Turn) -> None:
        """A row that is no item; once is enough where the output says so already."""
        if not error.is_told:
            await self.keep(place, turn)
        elif self._in_order is not None:
            await self._in_order.add(Entry(place, b""))
        if self._events is not None:
            await self._events.add(_event(_failed(error).record(), error.id))


def _event(record: dict[str, Any], item: str | None) -> bytes:
    return jsonl.dumps({**record, "item": item})


def _failed(error: BadItemError) -> Error:
    return Error(
        status="failed",
        code=error.code,
        exit_code=int(error.exit_code),
        retryable=False,
        message=error.message,
        answer="",
        total_s=0.0,
    )
