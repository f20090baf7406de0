"""Connections of aiohttp, and whether the one that a request was given had been used before.

Owns what is kept between requests, and how long. Imported where aiohttp is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakSet

import aiohttp

_KEPT_S = 5.0  # a connection that nobody uses, as with the SDK's other client
_HEAD_BYTES = 100 * 1024  # what ask's library reads of a head; a policy in a header is long
_reused: ContextVar[bool] = ContextVar("reused", default=False)


class Clients(NamedTuple):
    """Those of the same Connectors."""

    kept: aiohttp.ClientSession
    fresh: aiohttp.ClientSession


class Connectors(NamedTuple):
    """`kept` gives a connection that was used before where it has one, `fresh` never."""

    kept: aiohttp.BaseConnector
    fresh: aiohttp.BaseConnector

    def clients(self, headers: Mapping[str, str]) -> Clients:
        """Who sends over them, with these headers."""
        return Clients(_client(self.kept, headers), _client(self.fresh, headers))

    async def aclose(self) -> None:
        await self.kept.close()
        await self.fresh.close()


def was_reused() -> bool:
    """Whether the connection had been used before that this task was given last."""
    return _reused.get()


def connectors(jobs: int, socket: str, tls: dict[str, Any]) -> Connectors:
    """What connects to one server, `jobs` times at once at most; with `socket`, to that file."""
    if socket:
        return Connectors(
            _KeptUnix(path=socket, limit=jobs, keepalive_timeout=_KEPT_S),
            aiohttp.UnixConnector(path=socket, limit=jobs, force_close=True),
        )
    return Connectors(
        _KeptTcp(limit=jobs, keepalive_timeout=_KEPT_S, **tls),
        aiohttp.TCPConnector(limit=jobs, force_close=True, **tls),
    )


def _client(connector: aiohttp.BaseConnector, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        headers=headers,
        auto_decompress=False,
        max_line_size=_HEAD_BYTES,
        max_field_size=_HEAD_BYTES,
        timeout=aiohttp.ClientTimeout(),  # our own deadlines bound every wait
    )


class _Kept(aiohttp.BaseConnector):
    """Notes what it gives. aiohttp's own traces would tell as well, and take 12 µs a request."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given: WeakSet[object] = WeakSet()

    async def connect(self, *arguments: Any, **options: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*arguments, **options)
        was_given = connection.transport in self._given
        _reused.set(was_given)
        if not was_given:
            self._given.add(connection.transport)
        return connection


class _KeptTcp(_Kept, aiohttp.TCPConnector): ...


class _KeptUnix(_Kept, aiohttp.UnixConnector): ...
