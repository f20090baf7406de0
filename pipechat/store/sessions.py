"""The store of sessions: one folder, one JSONL file a session, one record a turn (DESIGN §6).

Owns the folder and the names in it. How a record is added is in `locked_file.py`, the turn
in flight in `spool.py` and where it stands in `in_flight.py`, what a crash left in `adoption.py`,
which sessions there are in `listing.py`, how files are opened in `opening.py` and records read in
`reading.py`, files that are none of the store's in `sources.py`, rewrites in `rewrite.py`.
Knows no client, no sink and no environment.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from pipechat.errors import SessionError
from pipechat.messages import Summary, Turn, new_turn_id
from pipechat.store import in_flight, layout, spool
from pipechat.store import reading as session_reading
from pipechat.store.adoption import adopt_orphans
from pipechat.store.case import check_case, may_be_new
from pipechat.store.faults import unreadable, unwritable, words_for
from pipechat.store.locked_file import LockedFile, lock_file, make_folder
from pipechat.store.names import check_name
from pipechat.store.opening import Tell, is_there, on_wait, open_session
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
        """Whether there is such a session. Raises SessionError where nobody may look."""
        path = self.path(name)
        try:
            return is_there(path)
        except OSError as error:
            raise unreadable(name, error) from error

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
            created = self._make_ready(name)
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

    def _make_ready(self, name: str) -> bool:
        """Make the folder; whether there is no such session yet. Raises OSError, SessionError."""
        make_folder(self.folder)
        self._warn_of_mode(self.folder, self.folder)
        if may_be_new(self.folder, name):
            check_case(name, os.listdir(self.folder))
        return not is_there(self.path(name))

    def _open_spool(self, path: str, name: str, wait_s: float | None) -> tuple[str, int]:
        """A new turn's id and its spool, after the orphans were adopted. Raises OSError."""
        told = on_wait(name, self.warn)
        with LockedFile(path, create=True, wait_s=wait_s, on_wait=told) as session:
            self._warn_of_mode(session.fd, path)
            in_flight.sweep_once(self.folder)
            adopt_orphans(session, name, self.warn)
            turn_id = new_turn_id()
            return turn_id, spool.create_spool(self.folder, name, turn_id)

    def _take_turn(self, name: str, wait_s: float | None) -> int:
        path = os.path.join(self.folder, layout.busy_file(name))
        on_wait = partial(self._on_busy, f"waiting for session {name!r}")
        try:
            fd = lock_file(path, create=True, wait_s=wait_s, on_wait=on_wait)
        except BlockingIOError as error:
            message = f"session {name!r}: another ask holds it"
            hint = "Try again when it has ended, or wait for it with --if-busy wait --timeout S."
            if wait_s:
                message = f"{message}, and did not end in time"
                hint = "Try again when it has ended, or give it longer with --timeout."
            raise SessionError("session_busy", message, hint, retryable=True) from error
        self._on_busy("")
        return fd

    def adopt(self, name: str) -> None:
        """Add the turns of processes that died. Where that cannot be, a warning: what is there
        can still be read."""
        check_name(name)
        try:
            in_flight.sweep(self.folder, os.listdir(self.folder))
        except OSError as error:
            self._tell_unseen(error)
        else:
            self._adopt(name)

    def adopt_all(self) -> None:
        """The same for every session."""
        try:
            entries = os.listdir(self.folder)
        except OSError:
            return  # who reads the folder next tells what is wrong
        try:
            in_flight.sweep(self.folder, entries)
            names = in_flight.sessions_in_flight(self.folder)
        except OSError as error:
            self._tell_unseen(error)
            return
        for name in names:
            self._adopt(name)

    def _adopt(self, name: str) -> None:
        try:
            spools = in_flight.spools_of(self.folder, name)
        except OSError as error:
            self._tell_unseen(error)
            return
        if not spools:
            in_flight.leave_room(self.folder, name)  # one that was killed may have left it empty
            return
        try:
            self._adopt_locked(name, self.path(name))
        except OSError as error:
            if any(map(in_flight.is_orphan, spools)):
                reason = unwritable(name, error).message
                self.warn(f"{reason}: an interrupted turn could not be added")

    def _adopt_locked(self, name: str, path: str) -> None:
        created = not os.path.lexists(path)
        with LockedFile(path, create=True, on_wait=on_wait(name, self.warn)) as session:
            adopt_orphans(session, name, self.warn)
            if created and os.fstat(session.fd).st_size == 0:
                os.unlink(path)  # deleted while a turn runs, which will make it again

    def _tell_unseen(self, error: OSError) -> None:
        """Once, and not in a folder of another, whose turns are none of ours. Who reads next
        tells what cannot be reached at all."""
        try:
            owner = os.stat(os.path.join(self.folder, os.curdir)).st_uid
        except OSError:
            return
        if owner == os.geteuid() and layout.IN_FLIGHT not in self._warned:
            self._warned.add(layout.IN_FLIGHT)
            why = f"{os.fsdecode(error.filename or self.folder)}: {words_for(error)[0]}"
            self.warn(f"turns of programs that died could not be looked for: {why}")

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
        from pipechat.store import listing  # no turn asks which others there are

        return listing.names(self.folder)

    def last_used(self) -> str | None:
        """The session that was written last, a turn in flight or interrupted included."""
        from pipechat.store import listing

        return listing.last_used(self.folder)

    def summaries(self, names: Iterable[str] | None = None) -> Iterator[Summary]:
        """One of each of `names`, or of all sessions by name, as soon as it is read; one that
        cannot be read is told and left out."""
        for name in self.names() if names is None else names:
            try:
                with self.reading(name, tell_mode=False) as session:
                    yield session_reading.summarize(session)
            except SessionError as error:
                self.warn(error.message)

    def _warn_of_mode(self, opened: int | str, path: str) -> None:
        mode = os.stat(opened).st_mode & 0o777
        if mode & 0o077 and path not in self._warned:
            self._warned.add(path)
            wanted = "700" if path == self.folder else "600"
            self.warn(f"{path} is open to others (mode {mode:o}); `chmod {wanted}` closes it")
