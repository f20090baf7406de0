"""The SDK as a Sender: its client, its transport's segments, its errors made ours.

Owns the SDK and its HTTP library: nothing else sees their types. The SDK neither retries nor
parses here: both belong to the turn's own rules (FAULTS §1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipechat.client.ahead import ConnectionAhead, longest_wait_s
from pipechat.client.certificates import authorities_named
from pipechat.client.exchange import Request, Response, Segments, in_one
from pipechat.client.inflating import inflated
from pipechat.client.network_errors import is_from_socks, login_refused, network_error
from pipechat.client.own_headers import check_account, headers_of_ours, own_headers
from pipechat.client.proxy_way import has_reached_the_server, note_way
from pipechat.client.put_off import serve_socks
from pipechat.client.trust import trusted
from pipechat.client.unix_socket import socket_error
from pipechat.errors import PipechatError
from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    import httpx2

NO_KEY = "none"  # the SDK insists on one; the header that would carry it is left out
_ERROR_BYTES = 64 * 1024


class SdkSender:
    """Sends through one client of the SDK and its pool of connections; many threads may send
    at once. `ahead`: the first connection, where it was begun already."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        openai: ModuleType,
        ahead: ConnectionAhead | None = None,
    ) -> None:
        import httpx2

        self._settings = settings
        self._openai = openai
        self._authorities = authorities_named(settings, environ)
        try:
            self._sdk = _sdk_client(settings, environ, openai, ahead)
        except httpx2.InvalidURL as error:
            raise self._translated(error) from error
        self._headers = headers_of_ours(settings, environ, openai)

    def send(self, request: Request) -> Response:
        """As `Sender.send`."""
        return self.call("POST", request.path, body=request.body)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> Response:
        """As `Sender.send`, for any request below the endpoint.

        Args:
            params: of the query.
            files: what goes along as multipart/form-data, as the SDK takes it.
        """
        try:
            response = self._response(method, path, body, params, files)
        except self._openai.APIStatusError as error:
            response = error.response
            if response.status_code == 407 and self._settings.proxy is not None:
                raise login_refused(self._settings.proxy) from error
            content = response.content[:_ERROR_BYTES]
            return Response(response.status_code, _headers_of(response), in_one(content))
        except Exception as error:
            raise self._translated(error) from error
        return Response(
            response.status_code,
            _headers_of(response),
            self._segments(response),
            lambda: _shut(response),
        )

    def _response(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
        files: Mapping[str, Any] | None,
    ) -> httpx2.Response:
        """What the SDK's client gives; the SDK and its transport raise their own."""
        import httpx2

        options: dict[str, Any] = {"headers": self._headers}
        params = {**dict(self._settings.endpoint.query), **(params or {})}
        if files:
            options["headers"] = {**self._headers, "Content-Type": "multipart/form-data"}
        if params:
            options["params"] = params
        response: httpx2.Response
        if method == "GET":
            response = self._sdk.get(path, cast_to=httpx2.Response, stream=True, options=options)
        else:
            response = self._sdk.post(
                path, cast_to=httpx2.Response, body=body, files=files, stream=True, options=options
            )
        return response

    def _segments(self, response: httpx2.Response) -> Segments:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        try:
            if encoding in ("identity", ""):
                yield from response.iter_raw()
            else:
                inflate = inflated(encoding)
                for segment in response.iter_raw():
                    yield from inflate(segment)
        except PipechatError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            response.close()

    def _translated(self, error: Exception) -> Exception:
        """The SDK's error, or its transport's, as one of ours; a bug stays what it is."""
        import httpx2

        known = (self._openai.APIConnectionError, httpx2.HTTPError, httpx2.InvalidURL, OSError)
        if isinstance(error, known) or is_from_socks(error):
            socket = self._settings.endpoint.socket
            if socket and (found := socket_error(error, socket)):
                return found
            return network_error(
                error,
                host=self._settings.host,
                proxy=self._settings.proxy,
                reached=has_reached_the_server(error),
                authorities=self._authorities,
            )
        return error


def _headers_of(response: httpx2.Response) -> dict[str, str]:
    return dict(response.headers.items())


def _shut(response: httpx2.Response) -> None:
    if response.is_closed:
        return
    stream = response.extensions.get("network_stream")
    sock = stream.get_extra_info("socket") if stream is not None else None
    if sock is not None:
        try:
            # Not close: the thread may be reading. This wakes it, and it closes.
            sock.shutdown(2)
        except OSError:
            return


class _Head:
    """The first bytes of an error's body as a stream, so that the SDK, which reads all of it,
    reads no more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        left = _ERROR_BYTES
        for part in self._stream:
            yield part[:left]
            left -= len(part)
            if left <= 0:
                return

    def close(self) -> None:
        self._stream.close()


def _bound_error(response: httpx2.Response) -> None:
    """Before the SDK reads an error: no more of it than is looked at, and nothing decoded."""
    import httpx2

    if response.status_code < 300:
        return

    class Head(_Head, httpx2.SyncByteStream):
        """One of the transport's own kind."""

    response.stream = Head(response.stream)
    response.headers.pop("content-encoding", None)


def _sdk_client(
    settings: Settings,
    environ: Mapping[str, str],
    openai: ModuleType,
    ahead: ConnectionAhead | None,
) -> Any:
    """The SDK's client, so made that it does nothing by itself: no retries, no redirects (they
    would carry the question to another host), no time-outs but ours, no proxy but ours."""
    import httpx2

    check_account(settings, environ)
    proxy, headers, longest_s = settings.proxy, own_headers(settings), longest_wait_s(settings)
    transport = _transport(settings, ahead)
    if proxy is not None and proxy.url.reveal().startswith("socks"):
        serve_socks()

    def add_headers(request: httpx2.Request) -> None:
        request.headers.update(headers)

    http = httpx2.Client(
        verify=trusted(settings, environ) if transport is None else False,
        transport=transport,
        proxy=httpx2.Proxy(proxy.url.reveal()) if proxy is not None else None,
        trust_env=False,
        timeout=longest_s,
        follow_redirects=False,
        event_hooks={
            "request": [add_headers, *([note_way] if proxy else [])],
            "response": [_bound_error],
        },
    )
    return openai.OpenAI(
        api_key=settings.api_key.reveal() if settings.api_key else NO_KEY,
        base_url=settings.endpoint.request_url,
        max_retries=0,
        timeout=longest_s,
        http_client=http,
    )


def _transport(settings: Settings, ahead: ConnectionAhead | None) -> httpx2.HTTPTransport | None:
    """The transport; None for the one that the client makes by itself. Raises SetupError."""
    if ahead is not None and ahead.has_begun:
        with suppress(ImportError, AttributeError):  # what it knows of httpcore2 is not public
            from pipechat.client.handed_over import transport_with

            return transport_with(ahead)
    if settings.endpoint.socket:
        import httpx2

        return httpx2.HTTPTransport(uds=settings.endpoint.socket, verify=False)
    return None
