"""The transport, with a connection handed to it that was opened ahead, and its frames joined.

Owns the place in httpcore2 where both enter. Imported where there is one to hand over.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2
from httpcore2._backends.sync import SyncStream

from pipechat.client.ahead import ConnectionAhead
from pipechat.client.frames import Frames


def transport_with(ahead: ConnectionAhead) -> httpx2.HTTPTransport:
    """The transport that the SDK's client would have, whose first connection is that of `ahead`.

    Raises:
        SetupError: the certificates are wrong that are trusted or shown.
    """
    transport = httpx2.HTTPTransport(verify=ahead.context() or False, trust_env=False)
    transport._pool._network_backend = _Backend(ahead)
    return transport


class _Backend(httpcore2.SyncBackend):
    """Connects as ever, but for the first time."""

    def __init__(self, ahead: ConnectionAhead) -> None:
        self._ahead = ahead

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            found = self._ahead.take(host, port, timeout)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(error) from error
        except OSError as error:
            raise httpcore2.ConnectError(error) from error
        if found is None:
            return _Joining(super().connect_tcp(host, port, timeout, local_address, socket_options))
        return _Joining(_Secure(found) if isinstance(found, ssl.SSLSocket) else SyncStream(found))


class _Secure(SyncStream):
    """One that speaks TLS already: with the context of its transport, and for its host."""

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002 — it is spoken already
        server_hostname: str | None = None,  # noqa: ARG002 — it is spoken already
        timeout: float | None = None,  # noqa: ARG002 — it is spoken already
    ) -> httpcore2.NetworkStream:
        return self


class _Joining(httpcore2.NetworkStream):
    """Hands on the frames of a response that came together as one."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream
        self._frames = Frames()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._frames.joined(self._stream.read(max_bytes, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._frames = Frames()  # what is read next answers this
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return _Joining(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
