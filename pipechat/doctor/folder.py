"""The folder of the sessions: looked at. What it means, `judging_folder` says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from pipechat.store import in_flight
from pipechat.store.layout import formerly_in_flight, is_spool, session_of_file
from pipechat.store.locked_file import SAFE_FLAGS
from pipechat.store.names import is_name

_PROBE = b"x" * 4096
_MOUNTS = "/proc/self/mountinfo"  # of Linux
_MOST_FILES = 20_000


class FolderFacts(NamedTuple):
    """What was seen.

    `nearest`: the folder itself, or the one above it that is there. `refused`: why no file could
    be written in it. `free_bytes`, `free_files`: None where the system does not tell. `unreadable`,
    `torn`, `orphans`: names of sessions.
    """

    path: str
    nearest: str
    mode: int = 0o700
    refused: OSError | None = None
    filesystem: str | None = None
    free_bytes: int | None = None
    free_files: int | None = None
    unreadable: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        return self.path == self.nearest


def look_at(path: str) -> FolderFacts:
    """The folder at `path`, or where it would be made. Leaves everything as it is."""
    nearest = path
    while not os.path.lexists(nearest) and os.path.dirname(nearest) != nearest:
        nearest = os.path.dirname(nearest)
    facts = FolderFacts(path, nearest, refused=_refusal(nearest))
    with suppress(OSError):
        facts = facts._replace(mode=stat.S_IMODE(os.stat(nearest).st_mode))
    with suppress(OSError):
        space = os.statvfs(nearest)
        files = space.f_favail if space.f_files else None  # some filesystems have no such limit
        facts = facts._replace(free_bytes=space.f_bavail * space.f_frsize, free_files=files)
    with (
        suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file,
    ):
        facts = facts._replace(filesystem=filesystem_of(os.path.realpath(nearest), file))
    with suppress(OSError):
        entries = os.listdir(path)[:_MOST_FILES]
        unreadable, torn = _unreadable_and_torn(path, entries)
        facts = facts._replace(unreadable=unreadable, torn=torn, orphans=_orphans(path, entries))
    return facts


def filesystem_of(path: str, mountinfo: Iterable[str]) -> str | None:
    """The type of the filesystem that `path` is on, of the lines of /proc/self/mountinfo.

    `36 35 98:0 /root /mount/point rw,… - ext4 /dev/sda …` (proc_pid_mountinfo(5)).
    """
    found: tuple[int, str] | None = None
    for line in mountinfo:
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if not dash or len(fields) < 5 or not kinds:
            continue
        point = fields[4].replace("\\040", " ").rstrip("/")
        covers = path == point or path.startswith(f"{point}/")
        if covers and (found is None or len(point) >= found[0]):
            found = len(point), kinds[0]
    return found[1] if found else None


def _refusal(folder: str) -> OSError | None:
    """Why no file can be written in `folder`; None where it can."""
    probe = os.path.join(folder, f".doctor.{os.urandom(6).hex()}")
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    except OSError as error:
        return error
    try:
        os.write(fd, _PROBE)
        os.fsync(fd)
    except OSError as error:
        return error
    finally:
        os.close(fd)
        os.unlink(probe)
    return None


def _unreadable_and_torn(
    folder: str, entries: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sessions that cannot be opened, and those whose last line has no end."""
    unreadable, torn = [], []
    for entry in entries:
        name = session_of_file(entry)
        if name and is_name(name):
            try:
                if _is_torn(os.path.join(folder, entry)):
                    torn.append(name)
            except FileNotFoundError:  # deleted just now
                continue
            except OSError:
                unreadable.append(name)
    return tuple(sorted(unreadable)), tuple(sorted(torn))


def _is_torn(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | SAFE_FLAGS)
    try:
        size = os.fstat(fd).st_size
        return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    finally:
        os.close(fd)


def _orphans(folder: str, entries: Iterable[str]) -> tuple[str, ...]:
    """The sessions of which a process that died left an answer."""
    spools = [
        (name, path)
        for name in in_flight.sessions_in_flight(folder)[:_MOST_FILES]
        for path in in_flight.spools_of(folder, name)
    ]
    for entry in entries:
        former = formerly_in_flight(entry)
        if former and is_spool(os.path.basename(former[1])):
            spools.append((former[0], os.path.join(folder, entry)))
    found = set()
    for name, path in spools:
        with suppress(OSError):
            os.close(in_flight.open_orphan(path))
            found.add(name)
    return tuple(sorted(found))
