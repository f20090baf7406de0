"""A loopback listener served by an asyncio loop in a background thread.

Owns: binding, the thread, each connection's lifetime, how a socket ends (FIN or RST), and
noticing that a client left. Knows nothing of HTTP: a server of this package overrides `serve`.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.servers.peer import Peer, WatchedReader

LIFETIME_S = 60.0
_BACKLOG = 1024


class BackgroundServer(ABC):
    """A server that listens on an ephemeral port of 127.0.0.1 between `start` and `stop`.

    `also` binds the same port of further addresses (`"localhost"`, `"::1"`), where the machine has
    them; `socket_path` is that of a Unix socket to listen on instead. No connection outlives
    `lifetime` seconds. What went wrong in the thread stands in `problems`; a `with` block that
    ends well all the same raises them as an AssertionError.
    """

    def __init__(
        self,
        *,
        also: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        lifetime: float = LIFETIME_S,
        socket_path: str | None = None,
    ) -> None:
        self.socket_path = socket_path
        self.host = "127.0.0.1"
        self.port = 0
        self.connections = 0
        self.handshake_failures: list[str] = []
        self.problems: list[str] = []
        self._also = tuple(also)
        self._tls = tls
        self._lifetime = lifetime
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def serve(self, peer: Peer) -> None:
        """Serve one connection; it is closed when this returns."""

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    @property
    def open_connections(self) -> int:
        """How many connections there are now that were taken."""
        return len(self._tasks)

    def origin(self, host: str | None = None) -> str:
        """`scheme://host:port`, under another of its names if given."""
        return f"{self.scheme}://{host or self.host}:{self.port}"

    def start(self) -> Self:
        """Listen, and return when connections are taken."""
        if self.socket_path is not None:
            self._sockets = [_listener(socket.AF_UNIX, self.socket_path)]
        else:
            self._sockets = _bind(self.host, self._also)
            self.port = self._sockets[0].getsockname()[1]
        self._thread.start()
        assert self._ready.wait(10), "the server's thread did not start"
        return self

    def stop(self) -> None:
        """End every connection and the thread; safe to call twice."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            assert not self._thread.is_alive(), "the server's thread did not end"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if kind is None and self.problems:
            raise AssertionError("in the server's thread:\n" + "\n".join(self.problems))

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except BaseException:
            self.problems.append(traceback.format_exc())
        finally:
            self._ready.set()

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for listener in self._sockets:
            self._loop.add_reader(listener, self._accept, listener)
        self._ready.set()
        await self._stop.wait()
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()
        await asyncio.sleep(0)  # a task that is cancelled before it began cannot close its socket
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            self.connections += 1
            task = self._loop.create_task(self._connection(accepted, self.connections))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connection(self, accepted: socket.socket, number: int) -> None:
        reader = WatchedReader(self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._lifetime if self._tls else None,
            )
        except (OSError, asyncio.CancelledError) as error:  # ssl.SSLError is an OSError
            accepted.close()
            if isinstance(error, OSError):
                self.handshake_failures.append(repr(error))
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        peer = Peer(reader, writer, accepted, number)
        try:
            async with asyncio.timeout(self._lifetime):
                await self.serve(peer)
                await peer.close()
        except (ConnectionError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client left, or the lifetime ran out: both are what tests arrange
        except Exception:
            self.problems.append(traceback.format_exc())
        finally:
            await peer.drop()


def _bind(host: str, also: Sequence[str]) -> list[socket.socket]:
    """Listening sockets on one ephemeral port: of `host`, and of what `also` resolves to."""
    sockets = [_listener(socket.AF_INET, (host, 0))]
    port = sockets[0].getsockname()[1]
    for name in also:
        for family, _, _, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
            if any(sock.getsockname() == address for sock in sockets):
                continue
            with contextlib.suppress(OSError):  # an address that this machine does not have
                sockets.append(_listener(family, address))
    return sockets


def _listener(family: int, address: str | tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
