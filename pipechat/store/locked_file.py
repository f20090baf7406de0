"""A file of lines, opened, locked and appended to by the protocol of FAULTS §2.

Owns the flags, the locks, and the append with its seal and its rollback. Knows no session and
no JSON. Raises OSError; callers translate.
"""

import errno
import fcntl
import os
import stat
import time
from types import TracebackType
from typing import Self

from pipechat.store.locks import PATIENCE_S, OnWait, say_nothing, take_lock

# No link is followed, and a FIFO does not hold the opener up until it is looked at.
SAFE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
FILE_MODE = 0o600
FOLDER_MODE = 0o700


class LockedFile:
    """A file of lines that is open, and whose lock is held until it is closed.

    Args:
        wait_s: how long the lock is waited for; None: for ever.
        on_wait: called once where it takes longer than a second.

    Raises (opening): OSError; BlockingIOError where another holds it for longer than that.
    """

    def __init__(
        self,
        path: str,
        *,
        create: bool,
        wait_s: float | None = PATIENCE_S,
        on_wait: OnWait = say_nothing,
    ) -> None:
        self.path = path
        self.fd = lock_file(path, create=create, wait_s=wait_s, on_wait=on_wait)

    def append(self, *records: bytes) -> None:
        """Add a line each, all of them whole and safe on disk, or none at all.

        Raises:
            OSError: they could not be written; the file is as it was before.
        """
        size = os.fstat(self.fd).st_size
        seal = b"\n" if size and os.pread(self.fd, 1, size - 1) != b"\n" else b""
        try:
            write_all(self.fd, seal + b"\n".join(records) + b"\n")
            sync(self.fd)
            if size == 0:
                sync_folder(os.path.dirname(self.path) or os.curdir)
        except OSError:
            self._roll_back(size)
            raise

    def _roll_back(self, size: int) -> None:
        try:
            os.ftruncate(self.fd, size)
        except OSError:
            return  # the torn line stays, and the next append seals it off

    def let_go(self) -> None:
        """Release the lock; the file stays open."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def take_again(self) -> None:
        """Take the lock that was let go, however long another holds it. Whether the path still
        names this file is to be asked then."""
        take_lock(self.fd, fcntl.LOCK_EX, None)

    def is_named(self) -> bool:
        """Whether the path still names this file."""
        return is_named(self.fd, self.path)

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def lock_file(
    path: str,
    *,
    create: bool,
    wait_s: float | None = PATIENCE_S,
    on_wait: OnWait = say_nothing,
) -> int:
    """A descriptor of the regular file `path` with its exclusive lock held.

    Who waited for the lock may hold that of a file which was replaced or removed meanwhile:
    the name is looked up again, and opened again where it names another.

    Raises:
        BlockingIOError: another held it for `wait_s` seconds (None: waited for for ever).
        OSError
    """
    flags = os.O_RDWR | os.O_APPEND | SAFE_FLAGS | (os.O_CREAT if create else 0)
    ends_at = None if wait_s is None else time.monotonic() + wait_s
    while True:
        fd = os.open(path, flags, FILE_MODE)
        try:
            must_be_regular(fd)
            take_lock(fd, fcntl.LOCK_EX, wait_s, on_wait)
            if is_named(fd, path):
                return fd
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError):
                error.filename = path  # as where it could not be opened
            raise
        os.close(fd)
        if ends_at is not None:
            wait_s = max(ends_at - time.monotonic(), 0.0)


def open_to_read(path: str, *, follow: bool = False) -> int:
    """A descriptor of the regular file `path`, for reading. `follow`: somebody gave that path,
    which may be anything, and may be a link, as with `cat`."""
    if follow:
        must_be_regular(path)  # to open it would end a FIFO's writer, or rewind a tape
    fd = os.open(path, os.O_RDONLY | (SAFE_FLAGS & ~os.O_NOFOLLOW if follow else SAFE_FLAGS))
    try:
        must_be_regular(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def settled_size(fd: int, on_wait: OnWait = say_nothing) -> int:
    """The size in bytes up to which the file holds no append in flight. What stands before it
    stays: appends only add, and a rewrite makes a new file.

    Raises:
        BlockingIOError: another program holds the lock.
    """
    try:
        take_lock(fd, fcntl.LOCK_SH, on_wait=on_wait)
    except BlockingIOError:
        raise
    except OSError:
        return os.fstat(fd).st_size  # a file system without locks is still read
    try:
        return os.fstat(fd).st_size
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def is_named(fd: int, path: str) -> bool:
    """Whether `path` still names the file behind `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False


def must_be_regular(file: int | str) -> None:
    """Raises OSError where `file`, a descriptor or a path, is a folder, a FIFO, a socket or a
    device."""
    mode = os.stat(file).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def write_all(fd: int, data: bytes | bytearray) -> None:
    """Write all of `data`: one write may take less than it was given."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def read_all(fd: int) -> bytes:
    """What the file holds, from its beginning."""
    parts: list[bytes] = []
    position = 0
    while part := os.pread(fd, 1 << 20, position):
        parts.append(part)
        position += len(part)
    return b"".join(parts)


def sync(fd: int) -> None:
    """Wait until what was written is on the disk."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # macOS
        os.fsync(fd)


def sync_folder(folder: str) -> None:
    """Wait until the names in `folder` are on the disk; "" is where the process stands. Where it
    may be written and not read, there is no way to: what stands in its files is safe all the same,
    and no reason to take it back."""
    try:
        fd = os.open(folder or ".", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no such thing
            raise
    finally:
        os.close(fd)


def make_folder(folder: str) -> None:
    """Make `folder` and what is missing above it, all 0700: `makedirs` protects only the leaf."""
    missing = []
    while not os.path.isdir(folder or "."):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:  # made by another meanwhile; or no folder, or out of reach
            if not stat.S_ISDIR(os.stat(path).st_mode):
                what = os.strerror(errno.ENOTDIR)
                raise NotADirectoryError(errno.ENOTDIR, what, path) from None
        else:
            sync_folder(os.path.dirname(path))
