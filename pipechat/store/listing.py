"""Which sessions there are, and when each was written, as the folder tells: none is opened."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from pipechat.errors import SessionError
from pipechat.store import in_flight, layout
from pipechat.store.faults import words_for
from pipechat.store.names import is_name


class Listed(NamedTuple):
    """A session, when its file was written last, and how many bytes it has."""

    name: str
    written_ns: int
    size: int


def names(folder: str) -> list[str]:
    """The names of the sessions, sorted. Raises SessionError."""
    return sorted(name for entry in _entries(folder) if (name := _session_name(entry)))


def listed(folder: str) -> list[Listed]:
    """The sessions in no order. Raises SessionError."""
    found = []
    for entry in _entries(folder):
        name = _session_name(entry)
        status = _status(entry) if name else None
        if name and status:
            found.append(Listed(name, status.st_mtime_ns, status.st_size))
    return found


def last_used(folder: str) -> str | None:
    """The session that was written last, a turn in flight or interrupted included. Raises
    SessionError."""
    times = [(each.written_ns, each.name) for each in listed(folder) if each.size]
    for name, path in _spools(folder):
        status = None
        with suppress(OSError):
            status = os.lstat(path)
        if status and stat.S_ISREG(status.st_mode) and status.st_size:
            times.append((status.st_mtime_ns, name))
    return max(times)[1] if times else None


def _spools(folder: str) -> Iterator[tuple[str, str]]:
    """The spools of all sessions, each with the session's name; so too those that the former
    version left. What may not be looked into holds none: who adopts them tells that."""
    for entry in _entries(folder):
        former = in_flight.formerly(entry.name) if entry.name[0] == "." else None
        if former and layout.is_spool(os.path.basename(former[1])):
            yield former[0], entry.path
    with suppress(OSError):
        for name in in_flight.sessions_in_flight(folder):
            with suppress(OSError):
                yield from ((name, path) for path in in_flight.spools_of(folder, name))


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _session_name(entry: "os.DirEntry[str]") -> str | None:
    name = layout.session_of_file(entry.name)
    try:
        is_session = name and is_name(name) and entry.is_file(follow_symlinks=False)
    except OSError as error:  # where the list of the folder does not say what is a file
        raise _unreadable(os.path.dirname(entry.path), error) from error
    return name if is_session else None


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return os.stat(entry.path, follow_symlinks=False)
    except FileNotFoundError:  # gone since the folder was read
        return None
    except OSError as error:
        raise _unreadable(os.path.dirname(entry.path), error) from error


def _unreadable(folder: str, error: OSError) -> SessionError:
    what, hint = words_for(error)
    return SessionError("session_unreadable", f"the folder {folder}: {what}", hint)
