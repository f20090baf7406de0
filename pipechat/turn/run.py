"""TurnRun: one answer from its first chunk to its terminal event.

Owns the order in which things are made safe: a text goes to the writer before the sink, and the
record is appended before the terminal event acknowledges it. Driven from outside (`feed`,
`close`, `fail`), or by `run` over an iterable. Knows no file, no terminal and no SDK.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pipechat.errors import PipechatError, as_ours
from pipechat.events import Event, Sink, Start, Step, TerminalEvent, Together, text_of
from pipechat.messages import Turn
from pipechat.turn.reducer import TurnReducer


class TurnWriter(Protocol):
    """Keeps one turn in flight, so that what was shown is never lost.

    `head`, before anything is sent, raises SessionError where the turn cannot be kept; `text`
    never raises, since an answer on its way is worth more than its copy, and leaves its failure
    to `finish`, which appends the record or raises SessionError.
    """

    @property
    def id(self) -> str: ...
    def head(self, turn: Turn) -> None: ...
    def text(self, text: str) -> None: ...
    def finish(self, turn: Turn) -> None: ...
    def abandon(self) -> None: ...


class TurnRun:
    """A turn in flight: steps go through the reducer to the writer and the sink.

    `interrupt` ends the turn from a signal handler, at any point between two bytecodes of the
    other methods.

    Args:
        record: makes, of the terminal event, the turn that is kept.
    """

    def __init__(
        self,
        reducer: TurnReducer,
        writer: TurnWriter,
        record: Callable[[TerminalEvent], Turn],
        sink: Sink,
    ) -> None:
        self._reducer = reducer
        self._writer = writer
        self._record = record
        self._sink = sink
        self._texts_shown = 0
        self.concluding = False

    @property
    def cause(self) -> PipechatError | None:
        """Why the turn is not complete, for the line on stderr."""
        return self._reducer.cause

    def run(self, start: Start, steps: Iterable[Step]) -> TerminalEvent:
        """Show `start`, then take all of `steps`. Raises nothing: what nobody foresaw ends the
        turn as well, and what came is kept."""
        try:
            self._sink.emit(start)
            for step in steps:
                self.feed(step)
        except Exception as error:
            return self.fail(error)
        return self.close()

    def feed(self, step: Step) -> None:
        """Take one step. What it raises (OutputError, ReaderLeft) is to be handed to `fail`."""
        if not isinstance(step, Together):
            self._show(self._reducer.feed(step))
        elif len(step.chunks) == 1:
            self._show(self._reducer.feed(step.chunks[0]))
        else:
            feed = self._reducer.feed
            self._show([event for chunk in step.chunks for event in feed(chunk)])

    def close(self) -> TerminalEvent:
        """The steps ended by themselves: the terminal event, recorded and shown."""
        try:
            events = self._reducer.close()
            self._show(events[:-1])
        except Exception as error:
            return self.fail(error)
        return self._conclude(events[-1])

    def fail(self, error: Exception) -> TerminalEvent:
        """The steps broke off: the terminal event, recorded and shown."""
        return self._conclude(self._show_held(as_ours(error))[-1])

    def interrupt(self, cause: PipechatError) -> None:
        """End the turn here and now: keep what came, tell it, and return. Not to be called
        while `concluding`: the turn is being made safe already."""
        self._conclude(self._show_held(cause)[-1])

    def _show(self, events: Sequence[Event]) -> None:
        if text := text_of(events):
            self._writer.text(text)
            self._texts_shown = self._reducer.text_count
        if events:
            self._sink.emit(*events)

    def _show_held(self, cause: PipechatError) -> list[Event]:
        # What a signal, or a sink that broke on the event before, kept from being shown.
        unshown = self._reducer.texts_from(self._texts_shown)
        events = [*unshown, *self._reducer.fail(cause)]
        try:
            self._show(events[:-1])
        except PipechatError as output_cause:
            events[-1:] = self._reducer.fail(output_cause)
        return events

    def _conclude(self, terminal: Event) -> TerminalEvent:
        assert isinstance(terminal, TerminalEvent)
        self.concluding = True
        try:
            self._writer.finish(self._record(terminal))
        except PipechatError as cause:
            terminal = self._ended_by(cause)
        try:
            self._sink.emit(terminal)
        except PipechatError as cause:
            terminal = self._ended_by(cause)
        return terminal

    def _ended_by(self, cause: PipechatError) -> TerminalEvent:
        event = self._reducer.fail(cause)[-1]
        assert isinstance(event, TerminalEvent)
        return event
