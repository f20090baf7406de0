"""SocksProxy: a SOCKS5 server on loopback that records which hosts it was asked for.

Owns RFC 1928 (CONNECT to a name, IPv4 or IPv6) and RFC 1929 (user and password), as far as a test
needs them.
"""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from tests.servers.background import LIFETIME_S, BackgroundServer
from tests.servers.peer import Peer
from tests.servers.proxy import ProxyMode
from tests.servers.tunnel import Names, UnreachableError, Upstream

_VERSION = b"\x05"
_NO_LOGIN, _LOGIN, _NO_METHOD = 0, 2, 0xFF
_OK, _HOST_UNREACHABLE, _REFUSED, _NO_COMMAND = 0, 4, 5, 7


@dataclass(frozen=True)
class SocksRequest:
    """One CONNECT: the host as the client wrote it, and in which form; `user` "" without login."""

    host: str
    port: int
    form: Literal["name", "ipv4", "ipv6"]
    user: str


class SocksProxy(BackgroundServer):
    """`with SocksProxy(names={"only-the-proxy-knows.test": ("127.0.0.1", port)}) as proxy`.

    `auth` is the (user, password) that it wants. Mode `silent` accepts and never says a word;
    `refuse` answers every CONNECT with "connection refused".
    """

    def __init__(
        self,
        *,
        names: Names | None = None,
        auth: tuple[str, str] | None = None,
        mode: ProxyMode = "normal",
        lifetime: float = LIFETIME_S,
    ) -> None:
        super().__init__(lifetime=lifetime)
        self.requests: list[SocksRequest] = []
        self._names = names or {}
        self._auth = auth
        self._mode = mode

    @property
    def url(self) -> str:
        """`socks5h://127.0.0.1:PORT`: the proxy resolves the names. No login in it."""
        return f"socks5h://{self.host}:{self.port}"

    @property
    def url_with_login(self) -> str:
        """The same with `user:password@` where a login is wanted."""
        login = ":".join(self._auth) + "@" if self._auth else ""
        return f"socks5h://{login}{self.host}:{self.port}"

    @property
    def hosts(self) -> list[str]:
        """The hosts that it was asked for, in order."""
        return [request.host for request in self.requests]

    async def serve(self, peer: Peer) -> None:
        if self._mode == "silent":
            await peer.left.wait()
            return
        user = await self._greet(peer)
        if user is None:
            return
        _, command, _, form = await peer.reader.readexactly(4)
        request = await _destination(peer, form, user)
        if request is None or command != 1:
            await _reply(peer, _NO_COMMAND)
            return
        self.requests.append(request)
        if self._mode == "refuse":
            await _reply(peer, _REFUSED)
            return
        try:
            upstream = await Upstream.dial(request.host, request.port, self._names)
        except UnreachableError as error:
            await _reply(peer, _REFUSED if error.__cause__ else _HOST_UNREACHABLE)
            return
        async with upstream:
            await _reply(peer, _OK)
            await upstream.carry(peer)

    async def _greet(self, peer: Peer) -> str | None:
        """Agree on a method; the user's name, "" without login, None where it failed."""
        version, count = await peer.reader.readexactly(2)
        methods = await peer.reader.readexactly(count)
        method = _LOGIN if self._auth else _NO_LOGIN
        if version != 5 or method not in methods:
            await peer.send(_VERSION + bytes([_NO_METHOD]))
            return None
        await peer.send(_VERSION + bytes([method]))
        if not self._auth:
            return ""
        await peer.reader.readexactly(1)  # the version of the sub-negotiation
        user = (await _counted(peer)).decode()
        password = (await _counted(peer)).decode()
        allowed = (user, password) == self._auth
        await peer.send(b"\x01" + (b"\x00" if allowed else b"\x01"))
        return user if allowed else None


async def _counted(peer: Peer) -> bytes:
    """A field that begins with its length in one byte."""
    (size,) = await peer.reader.readexactly(1)
    return await peer.reader.readexactly(size)


async def _destination(peer: Peer, form: int, user: str) -> SocksRequest | None:
    """Address and port of a request; None for a form that there is not."""
    host: str
    kind: Literal["name", "ipv4", "ipv6"]
    if form == 3:
        host, kind = (await _counted(peer)).decode("idna"), "name"
    elif form in (1, 4):
        host = str(ipaddress.ip_address(await peer.reader.readexactly(4 if form == 1 else 16)))
        kind = "ipv4" if form == 1 else "ipv6"
    else:
        return None
    port = int.from_bytes(await peer.reader.readexactly(2))
    return SocksRequest(host, port, kind, user)


async def _reply(peer: Peer, code: int) -> None:
    await peer.send(_VERSION + bytes([code, 0, 1, 0, 0, 0, 0, 0, 0]))
