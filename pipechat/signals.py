"""SIGINT, SIGTERM, SIGHUP while a turn is in flight (FAULTS §3).

A handler never raises: it ends the turn, which keeps what came, then lets the signal kill the
process by its own death. Outside of a turn the default disposition does that at once.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn, Self

from pipechat.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_interrupts() -> None:
    """Undo what Python does to SIGINT: KeyboardInterrupt raised in the middle of an import
    breaks the interpreter. An inherited SIG_IGN (nohup, a background job) is respected."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class TurnSignals:
    """From entering to leaving, a signal calls `end` with its cause, then kills the process.

    Args:
        end: makes the turn safe; returns when it is.
        is_ending: whether the turn is being made safe already: the signal then waits for
            leaving, since half a commit is none.
        cancel: what SIGINT does instead, where the process goes on after it.
    """

    def __init__(
        self,
        end: Callable[[Interrupted], None],
        is_ending: Callable[[], bool],
        cancel: Callable[[Interrupted], None] | None = None,
    ) -> None:
        self._end = end
        self._is_ending = is_ending
        self._cancel = cancel
        self._due: int | None = None
        self._taken: list[int] = []

    def __enter__(self) -> Self:
        for signum in _SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._handle)
                self._taken.append(signum)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum in self._taken:
            signal.signal(signum, signal.SIG_DFL)
        if self._due is not None:
            die_by(self._due)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self._cancel is not None:
            self._cancel(Interrupted(signum))
            return
        if self._due is not None or self._is_ending():
            self._due = self._due or signum
            return
        self._due = signum
        self._end(Interrupted(signum))
        die_by(signum)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGINT raises KeyboardInterrupt, for a prompt that waits for a line."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def die_by(signum: int) -> NoReturn:
    """End the process by `signum`, so that a shell sees what happened."""
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # a signal that cannot kill (an init process) still ends it
