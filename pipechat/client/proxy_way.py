"""How far a request came that has a proxy on its way: whose fault a failure is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2


class _Way:
    """How far a request came that has a proxy on its way (the transport's `trace`)."""

    def __init__(self) -> None:
        self.reached = False

    def __call__(self, event: str, about: Mapping[str, Any]) -> None:
        if event.endswith(".send_request_headers.started"):
            self.reached = about["request"].method != b"CONNECT"
        elif event in ("proxy.start_tls.started", "socks.start_tls.started"):
            self.reached = True


def note_way(request: httpx2.Request) -> None:
    """A hook of the client: note how far `request` comes."""
    request.extensions["trace"] = _Way()


def has_reached_the_server(error: BaseException) -> bool:
    """Whether the way to the server was open when the transport raised `error`, as far as is
    known; a proxy that forwards requests is as good as the server."""
    way = None
    with suppress(RuntimeError):  # it was raised before there was a request
        request = getattr(error, "request", None)
        way = request.extensions.get("trace") if request is not None else None
    return way.reached if isinstance(way, _Way) else True
