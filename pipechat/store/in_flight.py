"""Where what is in flight stands: a hidden folder of each session that has any (`layout`).

It is found by the session's name, so a turn costs the same however many sessions there are; it is
made with what stands in it, and goes with the last. Formerly it all stood in the folder of the
sessions: what is left there is moved here by whoever lists that folder, and by turns until once
nothing was left. A turn that runs meanwhile keeps its place, which its process knows; so does
what only looks like a spool. Raises OSError; callers translate.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from pipechat.store import layout
from pipechat.store.locked_file import FILE_MODE, FOLDER_MODE, SAFE_FLAGS, must_be_regular
from pipechat.store.names import is_name


def make_room(folder: str, name: str) -> None:
    """Make the folder for what session `name` has in flight. Another may remove it at once where
    nothing is in it yet: who then finds it missing makes it again."""
    for part in (layout.IN_FLIGHT, layout.in_flight_folder(name)):
        path = os.path.join(folder, part)
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            _must_be_folder(path)


def _must_be_folder(path: str) -> None:
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not stat.S_ISDIR(mode):
            code = errno.ELOOP if stat.S_ISLNK(mode) else errno.ENOTDIR
            raise OSError(code, os.strerror(code), path)


def leave_room(folder: str, name: str) -> None:
    """Remove the folder of session `name`, where nothing is in it."""
    with suppress(OSError):
        os.rmdir(os.path.join(folder, layout.in_flight_folder(name)))


def spools_of(folder: str, name: str) -> list[str]:
    """The paths of the spools of session `name`, oldest first. No link is followed."""
    return _standing(folder, name, layout.is_spool)


def once_locks_of(folder: str, name: str) -> list[str]:
    """The paths of the locks of keys of session `name`."""
    return _standing(folder, name, layout.is_once_lock)


def _standing(folder: str, name: str, is_wanted: Callable[[str], bool]) -> list[str]:
    room = os.path.join(folder, layout.in_flight_folder(name))
    for path in (os.path.join(folder, layout.IN_FLIGHT), room):
        if os.path.islink(path):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    try:
        entries = os.listdir(room)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [os.path.join(room, entry) for entry in sorted(filter(is_wanted, entries))]


def sessions_in_flight(folder: str) -> list[str]:
    """The names of the sessions that may have something in flight, sorted."""
    try:
        return sorted(filter(is_name, os.listdir(os.path.join(folder, layout.IN_FLIGHT))))
    except (FileNotFoundError, NotADirectoryError):
        return []


def open_orphan(path: str) -> int:
    """A descriptor of what a dead process had in flight, such as a spool, locked.

    Raises:
        BlockingIOError: the process lives.
        FileNotFoundError: it ended just now.
        OSError: it is no spool (a link, a folder), or it may not be opened.
    """
    fd = os.open(path, os.O_RDWR | SAFE_FLAGS)
    try:
        must_be_regular(fd)
        if os.fstat(fd).st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it belongs to another user")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # its turn ended between our open and our lock
            raise FileNotFoundError
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_orphan(path: str) -> bool:
    """Whether at `path` stands what a dead process of ours had in flight."""
    try:
        os.close(open_orphan(path))
    except OSError:
        return False
    return True


def sweep_once(folder: str) -> None:
    """As `sweep`, but where nothing was left the last time, the folder is not even listed."""
    if not os.path.lexists(os.path.join(folder, layout.SWEPT)):
        with suppress(FileExistsError):
            os.mkdir(os.path.join(folder, layout.IN_FLIGHT), FOLDER_MODE)
        sweep(folder, os.listdir(folder))


def sweep(folder: str, entries: Iterable[str]) -> None:
    """Move what processes that died left where it stood formerly.

    Args:
        entries: the names in `folder`.
    """
    hidden = (entry for entry in entries if entry[0] == ".")
    left = [(entry, *found) for entry in hidden if (found := formerly(entry))]
    stay = [entry for entry, name, path in left if not _moved(folder, entry, name, path)]
    swept = os.path.join(folder, layout.SWEPT)
    if os.path.islink(os.path.dirname(swept)):
        return  # where it leads is none of ours: who wants to begin a turn is told
    if stay:
        with suppress(FileNotFoundError):
            os.unlink(swept)
    elif not os.path.lexists(swept):
        with suppress(OSError):  # nothing was ever in flight, or nothing can be written
            os.close(os.open(swept, os.O_WRONLY | os.O_CREAT | SAFE_FLAGS, FILE_MODE))


def former_spools_of(folder: str, name: str) -> list[str]:
    """Those of session `name` that `sweep` left: mostly of turns that the former version runs."""
    found = ((entry, formerly(entry)) for entry in os.listdir(folder) if entry[0] == ".")
    return [
        os.path.join(folder, entry)
        for entry, former in found
        if former and former[0] == name and layout.is_spool(os.path.basename(former[1]))
    ]


def formerly(entry: str) -> tuple[str, str] | None:
    """As `layout.formerly_in_flight`, where its session's name is one."""
    found = layout.formerly_in_flight(entry)
    return found if found and is_name(found[0]) else None


def _moved(folder: str, entry: str, name: str, path: str) -> bool:
    """Whether what stood at `entry` is not there any more."""
    former = os.path.join(folder, entry)
    try:
        fd = open_orphan(former)
    except FileNotFoundError:
        return True
    except OSError:  # its process lives, or it is none of ours
        return False
    try:
        if not layout.is_spool(os.path.basename(path)):
            os.unlink(former)  # a lock that nobody holds
            return True
        while os.path.lexists(former):
            make_room(folder, name)
            with suppress(FileNotFoundError):  # the room is gone again, or what was to be moved
                os.rename(former, os.path.join(folder, path))
        return True
    finally:
        os.close(fd)
