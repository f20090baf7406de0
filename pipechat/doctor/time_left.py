"""The time that all checks have together.

What may hang beyond a limit of its own (a name server, a dead mount) runs in a thread, which is
given up when its time is over; a daemon, it keeps nothing alive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
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

    def bounded(self, call: Callable[[], T], most: float) -> T:
        """What `call` gives. Raises TimeoutError, and what it raises."""
        results: SimpleQueue[tuple[bool, T | Exception]] = SimpleQueue()

        def run() -> None:
            try:
                results.put((True, call()))
            except Exception as error:
                results.put((False, error))

        Thread(target=run, daemon=True, name="check").start()
        try:
            succeeded, result = results.get(timeout=self.seconds(most))
        except Empty:
            raise TimeoutError from None
        if not succeeded:
            assert isinstance(result, Exception)
            raise result
        return result  # type: ignore[return-value]  # because it succeeded
