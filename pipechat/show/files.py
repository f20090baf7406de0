"""-o FILE: a file that appears when the answer is whole; what is open already, or is no regular
file, is written in place. Whether it can be written is tried before anything is sent."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable
from contextlib import suppress

from pipechat.errors import OutputError, ReaderLeft, unwritable_file
from pipechat.events import End, Error, Event, Sink, Start, TextChunk
from pipechat.signals import LONGEST_WAIT_S

_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/(?:self|[0-9]+)/fd)/([0-9]{1,6})")
_MOST_LINKS = 40
_NAME_BYTES = 100
_BLOCK_BYTES = 4096  # of most disks
_QUIET_S = 3.0


class FileOutput:
    """A temporary file beside FILE, which takes its name when the answer is whole.

    Args:
        path: FILE; a link is followed.
        mode: the permissions of a new file; one that is there keeps its own.
        what: what is written, in messages.

    `is_kept`: the whole is in the temporary file, which could not take its name.

    Raises:
        OutputError: it cannot be made or has no room, or could not take its name; nothing was
            sent yet.
    """

    is_terminal = False

    def __init__(self, path: str, mode: int, what: str = "answer") -> None:
        self._path = path
        self._what = what
        try:
            self._target = os.path.realpath(path)
        except OSError as error:  # the current folder was deleted
            raise unwritable_file("output_failed", path, error) from error
        folder, name = os.path.split(self._target)
        # The limit of a name is in bytes: a letter cut in two is left out.
        short = os.fsencode(name)[:_NAME_BYTES].decode("utf-8", "ignore")
        self._temporary = os.path.join(folder, f".{short}.{os.urandom(6).hex()}.part")
        try:
            there = _status(path)
            _check_replaceable(path, there, os.stat(folder))
            flags = os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL
            self._fd = os.open(self._temporary, flags, 0o600)
            os.fchmod(self._fd, mode if there is None else stat.S_IMODE(there.st_mode))
        except OSError as error:
            raise unwritable_file("output_failed", path, error) from error
        self._is_open, self.is_kept = True, False
        try:
            _check_room(self._fd)
        except OSError as error:
            self.discard()
            raise unwritable_file("output_failed", path, error) from error

    def write(self, data: bytes) -> None:
        """Keep `data`. Raises OutputError."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise unwritable_file("output_failed", self._path, error) from error

    def end_line(self) -> None:
        """A file has the answer's bytes and no others."""

    def commit(self) -> None:
        """Let the file appear, whole; where it cannot, the temporary file stays.

        Raises:
            OutputError: `output_failed`; it names the temporary file where the whole is there.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:  # some disks are full, or fail, only then
            raise unwritable_file("output_failed", self._path, error) from error
        self._is_open = False
        try:
            os.rename(self._temporary, self._target)
        except OSError as error:
            self.is_kept = True
            hint = f"The whole {self._what} is in {self._temporary}."
            raise unwritable_file("output_failed", self._path, error, hint=hint) from error
        finally:
            os.close(self._fd)

    def discard(self) -> None:
        """Leave no trace where it was not committed; what stood at FILE before still does."""
        if not self._is_open:
            return
        self._is_open = False
        os.close(self._fd)
        with suppress(OSError):
            os.unlink(self._temporary)


class FileSink:
    """A sink into a FileOutput: it appears on `end`, and never on `error`.

    Where the file fails on the way, the answer is heard to its end all the same, since it is paid
    for, and told to another sink. Nothing of it is told twice: the file is discarded then.

    Args:
        sink: writes to `file`.
        otherwise: takes the whole answer where the file could not, `where` that is, in a hint.
    """

    def __init__(self, sink: Sink, file: FileOutput, otherwise: Sink, where: str) -> None:
        self._sink = sink
        self._file = file
        self._otherwise = otherwise
        self._where = where
        self._failure: OutputError | None = None
        self._begun: list[Event] = []

    def emit(self, *events: Event) -> None:
        last = events[-1]
        self._begun += [event for event in events if isinstance(event, Start)]
        if isinstance(last, Error):
            self._file.discard()
            return
        if self._failure is None:
            try:
                self._sink.emit(*events)
                if isinstance(last, End):
                    self._file.commit()
            except OutputError as error:
                if self._file.is_kept:
                    raise
                self._failure = error
        if isinstance(last, End) and self._failure is not None:
            self._file.discard()
            with suppress(OutputError, ReaderLeft):  # what failed first is told
                for event in (*self._begun, TextChunk(0, last.answer), last):
                    self._otherwise.emit(event)
                self._failure.hint = f"The answer is on {self._where}."
            raise self._failure


def open_in_place(
    path: str, timeout_s: float | None = None, on_silence: Callable[[], None] = lambda: None
) -> int | None:
    """A descriptor for what is written in place: /dev/stdout, /dev/fd/N, a device, a FIFO, which
    is waited for until it has a reader. None for a file, new or not.

    Args:
        on_silence: called once, when no reader has come for 3 seconds.

    Raises:
        OutputError: it is not open, or not for writing; no reader came within `timeout_s`.
    """
    try:
        number = _descriptor(path)
        if number is not None:
            return _duplicate(number)
        there = _status(path)
        if there is None or stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode):
            return None
        if stat.S_ISFIFO(there.st_mode):
            return _open_fifo(path, timeout_s, on_silence)
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise unwritable_file("output_failed", path, error) from error


def _descriptor(path: str) -> int | None:
    """The N of a path that is /dev/fd/N, /dev/stdout or a link to one of them."""
    for _ in range(_MOST_LINKS):
        path = os.path.normpath(path)
        if found := _DESCRIPTOR.fullmatch(path):
            return int(found[1])
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:
            return None
    return None


def _duplicate(number: int) -> int:
    # What we opened ourselves no child inherits. A number that the shell opened nothing at may be
    # a session's file by now: the answer must not land there.
    is_ours = not os.get_inheritable(number)
    if is_ours or fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it is not open for writing")
    return os.dup(number)


def _open_fifo(path: str, timeout_s: float | None, on_silence: Callable[[], None]) -> int:
    started = time.monotonic()
    told = False
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        else:
            os.set_blocking(fd, True)
            return fd
        waited = time.monotonic() - started
        if timeout_s is not None and waited >= timeout_s:
            raise OSError(errno.ENXIO, f"nobody has read it for {timeout_s:g} s")
        if waited >= _QUIET_S and not told:
            told = True
            on_silence()
        time.sleep(LONGEST_WAIT_S / 10)


def _check_room(fd: int) -> None:
    """Raises OSError where the file, which is empty, cannot take a block."""
    if os.pwrite(fd, bytes(_BLOCK_BYTES), 0) < _BLOCK_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(fd, 0)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _check_replaceable(path: str, there: os.stat_result | None, folder: os.stat_result) -> None:
    """Raises OSError where the temporary file could not take the name of what is there."""
    if path == "" or path.endswith("/") or (there is not None and stat.S_ISDIR(there.st_mode)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if there is None:
        return
    # rename(2): in a folder like /tmp only the owner of the file, or of the folder, may.
    is_sticky = folder.st_mode & stat.S_ISVTX
    if is_sticky and os.geteuid() not in (0, there.st_uid, folder.st_uid):
        raise OSError(
            errno.EPERM, "it is another user's, in a folder where only they may replace it"
        )
    if there.st_dev != folder.st_dev:
        raise OSError(errno.EBUSY, "it is mounted there by itself, and cannot be replaced")
