"""SIGINT, SIGTERM, SIGHUP while a turn is in flight (FAULTS §3).

A handler never raises: it ends the turn, which keeps what came, then lets the signal kill the
process by its own death. It does so where the process waits; anywhere else it would strike
between what was done and what is noted of it (a write that took half of an event), so there
the signal is put off until the next wait. Outside of a turn the default disposition kills.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from pipechat.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

LONGEST_WAIT_S = 0.25
"""No single wait is longer: a signal that comes in the moment between Python's last look at
signals and the system call does not end that wait, only the next one."""


class Waits:
    """Entered around every wait for others: the network, a reader, each time for a quarter of a
    second at most. There a signal may end the turn, also one that came before; and before each,
    `tick` is called, which must not raise."""

    def __init__(self) -> None:
        self.now = False
        self.due: Callable[[], None] | None = None
        self.tick: Callable[[], None] | None = None

    def __enter__(self) -> None:
        if self.tick is not None:
            self.tick()
        self.now = True  # first: a signal that comes behind the next line acts by itself
        if self.due is not None:
            self.due()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.now = False


class TurnSignals:
    """From entering to leaving, a signal calls `end` with its cause, then kills the process: in
    the next of `waits`, or when it is left.

    Args:
        end: makes the turn safe; returns when it is.
        cancel: what SIGINT does instead, where the process goes on after it.
    """

    def __init__(
        self,
        waits: Waits,
        end: Callable[[Interrupted], None],
        cancel: Callable[[Interrupted], None] | None = None,
    ) -> None:
        self._waits = waits
        self._end = end
        self._cancel = cancel
        self._due: int | None = None
        self._ending = False
        self._taken: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for signum in _SIGNALS:
            before = signal.getsignal(signum)
            if before is not signal.SIG_IGN:
                self._taken[signum] = before
                signal.signal(signum, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, before in self._taken.items():
            signal.signal(signum, before)
        if self._due is not None:
            die_by(self._due)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self._cancel is not None:
            self._cancel(Interrupted(signum))
            return
        if self._ending:
            return
        self._due = self._due or signum
        self._waits.due = self._take
        if self._waits.now:
            self._take()

    def _take(self) -> None:
        assert self._due is not None
        self._ending = True
        self._end(Interrupted(self._due))
        die_by(self._due)


@contextmanager
def held_off() -> Iterator[None]:
    """Within it no signal is taken: it waits. A process that is started within it begins so."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGINT raises KeyboardInterrupt, for a prompt that waits for a line."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_by(signum: int) -> None:
    """Let `signum` (Ctrl-Z) stop the process; returns when it goes on. The handler that was there
    is not there any more."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def die_by(signum: int) -> NoReturn:
    """End the process by `signum`, so that a shell sees what happened."""
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # a signal that cannot kill (an init process) still ends it
