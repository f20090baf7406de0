"""The output of a batch: a file that is a session file, for one run at a time.

Owns the lock that keeps a second run off, and what stands beside the file for the next run where
this one cannot finish.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from pipechat import jsonl
from pipechat.batch.held import HeldFile
from pipechat.batch.known import records_at
from pipechat.errors import OutputError, SessionError, unwritable_file
from pipechat.messages import new_turn_id
from pipechat.store import layout
from pipechat.store.faults import NOT_REGULAR, words_for_named
from pipechat.store.locked_file import LockedFile, lock_file, open_to_read, sync, write_all

# Of an id: its time. Those of one millisecond are in no order.
_TIME_LENGTH = 13
_BEGINNING = b'{"v":1,"id":"'  # of a record
# Kept free for what is in flight when the disk fills up: sixteen answers of a page each.
_RESERVE_BYTES = 1 << 16


class SetAsideError(OutputError):
    """The output could not take records: they wait beside it for the next run."""


class OutputFile:
    """The file of a batch, for one run at a time, until it is closed.

    The lock of the run is a file of its own, hidden beside it: the file's own lock is that of
    each append, so that readers see it grow. Where it was left, a run has died. While items are
    asked it takes up the room of answers that are on their way, should the disk fill up.

    `since`: turns of sessions whose ids are not less are of this run, or of those before it that
    died. `was_left`: there were such. `to_resume`: the next run is to look for turns of this one.
    `held`: what cannot stand in the file yet.

    Args:
        start_over: what it holds is left alone until `clear`, and nothing is adopted.

    Raises (opening):
        SessionError: `batch_busy`: another run has it.
        OutputError: it cannot be written.
    """

    def __init__(self, path: str, *, start_over: bool = False) -> None:
        self.path = path
        folder, name = os.path.split(path)
        self._lock_path = os.path.join(folder, layout.batch_run_file(name))
        self.held = HeldFile(os.path.join(folder, layout.batch_held_file(name)))
        self._file: LockedFile | None = None
        try:
            self._lock = lock_file(self._lock_path, create=True, wait_s=0)
            begun, _, _reserve = os.pread(self._lock, 64, 0).partition(b"\n")
            self.since = begun.decode("ascii", "replace")
            self.was_left = self.to_resume = bool(self.since)
        except BlockingIOError as error:
            message = f"another run writes to {path}"
            hint = "Wait until it has ended, or name another file with -o."
            raise SessionError("batch_busy", message, hint, retryable=True) from error
        except OSError as error:
            is_out = os.path.isfile(path) and not os.path.islink(path)  # and was not even opened
            is_lock = is_out or os.path.lexists(self._lock_path)
            raise unwritable(self._lock_path if is_lock else path, error) from error
        try:
            self._open(start_over=start_over)
        except OSError as error:
            self.close()
            raise unwritable(path, error) from error

    def _open(self, *, start_over: bool) -> None:
        # It stays open: there may be no descriptor when an answer comes that was paid for.
        self._file = LockedFile(self.path, create=True)
        if not start_over:
            _cut_torn(self._file.fd)
        self._file.let_go()
        os.close(open_to_read(self.path))
        try:
            left = self.held.read()
        except OSError as error:
            raise OSError(f"{self.held.path}: {error.strerror or error}") from error
        if left and not start_over:
            self._adopt(left)

    def _adopt(self, records: list[bytes]) -> None:
        """Add what a run that died has left, and had not added yet. Raises OSError."""
        lines = {turn_id: line for line in reversed(records) if (turn_id := _id_of(line))}
        for record in records_at(self.path):
            lines.pop(str(record.get("id")), None)
        if lines:
            self._append(list(reversed(lines.values())))
        self.held.forget()

    def begin(self) -> None:
        """Items are about to be asked: should the run die, what it leaves in sessions is known by
        its time. Raises OutputError, also where there is no room for answers."""
        try:
            if self.was_left:
                self._reserve()
            else:
                self._begin_anew()
        except OSError as error:
            raise unwritable(self._lock_path, error) from error

    def clear(self) -> None:
        """Start over: empty it, and begin. Raises OutputError."""
        try:
            self.held.forget()
            file = self._taken()
            os.ftruncate(file.fd, 0)
            file.let_go()
            self._begin_anew()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _begin_anew(self) -> None:
        """What turns there are is of other runs. Raises OSError."""
        self.since = new_turn_id()[:_TIME_LENGTH]
        os.ftruncate(self._lock, 0)
        write_all(self._lock, self.since.encode())
        self._reserve()

    def _reserve(self) -> None:
        """Take up room on the disk. Raises OSError where there is none."""
        self._free()
        try:
            write_all(self._lock, b"\n" * _RESERVE_BYTES)
        except OSError as error:
            if error.errno != errno.EFBIG:  # a limit is of each file by itself
                self._free()
                raise
        sync(self._lock)

    def _free(self) -> None:
        os.ftruncate(self._lock, len(self.since))

    def append(self, lines: list[bytes]) -> None:
        """Add records, all of them safe on disk.

        Raises:
            OutputError: none of them was added; SetAsideError where they wait for the next run.
        """
        try:
            self._append(lines)
        except OSError as error:
            failure = unwritable(self.path, error)
            try:
                self._free()
                self.held.add(((0, line) for line in lines), stay=True)
            except OSError:
                raise failure from error
            hint = "What was answered is kept beside it: the next run with this -o adds it."
            raise SetAsideError(failure.code, failure.message, hint) from error

    def _append(self, lines: list[bytes]) -> None:
        file = self._taken()
        try:
            file.append(*lines)
        finally:
            file.let_go()

    def _taken(self) -> LockedFile:
        """The file, its lock held. Raises OSError, also where the path names another by now."""
        assert self._file is not None
        self._file.take_again()
        try:
            self._check_named()
        except OSError:
            self._file.let_go()
            raise
        return self._file

    def _check_named(self) -> None:
        assert self._file is not None
        if self._file.is_named():
            return
        what = "replaced" if os.path.lexists(self.path) else "removed, or renamed,"
        raise OSError(f"it was {what} while the run went on")

    def check_there(self) -> None:
        """Let a run that is at its end pass, or raise OutputError: the file is gone."""
        try:
            self._check_named()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Let another run have it."""
        with suppress(OSError):
            self._free()
            if not self.to_resume:
                os.unlink(self._lock_path)
        self.held.close()
        if self._file is not None:
            self._file.close()
        os.close(self._lock)


def _cut_torn(fd: int) -> None:
    """Cut off the beginning of a record at the end of a file, which a run that was killed left:
    nobody was told of it, and every line is to be JSON. Raises OSError."""
    size = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return
    start, line = next(jsonl.lines_backwards(fd, size))
    if line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
        return  # not of ours
    try:
        jsonl.loads_line(line)  # nothing but its newline is missing
    except ValueError:
        os.ftruncate(fd, start)


def _id_of(line: bytes) -> str | None:
    try:
        record = jsonl.loads_line(line)
    except ValueError:
        return None
    turn_id = record.get("id") if isinstance(record, dict) else None
    return turn_id if isinstance(turn_id, str) else None


def unwritable(path: str, error: OSError) -> OutputError:
    """The error for a file of a batch that the system refused to write."""
    what, hint = words_for_named(path, error)
    if what == NOT_REGULAR:
        hint = "Name a file with -o; `-` is stdout."
    return unwritable_file("output_failed", path, error, what, hint)
