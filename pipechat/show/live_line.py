"""A line for a person who waits: it stands behind the cursor of the terminal, and is gone before
anything else is written there, before the process stops (Ctrl-Z), and before a signal kills it.

Owns what is drawn, and the signals while something is. The cursor stays where it was, so nothing
that stands in its line is wiped out: no prompt of another program, no answer. Imported only where
there is a terminal.
"""

import signal
from collections.abc import Callable
from threading import RLock, current_thread, main_thread
from types import FrameType
from typing import Protocol

from pipechat.show.width import cut, width
from pipechat.signals import die_by, stop_by

_DEADLY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# Save the cursor, no wrapping at the edge; and back again.
_BEGIN, _END = b"\x1b7\x1b[?7l\x1b[K", b"\x1b[?7h\x1b8"
_ERASE = b"\x1b[K"


class Terminal(Protocol):
    """Where it is drawn."""

    def write_now(self, data: bytes) -> None: ...
    def columns(self) -> int: ...
    def is_in_front(self) -> bool: ...


class LiveLine:
    """One line, shown and erased any number of times; the `cover` of all streams that may be the
    terminal.

    Args:
        clean: makes any text one line that a terminal may be shown.
    """

    def __init__(
        self, terminal: Terminal, clean: Callable[[str], str], *, color: bool = True
    ) -> None:
        self._terminal = terminal
        self._clean = clean
        self._color = color
        self._shown: str | None = None
        # Records of a batch are written in a thread of their own, which can take no signal.
        self._lock = RLock()
        self._lifted = 0
        self._signals: list[int] = []

    def show(self, text: str, tail: str = "") -> None:
        """Let `text` stand there in the place of what did; it is cut where it is too long, but
        for its `tail`. Not while something is written, nor from the background. Raises nothing.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            # One column less: a letter in the last makes some terminals wrap.
            room = self._terminal.columns() - 1
            line = cut(cut(self._clean(text), max(room - width(tail), 0)) + tail, room)
            if self._lifted or self._shown == line or not self._terminal.is_in_front():
                return
            if self._shown is None:
                self._take_signals()
            self._shown = line
            shown = line.encode("utf-8", "replace")
            dim = b"\x1b[2m" + shown + b"\x1b[0m" if self._color else shown
            self._terminal.write_now(_BEGIN + dim + _END)
            self._shown = line  # a signal that stopped the process erased what was not drawn yet
        finally:
            self._lock.release()

    def erase(self) -> None:
        """Leave nothing of it."""
        with self._lock:
            if self._shown is not None:
                self._shown = None
                self._terminal.write_now(_ERASE)
            if self._signals and current_thread() is main_thread():
                self._give_signals_back()

    def lift(self) -> None:
        """Something else is about to be written: until `lower`, nothing stands there."""
        self._lock.acquire()
        self._lifted += 1
        self.erase()

    def lower(self) -> None:
        """It is written."""
        self._lifted -= 1
        self._lock.release()

    def _take_signals(self) -> None:
        """What would kill or stop the process erases the line first; what somebody handles is
        left to them."""
        if current_thread() is not main_thread():
            return
        for signum in (*_DEADLY, signal.SIGTSTP):
            if signal.getsignal(signum) is signal.SIG_DFL:
                signal.signal(signum, self._stop if signum == signal.SIGTSTP else self._die)
                self._signals.append(signum)

    def _give_signals_back(self) -> None:
        for signum in self._signals:
            if signal.getsignal(signum) in (self._stop, self._die):  # nobody else took it since
                signal.signal(signum, signal.SIG_DFL)
        self._signals.clear()

    def _die(self, signum: int, _frame: FrameType | None) -> None:
        self._terminal.write_now(_ERASE)
        die_by(signum)

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        self.erase()
        stop_by(signum)
