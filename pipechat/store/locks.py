"""The kernel's lock on an open file, waited for with an end. Knows no path."""

import errno
import fcntl
import math
import os
import time
from collections.abc import Callable

# A lock is held for one append or one rewrite: who waits longer waits for another program.
PATIENCE_S = 10.0
_QUIET_S = 1.0

OnWait = Callable[[], None]


def say_nothing() -> None:
    """Who waits is told by nobody."""


def take_lock(
    fd: int, kind: int, wait_s: float | None = PATIENCE_S, on_wait: OnWait = say_nothing
) -> None:
    """Take a lock that another may hold.

    A thread stands in the kernel's queue, where everybody's turn comes; the caller waits for the
    thread. So the wait has an end, and a signal finds somebody who is awake.

    Raises:
        BlockingIOError: another held it for `wait_s` seconds (None: waited for for ever).
    """
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait_s == 0:
            raise
    else:
        return
    ends_at = math.inf if wait_s is None else time.monotonic() + wait_s
    queue = _Queue(fd, kind)
    if queue.wait(min(_QUIET_S, ends_at - time.monotonic())):
        return
    if ends_at - time.monotonic() > 0:
        on_wait()
        while (left := ends_at - time.monotonic()) > 0:
            if queue.wait(min(left, _QUIET_S)):
                return
    if not queue.leave():
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))


class _Queue:
    """A place in the kernel's queue for a lock, held by a thread. Whoever leaves it before the
    lock came gives it up: the thread lets go of it as soon as it has it."""

    def __init__(self, fd: int, kind: int) -> None:
        from threading import Event, Lock, Thread  # only where somebody has to wait

        self._fd = os.dup(fd)  # the same open file, and so the same lock
        self._kind = kind
        self._decides = Lock()
        self._came = Event()
        self._left = False
        self._error: OSError | None = None
        Thread(target=self._stand, daemon=True, name="lock").start()

    def wait(self, seconds: float) -> bool:
        """Whether the lock came in time. Raises OSError where it cannot be had."""
        if not self._came.wait(max(seconds, 0.0)):
            return False
        if self._error is not None:
            raise self._error
        return True

    def leave(self) -> bool:
        """Give the place up; whether the lock came just now all the same."""
        with self._decides:
            self._left = True
            return self._came.is_set() and self._error is None

    def _stand(self) -> None:
        try:
            fcntl.flock(self._fd, self._kind)
        except OSError as error:
            self._error = error
        with self._decides:
            if self._left and self._error is None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._came.set()
        os.close(self._fd)
