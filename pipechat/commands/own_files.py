"""Before anything is added to a file that a user names: whether it is one of ours.

A file is judged by its first line alone: one that a crash tore begins as ours do.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pipechat import jsonl
from pipechat.errors import UsageError

_HEAD_BYTES = 1 << 16


class Kind(NamedTuple):
    """Files of one kind: what messages call a line, how each begins as we write it, and which
    keys its first line has, whatever their order."""

    name: str
    begins: bytes
    keys: frozenset[str]


RECORDS = Kind("record of an item or a turn", b'{"v":', frozenset(("question", "answer", "status")))
RECORDING = Kind("line of a recording", b'{"v":', frozenset(("path", "body")))


def check_kind(path: str, origin: str, kind: Kind) -> None:
    """Let `path` pass where it may be added to: nothing is there, or a file of `kind`.

    Args:
        origin: who named it.

    Raises:
        UsageError: it holds something else.
    """
    line = _first_line(path)
    try:
        value = jsonl.loads_line(line)
    except ValueError:
        if line.startswith(kind.begins) or kind.begins.startswith(line):
            return
    else:
        if isinstance(value, dict) and value.keys() >= kind.keys:
            return
    message = f"{origin}: {path} holds something else: its first line is no {kind.name}"
    raise UsageError("bad_option", message, "Name another file: this one would be added to.")


def _first_line(path: str) -> bytes:
    """The beginning of the first line that says something. What cannot be read is told by
    whoever opens it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            is_file = stat.S_ISREG(os.fstat(fd).st_mode)
            head = os.read(fd, _HEAD_BYTES) if is_file else b""
        finally:
            os.close(fd)
    except OSError:
        return b""
    return head.lstrip().partition(b"\n")[0]
