"""The time that all checks have together.

What may hang beyond a limit of its own (a name server, a dead mount) runs in a thread, which is
given up when its time is over; a daemon, it keeps nothing alive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

T = TypeVar("T")


class TimeLeft:
    """The time until `ends_at`, by `time.monotonic()`."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at

    def less(self, seconds: float) -> TimeLeft:
        """The same without its last `seconds`, which are for something else."""
        return TimeLeft(self.ends_at - seconds)

    def seconds(self, most: float) -> float:
        """What a check may take that should take `most` seconds at most."""
        return max(0.0, min(most, self.ends_at - time.monotonic()))

    def bounded(
        self, call: Callable[[], T], most: float, too_late: Callable[[T], object] = lambda _: None
    ) -> T:
        """What `call` gives; `too_late` takes what it gives when nobody waits any more.

        Raises:
            TimeoutError: it gave nothing in time.
            Exception: what it raises.
        """
        results: SimpleQueue[tuple[bool, T | Exception]] = SimpleQueue()
        telling = Lock()
        is_given_up = False

        def run() -> None:
            try:
                result = call()
            except Exception as error:
                results.put((False, error))
                return
            with telling:
                if not is_given_up:
                    results.put((True, result))
                    return
            too_late(result)

        Thread(target=run, daemon=True, name="check").start()
        with suppress(Empty):
            return _told(results.get(timeout=self.seconds(most)))
        with telling:
            is_given_up = True
        try:  # it came between the two
            return _told(results.get_nowait())
        except Empty:
            raise TimeoutError from None


def _told(result: tuple[bool, T | Exception]) -> T:
    succeeded, what = result
    if not succeeded:
        assert isinstance(what, Exception)
        raise what
    return what  # type: ignore[return-value]  # because it succeeded
