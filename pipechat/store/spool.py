"""The spool of a turn in flight (FAULTS §2).

A spool is a file in the session's hidden folder of what is in flight: one line of JSON, the
record's head, then the bytes of the answer as they came. Its lock is held as long as its turn
lives, so a spool whose lock is free is an orphan, and whoever next opens the session adopts it.
Knows no listing of sessions and no context.
"""

import fcntl
import os

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import Turn
from pipechat.store import layout
from pipechat.store.faults import place, unwritable, words_for
from pipechat.store.in_flight import leave_room, make_room, spools_of
from pipechat.store.locked_file import FILE_MODE, SAFE_FLAGS, LockedFile, is_named, write_all
from pipechat.store.locks import take_lock
from pipechat.text import whole_text

# The last words of a turn: who holds the lock for longer is another program.
_LAST_WAIT_S = 5.0


class TurnWriter:
    """Keeps one turn: piece by piece in its spool, at its end in the session.

    Made by `SessionStore.begin`. `finish` may be called from a signal handler that interrupted
    any other method between two bytecodes; from then on every method does nothing.
    """

    def __init__(
        self,
        path: str,
        name: str,
        turn_id: str,
        spool_fd: int,
        busy_fd: int | None,
        *,
        created: bool,
    ) -> None:
        self.id = turn_id
        self._name = name
        self._path = path
        self._created = created
        self._spool = os.path.join(os.path.dirname(path), layout.spool_file(name, turn_id))
        self._fd = spool_fd
        self._busy_fd = busy_fd
        self._failure: OSError | None = None
        self._done = False

    def head(self, turn: Turn) -> None:
        """Keep what is asked, before the request: the record as it would be without answer.

        Raises:
            SessionError: `session_unwritable`; nothing was sent yet, so `abandon` the turn.
        """
        record = {**turn.record(), "status": "partial", "answer": ""}
        try:
            write_all(self._fd, jsonl.dumps(record) + b"\n")
        except OSError as error:
            raise unwritable(self._name, error) from error

    def text(self, text: str) -> None:
        """Keep a piece of the answer, before it is shown. Never raises: an answer on its way
        is worth more than its copy, so the first failure ends the copy and is kept for
        `finish`."""
        if self._failure is None and not self._done:
            try:
                write_all(self._fd, whole_text(text).encode())
            except OSError as error:
                self._failure = error

    def finish(self, turn: Turn) -> None:
        """Append `turn` to the session and remove the spool; a second call does nothing.

        Raises:
            SessionError: `session_unwritable`: the turn could not be appended, and its spool
                stays for the next opener; or it was appended, but its spool had failed.
        """
        if self._done:
            return
        self._done = True
        try:
            with LockedFile(self._path, create=True, wait_s=_LAST_WAIT_S) as session:
                session.append(jsonl.dumps(turn.record()))
                self._remove_spool()
        except OSError as error:
            raise self._not_appended(error) from error
        finally:
            self._close()
        if self._failure is not None:
            what, hint = words_for(self._failure)
            message = f"session {self._name!r}: the turn is kept, but {what} while it ran"
            raise SessionError("session_unwritable", message, hint) from self._failure

    def abandon(self) -> None:
        """Leave no record: the request was never made."""
        if not self._done:
            self._done = True
            self._remove_spool()
            if self._created:
                remove_if_unused(self._path, self._name)
            self._close()

    def _not_appended(self, error: OSError) -> SessionError:
        held = isinstance(error, BlockingIOError)
        what, hint = ("another program holds its lock", "") if held else words_for(error)
        reason = f"{place(self._name, error)}{what}"
        message = f"session {self._name!r}: the turn could not be added: {reason}; {self._rest()}"
        code = "session_busy" if held else "session_unwritable"
        return SessionError(code, message, hint, retryable=held)

    def _rest(self) -> str:
        """What there is of a turn that could not be added."""
        if os.fstat(self._fd).st_nlink == 0:
            return "nothing of it is kept: its spool was removed as well"
        if self._failure is not None:
            return "only the beginning of the answer is kept aside"
        if not self._is_beside():
            return "what was shown is in the folder that was moved, and comes back where it is used"
        return "what was shown is kept aside and comes back when the session is next used"

    def _is_beside(self) -> bool:
        """Whether the spool is where it was made; so too where nobody may look."""
        try:
            return is_named(self._fd, self._spool)
        except OSError:
            return True

    def _remove_spool(self) -> None:
        try:
            os.unlink(self._spool)
        except FileNotFoundError:
            return
        except OSError:
            self._empty_spool()
        else:
            leave_room(os.path.dirname(self._path), self._name)

    def _empty_spool(self) -> None:
        try:
            os.ftruncate(self._fd, 0)  # an empty spool is as good as none
        except OSError:
            return  # its id tells the adopter that the record is there

    def _close(self) -> None:
        for fd in (self._fd, self._busy_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._fd = -1
        self._busy_fd = None


def remove_if_unused(path: str, name: str) -> None:
    """Remove a session that holds nothing and has no turn in flight: its first turn was never
    asked. Never raises: an empty session does no harm."""
    try:
        with LockedFile(path, create=False, wait_s=0) as session:
            if os.fstat(session.fd).st_size == 0 and not _is_in_flight(path, name):
                os.unlink(path)
    except OSError:
        return


def _is_in_flight(path: str, name: str) -> bool:
    try:
        return bool(spools_of(os.path.dirname(path), name))
    except OSError:
        return False  # where nobody can look, no turn could begin


def create_spool(folder: str, name: str, turn_id: str) -> int:
    """A new spool's descriptor, its lock held. Raises OSError.

    Call it with the session's lock held: an adopter would take a spool that is not locked yet
    for an orphan. One that took it all the same (somebody removed the session by hand, and its
    lock with it) leaves no name behind, so the spool is made again.
    """
    path = os.path.join(folder, layout.spool_file(name, turn_id))
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | SAFE_FLAGS
    while True:
        make_room(folder, name)
        try:
            fd = os.open(path, flags, FILE_MODE)
        except FileNotFoundError:  # another turn has just ended, and took the room away
            continue
        try:
            take_lock(fd, fcntl.LOCK_EX)
            if is_named(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            os.unlink(path)
            raise
        os.close(fd)
