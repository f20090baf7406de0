"""The store of sessions: one folder, one JSONL file a session, one record a turn (DESIGN §6).

Owns the folder and the names in it. How a record is added is in `locked_file.py`, the turn
in flight in `spool.py`, what a crash left in `adoption.py`, how files are opened in `opening.py`
and records read in `reading.py`, files that are none of the store's in `sources.py`, rewrites in
`rewrite.py`.
Knows no client, no sink and no environment.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from pipechat.errors import SessionError
from pipechat.messages import Summary, Turn, new_turn_id
from pipechat.store import layout, spool
from pipechat.store import reading as session_reading
from pipechat.store.adoption import adopt_orphans
from pipechat.store.faults import unwritable, words_for
from pipechat.store.locked_file import LockedFile, lock_file, make_folder
from pipechat.store.names import check_name, is_name
from pipechat.store.opening import Tell, on_wait, open_session
from pipechat.store.reading import Session, Tail
from pipechat.store.spool import TurnWriter

__all__ = ["SessionStore", "Summary", "Tail", "TurnWriter", "check_name"]

_SHORT_WAIT_S = 2.0


class SessionStore:
    """The sessions in a folder, which is made when the first turn is.

    Args:
        folder: where; any path.
        warn: takes one line, without the program's name, for what is odd but no failure.
        on_busy: takes one where another asker, who holds the session, is waited for; "" after it.

    Every method that takes a name raises UsageError `bad_session_name`; the codes of the
    SessionErrors are `session_missing`, `session_busy`, `session_unreadable`,
    `session_unwritable` and `session_exists`.
    """

    def __init__(
        self, folder: str | os.PathLike[str], warn: Tell, on_busy: Tell = lambda _: None
    ) -> None:
        self._on_busy = on_busy
        self.folder = os.path.abspath(os.fspath(folder))
        self.warn = warn
        self._warned: set[str] = set()

    def path(self, name: str) -> str:
        """Where session `name` is or would be."""
        check_name(name)
        return os.path.join(self.folder, layout.session_file(name))

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.path(name))

    def begin(
        self,
        name: str,
        *,
        if_busy: Literal["wait", "fail"] | None = None,
        wait_s: float | None = None,
    ) -> TurnWriter:
        """Make ready for a turn: the session is there, orphans are adopted, a spool is open.

        Fails before anything is sent where the turn could not be kept. A signal that kills the
        process meanwhile leaves at most an empty spool, which the next opener removes.

        Args:
            if_busy: one asker at a time: hold a lock for the whole turn. None: no such lock.
            wait_s: how long locks are waited for, in seconds; None: for ever. With `fail` the
                session's own lock, which another holds for moments only, is waited for shortly.

        Raises:
            SessionError: `session_busy` (retryable), `session_exists` where the name differs
                from another's only by case, `session_unwritable`.
        """
        path = self.path(name)
        busy_fd = None
        created = False
        try:
            created = self._is_new(name)
            if if_busy is not None:
                busy_fd = self._take_turn(name, 0 if if_busy == "fail" else wait_s)
            wait_s = _SHORT_WAIT_S if if_busy == "fail" else wait_s
            turn_id, spool_fd = self._open_spool(path, name, wait_s)
        except BaseException as error:
            if busy_fd is not None:
                os.close(busy_fd)
            if created:
                spool.remove_if_unused(path, name)
            if isinstance(error, OSError):
                raise unwritable(name, error) from error
            raise
        return TurnWriter(path, name, turn_id, spool_fd, busy_fd, created=created)

    def _is_new(self, name: str) -> bool:
        """Whether there is none yet; the folder is made. Raises OSError, SessionError."""
        make_folder(self.folder)
        self._warn_of_mode(self.folder, self.folder)
        is_new = not os.path.lexists(self.path(name))
        if is_new:
            self.check_case(name, os.listdir(self.folder))
        return is_new

    def _open_spool(self, path: str, name: str, wait_s: float | None) -> tuple[str, int]:
        """A new turn's id and its spool, after the orphans were adopted. Raises OSError."""
        told = on_wait(name, self.warn)
        with LockedFile(path, create=True, wait_s=wait_s, on_wait=told) as session:
            self._warn_of_mode(session.fd, path)
            entries = os.listdir(self.folder)
            self.check_case(name, entries)
            adopt_orphans(session, name, entries, self.warn)
            turn_id = new_turn_id()
            return turn_id, spool.create_spool(self.folder, name, turn_id)

    def _take_turn(self, name: str, wait_s: float | None) -> int:
        path = os.path.join(self.folder, layout.busy_file(name))
        on_wait = partial(self._on_busy, f"waiting for session {name!r}")
        try:
            fd = lock_file(path, create=True, wait_s=wait_s, on_wait=on_wait)
        except BlockingIOError as error:
            hint = "Try again when it has ended, or wait for it with --if-busy wait --timeout S."
            message = f"session {name!r}: another ask holds it"
            raise SessionError("session_busy", message, hint, retryable=True) from error
        self._on_busy("")
        return fd

    def check_case(self, name: str, entries: list[str]) -> None:
        """Raises SessionError where `name` would be new, and differs from one of the folder's
        `entries` only by case: on many disks they would be one file."""
        file_name = layout.session_file(name)
        if file_name in entries:
            return
        folded = file_name.casefold()
        for entry in entries:
            if entry.casefold() == folded:
                other = layout.session_of_file(entry) or entry
                message = f"session {name!r} differs from {other!r} only by case"
                raise SessionError("session_exists", message, f"Use {other!r}, or another name.")

    def adopt(self, name: str) -> None:
        """Add the turns of processes that died. Where that cannot be, a warning: what is there
        can still be read."""
        path = self.path(name)
        try:
            if not layout.spools_of(name, os.listdir(self.folder)):
                return
            created = not os.path.lexists(path)
            with LockedFile(path, create=True, on_wait=on_wait(name, self.warn)) as session:
                adopt_orphans(session, name, os.listdir(self.folder), self.warn)
                if created and os.fstat(session.fd).st_size == 0:
                    os.unlink(path)  # deleted while a turn runs, which will make it again
        except FileNotFoundError:
            return
        except OSError as error:
            reason = unwritable(name, error).message
            self.warn(f"{reason}: an interrupted turn could not be added")

    def read_tail(self, name: str, last_complete: int) -> Tail:
        """The last `last_complete` complete turns, and the system message that holds. Costs
        the same whatever the session's size. A session that is not there is empty."""
        if not self.exists(name):
            return Tail([], None)
        with self.reading(name) as session:
            return session_reading.read_tail(session, last_complete)

    def last_turns(self, name: str, count: int) -> list[Turn]:
        """The last `count` turns of any status, oldest first."""
        with self.reading(name) as session:
            return session_reading.last_turns(session, count)

    def all_turns(self, name: str) -> Iterator[Turn]:
        """Every turn, oldest first, in flat memory; doubles are dropped where they are near."""
        with self.reading(name) as session:
            for _, turn, _ in session_reading.turns_forwards(session):
                yield turn

    @contextmanager
    def reading(self, name: str, *, tell_mode: bool = True) -> Iterator[Session]:
        """Session `name`, open; an OSError within is told as `session_unreadable`."""
        path = self.path(name)
        with open_session(name, path, self.warn) as session:
            if tell_mode:
                self._warn_of_mode(session.fd, path)
            yield session

    def names(self) -> list[str]:
        """The names of the sessions, sorted."""
        return sorted(name for entry in self._entries() if (name := self._session_name(entry)))

    def last_used(self) -> str | None:
        """The session that was written last, a turn in flight or interrupted included."""
        times: list[tuple[int, str]] = []
        for entry in self._entries():
            name = self._session_name(entry) or layout.session_of_spool(entry.name)
            status = _status(entry) if name and is_name(name) else None
            if name and status and status.st_size:
                times.append((status.st_mtime_ns, name))
        return max(times)[1] if times else None

    def summaries(self) -> Iterator[Summary]:
        """One a session, sorted by name; one that cannot be read is told and left out."""
        for name in self.names():
            try:
                with self.reading(name, tell_mode=False) as session:
                    yield session_reading.summarize(session)
            except SessionError as error:
                self.warn(error.message)

    def _entries(self) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(self.folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            what, hint = words_for(error)
            message = f"the folder {self.folder}: {what}"
            raise SessionError("session_unreadable", message, hint) from error

    @staticmethod
    def _session_name(entry: "os.DirEntry[str]") -> str | None:
        name = layout.session_of_file(entry.name)
        is_session = name and is_name(name) and entry.is_file(follow_symlinks=False)
        return name if is_session else None

    def _warn_of_mode(self, opened: int | str, path: str) -> None:
        mode = os.stat(opened).st_mode & 0o777
        if mode & 0o077 and path not in self._warned:
            self._warned.add(path)
            wanted = "700" if path == self.folder else "600"
            self.warn(f"{path} is open to others (mode {mode:o}); `chmod {wanted}` closes it")


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # gone since the folder was read
        return None
