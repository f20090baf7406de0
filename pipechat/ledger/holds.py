"""What is in flight: a file a process, of the lines that its requests would leave as they stand.

The process holds the lock of its file for as long as it lives. So where that lock is free it died,
and the lines are what its requests are settled by. Files are made, changed and looked at under the
lock of the budgets, and replaced as a whole: none is ever torn.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pipechat import jsonl
from pipechat.ledger.account import file_of
from pipechat.ledger.amounts import Line, is_line
from pipechat.ledger.spent import lines_from
from pipechat.messages import new_turn_id
from pipechat.store.locked_file import FILE_MODE, SAFE_FLAGS, open_to_read, read_all, write_all

_HOLD, _NEW = ".hold", ".hold.new"


class Hold:
    """That of this process; `lines` are those of each turn, by its id."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, f".{new_turn_id()}{_HOLD}")
        self._fd = -1
        self.lines: Mapping[str, Sequence[Line]] = {}

    def put(self, turn: str, lines: Sequence[Line]) -> None:
        """Hold `lines` for `turn`, in place of what was. Raises OSError: as it was before."""
        self._set({**self.lines, turn: lines})

    def drop(self, turns: Collection[str]) -> None:
        """Hold nothing for `turns` any more, which the ledger has. Raises OSError: the file is as
        it was, and the next one is without them."""
        left = {turn: lines for turn, lines in self.lines.items() if turn not in turns}
        try:
            self._set(left)
        finally:
            self.lines = left

    def _set(self, lines: Mapping[str, Sequence[Line]]) -> None:
        if not lines:
            if self._fd >= 0:
                os.unlink(self._path)
                os.close(self._fd)
                self._fd = -1
            self.lines = lines
            return
        new = f"{self._path.removesuffix(_HOLD)}{_NEW}"
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | SAFE_FLAGS, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = [line for each in lines.values() for line in each]
            records = [_sizes(self._folder, held), *held]
            write_all(fd, b"\n".join(map(jsonl.dumps, records)))
            os.rename(new, self._path)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                os.unlink(new)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self.lines = lines


class Found(NamedTuple):
    """The hold of another process. `lines`: what it holds, less what the ledger has already."""

    path: str
    is_alive: bool
    lines: Sequence[Line]


def holds_of_others(folder: str, own: Hold) -> Iterator[Found]:
    """The holds that there are. Raises OSError."""
    for entry in os.listdir(folder):
        path = os.path.join(folder, entry)
        if entry.endswith(_NEW):
            os.unlink(path)  # its process died before it stood
        elif entry.endswith(_HOLD) and path != own._path:
            yield _found(folder, path)


def _sizes(folder: str, lines: Sequence[Line]) -> dict[str, int]:
    """How far the ledger goes, by the files that `lines` would be added to."""
    sizes = {}
    for name in _files_of(lines):
        with suppress(FileNotFoundError):
            sizes[name] = os.stat(os.path.join(folder, name)).st_size
    return sizes


def _files_of(lines: Sequence[Line]) -> list[str]:
    return sorted({file_of(line["at"]) for line in lines})


def _found(folder: str, path: str) -> Found:
    fd = open_to_read(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_alive = False
        except BlockingIOError:
            is_alive = True
        records = _records(read_all(fd))
    finally:
        os.close(fd)
    lines = [record for record in records if is_line(record)]
    if lines and not is_alive:
        # It may have died behind its last append, before it could let go.
        kept = set(_turns_since(folder, records[0], lines))
        lines = [line for line in lines if line["turn"] not in kept]
    return Found(path, is_alive, lines)


def _turns_since(folder: str, sizes: Mapping[str, Any], lines: Sequence[Line]) -> Iterator[str]:
    """The turns that the ledger got, since it went so far, in the files that `lines` go to."""
    for name in _files_of(lines):
        try:
            fd = open_to_read(os.path.join(folder, name))
        except FileNotFoundError:
            continue
        try:
            size = sizes.get(name)
            offset = size if type(size) is int and size >= 0 else 0
            yield from (line["turn"] for line, _ in lines_from(fd, offset) if line is not None)
        finally:
            os.close(fd)


def _records(data: bytes) -> list[Any]:
    """What a hold's file says; nothing where the machine itself went down within it."""
    try:
        records = [jsonl.loads(line) for line in data.splitlines()]
    except ValueError:
        return []
    return records if records and isinstance(records[0], dict) else []
