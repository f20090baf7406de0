"""A request in a thread of its own, so that a deadline holds whatever the socket does.

A blocking read cannot be bounded from within: name look-up, TLS handshake, a proxy that says
nothing and a server that drips all wait elsewhere. So the thread waits, and the turn waits for
the thread, no longer than its deadlines allow. The thread is a daemon: when it is given up it
keeps nothing alive.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import TYPE_CHECKING

from pipechat.signals import LONGEST_WAIT_S

if TYPE_CHECKING:
    import httpx2

# Segments that may wait for the turn: a slow reader of stdout slows the server down instead of
# filling the memory.
_ROOM = 64

Translate = Callable[[Exception], Exception]
_ANYWHERE = nullcontext()


class Pump:
    """Carries one response from `open_response` to `next_item`, which waits in `waits`.

    The items, in order: the opened response, its body in segments, and None at its end; or an
    error, as `translate` made it, at any point, as the last.
    """

    def __init__(
        self,
        open_response: Callable[[], httpx2.Response],
        translate: Translate,
        waits: AbstractContextManager[object] = _ANYWHERE,
    ) -> None:
        self._open = open_response
        self._translate = translate
        self._waits = waits
        # SimpleQueue, since its put may be called from a signal handler.
        self._items: SimpleQueue[httpx2.Response | bytes | Exception | None] = SimpleQueue()
        self._room = Semaphore(_ROOM)
        self._response: httpx2.Response | None = None
        self._stopped = False
        Thread(target=self._carry, daemon=True, name="pump").start()

    def next_item(self, timeout_s: float | None) -> httpx2.Response | bytes | None:
        """The next item. Raises TimeoutError after `timeout_s`, and what the thread raised."""
        ends_at = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = ends_at - time.monotonic()
            try:
                with self._waits:
                    item = self._items.get(timeout=max(0.0, min(left, LONGEST_WAIT_S)))
                break
            except Empty:
                if left <= LONGEST_WAIT_S:
                    raise TimeoutError from None
        self._room.release()
        if isinstance(item, Exception):
            raise item
        return item

    def wake(self, cause: Exception) -> None:
        """Make `next_item` raise `cause` at once; may be called from a signal handler."""
        self._items.put(cause)

    def stop(self) -> None:
        """Give the request up: the server sees the connection closed."""
        self._stopped = True
        self._room.release()
        response = self._response
        if response is None or response.is_closed:
            return
        stream = response.extensions.get("network_stream")
        sock = stream.get_extra_info("socket") if stream is not None else None
        if sock is not None:
            try:
                # Not close: the thread may be reading. This wakes it, and it closes.
                sock.shutdown(2)
            except OSError:
                return

    def _carry(self) -> None:
        try:
            for item in self._segments():
                self._room.acquire()
                if self._stopped:
                    return
                self._items.put(item)
            self._items.put(None)
        except Exception as error:
            self._items.put(self._translate(error))

    def _segments(self) -> Iterator[httpx2.Response | bytes]:
        self._response = response = self._open()
        try:
            yield response
            yield from response.iter_bytes()
        finally:
            response.close()
