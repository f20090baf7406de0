"""What every rewrite of a session is made of: its lock, a temporary file, lines copied.

The protocol (FAULTS §2): under the session's lock, a temporary file in the same folder takes
the lines that stay, byte for byte, and then the session's name. An appender that waited for
the lock finds another file under the name and opens that one; a turn in flight is appended by
name when it ends. Knows what a line is, and no turn.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pipechat.store.faults import missing, unwritable
from pipechat.store.layout import torn_file
from pipechat.store.locked_file import (
    FILE_MODE,
    SAFE_FLAGS,
    LockedFile,
    is_named,
    lock_file,
    write_all,
)
from pipechat.store.locks import take_lock
from pipechat.store.sessions import SessionStore

_BLOCK = 1 << 20


@contextmanager
def locked(store: SessionStore, name: str) -> Iterator[LockedFile]:
    path = store.path(name)
    try:
        file = LockedFile(path, create=False)
    except FileNotFoundError as error:
        raise missing(name, path) from error
    except OSError as error:
        raise unwritable(name, error) from error
    with file:
        try:
            yield file
        except OSError as error:
            raise unwritable(name, error) from error


@contextmanager
def temporary(path: str) -> Iterator[tuple[int, str]]:
    """A new file `path`, locked, whose name is gone afterwards. One that a crash left is
    removed first: its lock is free."""
    fd = _make_temporary(path)
    try:
        yield fd, path
    finally:
        try:
            if is_named(fd, path):
                os.unlink(path)
        finally:
            os.close(fd)


def _make_temporary(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE_FLAGS
    while True:
        try:
            fd = os.open(path, flags, FILE_MODE)
        except FileExistsError:
            remove_if_free(path, tell=True)
            continue
        take_lock(fd, fcntl.LOCK_EX)
        if is_named(fd, path):
            return fd
        os.close(fd)


def remove_if_free(path: str, *, tell: bool = False) -> None:
    try:
        fd = lock_file(path, create=False, wait_s=0)
    except FileNotFoundError:
        return
    except OSError:
        if tell:
            raise
        return
    try:
        os.unlink(path)
    finally:
        os.close(fd)


def write_lines(fd: int, lines: Iterable[bytes]) -> int:
    count = 0
    buffer = bytearray()
    for line in lines:
        count += 1
        buffer += line
        buffer += b"\n"
        if len(buffer) >= _BLOCK:
            write_all(fd, buffer)
            buffer = bytearray()
    write_all(fd, buffer)
    return count


def torn_path_of(store: SessionStore, name: str) -> str:
    return os.path.join(store.folder, torn_file(name))
