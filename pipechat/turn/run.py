"""run_turn: one answer from its first chunk to its terminal event.

Owns the order in which things are made safe: a text goes to the recorder before the sink, and
the record is appended before the terminal event acknowledges it. Knows no file, no terminal
and no SDK.
"""

from collections.abc import Iterable
from typing import Protocol

from pipechat.errors import BugError, PipechatError
from pipechat.events import Chunk, Event, Retry, Sink, Start, Terminal, TextChunk
from pipechat.turn.reducer import TurnReducer


class Recorder(Protocol):
    """Keeps the turn in flight so that what was shown is never lost."""

    def text(self, text: str) -> None:
        """Keep a piece of the answer, before it is shown. Never raises: a failure is kept
        for `finish`, since an answer on its way is worth more than its copy."""
        ...

    def finish(self, terminal: Terminal) -> None:
        """Append the record. Raises SessionError where it cannot."""
        ...


class TurnRun:
    """A turn in flight: chunks go through the reducer to the recorder and the sink.

    `run` returns the terminal event; `interrupt` ends the turn from a signal handler, at any
    point between two bytecodes of `run`.
    """

    def __init__(self, reducer: TurnReducer, recorder: Recorder, sink: Sink) -> None:
        self._reducer = reducer
        self._recorder = recorder
        self._sink = sink
        self._texts_shown = 0
        self.concluding = False

    @property
    def cause(self) -> PipechatError | None:
        """Why the turn is not complete, for the line on stderr."""
        return self._reducer.cause

    def run(self, start: Start, chunks: Iterable[Chunk | Retry]) -> Terminal:
        """Show `start`, then take all of `chunks`. Raises nothing: what nobody foresaw ends the
        turn as well, and what came is kept."""
        try:
            self._sink.emit(start)
            for chunk in chunks:
                self._show(self._reducer.feed(chunk))
            events = self._reducer.close()
            self._show(events[:-1])
        except PipechatError as cause:
            events = self._show_held(cause)
        except Exception as error:
            events = self._show_held(BugError(error))
        return self._conclude(events[-1])

    def interrupt(self, cause: PipechatError) -> None:
        """End the turn here and now: keep what came, tell it, and return. Not to be called
        while `concluding`: the turn is being made safe already."""
        self._conclude(self._show_held(cause)[-1])

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, TextChunk):
                self._recorder.text(event.text)
                self._texts_shown = event.index + 1
            self._sink.emit(event)

    def _show_held(self, cause: PipechatError) -> list[Event]:
        # What a signal, or a sink that broke on the event before, kept from being shown.
        unshown = self._reducer.texts_from(self._texts_shown)
        events = [*unshown, *self._reducer.fail(cause)]
        try:
            self._show(events[:-1])
        except PipechatError as output_cause:
            events[-1:] = self._reducer.fail(output_cause)
        return events

    def _conclude(self, terminal: Event) -> Terminal:
        assert isinstance(terminal, Terminal)
        self.concluding = True
        try:
            self._recorder.finish(terminal)
        except PipechatError as cause:
            terminal = self._ended_by(cause)
        try:
            self._sink.emit(terminal)
        except PipechatError as cause:
            terminal = self._ended_by(cause)
        return terminal

    def _ended_by(self, cause: PipechatError) -> Terminal:
        event = self._reducer.fail(cause)[-1]
        assert isinstance(event, Terminal)
        return event
