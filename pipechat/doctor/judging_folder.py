"""What it means that was seen of the folder of the sessions. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from pipechat.doctor.finding import Finding
from pipechat.doctor.folder import FolderFacts
from pipechat.store.faults import words_for
from pipechat.text import counted

_FULL_BYTES = 1 << 20
_SHORT_BYTES = 100 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FEW_FILES = 16
# Where locks between machines may not hold, or a write be lost.
_FAR = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs",
        "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "davfs", "vboxsf")  # fmt: skip
_NAMES = 3


def judge_folder(facts: FolderFacts) -> Iterator[Finding]:
    """A finding for each thing that was looked at."""
    yield _writable(facts)
    yield _mode(facts)
    if facts.filesystem is not None:
        yield _filesystem(facts.filesystem)
    if facts.free_bytes is not None:
        yield _space(facts.free_bytes, facts.free_files)
    if facts.is_there:
        yield _sessions(facts)
        yield _orphans(facts)


def judge_ledger(facts: FolderFacts) -> Iterator[Finding]:
    """What is wrong with the folder of the ledger; nothing where nothing is."""
    if facts.unlisted is not None:
        what, hint = words_for(facts.unlisted)
        yield Finding("ledger", "fail", f"{facts.path} cannot be read: {what}", hint)
    written = _writable(facts)._replace(check="ledger")
    if written.verdict != "ok" and facts.unlisted is None:
        yield written


def _writable(facts: FolderFacts) -> Finding:
    where = facts.path if facts.is_there else f"{facts.path} (to be made in {facts.nearest})"
    where = facts.within or where
    if facts.refused is None and facts.kept is not None:
        left = str(facts.kept.filename or "it").rpartition("/")[2]
        what = f"a file can be made in {where}, and not be removed ({words_for(facts.kept)[0]})"
        tried = facts.within or facts.nearest
        hint = f"`lsattr -d {tried}` tells whether it may only be added to (a)."
        return Finding("folder", "warn", f"{what}: {left} stays there", hint)
    if facts.refused is None:
        return Finding("folder", "ok", where)
    what, hint = words_for(facts.refused)
    if facts.refused.errno in _FULL:
        hint = "Free some space."
    return Finding("folder", "fail", f"{where} cannot be written: {what}", hint)


def _mode(facts: FolderFacts) -> Finding:
    if not facts.is_there:
        return Finding("mode", "ok", "it will be yours alone")
    if facts.mode is None:
        hint = "Look at who owns the folders above it."
        return Finding("mode", "warn", "the folder's mode cannot be looked at", hint)
    if facts.mode & 0o077:
        message = f"the folder is open to others (mode {facts.mode:04o})"
        return Finding("mode", "warn", message, f"`chmod 700 {facts.path}` closes it.")
    return Finding("mode", "ok", f"yours alone (mode {facts.mode:04o})")


def _filesystem(kind: str) -> Finding:
    if kind in _FAR or kind.startswith("nfs"):
        message = f"{kind}, where locks may not hold between machines"
        return Finding("filesystem", "warn", message, "Set PIPECHAT_HOME to a local disk.")
    return Finding("filesystem", "ok", kind)


def _space(free_bytes: int, free_files: int | None) -> Finding:
    if free_files is not None and free_files < _FEW_FILES:
        return Finding("space", "fail", "the disk is full: no more files", "Remove some files.")
    message = f"{free_bytes / (1 << 20):.0f} MiB are free"
    if free_bytes < _FULL_BYTES:
        return Finding("space", "fail", f"the disk is full: {message}", "Free some space.")
    if free_bytes < _SHORT_BYTES:
        return Finding("space", "warn", f"only {message}", "Free some space.")
    return Finding("space", "ok", message)


def _sessions(facts: FolderFacts) -> Finding:
    unreadable, torn = facts.unreadable, facts.torn
    if facts.unlisted is not None:
        what, hint = words_for(facts.unlisted)
        message = f"which there are cannot be told: {facts.path}: {what}"
        return Finding("sessions", "fail", message, hint)
    if unreadable:
        why = f" ({words_for(facts.why)[0]})" if facts.why is not None else ""
        message = f"{counted(len(unreadable), 'session')} cannot be read{why}"
        message += f": {_listed(unreadable)}"
        hint = f"`pipechat history show {unreadable[0]}` tells why."
        return Finding("sessions", "warn", message, hint)
    if not torn:
        return Finding("sessions", "ok", "no line is torn")
    message = f"the last line of {counted(len(torn), 'session')} is torn: {_listed(torn)}"
    hint = f"`pipechat history repair {torn[0]}` moves it aside; nothing is lost."
    return Finding("sessions", "warn", message, hint)


def _orphans(facts: FolderFacts) -> Finding:
    names = facts.orphans
    if facts.unseen is not None:
        what, hint = words_for(facts.unseen)
        where = facts.unseen.filename or facts.path
        message = f"answers that a process left could not be looked for: {where}: {what}"
        return Finding("spools", "fail", message, hint)
    if not names and facts.left_alone:
        message = f"what a process left in {_listed(facts.left_alone)} cannot be opened"
        hint = f"`pipechat history show {facts.left_alone[0]}` tells why."
        return Finding("spools", "warn", message, hint)
    if not names:
        return Finding("spools", "ok", "no process left an answer behind")
    message = f"a process that died left an answer in {_listed(names)}"
    hint = f"`pipechat history show {names[0]}` takes it in."
    return Finding("spools", "warn", message, hint)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
