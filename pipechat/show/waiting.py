"""What a person at a terminal is told while nothing comes: how long the model, or stdin, takes.

Knows no terminal: the line that it speaks on is handed in, and so is who calls it while it waits.
"""

import math
import time
from collections.abc import Callable
from typing import Protocol

from pipechat.events import End, Error, Event, Fallback, Retry, Sink, Start, text_of
from pipechat.show.transcript import human_size

_QUIET_S = 1.0

Clock = Callable[[], float]


class Line(Protocol):
    """A line that can be taken back."""

    def show(self, text: str, tail: str = "") -> None: ...
    def erase(self) -> None: ...


class Ticks(Protocol):
    """Who calls `tick` four times a second, and more often, while others are waited for."""

    tick: Callable[[], None] | None


class WaitingSink:
    """Tells, from the start of a request to its first text, what is waited for; all goes on to
    the sink, and nothing stands there when it does.

    Args:
        shows_texts: whether the sink shows each text as it comes; where it does not, how much of
            the answer is there is told until its end.
    """

    def __init__(
        self,
        sink: Sink,
        line: Line,
        ticks: Ticks,
        clock: Clock = time.monotonic,
        *,
        shows_texts: bool = True,
    ) -> None:
        self._sink = sink
        self._line = line
        self._ticks = ticks
        self._clock = clock
        self._shows_texts = shows_texts
        self._size = 0
        self._model = ""
        self._began = 0.0
        self._retry: tuple[Retry, float] | None = None

    def emit(self, *events: Event) -> None:
        text, event = text_of(events), events[-1]
        if text and not self._shows_texts:
            self._size += len(text.encode())
        elif text or isinstance(event, End | Error):
            self._ticks.tick = None
            self._line.erase()
        self._sink.emit(*events)
        if isinstance(event, Start):
            self._model, self._began = event.model, self._clock()
            self._retry, self._size = None, 0
            self._ticks.tick = self.tick
        elif isinstance(event, Retry):
            self._retry = (event, self._clock() + event.wait_s)
        elif isinstance(event, Fallback):
            self._model, self._retry = event.to, None

    def tick(self) -> None:
        """Say how it stands, once it takes longer than a second."""
        now = self._clock()
        if now - self._began < _QUIET_S:
            return
        if self._size:
            self._line.show(f"receiving from {self._model}", f": {human_size(self._size)}")
            return
        if self._retry is not None:
            retry, ends_at = self._retry
            if ends_at > now:
                why, left = retry.code.replace("_", " "), math.ceil(ends_at - now)
                self._line.show(why, f": retry {retry.attempt} in {left} s")
                return
        self._line.show(f"waiting for {self._model}", f" {now - self._began:.0f} s")


class ReadingLine:
    """Tells how much of stdin has come, once there is something: who writes may have a question
    of its own to the person before."""

    def __init__(self, line: Line, clock: Clock = time.monotonic) -> None:
        self._line = line
        self._clock = clock
        self._began = clock()

    def tick(self, size: int) -> None:
        """So many bytes are there."""
        if size and self._clock() - self._began >= _QUIET_S:
            self._line.show(f"reading stdin: {human_size(size)}")
