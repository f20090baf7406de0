"""Decoding of a body that a server encoded unasked. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from pipechat.errors import NetworkError, TryLaterError

_STEP_BYTES = 256 * 1024


def inflated(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """What decodes a body that is encoded though it was asked not to be, segment by segment, in
    steps of a bounded size.

    Raises:
        TryLaterError: it is encoded in a way that nobody asked for.
    """
    if encoding not in ("gzip", "deflate", "x-gzip"):
        message = f"the server sent a body encoded as {encoding[:40]!r}, which was not asked for"
        raise TryLaterError("malformed_stream", message, again=False)
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def inflate(segment: bytes) -> Iterator[bytes]:
        nonlocal decoder
        rest = segment
        try:
            while rest:
                if decoder.eof:  # gzip's members follow one another (RFC 1952 §2.2)
                    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
                yield decoder.decompress(rest, _STEP_BYTES)
                rest = decoder.unused_data or decoder.unconsumed_tail
        except zlib.error as error:
            message = f"the body could not be decompressed: {error}"
            raise NetworkError("connection_lost", message, "Ask again.") from error

    return inflate
