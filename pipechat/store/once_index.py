"""The index of --once beside a session: where the first complete turn of each key stands.

It says which part of the session it covers; what came since is read and added, and where it is
of another file it is made anew. The session alone is the truth: what is found is looked up there,
and an index that cannot be had only makes the search longer. The only module that knows SQLite.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.layout import once_index_files
from pipechat.store.locked_file import FILE_MODE, SAFE_FLAGS, must_be_regular
from pipechat.store.once_turns import first_of_key, key_hash, key_of, keyed_turns, turn_at
from pipechat.store.reading import Session

_FORMAT = 1
_TABLES = (
    "DROP TABLE IF EXISTS turn",
    "DROP TABLE IF EXISTS covered",
    "CREATE TABLE turn (key BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
    # The inode is a text: some file systems have larger ones than SQLite has integers.
    "CREATE TABLE covered (inode TEXT NOT NULL, bytes INTEGER NOT NULL, digest BLOB NOT NULL)",
    f"PRAGMA user_version = {_FORMAT}",
)
_PATIENCE_S = 10.0  # for another process that adds to it, or makes it anew
_TAIL_BYTES = 4096
_HELD_BY_ANOTHER = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def find_by_index(folder: str, session: Session, key: str) -> Turn | None:
    """The first complete turn of `key`. Reads as little of the session whatever its size, once
    the index covers it.

    Raises:
        OSError: the session cannot be read.
    """
    paths = [os.path.join(folder, entry) for entry in once_index_files(session.name)]
    for _ in range(2):
        try:
            with closing(_Index(paths[0], session)) as index:
                return index.find(key)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _HELD_BY_ANOTHER or not _throw_away(paths):
                break
        except _CannotOpenError:
            break
    return first_of_key(session, key)


class _CannotOpenError(Exception):
    """The index is no regular file, or may not be made or opened."""


def _throw_away(paths: list[str]) -> bool:
    """Remove a damaged index; whether it is gone."""
    try:
        for path in paths:
            if os.path.lexists(path):
                os.unlink(path)
    except OSError:
        return False
    return True


class _Index:
    """The index of one session, open. Every method raises sqlite3.Error where it is damaged, or
    cannot be written or waited for."""

    def __init__(self, path: str, session: Session) -> None:
        self._session = session
        try:
            # SQLite itself would follow a link, and make the file as the umask allows.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | SAFE_FLAGS, FILE_MODE)
            try:
                must_be_regular(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise _CannotOpenError from error
        self._database = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)

    def close(self) -> None:
        self._database.close()

    def find(self, key: str) -> Turn | None:
        """The first complete turn of `key`, as the session itself has it."""
        for anew in (False, True):
            covered = None if anew else self._covered()
            if covered is None or covered < self._session.size:
                self._add_rest(anew=anew)
            select = "SELECT at FROM turn WHERE key = ?"
            row = self._database.execute(select, (key_hash(key),)).fetchone()
            if row is None:
                return None
            turn = turn_at(self._session, row[0]) if isinstance(row[0], int) else None
            if turn is not None and key_of(turn) == key:
                return turn
        return None

    def _covered(self) -> int | None:
        """How many bytes of the session are covered, all of them whole lines; None: it is the
        index of something else."""
        if self._database.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
            return None
        row = self._database.execute("SELECT inode, bytes, digest FROM covered").fetchone()
        status = os.fstat(self._session.fd)
        if row is None or row[0] != str(status.st_ino) or not isinstance(row[1], int):
            return None
        covered: int = row[1]
        # Others may have covered more than what had settled when this session was opened.
        is_same = 0 <= covered <= status.st_size and row[2] == self._digest(covered)
        return covered if is_same else None

    def _digest(self, covered: int) -> bytes:
        """Of the last line that is covered, or its end: another file has another there."""
        start = max(0, covered - _TAIL_BYTES)
        return hashlib.sha256(os.pread(self._session.fd, covered - start, start)).digest()

    def _add_rest(self, *, anew: bool) -> None:
        """Add what is not covered yet, all of it or nothing; `anew`, or where the index is of
        something else, all that there is."""
        database = self._database
        with database:
            database.execute("BEGIN IMMEDIATE")
            start = None if anew else self._covered()
            if start is None:
                for statement in _TABLES:
                    database.execute(statement)
            start = start or 0
            database.executemany("INSERT OR IGNORE INTO turn VALUES (?, ?)", self._rows(start))
            covered = max(start, self._end_of_whole_lines())
            of_what = (str(os.fstat(self._session.fd).st_ino), covered, self._digest(covered))
            database.execute("DELETE FROM covered")
            database.execute("INSERT INTO covered VALUES (?, ?, ?)", of_what)

    def _rows(self, start: int) -> Iterator[tuple[bytes, int]]:
        for offset, key, _ in keyed_turns(self._session, start):
            yield key_hash(key), offset

    def _end_of_whole_lines(self) -> int:
        """Where the last line ends that has its newline: what stands behind it may yet go."""
        fd, size = self._session.fd, self._session.size
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            return size
        return next(offset for offset, _ in jsonl.lines_backwards(fd, size))
