"""What goes wrong before HTTP: nobody there, a full backlog, silence, an end at the door.

Owns listeners that never come to a request; servers that read one are `chat`'s.
"""

import contextlib
import select
import socket
import ssl
from collections.abc import Sequence
from typing import Self

from tests.servers.background import LIFETIME_S, BackgroundServer
from tests.servers.peer import Peer
from tests.servers.steps import Part, flatten, play


class RawServer(BackgroundServer):
    """Accepts and plays the parts at once, without reading what the client says.

    `RawServer(Reset())`, `RawServer(Close())`, `RawServer(b"SSH-2.0-x\\r\\n", Close())`. With
    `RawServer(Stall()).https_url` the TLS handshake never ends. Close before the client's bytes
    were read may become an RST in the kernel, so a client may see either; a Reset may even come
    while the client still connects. `ChatServer(raw_reply(Reset()))` resets after the request.
    """

    def __init__(
        self,
        *parts: Part,
        also: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        lifetime: float = LIFETIME_S,
    ) -> None:
        super().__init__(also=also, tls=tls, lifetime=lifetime)
        self._steps = flatten(parts)

    @property
    def url(self) -> str:
        return self.origin() + "/v1"

    @property
    def https_url(self) -> str:
        """The same port, addressed as if it spoke TLS."""
        return f"https://{self.host}:{self.port}/v1"

    async def serve(self, peer: Peer) -> None:
        await play(self._steps, peer)


class RefusedPort:
    """A port that stays taken and never listens: connecting to it is refused."""

    def __enter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class FullBacklog:
    """A listener that never accepts and whose backlog is full: connecting takes for ever.

    Works on Linux, where a SYN to a full backlog is dropped.
    """

    def __enter__(self) -> Self:
        self._sockets = [socket.socket()]
        listener = self._sockets[0]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        while self._connects():
            assert len(self._sockets) < 16, "this kernel's backlog does not fill"
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()

    def _connects(self) -> bool:
        """Take one more place; False when there was none (no answer in 50 ms of loopback)."""
        sock = socket.socket()
        self._sockets.append(sock)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", self.port))
        return bool(select.select([], [sock], [], 0.05)[1])
