"""What was spent by the ledger, counted without reading it from its beginning.

A small file has the sum and how far the ledger was read for it; only what was added since is read.
Where that file is missing, torn, or does not fit the ledger, all of the period is read once more.
Everything here happens under the lock of the budgets.
"""

from __future__ import annotations

import os
import re
from binascii import crc32
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipechat import jsonl
from pipechat.ledger.amounts import Line, is_line
from pipechat.store.locked_file import FILE_MODE, SAFE_FLAGS, open_to_read, settled_size, write_all

_PIECE = 1 << 20
_LONGEST = 4096
_MONTH_FILE = re.compile(r"\d{4}-\d\d\.jsonl")

Counts = Callable[[Line], int | None]
"""What a line counts for: 0 where it is not of this budget, None where it has no price."""


class Sum(NamedTuple):
    """What was spent, and how many requests have no price."""

    amount: int = 0
    unpriced: int = 0


class _State(NamedTuple):
    """`seen`: when it was counted. `file`, `inode`, `offset`: how far the ledger was read."""

    key: str
    since: str
    seen: str
    file: str
    inode: int
    offset: int
    amount: int
    unpriced: int


class Spent:
    """What was spent of one budget.

    Args:
        folder: of the ledger.
        name: of the file that has the sum.
        key: tells ways of counting apart; another one is counted anew.
    """

    def __init__(self, folder: str, name: str, key: str, counts: Counts) -> None:
        self._folder = folder
        self._path = os.path.join(folder, name)
        self._key = key
        self._counts = counts

    def until(self, now: str, since: str) -> Sum:
        """The sum of what has a time of `since` or later. Raises OSError."""
        was = self._read()
        state = self._begun(was, now, since)
        for file in month_files(self._folder, state.file or since):
            state = self._read_on(state, file)
        if was is None or state != was._replace(seen=state.seen):
            self._write(state)
        return Sum(state.amount, state.unpriced)

    def _begun(self, was: _State | None, now: str, since: str) -> _State:
        """Where to go on from: the state as it was, or a new count."""
        if was is not None and was.key == self._key and self._fits(was):
            if was.since == since:
                return was._replace(seen=now)
            if was.seen < since:  # another period has begun, and nothing of it was read
                return was._replace(since=since, seen=now, amount=0, unpriced=0)
        return _State(self._key, since, now, "", 0, 0, 0, 0)

    def _fits(self, state: _State) -> bool:
        """Whether the ledger still has what was read of it."""
        if not state.file:
            return True
        try:
            fd = open_to_read(os.path.join(self._folder, state.file))
        except FileNotFoundError:
            return False
        try:
            before = os.pread(fd, 1, state.offset - 1) if state.offset else b"\n"
            return os.fstat(fd).st_ino == state.inode and before == b"\n"
        finally:
            os.close(fd)

    def _read_on(self, state: _State, file: str) -> _State:
        offset = state.offset if file == state.file else 0
        fd = open_to_read(os.path.join(self._folder, file))
        try:
            amount, unpriced = state.amount, state.unpriced
            for line, end in lines_from(fd, offset):
                offset = end
                if line is not None and line["at"] >= state.since:
                    counted = self._counts(line)
                    amount += counted or 0
                    unpriced += counted is None
            inode = os.fstat(fd).st_ino
        finally:
            os.close(fd)
        return state._replace(
            file=file, inode=inode, offset=offset, amount=amount, unpriced=unpriced
        )

    def _read(self) -> _State | None:
        try:
            fd = open_to_read(self._path)
        except OSError:
            return None
        try:
            said, _, record = os.pread(fd, _LONGEST, 0).partition(b" ")
        finally:
            os.close(fd)
        if said != _sum_of(record):
            return None
        return _State(*jsonl.loads(record))

    def _write(self, state: _State) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFE_FLAGS
        fd = os.open(self._path, flags, FILE_MODE)
        try:
            record = jsonl.dumps(state)
            write_all(fd, _sum_of(record) + b" " + record)
        finally:
            os.close(fd)


def month_files(folder: str, first: str) -> list[str]:
    """The names of the ledger's files, oldest first, from that of the month of `first` on."""
    names = filter(_MONTH_FILE.fullmatch, os.listdir(folder))
    return sorted(name for name in names if name[:7] >= first[:7])


def lines_from(fd: int, offset: int) -> Iterator[tuple[Line | None, int]]:
    """The whole lines behind `offset`, each with where it ends; None for what is none of ours."""
    end = settled_size(fd)
    rest = b""
    while offset + len(rest) < end:
        begin = offset + len(rest)
        piece = os.pread(fd, min(_PIECE, end - begin), begin)
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            offset += len(text) + 1
            yield _line(text), offset


def _line(text: bytes) -> Line | None:
    try:
        record = jsonl.loads(text)
    except ValueError:
        return None
    return record if is_line(record) else None


def _sum_of(record: bytes) -> bytes:
    return f"{crc32(record):08x}".encode()
