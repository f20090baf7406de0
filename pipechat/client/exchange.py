"""A request in a thread of its own, so that a deadline holds whatever the socket does.

A blocking read cannot be bounded from within: name look-up, TLS handshake, a proxy that says
nothing and a server that drips all wait elsewhere. So the thread waits, and the turn waits for
the thread, no longer than its deadlines allow. The thread is a daemon: when it is given up it
keeps nothing alive.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue
from threading import Event, Thread
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
    error, as `translate` made it, at any point, as the last. Segments that are there together
    come as one: what a fast server sends is handed over by the batch.
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
        self._items: deque[httpx2.Response | bytes | Exception | None] = deque()
        # Rung once for all items that nobody has looked for yet. A SimpleQueue, since its put may
        # be called from a signal handler.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._woken_by: Exception | None = None
        self._space = Event()
        self._response: httpx2.Response | None = None
        self._stopped = False
        Thread(target=self._carry, daemon=True, name="pump").start()

    def next_item(self, timeout_s: float | None) -> httpx2.Response | bytes | None:
        """The next item. Raises TimeoutError after `timeout_s`, and what the thread raised."""
        ends_at = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._rung = False  # first: what is put behind the next line rings again
            if self._woken_by is not None:
                raise self._woken_by
            if self._items:
                return self._take()
            left = ends_at - time.monotonic()
            try:
                with self._waits:
                    self._bell.get(timeout=max(0.0, min(left, LONGEST_WAIT_S)))
            except Empty:
                if left <= LONGEST_WAIT_S:
                    raise TimeoutError from None

    def wake(self, cause: Exception) -> None:
        """Make `next_item` raise `cause` at once; may be called from a signal handler."""
        self._woken_by = cause
        self._bell.put(None)

    def stop(self) -> None:
        """Give the request up: the server sees the connection closed."""
        self._stopped = True
        self._items.clear()
        self._space.set()
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

    def _take(self) -> httpx2.Response | bytes | None:
        items = self._items
        item = items.popleft()
        if isinstance(item, Exception):
            raise item
        if not isinstance(item, bytes):
            return item
        parts = [item]
        while items and isinstance(part := items[0], bytes):
            parts.append(part)
            items.popleft()
        self._space.set()
        return b"".join(parts)

    def _carry(self) -> None:
        try:
            for item in self._segments():
                if len(self._items) >= _ROOM:
                    self._wait_for_space()
                if self._stopped:
                    return
                self._put(item)
            self._put(None)
        except Exception as error:
            self._put(self._translate(error))

    def _put(self, item: httpx2.Response | bytes | Exception | None) -> None:
        if self._stopped:  # what a request that was given up still says is over
            return
        self._items.append(item)
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def _wait_for_space(self) -> None:
        while len(self._items) >= _ROOM and not self._stopped:
            self._space.clear()
            if len(self._items) >= _ROOM and not self._stopped:
                self._space.wait()

    def _segments(self) -> Iterator[httpx2.Response | bytes]:
        self._response = response = self._open()
        try:
            yield response
            yield from response.iter_bytes()
        finally:
            response.close()
