"""What a proxy does once it knows where to: dial, and carry bytes both ways.

Owns the rule that no test leaves this machine: a name is dialled when it stands in the proxy's
private table or is a loopback address, and nothing else is.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.servers.peer import Peer

Address = tuple[str, int]
Names = Mapping[str, Address]
"""Names that only the proxy can resolve, and the address behind each (host, port)."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class UnreachableError(Exception):
    """The proxy does not know the host, or nobody listens there."""


class Upstream:
    """The connection behind a proxy, closed when its `with` block ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def dial(cls, host: str, port: int, names: Names) -> Self:
        """Connect to what `host` stands for. Raises UnreachableError."""
        if host not in names and host not in _LOOPBACK:
            raise UnreachableError(host)
        try:
            return cls(*await asyncio.open_connection(*names.get(host, (host, port))))
        except OSError as error:
            raise UnreachableError(host) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def carry(self, peer: Peer) -> None:
        """Carry bytes both ways until a side ends; an RST from behind is passed on as RST."""
        out = asyncio.create_task(self._outward(peer))
        back = asyncio.create_task(self._back(peer))
        try:
            await asyncio.wait((out, back), return_when=asyncio.FIRST_COMPLETED)
            if back.done() and back.result():
                await peer.reset()
        finally:
            out.cancel()
            back.cancel()
            await asyncio.gather(out, back, return_exceptions=True)

    async def _outward(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            while data := await peer.reader.read(1 << 16):
                await self.send(data)

    async def _back(self, peer: Peer) -> bool:
        """True where the connection behind ended by RST."""
        while True:
            try:
                data = await self._reader.read(1 << 16)
            except OSError:
                return True
            if not data:
                return False
            with contextlib.suppress(OSError):
                await peer.send(data)
