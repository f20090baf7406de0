"""Numbered frames between two processes of ours, over a pipe or a socket."""

from __future__ import annotations

import struct
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Callable

_HEAD = struct.Struct(">QI")  # number, bytes that follow


def frame(number: int, content: bytes) -> bytes:
    """One frame, ready to be written."""
    return _HEAD.pack(number, len(content)) + content


async def next_frame(reader: StreamReader) -> tuple[int, bytes] | None:
    """The next frame: its number and content; None where the other side has ended."""
    try:
        number, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return number, await reader.readexactly(size)
    except (IncompleteReadError, ConnectionError):
        return None


class Frames:
    """Finds frames in bytes as they come. A StreamReader waits twice for each, which is most of
    what a frame costs.

    Args:
        take: takes each, its number and content.
    """

    def __init__(self, take: Callable[[int, bytes], None]) -> None:
        self._take = take
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """What came; each frame is taken once it is whole."""
        rest = self._rest
        rest += data
        start = 0
        while len(rest) - start >= _HEAD.size:
            number, size = _HEAD.unpack_from(rest, start)
            begin = start + _HEAD.size
            if begin + size > len(rest):
                break
            self._take(number, bytes(rest[begin : begin + size]))
            start = begin + size
        del rest[:start]
