"""Numbered frames between two processes of ours, over a pipe or a socket."""

from __future__ import annotations

import struct
from asyncio import IncompleteReadError, StreamReader

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
