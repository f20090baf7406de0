"""A response's body, whatever it is: segments in, chunks out.

A 200 is no promise (WIRE.md): it may be an event stream, one JSON document, an error, an HTML
page or nothing. The first byte that is no white space tells which. Knows no SDK.
"""

import re
from collections.abc import Iterable, Iterator

from pipechat import jsonl
from pipechat.errors import PipechatError, RefusedError
from pipechat.events import Chunk
from pipechat.wire.api_errors import stream_error
from pipechat.wire.chat_completions import malformed, read_payload
from pipechat.wire.sse import MAX_EVENT_BYTES, ServerEvent, SSEDecoder

_DONE = Chunk(done=True)
_WHOLE = Chunk(done=True, finish_null=True)
_WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_LONGEST_DONE = 16  # with blanks around it; the length is checked first, it is quicker
_ERROR_OBJECT = re.compile(rb'\s*\{\s*"error"\s*:')


def read_body(segments: Iterable[bytes], *, content_type: str, host: str) -> Iterator[Chunk]:
    """The chunks of a response with status 200.

    Args:
        segments: the body as it comes, cut anywhere.
        content_type: tells a page of words from a stream without events; nothing else, since
            servers get it wrong.
        host: where the request went, for messages.

    Raises:
        PipechatError: the body is no answer, is malformed, or carries an error.
    """
    rest = iter(segments)
    head = b""
    for segment in rest:
        head = (head + segment).lstrip(_WHITE)  # blank lines before the first event are none
        if head.removeprefix(_BOM).lstrip(_WHITE) and not _BOM.startswith(head):
            break
    first = head.removeprefix(_BOM).lstrip(_WHITE)[:1]
    if first in (b"{", b"["):
        yield from _read_document(_joined(head, rest), host)
        return
    if first == b"<":
        raise _no_api(content_type or "a page", host)
    none_came = True
    for chunk in _read_events(head, rest, host):
        none_came = False
        yield chunk
    if none_came and first and "event-stream" not in content_type.lower():
        raise _no_api(content_type or "something else", host)


def _read_events(head: bytes, rest: Iterator[bytes], host: str) -> Iterator[Chunk]:
    decoder = SSEDecoder()
    for event in decoder.feed(head):
        yield (chunk := _read_event(event, host))
        if chunk is _DONE:
            return
    for segment in rest:
        for event in decoder.feed(segment):
            yield (chunk := _read_event(event, host))
            if chunk is _DONE:
                return
    for event in decoder.close():
        try:
            yield _read_event(event, host)
        except PipechatError as error:
            # What the end of the stream cut in two is no event: the end rule judges the turn.
            if error.code != "malformed_stream":
                raise


def _read_event(event: ServerEvent, host: str) -> Chunk:
    data = event.data
    if len(data) < _LONGEST_DONE and data.strip() == b"[DONE]":
        return _DONE
    payload = _decoded(data, host, is_error=event.name == "error")
    if event.name == "error":
        inner = payload.get("error", payload) if isinstance(payload, dict) else payload
        raise stream_error(inner, host=host)
    return read_payload(payload, host=host)


def _read_document(data: bytes, host: str) -> Iterator[Chunk]:
    payload = _decoded(data.removeprefix(_BOM), host, is_error=False)
    chunk = read_payload(payload, host=host)
    if not isinstance(payload, dict) or not payload.get("choices"):
        raise malformed("JSON that is no completion")
    yield chunk
    yield _WHOLE if chunk.finish_reason is None else _DONE


def _decoded(data: bytes, host: str, *, is_error: bool) -> object:
    try:
        return jsonl.loads(data)
    except ValueError:
        # Servers forget to escape the quotes in an error; it says what is wrong all the same.
        if is_error or _ERROR_OBJECT.match(data):
            raise stream_error(data.decode("utf-8", "replace"), host=host) from None
        raise malformed("data that is no JSON") from None


def _joined(head: bytes, rest: Iterator[bytes]) -> bytes:
    parts = [head]
    size = len(head)
    for segment in rest:
        parts.append(segment)
        size += len(segment)
        if size > MAX_EVENT_BYTES:
            raise malformed("a JSON document of more than 64 MiB")
    return b"".join(parts)


def _no_api(what: str, host: str) -> RefusedError:
    return RefusedError(
        "not_an_api",
        f"{host} answered with {what.split(';')[0]}, not with a completion",
        "Check --base-url: it usually ends in /v1.",
    )
