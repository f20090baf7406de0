"""The names of the files in the folder of the sessions. Pure; nobody else knows them.

A session is `NAME.jsonl`; beside it may stand `NAME.torn`, lines that were moved aside, and
hidden, a spool for each turn in flight, the lock of `--if-busy`, and what a rewrite or a fork
has not finished.
"""

from collections.abc import Iterable

_SESSION = ".jsonl"
_SPOOL = ".part"
_ID_LENGTH = 36


def session_file(name: str) -> str:
    return name + _SESSION


def session_of_file(entry: str) -> str | None:
    """The name of the session whose file a folder's `entry` would be; None where it is none."""
    name = entry.removesuffix(_SESSION)
    return name if name != entry else None


def torn_file(name: str) -> str:
    return f"{name}.torn"


def busy_file(name: str) -> str:
    return f".{name}.busy"


def rewrite_file(name: str) -> str:
    return f".{name}.rewrite"


def fork_file(name: str) -> str:
    return f".{name}.fork"


def spool_file(name: str, turn_id: str) -> str:
    return f".{name}.{turn_id}{_SPOOL}"


def spools_of(name: str, entries: Iterable[str]) -> list[str]:
    """Those of a folder's `entries` that are spools of session `name`, oldest first."""
    prefix = f".{name}."
    length = len(prefix) + _ID_LENGTH + len(_SPOOL)
    return sorted(
        entry
        for entry in entries
        if len(entry) == length and entry.startswith(prefix) and entry.endswith(_SPOOL)
    )


def session_of_spool(entry: str) -> str | None:
    """The session whose spool a folder's `entry` is; None where it is no spool."""
    end = len(entry) - _ID_LENGTH - len(_SPOOL) - 1
    is_spool = end > 1 and entry[0] == entry[end] == "." and entry.endswith(_SPOOL)
    return entry[1:end] if is_spool else None


def turn_id_of(entry: str) -> str:
    """The id of the turn whose spool `entry` is."""
    return entry[-_ID_LENGTH - len(_SPOOL) : -len(_SPOOL)]
