"""Rewrites of a session in place: repair and prune. Imported only by those commands.

Owns which lines stay; how a file is replaced under running appenders is in `replacing.py`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.adoption import adopt_orphans, set_aside
from pipechat.store.in_flight import sweep_once
from pipechat.store.layout import rewrite_file
from pipechat.store.locked_file import sync_folder
from pipechat.store.reading import Session, turn_of
from pipechat.store.replacing import locked, temporary, torn_path_of, write_lines
from pipechat.store.sessions import SessionStore


class RepairReport(NamedTuple):
    """What `repair` moved aside, or would: lines that are no turns, and doubles of turns.
    `torn_path` is where they are; None where there were none."""

    name: str
    turns: int
    torn: int
    doubles: int
    torn_path: str | None


class PruneReport(NamedTuple):
    """How many turns `prune` left and dropped, or would."""

    name: str
    kept: int
    dropped: int


def repair(store: SessionStore, name: str, *, dry_run: bool = False) -> RepairReport:
    """Move what is no turn, and all but one of the turns with the same id, to NAME.torn.

    Of doubles a complete one stays, else the first. Nothing is deleted but blank lines: what
    moves is on the disk before the session is replaced. What stays keeps its bytes.

    Raises:
        SessionError: `session_missing`, `session_unreadable`, `session_unwritable`.
    """
    torn_path = torn_path_of(store, name)
    with _taken(store, name, dry_run=dry_run) as session:
        turns, torn, doubles = _survey(session)
        moving = torn | doubles
        if moving and not dry_run:
            set_aside(torn_path, _lines(session, lambda number, _: number in moving))
            _replace(store, session, _lines(session, lambda number, _: number not in moving))
    aside = torn_path if moving else None
    return RepairReport(name, turns, len(torn), len(doubles), aside)


def prune(
    store: SessionStore, name: str, older_than: datetime, *, dry_run: bool = False
) -> PruneReport:
    """Drop the turns from before `older_than` (naive: UTC). Turns without a time stay, and so
    do lines that are no turns.

    Raises:
        SessionError: `session_missing`, `session_unreadable`, `session_unwritable`.
    """
    limit = older_than if older_than.tzinfo else older_than.replace(tzinfo=UTC)
    with _taken(store, name, dry_run=dry_run) as session:
        kept = dropped = gone = 0
        for line in _lines(session):
            if turn := turn_of(line):
                older = _is_older(turn, limit)
                gone += older
                if turn.context is None:  # else a mark of a turn, and as old
                    kept += not older
                    dropped += older
        if gone and not dry_run:
            _replace(store, session, _lines(session, lambda _, line: _stays(line, limit)))
    return PruneReport(name, kept, dropped)


@contextmanager
def _taken(store: SessionStore, name: str, *, dry_run: bool) -> Iterator[Session]:
    """The session to look at (`dry_run`), or locked and with its orphans adopted."""
    if dry_run:
        with store.reading(name) as session:
            yield session
        return
    with locked(store, name) as file:
        sweep_once(store.folder)
        adopt_orphans(file, name, store.warn)
        yield Session(name, file.fd, os.fstat(file.fd).st_size, store.warn)


def _lines(
    session: Session, wanted: Callable[[int, bytes], bool] = lambda _number, _line: True
) -> Iterator[bytes]:
    for number, line in jsonl.lines_forwards(session.fd, session.size):
        if wanted(number, line) and line.strip():
            yield line


def _survey(session: Session) -> tuple[int, set[int], set[int]]:
    """How many turns there are, and the numbers of the lines that are none or doubles."""
    turns = 0
    torn: set[int] = set()
    seen: set[int] = set()  # hashes of ids: a million take 60 MB, the ids themselves 150
    doubled: set[str] = set()
    for number, line in jsonl.lines_forwards(session.fd, session.size):
        turn = turn_of(line)
        if turn is None:
            if line.strip():
                torn.add(number)
            continue
        if turn.context is not None:  # a mark of a turn that stands before it
            continue
        turns += 1
        digest = hash(turn.id)
        if digest in seen:
            doubled.add(turn.id)
        seen.add(digest)
    doubles = _worse_doubles(session, doubled) if doubled else set()
    return turns - len(doubles), torn, doubles


def _worse_doubles(session: Session, ids: set[str]) -> set[int]:
    best: dict[str, tuple[int, bool]] = {}
    worse: set[int] = set()
    for number, line in jsonl.lines_forwards(session.fd, session.size):
        turn = turn_of(line)
        if turn is None or turn.id not in ids or turn.context is not None:
            continue
        complete = turn.status == "complete"
        if turn.id not in best:
            best[turn.id] = number, complete
        elif complete and not best[turn.id][1]:
            worse.add(best[turn.id][0])
            best[turn.id] = number, complete
        else:
            worse.add(number)
    return worse


def _is_older(turn: Turn, limit: datetime) -> bool:
    try:
        time = datetime.fromisoformat(turn.time)
    except ValueError:
        return False
    return (time if time.tzinfo else time.replace(tzinfo=UTC)) < limit


def _stays(line: bytes, limit: datetime) -> bool:
    turn = turn_of(line)
    return turn is None or not _is_older(turn, limit)


def _replace(store: SessionStore, session: Session, lines: Iterable[bytes]) -> None:
    with temporary(os.path.join(store.folder, rewrite_file(session.name))) as (fd, path):
        write_lines(fd, lines)
        status = os.fstat(session.fd)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))  # it was not used now
        os.fsync(fd)
        os.rename(path, store.path(session.name))
        sync_folder(store.folder)
