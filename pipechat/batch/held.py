"""Records that are whole and cannot stand in the output yet, on disk beside it.

With --ordered those behind one that is missing; and what the output could not take. A line each:
its place in the order, a blank, the record. The run that has the lock of the output is the only
one that touches the file, and the next one adopts what a run that died has left.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from pipechat.store.locked_file import (
    FILE_MODE,
    SAFE_FLAGS,
    must_be_regular,
    read_all,
    sync,
    sync_folder,
    write_all,
)

# What is no longer held may take up so much, beside as much as is held, until it is thrown away.
_SLACK_BYTES = 1 << 20

Placed = tuple[int, bytes]
"""A record's line, and its place in the order (from 0)."""


class HeldFile:
    """The file at `path`, which is there only while something is held. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._size = 0
        self._stays = False

    def read(self) -> list[bytes]:
        """The records that a run has left, in their order. What it was writing when it died, and
        what another user has put there, is none."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | SAFE_FLAGS)
        except FileNotFoundError:
            return []
        try:
            must_be_regular(fd)
            if os.fstat(fd).st_uid != os.geteuid():
                raise OSError(errno.EPERM, "it belongs to another user")
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        *lines, _torn = read_all(self._fd).split(b"\n")
        self._size = os.fstat(self._fd).st_size
        parts = (line.partition(b" ") for line in lines)
        placed = [(int(place), record) for place, _, record in parts if place.isdigit()]
        return [record for _, record in sorted(placed, key=lambda each: each[0])]

    def add(self, records: Iterable[Placed], *, stay: bool = False) -> None:
        """Hold `records`, all of them safe on disk, or none. `stay`: until another run adopts
        them, and whatever else is held with them."""
        data = b"".join(b"%d %s\n" % each for each in records)
        if not data:
            return
        if self._fd < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | SAFE_FLAGS
            self._fd = os.open(self.path, flags, FILE_MODE)
            sync_folder(os.path.dirname(self.path))
        try:
            write_all(self._fd, data)
            sync(self._fd)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        self._stays = self._stays or stay

    def keep(self, held: dict[int, bytes]) -> None:
        """Only `held`, by place, is held any more: what else is here is in the output."""
        if self._stays or self._fd < 0 or not self._size:
            return
        if not held:
            os.ftruncate(self._fd, 0)
            self._size = 0
        elif self._size > 2 * sum(map(len, held.values())) + _SLACK_BYTES:
            self._rewrite(held)

    def _rewrite(self, held: dict[int, bytes]) -> None:
        data = b"".join(b"%d %s\n" % each for each in sorted(held.items()))
        path = self.path + ".new"
        with suppress(FileNotFoundError):
            os.unlink(path)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, FILE_MODE)
        try:
            write_all(fd, data)
            sync(fd)
            os.replace(path, self.path)
            sync_folder(os.path.dirname(self.path))
        except BaseException:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size = fd, len(data)

    def forget(self) -> None:
        """Nothing is held any more."""
        self._stays = False
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            self._size = 0

    def close(self) -> None:
        """The file stays where something is held."""
        if self._fd < 0:
            return
        if not self._size:
            for path in (self.path, self.path + ".new"):
                with suppress(OSError):
                    os.unlink(path)
        os.close(self._fd)
        self._fd = -1
