"""What processes that died left behind: their turns are added to the session as `partial`.

Owns the rules by which a spool is an orphan, is recorded already, or is torn. At least once:
a crash in the middle can leave a double, which readers drop by its id.
"""

import codecs
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pipechat import jsonl
from pipechat.messages import Turn
from pipechat.store.faults import words_for
from pipechat.store.in_flight import leave_room, open_orphan, spools_of
from pipechat.store.layout import torn_file, turn_id_of
from pipechat.store.locked_file import LockedFile, read_all, sync, sync_folder, write_all

# How far back an orphan's record is looked for: its turn ended when the process died, so what
# stands behind it is what others appended between then and now.
_SEARCH_BYTES = 1 << 24
_CLOCK_SLACK_MS = 60_000
# So many spools are open at once: fewer than descriptors are to be had.
_AT_ONCE = 128
_INTERRUPTED = {
    "code": "interrupted",
    "message": "the process ended before the answer was whole",
}


def adopt_orphans(session: LockedFile, name: str, warn: Callable[[str], None]) -> int:
    """Append the turns of processes that died, and remove their spools.

    Call it with the session's lock held.

    Returns:
        How many spools stay: of turns that still run, and those that cannot be opened.

    Raises:
        OSError: a turn could not be appended; its spool stays.
    """
    folder = os.path.dirname(session.path)
    torn_path = os.path.join(folder, torn_file(name))
    spools = spools_of(folder, name)
    if not spools:
        return 0
    recorded = recorded_ids(session.fd, {turn_id_of(path) for path in spools})
    stay = 0
    for run in batched(spools, _AT_ONCE):
        orphans: list[tuple[str, int]] = []
        try:
            for path in run:
                stay += _open_into(orphans, path, name, warn)
            _adopt(session, [fd for _, fd in orphans], recorded, torn_path)
            for path, _ in orphans:
                os.unlink(path)
        finally:
            for _, fd in orphans:
                os.close(fd)
    leave_room(folder, name)
    return stay


def _open_into(
    orphans: list[tuple[str, int]], path: str, name: str, warn: Callable[[str], None]
) -> bool:
    """Add the orphan at `path` to those that are open; whether it stays where it is instead."""
    try:
        orphans.append((path, open_orphan(path)))
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        entry = os.path.basename(path)
        warn(f"session {name!r}: {entry} was left alone: {words_for(error)[0]}")
        return True
    return False


def batched(paths: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """`paths` in runs of `size` at most."""
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def _adopt(session: LockedFile, fds: list[int], recorded: set[str], torn_path: str) -> None:
    """Append the turns of these spools with one write; what is no turn is set aside."""
    records: list[bytes] = []
    torn: list[bytes] = []
    for fd in fds:
        data = read_all(fd)
        try:
            record = _record_of(data, recorded) if data else None
        except (ValueError, TypeError):  # killed while it wrote the head: nothing was sent yet
            torn.append(data)
            continue
        if record is not None:
            records.append(record)
    if torn:
        set_aside(torn_path, torn)
    if records:
        session.append(*records)
    elif fds:
        sync(session.fd)  # a writer may have died before it did this


def _record_of(data: bytes, recorded: set[str]) -> bytes | None:
    """The record of a dead turn: partial, whatever its head says; None where it stands already.
    Raises ValueError, TypeError where the spool holds none."""
    head, newline, answer = data.partition(b"\n")
    record: dict[str, Any] = jsonl.loads_line(head) if newline else {}
    if Turn.from_record(record).id in recorded:
        return None
    # Without `final`, the decoder keeps back a character that the end cuts in two.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(answer)
    made = {**record, "status": "partial", "answer": text, "error": _INTERRUPTED}
    return jsonl.dumps(made)


def recorded_ids(fd: int, turn_ids: set[str]) -> set[str]:
    """Those of the turns that stand near the session's end: their processes died between the
    append and the removal of the spool. One pass for all of them; it stops at turns that ended
    before the first of them began."""
    found: set[str] = set()
    if not turn_ids:
        return found
    began_ms = min(_milliseconds(turn_id) for turn_id in turn_ids)
    size = os.fstat(fd).st_size
    for offset, line in jsonl.lines_backwards(fd, size):
        if size - offset - len(line) > _SEARCH_BYTES or len(found) == len(turn_ids):
            break
        turn = _turn_of(line)
        if turn is None:
            continue
        if turn.id in turn_ids:
            found.add(turn.id)
        elif turn.total_s is not None:  # else it says nothing of when it was appended
            ended_ms = _milliseconds(turn.id) + 1000 * turn.total_s
            if ended_ms < began_ms - _CLOCK_SLACK_MS:
                break
    return found


def _turn_of(line: bytes) -> Turn | None:
    try:
        return Turn.from_record(jsonl.loads_line(line))
    except ValueError:
        return None


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
        except OSError as error:
            os.ftruncate(torn.fd, before)
            error.filename = torn_path
            raise
