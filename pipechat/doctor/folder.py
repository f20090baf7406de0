"""The folder of the sessions: looked at. What it means, `judging_folder` says."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from pipechat.store import in_flight
from pipechat.store.layout import IN_FLIGHT, is_spool, session_of_file
from pipechat.store.locked_file import SAFE_FLAGS
from pipechat.store.names import is_name

_PROBE = b"x" * 4096
_PROBE_NAME = re.compile(r"\.doctor\.[0-9a-f]{12}")
_MOUNTS = "/proc/self/mountinfo"  # of Linux
_MOST_FILES = 20_000


class FolderFacts(NamedTuple):
    """What was seen, and why the rest was not.

    `nearest`: the folder itself, or the one above it that is there. `refused`: why no file could
    be written in it. `kept`: why the file that was could not be removed. `within`: the folder in
    it of which both are said, "" for itself. `mode`, `free_bytes`, `free_files`: None where the
    system does not tell. `unlisted`: why nobody knows which sessions there are. `unreadable` (the
    first is so because of `why`), `torn`, `orphans`, `left_alone`: names of sessions. `unseen`: why
    orphans could not be looked for everywhere.
    """

    path: str
    nearest: str
    mode: int | None = 0o700
    refused: OSError | None = None
    kept: OSError | None = None
    within: str = ""
    filesystem: str | None = None
    free_bytes: int | None = None
    free_files: int | None = None
    unlisted: OSError | None = None
    unreadable: tuple[str, ...] = ()
    why: OSError | None = None
    torn: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()
    unseen: OSError | None = None

    @property
    def is_there(self) -> bool:
        return self.path == self.nearest


def look_at(path: str) -> FolderFacts:
    """The folder at `path`, or where it would be made. Leaves everything as it is."""
    facts = _with_sessions(_with_in_flight(_as_a_folder(path)))
    nearest = facts.nearest
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
    return facts


def look_at_ledger(path: str) -> FolderFacts:
    """The folder of the ledger, of which it matters whether it can be read and written."""
    facts = _as_a_folder(path)
    return facts._replace(unlisted=_listed(path)[1])


def _as_a_folder(path: str) -> FolderFacts:
    """Whether there is such a folder, and what can be done in it."""
    nearest = _nearest(path)
    refused, kept = _tried(nearest)
    return FolderFacts(path, nearest, None, refused, kept)


def _with_in_flight(facts: FolderFacts) -> FolderFacts:
    """With what can be done where turns in flight are kept, once there was one."""
    within = os.path.join(facts.path, IN_FLIGHT)
    if facts.refused or facts.kept or os.path.islink(within) or not os.path.isdir(within):
        return facts
    refused, kept = _tried(within)
    return facts._replace(refused=refused, kept=kept, within=within if refused or kept else "")


def _nearest(path: str) -> str:
    """`path`, or the folder above it that is there. What cannot be looked for may be there."""
    while os.path.dirname(path) != path:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path)
        except OSError:
            break
        else:
            break
    return path or os.curdir


def _listed(folder: str) -> tuple[list[str], OSError | None]:
    """What is in `folder`, or why that cannot be told. One that is not there holds nothing."""
    try:
        return os.listdir(folder)[:_MOST_FILES], None
    except FileNotFoundError:
        return [], None
    except OSError as error:
        return [], error


def _with_sessions(facts: FolderFacts) -> FolderFacts:
    entries, unlisted = _listed(facts.path)
    orphans, left_alone, unseen = _orphans(facts.path, entries)
    facts = _with_unreadable_and_torn(facts, entries)
    return facts._replace(
        unlisted=unlisted, orphans=orphans, left_alone=left_alone, unseen=unseen or unlisted
    )


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


def _tried(folder: str) -> tuple[OSError | None, OSError | None]:
    """Why no file can be written in `folder`, and why none can be removed from it."""
    for left in _left_probes(folder):
        error = _removal(left)
        if error is not None and os.access(folder, os.W_OK | os.X_OK):
            return None, error  # one more would stay as well
    probe = os.path.join(folder, f".doctor.{os.urandom(6).hex()}")
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    except OSError as error:
        return error, None
    refused = None
    try:
        os.write(fd, _PROBE)
        os.fsync(fd)
    except OSError as error:
        refused = error
    finally:
        os.close(fd)
    return refused, _removal(probe)


def _left_probes(folder: str) -> list[str]:
    """What looks of ours, that were killed or could not, left there."""
    with suppress(OSError):
        paths = [
            os.path.join(folder, each) for each in filter(_PROBE_NAME.fullmatch, os.listdir(folder))
        ]
        return [path for path in paths if os.lstat(path).st_uid == os.geteuid()]
    return []


def _removal(probe: str) -> OSError | None:
    """Remove it; why that cannot be."""
    try:
        os.unlink(probe)
    except FileNotFoundError:  # another look, which took it for left, did
        return None
    except OSError as error:
        return error
    return None


def _with_unreadable_and_torn(facts: FolderFacts, entries: Iterable[str]) -> FolderFacts:
    """With the sessions that cannot be opened, and those whose last line has no end."""
    unreadable: dict[str, OSError] = {}
    torn = []
    for entry in entries:
        name = session_of_file(entry)
        if name and is_name(name):
            try:
                if _is_torn(os.path.join(facts.path, entry)):
                    torn.append(name)
            except FileNotFoundError:  # deleted just now
                continue
            except OSError as error:
                unreadable[name] = error
    names = tuple(sorted(unreadable))
    why = unreadable[names[0]] if names else None
    return facts._replace(unreadable=names, why=why, torn=tuple(sorted(torn)))


def _is_torn(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | SAFE_FLAGS)
    try:
        size = os.fstat(fd).st_size
        return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    finally:
        os.close(fd)


def _orphans(
    folder: str, entries: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...], OSError | None]:
    """The sessions of which a process that died left an answer, those of which something is there
    that cannot be opened, and why it is not known of others."""
    spools, unseen = _spools(folder, entries)
    found, left_alone = set(), set()
    for name, path in spools:
        try:
            os.close(in_flight.open_orphan(path))
        except (BlockingIOError, FileNotFoundError):  # its process lives, or has just ended
            continue
        except OSError:
            left_alone.add(name)
        else:
            found.add(name)
    return tuple(sorted(found)), tuple(sorted(left_alone)), unseen


def _spools(folder: str, entries: Iterable[str]) -> tuple[list[tuple[str, str]], OSError | None]:
    """Each with its session's name; and why not all can be seen."""
    spools = []
    for entry in entries:
        former = in_flight.formerly(entry)
        if former and is_spool(os.path.basename(former[1])):
            spools.append((former[0], os.path.join(folder, entry)))
    unseen = None
    try:
        for name in in_flight.sessions_in_flight(folder)[:_MOST_FILES]:
            spools += ((name, path) for path in in_flight.spools_of(folder, name))
    except OSError as error:
        unseen = error
    return spools, unseen
