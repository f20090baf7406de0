"""Sessions as wholes: delete, rename, fork. Imported only by those commands.

Owns what happens to turns in flight and to NAME.torn; the locks and the temporary file are in
`replacing.py`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pipechat.errors import SessionError, UsageError
from pipechat.store import whole
from pipechat.store.adoption import adopt_orphans
from pipechat.store.case import check_case
from pipechat.store.faults import unwritable
from pipechat.store.importing import remove_dead
from pipechat.store.in_flight import (
    former_spools_of,
    leave_room,
    once_locks_of,
    open_orphan,
    spools_of,
    sweep,
)
from pipechat.store.layout import (
    busy_file,
    fork_file,
    is_copy,
    once_index_files,
    rewrite_file,
    session_file,
)
from pipechat.store.locked_file import LockedFile, is_named, sync_folder
from pipechat.store.reading import Session, turns_forwards
from pipechat.store.replacing import locked, remove_if_free, temporary, torn_path_of, write_lines
from pipechat.store.sessions import SessionStore


class DeleteReport(NamedTuple):
    """What outlives `delete`: the file of torn lines, and turns in flight, which are appended
    to a new session of the same name when they end."""

    name: str
    torn_path: str | None
    in_flight: int


def delete(store: SessionStore, name: str) -> DeleteReport:
    """Remove session `name`, and what crashed turns and copies left of it; not NAME.torn.

    Raises:
        SessionError: `session_missing`, `session_unwritable`.
    """
    with locked(store, name) as session:
        # All of it before the name goes: from then on the lock is nobody's.
        in_flight = _drop_orphans(session, name)
        for hidden in (rewrite_file(name), busy_file(name)):
            remove_if_free(os.path.join(store.folder, hidden))
        _drop_once(store, name)
        os.unlink(session.path)
        sync_folder(store.folder)
    _drop_copies(store.folder)
    torn_path = torn_path_of(store, name)
    return DeleteReport(name, torn_path if os.path.lexists(torn_path) else None, in_flight)


def rename(store: SessionStore, old: str, new: str) -> None:
    """Give session `old` the name `new`, and to NAME.torn too where that name is free.

    Refused as `session_busy` (retryable) while a turn is in flight, which would be appended to
    `old`; an ask that begins later makes a new session `old`. So no turn is lost and none
    strays.

    Raises:
        SessionError: `session_missing`, `session_exists`, `session_busy`, `session_unwritable`.
    """
    new_path = store.path(new)
    with locked(store, old) as session:
        entries = os.listdir(store.folder)
        check_case(new, [entry for entry in entries if entry != session_file(old)])
        sweep(store.folder, entries)
        stay = adopt_orphans(session, old, store.warn)
        if stay or former_spools_of(store.folder, old):
            message = f"session {old!r} has a turn in flight, or one that could not be adopted"
            hint = "Try again when it has ended."
            raise SessionError("session_busy", message, hint, retryable=True)
        with _reserved(store, new):
            torn = torn_path_of(store, old), torn_path_of(store, new)
            moves_torn = os.path.lexists(torn[0]) and not os.path.lexists(torn[1])
            if moves_torn:
                os.rename(*torn)
            try:
                os.rename(session.path, new_path)
            except OSError:
                if moves_torn:
                    os.rename(*reversed(torn))
                raise
            _drop_once(store, old)
            sync_folder(store.folder)


def fork(store: SessionStore, name: str, new: str, at: str | None = None) -> int:
    """Copy the turns of session `name` into a new session `new`, which appears whole or not
    at all. Lines that are no turns stay behind.

    Args:
        at: the last turn to copy: the number of its line, as `history search` gives it, its
            id, or the beginning of its id that no other has; None: all.

    Returns:
        How many turns were copied.

    Raises:
        UsageError: `no_such_turn`.
        SessionError: `session_missing`, `session_exists`, `session_unreadable`,
            `session_unwritable`.
    """
    new_path = store.path(new)
    store.adopt(name)
    with store.reading(name) as session:
        last = None if at is None else _number_of(session, at)
        if os.path.lexists(new_path):
            raise _exists(new)
        check_case(new, os.listdir(store.folder))
        try:
            with temporary(os.path.join(store.folder, fork_file(new))) as (fd, path):
                copied = write_lines(fd, whole.turn_lines(session, last))
                write_lines(fd, whole.mark_lines(session, last))
                os.fsync(fd)
                os.link(path, new_path)  # unlike rename, it never replaces
                sync_folder(store.folder)
        except FileExistsError as error:
            raise _exists(new) from error
        except OSError as error:
            raise unwritable(new, error) from error
    return copied


def _drop_orphans(session: LockedFile, name: str) -> int:
    folder = os.path.dirname(session.path)
    in_flight = 0
    sweep(folder, os.listdir(folder))
    for path in (*spools_of(folder, name), *former_spools_of(folder, name)):
        try:
            fd = open_orphan(path)
        except BlockingIOError:
            in_flight += 1
        except OSError:
            continue  # gone just now, or no spool of ours
        else:
            os.close(fd)
            os.unlink(path)
    leave_room(folder, name)
    return in_flight


def _drop_copies(folder: str) -> None:
    """Remove what forks, rewrites and imports that were killed left: any may hold these turns.
    Call it with no lock held, which one that was about to end shares with its session. Where it
    fails the session is gone all the same, and the next call takes the rest away."""
    with suppress(OSError):
        for entry in filter(is_copy, os.listdir(folder)):
            remove_if_free(os.path.join(folder, entry))
        remove_dead(folder)


def _drop_once(store: SessionStore, name: str) -> None:
    """Remove the index of --once, which is made anew where it is missing, and locks of its keys
    that nobody holds."""
    index = (os.path.join(store.folder, hidden) for hidden in once_index_files(name))
    for path in (*index, *once_locks_of(store.folder, name)):
        remove_if_free(path)
    leave_room(store.folder, name)


@contextmanager
def _reserved(store: SessionStore, name: str) -> Iterator[None]:
    """Hold `name`, which is free or an empty session that nobody uses, until it is replaced."""
    path = store.path(name)
    try:
        file = LockedFile(path, create=True, wait_s=0)
    except BlockingIOError as error:
        raise _exists(name) from error
    with file:
        if os.fstat(file.fd).st_size or spools_of(store.folder, name):
            raise _exists(name)
        try:
            yield
        except BaseException:
            if is_named(file.fd, path):
                os.unlink(path)
            raise


def _number_of(session: Session, at: str) -> int:
    """The number of the turn that `at` means. A UUIDv7 begins with 0 until the year 10889, so
    digits that do not are a number; so are zeros alone, which no turn has."""
    is_number = at.isascii() and at.isdigit() and (at[0] != "0" or not at.strip("0"))
    found: dict[str, int] = {}
    quiet = session._replace(warn=lambda _: None)
    for number, turn, _ in turns_forwards(quiet):
        if (number == int(at)) if is_number else (at and turn.id.startswith(at)):
            found[turn.id] = number
        if turn.id == at:
            return number
    if len(found) == 1:
        return found.popitem()[1]
    what = f": {len(found)} turns begin with {at!r}" if found else f" has no turn {at!r}"
    hint = "`history search` shows the numbers of turns, from 1 on, `history show` their ids."
    raise UsageError("no_such_turn", f"session {session.name!r}{what}", hint)


def _exists(name: str) -> SessionError:
    message = f"there is a session {name!r} already"
    return SessionError("session_exists", message, "Take another name, or delete that one.")
