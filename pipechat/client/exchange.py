"""One exchange: a request out, a response in, in a thread of its own.

A blocking read cannot be bounded from within: name look-up, TLS handshake, a proxy that says
nothing and a server that drips all wait elsewhere. So the thread waits, and the turn waits for
the thread, no longer than its deadlines allow. The thread is a daemon: when it is given up it
keeps nothing alive. Knows no HTTP library: who sends is handed in.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, NamedTuple, Protocol

from pipechat.errors import NetworkError, PipechatError, as_ours
from pipechat.signals import LONGEST_WAIT_S

# Segments that may wait for the turn: a slow reader of stdout slows the server down instead of
# filling the memory.
_ROOM = 64
# Segments that are there together come as one, up to this size: what is handed over is looked
# at as a whole, and the clock only afterwards.
_TOGETHER_BYTES = 256 * 1024

_ANYWHERE = nullcontext()


class Request(NamedTuple):
    """What goes out: POST `path` (below the endpoint) with `body`, decoded JSON."""

    path: str
    body: Mapping[str, Any]


def _nothing_to_abort() -> None:
    """What was made inside the process waits for nobody."""


Segments = Generator[bytes, None, None]


def in_one(data: bytes) -> Segments:
    """A body that is there already."""
    yield data


class Response(NamedTuple):
    """What comes in, whatever carried it.

    `headers`: names in lower case. `segments`: the decoded body as it arrives; closing it gives
    the rest up. `abort` may be called from another thread, and makes a reader of `segments` come
    to an end. `played`: it comes from a recording, and nobody was asked.
    """

    status: int
    headers: Mapping[str, str]
    segments: Segments
    abort: Callable[[], None] = _nothing_to_abort
    played: bool = False


class Sender(Protocol):
    """Sends requests and waits for their responses, in the thread that calls it."""

    def send(self, request: Request) -> Response:
        """The response, as soon as its headers are there; statuses are not looked at.

        Raises:
            PipechatError: there is none. So does reading its `segments`.
        """
        ...


class Exchange:
    """Carries one response from `sender` to `next_item`, which waits in `waits`.

    The items, in order: the Response, its body in segments, and None at its end; or an error,
    at any point, as the last. One of the two always comes, whatever fails.
    """

    def __init__(
        self,
        sender: Sender,
        request: Request,
        waits: AbstractContextManager[object] = _ANYWHERE,
    ) -> None:
        self._sender = sender
        self._request = request
        self._waits = waits
        self._items: deque[Response | bytes | Exception | None] = deque()
        # Rung once for all items that nobody has looked for yet. A SimpleQueue, since its put may
        # be called from a signal handler.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._woken_by: Exception | None = None
        self._space = Event()
        self._response: Response | None = None
        self._stopped = False
        # Made now: when memory is short it could not be made when it is needed.
        self._lost = NetworkError("connection_lost", "the response could not be carried on")
        self._no_memory = as_ours(MemoryError())
        try:
            Thread(target=self._carry, daemon=True, name="exchange").start()
        except RuntimeError as error:  # no more threads for this user, or no memory for one
            raise as_ours(error) from error

    def next_item(self, timeout_s: float) -> Response | bytes | None:
        """The next item. What is there is taken even where `timeout_s` is 0.

        Raises:
            TimeoutError: nothing came in time.
            Exception: what was raised in the thread, or was handed to `wake`.
        """
        ends_at = time.monotonic() + timeout_s
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
        """Give the request up: the server sees the connection closed. Raises OutputError where
        a recording of it could not be written."""
        self._stopped = True
        self._items.clear()
        self._space.set()
        if self._response is not None:
            self._response.abort()

    def _take(self) -> Response | bytes | None:
        items = self._items
        item = items.popleft()
        if isinstance(item, Exception):
            raise item
        if not isinstance(item, bytes):
            return item
        parts = [item]
        size = len(item)
        while items and size < _TOGETHER_BYTES and isinstance(part := items[0], bytes):
            parts.append(part)
            size += len(part)
            items.popleft()
        self._space.set()
        return b"".join(parts)

    def _carry(self) -> None:
        try:
            self._put(self._received())
        except BaseException as error:
            self._put(error if isinstance(error, Exception) else self._lost)

    def _received(self) -> PipechatError | None:
        """Puts all that comes; then what to put last."""
        try:
            self._response = response = self._sender.send(self._request)
            if self._stopped:
                response.abort()
            self._put(response)
            with closing(response.segments) as segments:  # also where the rest is not wanted
                for segment in segments:
                    if len(self._items) >= _ROOM:
                        self._wait_for_space()
                    if self._stopped:
                        break
                    self._put(segment)
        except PipechatError as error:
            return error
        except MemoryError:
            return self._no_memory
        return None

    def _put(self, item: Response | bytes | Exception | None) -> None:
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
