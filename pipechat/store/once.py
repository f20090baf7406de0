"""--once: the turn that answers a key already, or the lock under which one process asks for it.

A lock is a file of its own for each key, beside the session's spools, and is gone when its holder
is done: the name goes before the lock does, so whoever waited for it finds that it locks nothing,
and takes the next.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from pipechat.errors import SessionError
from pipechat.messages import Turn
from pipechat.store import in_flight, layout
from pipechat.store.faults import unwritable
from pipechat.store.locked_file import is_named, lock_file, make_folder
from pipechat.store.once_turns import first_of_key, key_hash
from pipechat.store.replacing import remove_if_free
from pipechat.store.sessions import SessionStore


class OnceTurns:
    """The turns of session `name` by their keys."""

    def __init__(self, store: SessionStore, name: str) -> None:
        self._store = store
        self._name = name

    def find(self, key: str) -> Turn | None:
        """The first complete turn of `key`; None where there is none.

        Raises:
            SessionError: the session cannot be read.
        """
        if not self._store.exists(self._name):
            return None
        with self._store.reading(self._name, tell_mode=False) as session:
            try:
                from pipechat.store.once_index import find_by_index
            except ImportError:  # a Python that was built without SQLite
                return first_of_key(session, key)
            return find_by_index(self._store.folder, session, key)

    @contextmanager
    def found_or_taken(self, key: str, wait_s: float | None) -> Iterator[Turn | None]:
        """The complete turn of `key`; or None, and as long as this is not left, no other process
        is told so: it waits, and then looks again.

        Args:
            wait_s: how long another that asks is waited for, in seconds; None: for ever.

        Raises:
            SessionError: `session_busy`: it still asks; the session cannot be read or written.
        """
        with ExitStack() as held:
            turn = self.find(key)
            if turn is None:
                turn = self._take(key, wait_s, held)
            if turn is not None:
                held.close()  # others need not wait until it is shown
            yield turn

    def _take(self, key: str, wait_s: float | None, held: ExitStack) -> Turn | None:
        message = f"session {self._name!r}: another ask has the key {key!r} of --once"
        try:
            make_folder(self._store.folder)
            fd, path = self._lock(key, wait_s)
        except BlockingIOError as error:
            turn = self.find(key)  # kept already, by one whose answer nobody reads
            if turn is not None:
                return turn
            hint = "Try again when it has ended, or wait longer with --timeout S."
            raise SessionError("session_busy", message, hint, retryable=True) from error
        except OSError as error:
            raise unwritable(self._name, error) from error
        held.callback(self._release, fd, path)
        return self.find(key)

    def _lock(self, key: str, wait_s: float | None) -> tuple[int, str]:
        """The lock of `key`, and its path. Raises OSError."""
        folder = self._store.folder
        path = os.path.join(folder, layout.once_lock_file(self._name, key_hash(key).hex()))
        waiting = f"waiting for another ask, which has the key {key!r} of --once"
        ends_at = None if wait_s is None else time.monotonic() + wait_s
        while True:
            in_flight.make_room(folder, self._name)
            left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
            with suppress(FileNotFoundError):  # who has just ended took the room away
                return lock_file(
                    path, create=True, wait_s=left, on_wait=lambda: self._store.warn(waiting)
                ), path

    def _release(self, fd: int, path: str) -> None:
        """Let go of a lock, and remove those that killed processes left."""
        folder = self._store.folder
        try:
            if is_named(fd, path):
                os.unlink(path)
            for left in in_flight.once_locks_of(folder, self._name):
                remove_if_free(left)
        except OSError:
            return  # an empty file stays, and is the next one's lock
        finally:
            os.close(fd)
            in_flight.leave_room(folder, self._name)
