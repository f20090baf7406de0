"""One connection as a server sees it: bytes out, waiting, and the three ways to end.

Owns the socket-level truth (NODELAY, unsent bytes, SO_LINGER); knows no HTTP and no script.
"""

import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections.abc import Callable

_READ_LIMIT = 1 << 20
_POLL_S = 0.001
_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes of the send queue that were not sent yet
_SO_NWRITE = 0x1024  # macOS: bytes of the send queue


class ClientLeftError(ConnectionError):
    """The client closed or reset the connection while the server still had something to do."""


class WatchedReader(asyncio.StreamReader):
    """A StreamReader that also says when the other side has closed or reset."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_READ_LIMIT, loop=loop)
        self.left = asyncio.Event()
        self.ending = False  # this side ends the connection: what follows is not the client's

    def feed_eof(self) -> None:
        super().feed_eof()
        self._note()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._note()

    def _note(self) -> None:
        if not self.ending:
            self.left.set()


class Peer:
    """A client's connection, the server's `number`-th; `closed` once this side has ended it."""

    def __init__(
        self,
        reader: WatchedReader,
        writer: asyncio.StreamWriter,
        sock: socket.socket,
        number: int = 1,
    ) -> None:
        self.number = number
        self.reader = reader
        self.left = reader.left
        self._writer = writer
        self._sock = sock
        # asyncio sets TCP_NODELAY; with no buffer of its own, `send` returns when the kernel has
        # all of it, so that steps happen in the order in which they are written. With TLS asyncio
        # would never send again where the request came along with the end of the handshake.
        if writer.get_extra_info("ssl_object") is None:
            writer.transport.set_write_buffer_limits(high=0)

    @property
    def closed(self) -> bool:
        return self.reader.ending

    async def send(self, data: bytes) -> None:
        """Hand all of it to the kernel; raises ConnectionError when the client is gone."""
        self._writer.write(data)
        await self._writer.drain()

    async def pause(self, seconds: float) -> None:
        """Wait; raises ClientLeftError as soon as the client leaves."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self.left.wait()
        except TimeoutError:
            return
        raise ClientLeftError

    async def until(self, is_true: Callable[[], bool], timeout: float) -> bool:
        """Wait until it holds, for at most `timeout` seconds; returns whether it does."""
        end = time.monotonic() + timeout
        while not is_true():
            if time.monotonic() >= end:
                return False
            await self.pause(_POLL_S)
        return True

    async def close(self) -> None:
        """FIN, after all that was sent."""
        if not self.closed:
            self.reader.ending = True
            self._writer.close()
            await self._gone()

    async def reset(self) -> None:
        """RST, after all that was sent has reached the other side's kernel."""
        if not self.closed:
            with contextlib.suppress(ClientLeftError):
                await self.until(lambda: _unsent(self._sock) == 0, timeout=5)
            self.reader.ending = True
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
            await self._gone()

    async def drop(self) -> None:
        """Give the socket up, whatever stands in its buffers."""
        self.reader.ending = True
        self._writer.transport.abort()
        await self._gone()

    async def _gone(self) -> None:
        with contextlib.suppress(OSError):  # TimeoutError is an OSError
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


def _unsent(sock: socket.socket) -> int:
    """Bytes in the kernel that have not been sent to the peer."""
    if sys.platform == "darwin":
        return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
    import fcntl

    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # ValueError: it is closed already
        return 0
