"""Ctrl-C in `chat`, between the prompt and the answer's end.

During an answer it stops that. Between two waits, where something is being made ready or kept, it
is noted and stops the answer that is about to begin; a second one kills, as it would elsewhere.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from pipechat.errors import Interrupted
from pipechat.signals import TurnSignals, Waits, die_by


class Interrupts:
    """From entering to leaving, SIGINT alone ends nothing; where it is ignored, it stays so."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._noted = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def forget(self) -> None:
        """A prompt is shown: what was noted before is not meant for the next answer."""
        self._noted = False

    @contextmanager
    def during_turn(
        self, end: Callable[[Interrupted], None], cancel: Callable[[Interrupted], None]
    ) -> Iterator[None]:
        """Until it is left, SIGINT calls `cancel`; SIGTERM and SIGHUP `end` the process."""
        with TurnSignals(self._waits, end, cancel):
            if self._noted:
                cancel(Interrupted(signal.SIGINT))
            yield
        self._noted = False

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if self._noted:
            die_by(signum)
        self._noted = True
