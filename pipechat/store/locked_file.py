"""One file of the store, opened and locked by the protocol of FAULTS §2.

Owns the flags, the locks, the append with its seal and its rollback, and the words for what
an OSError means. Knows no turn and no JSON. Raises OSError; the store translates.
"""

import errno
import fcntl
import os
import stat
import time
from types import TracebackType
from typing import Self

from pipechat.errors import SessionError

# No link is followed, and a FIFO does not hold the opener up until it is looked at.
SAFE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
FILE_MODE = 0o600
FOLDER_MODE = 0o700


class SessionFile:
    """A session file that is open, and whose lock is held until it is closed.

    Raises (opening): OSError; BlockingIOError where `wait` is false and another holds it.
    """

    def __init__(self, path: str, *, create: bool, wait: bool = True) -> None:
        self.path = path
        self.fd = lock_file(path, create=create, wait=wait)

    def append(self, record: bytes) -> None:
        """Add the line `record`, whole and safe on disk, or not at all.

        Raises:
            OSError: it could not be written; the file is as it was before.
        """
        size = os.fstat(self.fd).st_size
        seal = b"\n" if size and os.pread(self.fd, 1, size - 1) != b"\n" else b""
        try:
            write_all(self.fd, seal + record + b"\n")
            sync(self.fd)
            if size == 0:
                sync_folder(os.path.dirname(self.path))
        except OSError:
            self._roll_back(size)
            raise

    def _roll_back(self, size: int) -> None:
        try:
            os.ftruncate(self.fd, size)
        except OSError:
            return  # the torn line stays, and the next append seals it off

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


def lock_file(path: str, *, create: bool, wait: bool = True) -> int:
    """A descriptor of the regular file `path` with its exclusive lock held.

    Who waited for the lock may hold that of a file which was replaced or removed meanwhile:
    the name is looked up again, and opened again where it names another.
    """
    flags = os.O_RDWR | os.O_APPEND | SAFE_FLAGS | (os.O_CREAT if create else 0)
    while True:
        fd = os.open(path, flags, FILE_MODE)
        try:
            must_be_regular(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if is_named(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def lock_in_time(path: str, wait_s: float | None) -> int | None:
    """As `lock_file`, creating; None where another holds it for longer than `wait_s` seconds
    (None: wait for ever)."""
    ends_at = None if wait_s is None else time.monotonic() + wait_s
    pause = 0.005
    while True:
        try:
            return lock_file(path, create=True, wait=False)
        except BlockingIOError:
            left = pause if ends_at is None else ends_at - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.1)


def open_to_read(path: str) -> int:
    """A descriptor of the regular file `path`, for reading."""
    fd = os.open(path, os.O_RDONLY | SAFE_FLAGS)
    try:
        must_be_regular(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def settled_size(fd: int) -> int:
    """The size in bytes up to which the file holds no append in flight. What stands before it
    stays: appends only add, and a rewrite makes a new file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
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
    except FileNotFoundError:
        return False


def must_be_regular(fd: int) -> None:
    """Raises OSError where `fd` is a folder, a FIFO, a socket or a device."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
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
    """Wait until the names in `folder` are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
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
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:  # made by another meanwhile; or no folder, or out of reach
            if not stat.S_ISDIR(os.stat(path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        else:
            sync_folder(os.path.dirname(path))


_WORDS = {
    errno.ENOSPC: ("the disk is full", "Free some space and ask again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and ask again."),
    errno.EFBIG: ("the file may not grow any more", "Look at `ulimit -f`."),
    errno.EROFS: ("the file system is read-only", "Set PIPECHAT_HOME to a folder elsewhere."),
    errno.EACCES: ("permission denied", "Look at the owner and the mode of the folder."),
    errno.EPERM: ("it is not permitted", "Look at the owner and the mode of the folder."),
    errno.ELOOP: ("it is a symbolic link", "Put the file itself in its place."),
    errno.EMLINK: ("it is a symbolic link", "Put the file itself in its place."),
    errno.EISDIR: ("it is a folder", "Move it away."),
    errno.ENXIO: ("it is not a regular file", "Move it away."),
    errno.ENOTDIR: ("what should be its folder is a file", "Set PIPECHAT_HOME to a folder."),
    errno.ENOLCK: ("the file system has no locks", "Keep sessions on a local disk."),
    errno.ENOTSUP: ("the file system has no locks", "Keep sessions on a local disk."),
    errno.EMFILE: ("too many files are open", "Look at `ulimit -n`."),
    errno.EIO: ("the disk failed to read or write", "Look at the disk."),
}


def words_for(error: OSError) -> tuple[str, str]:
    """What `error` means and what to try, in plain words."""
    fallback = (error.strerror or str(error), "Look at the folder of the sessions.")
    return _WORDS.get(error.errno or 0, fallback)


def unwritable(name: str, error: OSError) -> SessionError:
    what, hint = words_for(error)
    return SessionError("session_unwritable", f"session {name!r}: {what}", hint)


def unreadable(name: str, error: OSError) -> SessionError:
    what, hint = words_for(error)
    return SessionError("session_unreadable", f"session {name!r}: {what}", hint)
