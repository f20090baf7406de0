"""What was spent by the ledger, counted without reading it from its beginning.

A small file has the sum and how far each month was read for it; only what was added since is read.
A line goes to the month in which its request began, so an older file may grow behind a newer one.
Where the count is missing, torn, or does not fit the ledger, all of the period is read once more.
Everything here happens under the lock of the budgets.
"""

from __future__ import annotations

import os
import re
from binascii import crc32
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pipechat import jsonl
from pipechat.ledger.amounts import Line, is_line
from pipechat.store.locked_file import FILE_MODE, SAFE_FLAGS, open_to_read, settled_size, write_all

_PIECE = 1 << 20
_LONGEST = 1 << 16
_SHAPE = 2  # a count in another one is made anew
_MONTH_FILE = re.compile(r"\d{4}-\d\d\.jsonl")

Counts = Callable[[Line], int | None]
"""What a line counts for: 0 where it is not of this budget, None where it has no price."""


class Sum(NamedTuple):
    """What was spent, and how many requests have no price."""

    amount: int = 0
    unpriced: int = 0


class _State(NamedTuple):
    """`latest`: the last time that a line had. `read`: by file which one (its inode), and how far
    it was read."""

    shape: int
    key: str
    since: str
    until: str
    latest: str
    read: Mapping[str, tuple[int, int]]
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

    def within(self, since: str, until: str) -> Sum:
        """The sum of what has a time of `since` or later, and before `until` ("": no limit).

        Raises:
            OSError
        """
        was = self._read()
        state = self._begun(was, since, until)
        for file in month_files(self._folder, since):
            state = self._read_on(state, file)
        if state != was:
            self._write(state)
        return Sum(state.amount, state.unpriced)

    def _begun(self, was: _State | None, since: str, until: str) -> _State:
        """Where to go on from: the state as it was, or a new count."""
        if was is not None and was.key == self._key and self._fits(was):
            if (was.since, was.until) == (since, until):
                return was
            if was.latest < since:  # another period has begun, and nothing of it was read
                of_it = {file: end for file, end in was.read.items() if file[:7] >= since[:7]}
                return was._replace(since=since, until=until, read=of_it, amount=0, unpriced=0)
        return _State(_SHAPE, self._key, since, until, "", {}, 0, 0)

    def _fits(self, state: _State) -> bool:
        """Whether the ledger still has what was read of it."""
        for file, (inode, offset) in state.read.items():
            try:
                fd = open_to_read(os.path.join(self._folder, file))
            except FileNotFoundError:
                return False
            try:
                before = os.pread(fd, 1, offset - 1) if offset else b"\n"
                if os.fstat(fd).st_ino != inode or before != b"\n":
                    return False
            finally:
                os.close(fd)
        return True

    def _read_on(self, state: _State, file: str) -> _State:
        _, offset = state.read.get(file, (0, 0))
        fd = open_to_read(os.path.join(self._folder, file))
        try:
            latest, amount, unpriced = state.latest, state.amount, state.unpriced
            for line, end in lines_from(fd, offset):
                offset = end
                if line is None:
                    continue
                latest = max(latest, line["at"])
                if line["at"] >= state.since and (not state.until or line["at"] < state.until):
                    counted = self._counts(line)
                    amount += counted or 0
                    unpriced += counted is None
            read = {**state.read, file: (os.fstat(fd).st_ino, offset)}
        finally:
            os.close(fd)
        return state._replace(latest=latest, read=read, amount=amount, unpriced=unpriced)

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
        shape, *others = jsonl.loads(record, to_the_digit=True)  # a sum may pass 64 bits
        if shape != _SHAPE:
            return None
        state = _State(shape, *others)
        return state._replace(read={file: (end[0], end[1]) for file, end in state.read.items()})

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
