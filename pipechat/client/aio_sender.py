"""The SDK's asynchronous client over aiohttp, as a sender on an event loop.

Owns the SDK's aiohttp transport, an extra. The SDK writes the first request, whose head is then
that of all: which client is meant, its key, its organization, its own headers. What is new in
each is the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipechat import jsonl
from pipechat.client.async_exchange import Put
from pipechat.client.certificates import authorities_named
from pipechat.client.exchange import Request, Response, in_one
from pipechat.client.inflating import inflated
from pipechat.client.lazy_openai import AIOHTTP_CLIENT
from pipechat.client.network_errors import network_error, wants_certificate
from pipechat.client.own_headers import check_account, headers_of_ours, own_headers
from pipechat.client.sdk_sender import NO_KEY
from pipechat.client.trust import trusted
from pipechat.client.unix_socket import socket_error
from pipechat.errors import PipechatError
from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    import httpx2

_ERROR_BYTES = 64 * 1024
_KEPT_TRIED = 5


def is_available(settings: Settings) -> bool:
    """Whether requests may go this way: the extra is installed, and no proxy is in between."""
    if settings.proxy is not None:
        return False
    from importlib.util import find_spec

    return find_spec("aiohttp") is not None


class AioSender:
    """Sends on the event loop that runs when it is made; `jobs` connections at most."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], openai: ModuleType, jobs: int
    ) -> None:
        import httpx2

        self._settings = settings
        self._environ = environ
        check_account(settings, environ)
        self._authorities = authorities_named(settings, environ)
        self._http = _client(
            trusted(settings, environ),
            settings.endpoint.socket,
            httpx2.Limits(max_connections=jobs, max_keepalive_connections=jobs),
        )
        self._openai = openai
        self._heads: dict[str, httpx2.Request] = {}
        self._kept = False  # whether a connection may be one that was used before

    async def carry(self, request: Request, put: Put) -> None:
        """As `AsyncSender.carry`."""
        response: httpx2.Response | None = None
        try:
            head = self._heads.get(request.path) or await self._write_head(request.path)
            asked = self._with_body(head, request.body)
            response = await self._send(asked)
            await self._take(response, put)
            self._kept = True
        except PipechatError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            if response is not None:
                await response.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        for left in reversed(range(_KEPT_TRIED)):
            try:
                sent: httpx2.Response = await self._http.send(request, stream=True)
                return sent
            except Exception as error:
                # A server may close a connection that is kept while a request is on its way to
                # it: it said nothing, and curl sends it again as well. The next may be closed too.
                if not (left and self._kept and _is_hung_up(error)):
                    raise
        raise AssertionError

    async def _take(self, response: httpx2.Response, put: Put) -> None:
        headers = dict(response.headers.items())
        await put(Response(response.status_code, headers, in_one(b"")))
        encoding = headers.get("content-encoding", "identity").strip().lower()
        is_error = response.status_code >= 300
        plain = encoding in ("identity", "") or is_error
        inflate = None if plain else inflated(encoding)
        size = 0
        async for data in response.aiter_raw():
            size += len(data)
            if inflate is None:
                await put(data)
            else:
                for part in inflate(data):
                    await put(part)
            if is_error and size > _ERROR_BYTES:
                break
        await put(None)

    def _with_body(self, head: httpx2.Request, body: Mapping[str, Any]) -> httpx2.Request:
        import httpx2

        # Headers as they are, without the length of the first body.
        return httpx2.Request(
            "POST", head.url, headers=head.headers, content=jsonl.dumps(body), extensions=_TIMES
        )

    async def _write_head(self, path: str) -> httpx2.Request:
        """The request that the SDK writes for `path`, caught before it goes out."""
        import httpx2

        caught: list[httpx2.Request] = []

        def catch(request: httpx2.Request) -> httpx2.Response:
            caught.append(request)
            return httpx2.Response(200, json={})

        settings = self._settings
        headers = headers_of_ours(settings, self._environ, self._openai)
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(catch)) as http:
            sdk = self._openai.AsyncOpenAI(
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
        self._heads[path] = head
        return head

    def _translated(self, error: Exception) -> Exception:
        import aiohttp
        import httpx2

        cut = isinstance(error.__cause__, aiohttp.ClientPayloadError)
        if cut or _is_hung_up(error):
            # The SDK's transport takes these for a time-out, or for what a status would be.
            error = httpx2.RemoteProtocolError("it broke off" if cut else "it hung up")
        if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL | OSError):
            socket = self._settings.endpoint.socket
            if socket and (found := socket_error(error, socket)):
                return found
            return network_error(
                error, host=self._settings.host, proxy=None, authorities=self._authorities
            )
        return error

    async def aclose(self) -> None:
        await self._http.aclose()


def _client(verify: Any, socket: str, limits: httpx2.Limits) -> httpx2.AsyncClient:
    module = import_module(AIOHTTP_CLIENT)
    transport = None
    if socket:
        kind = import_module(f"{AIOHTTP_CLIENT}.transport").AiohttpTransport
        transport = kind(verify=verify, trust_env=False, limits=limits, uds=socket)
    client: httpx2.AsyncClient = module.Httpx2AiohttpClient(
        verify=verify,
        transport=transport,
        trust_env=False,
        timeout=None,
        follow_redirects=False,
        limits=limits,
    )
    return client


def _is_hung_up(error: Exception) -> bool:
    """Whether the server closed a connection that had been made, before it said anything."""
    import aiohttp

    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorError) or wants_certificate(error):
        return False
    gone = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)
    return isinstance(cause, gone)


# Our own deadlines bound every wait.
_TIMES: dict[str, Any] = {"timeout": {}}
