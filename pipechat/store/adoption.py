"""What processes that died left behind: their turns are added to the session as `partial`.

Owns the rules by which a spool is an orphan, is recorded already, or is torn. At least once:
a crash in the middle can leave a double, which readers drop by its id.
"""

import codecs
import fcntl
import os
from collections.abc import Callable, Iterable
from typing import Any

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.faults import words_for
from pipechat.store.layout import spools_of, torn_file
from pipechat.store.locked_file import (
    SAFE_FLAGS,
    LockedFile,
    must_be_regular,
    read_all,
    sync,
    sync_folder,
    write_all,
)

# How far back an orphan's record is looked for: its turn ended when the process died, so what
# stands behind it is what others appended between then and now.
_SEARCH_BYTES = 1 << 24
_CLOCK_SLACK_MS = 60_000
_INTERRUPTED = {
    "code": "interrupted",
    "message": "the process ended before the answer was whole",
}


def adopt_orphans(
    session: LockedFile, name: str, entries: Iterable[str], warn: Callable[[str], None]
) -> int:
    """Append the turns of processes that died, and remove their spools.

    Call it with the session's lock held, and `entries` read under it.

    Args:
        entries: the names in the session's folder.

    Returns:
        How many spools stay: of turns that still run, and those that cannot be opened.

    Raises:
        OSError: a turn could not be appended; its spool stays.
    """
    folder = os.path.dirname(session.path)
    stay = 0
    for entry in spools_of(name, entries):
        path = os.path.join(folder, entry)
        try:
            fd = open_orphan(path)
        except BlockingIOError:
            stay += 1
            continue
        except FileNotFoundError:
            continue
        except OSError as error:
            warn(f"session {name!r}: {entry} was left alone: {words_for(error)[0]}")
            stay += 1
            continue
        try:
            _adopt(session, fd, os.path.join(folder, torn_file(name)))
            os.unlink(path)
        finally:
            os.close(fd)
    return stay


def open_orphan(path: str) -> int:
    """A descriptor of a dead turn's spool, locked.

    Raises:
        BlockingIOError: the turn lives.
        FileNotFoundError: it ended just now.
        OSError: it is no spool (a link, a folder), or it may not be opened.
    """
    fd = os.open(path, os.O_RDWR | SAFE_FLAGS)
    try:
        must_be_regular(fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # its turn ended between our open and our lock
            raise FileNotFoundError
    except BaseException:
        os.close(fd)
        raise
    return fd


def _adopt(session: LockedFile, fd: int, torn_path: str) -> None:
    data = read_all(fd)
    head, newline, answer = data.partition(b"\n")
    if not data:
        return
    try:
        record: dict[str, Any] = jsonl.loads_line(head) if newline else {}
        turn_id = Turn.from_record(record).id
    except ValueError:  # killed while it wrote the head: nothing was sent yet
        set_aside(torn_path, [data])
        return
    if is_recorded(session.fd, turn_id):
        sync(session.fd)  # its writer may have died before it did this
        return
    # Without `final`, the decoder keeps back a character that the end cuts in two.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(answer)
    session.append(jsonl.dumps({**record, "answer": text, "error": _INTERRUPTED}))


def is_recorded(fd: int, turn_id: str) -> bool:
    """Whether the turn stands near the session's end: its process died between the append and
    the removal of the spool. Stops at turns that ended before this one began."""
    began_ms = _milliseconds(turn_id)
    size = os.fstat(fd).st_size
    wanted = turn_id.encode()
    for offset, line in jsonl.lines_backwards(fd, size):
        if size - offset > _SEARCH_BYTES and wanted not in line:
            return False
        try:
            turn = Turn.from_record(jsonl.loads_line(line))
        except ValueError:
            continue
        if turn.id == turn_id:
            return True
        if turn.total_s is not None:  # else it says nothing of when it was appended
            ended_ms = _milliseconds(turn.id) + 1000 * turn.total_s
            if ended_ms < began_ms - _CLOCK_SLACK_MS:
                return False
    return False


def _milliseconds(turn_id: str) -> float:
    """When a UUIDv7 was made, since 1970; infinity where it is none."""
    try:
        return int(turn_id[:8] + turn_id[9:13], 16)
    except ValueError:
        return float("inf")


def set_aside(torn_path: str, lines: Iterable[bytes]) -> None:
    """Add `lines`, which are no records, to NAME.torn, safe on disk. Raises OSError."""
    with LockedFile(torn_path, create=True) as torn:
        before = os.fstat(torn.fd).st_size
        try:
            for line in lines:
                write_all(torn.fd, line + b"\n")
            sync(torn.fd)
            sync_folder(os.path.dirname(torn_path))
        except OSError:
            os.ftruncate(torn.fd, before)
            raise
