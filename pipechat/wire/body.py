"""A response's body, whatever it is: segments fed in, chunks out.

A 200 is no promise (WIRE.md): it may be an event stream, one JSON document, an error, an HTML
page or nothing. The first byte that is no white space tells which. Pure; knows no dialect but
by its reader.
"""

from collections.abc import Iterator
from typing import Protocol

from pipechat.errors import PipechatError, RefusedError
from pipechat.events import Chunk
from pipechat.wire.api_errors import malformed
from pipechat.wire.sse import MAX_EVENT_BYTES, ServerEvent, SSEDecoder

_WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


class Reader(Protocol):
    """How a dialect reads one response."""

    def event(self, event: ServerEvent) -> Chunk: ...
    def document(self, data: bytes) -> Iterator[Chunk]: ...


class BodyDecoder:
    """Feed it segments as they come, cut anywhere; `close` at the end.

    Args:
        content_type: tells a page of words from a stream without events; nothing else, since
            servers get it wrong.
        host: where the request went, for messages.

    `finished`: the server said that nothing more comes; what follows is not looked at.
    """

    def __init__(self, reader: Reader, *, content_type: str, host: str) -> None:
        self._reader = reader
        self._content_type = content_type
        self._host = host
        self._head = b""
        self._sse: SSEDecoder | None = None
        self._document: list[bytes] | None = None
        self._document_bytes = 0
        self._any_event = False
        self.finished = False

    def feed(self, segment: bytes) -> Iterator[Chunk]:
        """The chunks that `segment` completes. Take all of them before the next.

        Raises:
            PipechatError: the body is no answer, is malformed, or carries an error.
        """
        if self._sse is not None:
            yield from self._events(self._sse.feed(segment))
        elif self._document is not None:
            self._keep(self._document, segment)
        else:
            yield from self._begin(segment)

    def close(self) -> Iterator[Chunk]:
        """The chunks that the end of the body completes. Raises PipechatError."""
        if self._document is not None:
            yield from self._reader.document(b"".join(self._document))
        elif self._sse is None:
            self._sse = SSEDecoder()
            yield from self._last(self._sse.feed(self._head))
        if self._sse is not None and not self.finished:
            yield from self._last(self._sse.close())
            said = self._head.removeprefix(_BOM).strip(_WHITE)
            if said and not self._any_event and "event-stream" not in self._content_type.lower():
                raise self._no_api("something else")

    def _begin(self, segment: bytes) -> Iterator[Chunk]:
        # Blank lines before the first event are none.
        self._head = head = (self._head + segment).lstrip(_WHITE)
        first = head.removeprefix(_BOM).lstrip(_WHITE)[:1]
        if not first or _BOM.startswith(head):
            return
        if first in (b"{", b"["):
            self._document = []
            self._keep(self._document, head.removeprefix(_BOM))
        elif first == b"<":
            raise self._no_api("a page")
        else:
            self._sse = SSEDecoder()
            self._head = head[:64]
            yield from self._events(self._sse.feed(head))

    def _events(self, events: list[ServerEvent]) -> Iterator[Chunk]:
        for event in events:
            if self.finished:
                return
            self._any_event = True
            chunk = self._reader.event(event)
            self.finished = chunk.done
            yield chunk

    def _last(self, events: list[ServerEvent]) -> Iterator[Chunk]:
        try:
            yield from self._events(events)
        except PipechatError as error:
            # What the end of the stream cut in two is no event: the end rule judges the turn.
            if error.code != "malformed_stream":
                raise

    def _keep(self, document: list[bytes], segment: bytes) -> None:
        document.append(segment)
        self._document_bytes += len(segment)
        if self._document_bytes > MAX_EVENT_BYTES:
            raise malformed("a JSON document of more than 64 MiB")

    def _no_api(self, fallback: str) -> RefusedError:
        what = (self._content_type or fallback).split(";")[0]
        return RefusedError(
            "not_an_api",
            f"{self._host} answered with {what}, not with a completion",
            "Check --base-url: it usually ends in /v1.",
        )
