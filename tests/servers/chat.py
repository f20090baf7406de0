"""ChatServer: an HTTP/1.1 server that records each request and plays a script as its reply.

Owns the choice of the reply and the keep-alive loop. What is sent is all in the Reply.
"""

import ssl
import threading
from collections.abc import Callable, Mapping, Sequence

from tests.servers.background import LIFETIME_S, BackgroundServer
from tests.servers.peer import Peer
from tests.servers.reply import Reply, http_reply
from tests.servers.request import BadRequestError, Request, read_body, read_head
from tests.servers.steps import play

Script = Reply | Sequence[Reply] | Callable[[Request], Reply]
"""One reply for all requests; one each, the last repeated; or a choice by request."""


class ChatServer(BackgroundServer):
    """An endpoint for `--base-url`: `with ChatServer(script) as server: server.url`.

    Any path is served, so `server.url + "/case-7"` is a base URL too, and its requests can be told
    apart by their `path`. `script` may be changed by `play` while it runs.
    """

    def __init__(
        self,
        script: Script,
        *,
        also: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        lifetime: float = LIFETIME_S,
        socket_path: str | None = None,
    ) -> None:
        super().__init__(also=also, tls=tls, lifetime=lifetime, socket_path=socket_path)
        self.requests: list[Request] = []
        self._changed = threading.Condition()
        self.play(script)

    @property
    def url(self) -> str:
        """The base URL: `http://127.0.0.1:PORT/v1`, or `unix://PATH`."""
        if self.socket_path is not None:
            return f"unix://{self.socket_path}"
        return self.origin() + "/v1"

    def url_at(self, host: str) -> str:
        """The base URL under another name of this machine (see `also`)."""
        return self.origin(host) + "/v1"

    def play(self, script: Script) -> None:
        """Answer with this script from the next request on."""
        self._choose = _chooser(script)

    def wait_for_requests(self, count: int, timeout: float = 20.0) -> list[Request]:
        """Wait until at least `count` requests came; returns all. AssertionError after that."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.requests) >= count, timeout)
        assert came, f"{len(self.requests)} of {count} requests within {timeout} s"
        return self.requests

    async def serve(self, peer: Peer) -> None:
        while not peer.closed:
            try:
                head = await read_head(peer)
                if head is None:
                    return
                body = await read_body(peer, head)
            except (BadRequestError, ValueError):
                await peer.send(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
                return
            with self._changed:
                number = len(self.requests)
                request = Request(head.method, head.target, head.headers, body, number, peer.number)
                self.requests.append(request)
                self._changed.notify_all()
            try:
                reply = self._choose(request)
                await play(reply.steps, peer)
            except ConnectionError:
                request.left.set()
                raise
            finally:
                if peer.left.is_set():
                    request.left.set()
                request.ended.set()
            if not reply.keep_alive or "close" in head.headers.get("connection", "").lower():
                return


def by_path(replies: Mapping[str, Reply | Callable[[Request], Reply]]) -> Script:
    """Choose by how the path ends (`{"/models": …, "/chat/completions": …}`); 404 otherwise."""

    def choose(request: Request) -> Reply:
        path = request.path.partition("?")[0]
        for ending, reply in replies.items():
            if path.endswith(ending):
                return reply if isinstance(reply, Reply) else reply(request)
        return http_reply(404, b'{"detail":"Not Found"}', content_type="application/json")

    return choose


def _chooser(script: Script) -> Callable[[Request], Reply]:
    if isinstance(script, Reply):
        return lambda _: script
    if callable(script):
        return script
    replies = list(script)
    rest = iter(replies)
    return lambda _: next(rest, replies[-1])
