"""Requests by aiohttp, as the SDK writes them, from an event loop.

Owns aiohttp, which comes with an extra of the SDK. The SDK writes the first request, whose head is
then that of all: which client is meant, its key, its organization, its own headers. What is new in
each is the body. Between aiohttp and us stands nobody: the SDK's client over it took as long for a
request as aiohttp itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from pipechat import jsonl
from pipechat.client.async_exchange import Put
from pipechat.client.certificates import authorities_named
from pipechat.client.exchange import Request, Response, in_one
from pipechat.client.inflating import inflated
from pipechat.client.network_errors import network_error, wants_certificate
from pipechat.client.own_headers import check_account, headers_of_ours, own_headers
from pipechat.client.sdk_sender import NO_KEY
from pipechat.client.trust import context_for_tls
from pipechat.client.unix_socket import socket_error
from pipechat.errors import PipechatError
from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

    from pipechat.client.aio_connections import Clients, Connectors

_ERROR_BYTES = 64 * 1024


class Head(NamedTuple):
    """What the SDK writes of a request beside its body; the key is in it."""

    url: str
    headers: Mapping[str, str]


class _Way(NamedTuple):
    """Where the requests of one path go, and who sends them with their head."""

    clients: Clients
    url: URL


def is_available(settings: Settings) -> bool:
    """Whether requests may go this way: the extra is installed, and no proxy is in between."""
    if settings.proxy is not None:
        return False
    from importlib.util import find_spec

    return find_spec("aiohttp") is not None


class AioSender:
    """Sends on the event loop that runs when it is made; `jobs` connections at most.

    Args:
        write: writes the head of requests to a path.
        heads: those that are written already, by path.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        jobs: int,
        write: Callable[[str], Awaitable[Head]],
        heads: Mapping[str, Head],
    ) -> None:
        self._settings = settings
        check_account(settings, environ)
        self._authorities = authorities_named(settings, environ)
        self._jobs = jobs
        self._context = None
        if settings.endpoint.scheme == "https":
            self._context = context_for_tls(settings, environ)
        self._connectors: Connectors | None = None
        self._write = write
        self._heads = dict(heads)
        self._ways: dict[str, _Way] = {}
        self._writing = asyncio.Lock()

    async def carry(self, request: Request, put: Put) -> None:
        """As `AsyncSender.carry`."""
        response: aiohttp.ClientResponse | None = None
        try:
            way = self._ways.get(request.path) or await self._way_to(request.path)
            response = await self._send(way, jsonl.dumps(request.body))
            await _take(response, put)
        except PipechatError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            if response is not None:
                response.release()  # which closes the connection where the body is not at its end

    async def _send(self, way: _Way, body: bytes) -> aiohttp.ClientResponse:
        try:
            return await way.clients.kept.post(way.url, data=body, allow_redirects=False)
        except Exception as error:
            from pipechat.client.aio_connections import was_reused

            # A server may close a connection that is kept while a request is on its way to it: it
            # said nothing, and curl sends it again as well. Of a fresh one it is an answer.
            if not (_is_hung_up(error) and was_reused()):
                raise
        return await way.clients.fresh.post(way.url, data=body, allow_redirects=False)

    async def head(self, path: str) -> Head:
        """That of the requests to `path`. Raises what the SDK raises where it writes none."""
        async with self._writing:  # once, though all jobs begin at once
            if path not in self._heads:
                self._heads[path] = await self._write(path)
        return self._heads[path]

    async def _way_to(self, path: str) -> _Way:
        from yarl import URL

        head = await self.head(path)
        if path not in self._ways:
            self._connectors = self._connectors or self._connecting()
            self._ways[path] = _Way(self._connectors.clients(head.headers), URL(head.url))
        return self._ways[path]

    def _translated(self, error: Exception) -> Exception:
        """What `error` means; itself where it says nothing of the connection."""
        import httpx2

        error = _as_httpx2(error)
        if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL | OSError):
            socket = self._settings.endpoint.socket
            if socket and (found := socket_error(error, socket)):
                return found
            return network_error(
                error, host=self._settings.host, proxy=None, authorities=self._authorities
            )
        return error

    async def aclose(self) -> None:
        if self._connectors is not None:
            await self._connectors.aclose()

    def _connecting(self) -> Connectors:
        """What connects: as many times at once as there are jobs."""
        from pipechat.client.aio_connections import connectors

        tls = {} if self._context is None else {"ssl": self._context}
        return connectors(self._jobs, self._settings.endpoint.socket, tls)


async def write_head(
    settings: Settings, environ: Mapping[str, str], openai: ModuleType, path: str
) -> Head:
    """The head of the request that the SDK writes for `path`, caught before it goes out."""
    import httpx2

    caught: list[httpx2.Request] = []

    def catch(request: httpx2.Request) -> httpx2.Response:
        caught.append(request)
        return httpx2.Response(200, json={})

    headers = headers_of_ours(settings, environ, openai)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(catch)) as http:
        sdk = openai.AsyncOpenAI(
            api_key=settings.api_key.reveal() if settings.api_key else NO_KEY,
            base_url=settings.endpoint.request_url,
            max_retries=0,
            http_client=http,
        )
        options = {"headers": headers, "params": dict(settings.endpoint.query)}
        await sdk.post(path, cast_to=httpx2.Response, body={}, options=options)
    head = caught[0]
    head.headers.update(own_headers(settings))
    for name in ("content-length", "transfer-encoding"):
        head.headers.pop(name, None)
    return Head(str(head.url), dict(head.headers.items()))


async def _take(response: aiohttp.ClientResponse, put: Put) -> None:
    headers = _joined(response.headers)
    wanted = put(Response(response.status, headers, in_one(b"")))
    encoding = headers.get("content-encoding", "identity").strip().lower()
    is_error = response.status >= 300
    plain = encoding in ("identity", "") or is_error
    inflate = None if plain else inflated(encoding)
    size = 0
    while wanted and (data := await response.content.readany()):
        size += len(data)
        for part in (data,) if inflate is None else inflate(data):
            wanted = wanted and put(part)
        if is_error and size > _ERROR_BYTES:
            break
    if wanted:
        put(None)


def _joined(headers: Mapping[str, str]) -> dict[str, str]:
    """By names in lower case, each once: what comes several times is one list (RFC 9110 §5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _as_httpx2(error: Exception) -> Exception:
    """As the SDK's other client would say it, whose errors are told for all."""
    import aiohttp
    import httpx2

    if isinstance(error, aiohttp.ClientPayloadError):
        return httpx2.RemoteProtocolError("it broke off")
    if _is_hung_up(error):
        return httpx2.RemoteProtocolError("it hung up")
    if isinstance(error, aiohttp.ClientResponseError):  # what came is no HTTP; it is quoted below
        return httpx2.RemoteProtocolError(error.message.partition("\n")[0].rstrip(":"))
    told: Exception = error
    if isinstance(error, aiohttp.ClientConnectorError):
        told = httpx2.ConnectError(str(error))
    elif isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        told = httpx2.UnsupportedProtocol(str(error))
    if told is not error:
        told.__cause__ = error
    return told


def _is_hung_up(error: Exception) -> bool:
    """Whether the server closed a connection that had been made, before it said anything."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError) or wants_certificate(error):
        return False
    gone = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)
    return isinstance(error, gone)
