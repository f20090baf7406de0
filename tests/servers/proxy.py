"""HttpProxy: an HTTP proxy on loopback that records what it was asked for.

Owns the two ways through (absolute-form requests, CONNECT) and the proxy's own faults. A proxy
that is silent or hangs up before any request is `RawServer(Stall())` or `RawServer(Close())`.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tests.servers.background import LIFETIME_S, BackgroundServer
from tests.servers.peer import Peer
from tests.servers.request import BadRequestError, Head, read_body, read_head
from tests.servers.tunnel import Names, UnreachableError, Upstream

ProxyMode = Literal["normal", "silent", "refuse"]


@dataclass(frozen=True)
class ProxyRequest:
    """What a proxy was asked: `method` CONNECT with `host:port`, or another with a whole URL."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    host: str
    port: int


class HttpProxy(BackgroundServer):
    """`with HttpProxy(names={"only-the-proxy-knows.test": ("127.0.0.1", port)}) as proxy`.

    `auth` is the (user, password) that it wants, else 407. Mode `silent` reads the request and
    never answers; `refuse` answers 503 to everything.
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
        self.requests: list[ProxyRequest] = []
        self._names = names or {}
        self._mode = mode
        self._wanted = ""
        self._login = ""
        if auth:
            pair = ":".join(auth)
            self._wanted = "Basic " + base64.b64encode(pair.encode()).decode()
            self._login = pair + "@"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without the login."""
        return self.origin()

    @property
    def url_with_login(self) -> str:
        """`http://user:password@127.0.0.1:PORT`; the same as `url` where no login is wanted."""
        return f"http://{self._login}{self.host}:{self.port}"

    async def serve(self, peer: Peer) -> None:
        try:
            head = await read_head(peer)
        except BadRequestError:
            return
        if head is None:
            return
        body = await read_body(peer, head)
        connect = head.method == "CONNECT"
        url = urlsplit("//" + head.target if connect else head.target)
        host, port = url.hostname or "", url.port or 80
        self.requests.append(ProxyRequest(head.method, head.target, head.headers, body, host, port))
        if self._mode == "silent":
            await peer.left.wait()
        elif self._mode == "refuse":
            await _say(peer, "503 Service Unavailable")
        elif self._wanted and head.headers.get("proxy-authorization") != self._wanted:
            await _say(peer, "407 Proxy Authentication Required", "Proxy-Authenticate: Basic")
        else:
            await self._through(peer, host, port, b"" if connect else _origin_form(head, body))

    async def _through(self, peer: Peer, host: str, port: int, first: bytes) -> None:
        try:
            upstream = await Upstream.dial(host, port, self._names)
        except UnreachableError:
            await _say(peer, "502 Bad Gateway")
            return
        async with upstream:
            if first:
                await upstream.send(first)
            else:
                await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await upstream.carry(peer)


async def _say(peer: Peer, status: str, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close", "", ""]
    await peer.send("\r\n".join(lines).encode())


def _origin_form(head: Head, body: bytes) -> bytes:
    """The request as the server behind wants it: a path, no proxy headers, one per connection."""
    url = urlsplit(head.target)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    dropped = ("connection", "proxy-authorization", "proxy-connection", "transfer-encoding")
    fields = {name: value for name, value in head.headers.items() if name not in dropped}
    fields |= {"connection": "close"} | ({"content-length": str(len(body))} if body else {})
    lines = [f"{head.method} {path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
