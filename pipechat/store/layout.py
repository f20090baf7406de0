"""The names of the files in the folder of the sessions. Pure; nobody else knows them.

A session is `NAME.jsonl`; beside it may stand `NAME.torn`, lines that were moved aside, and
hidden, a spool for each turn in flight, the lock of `--if-busy`, what a rewrite or a fork has
not finished, and of `--once` an index and a lock for each key that is being asked; a folder for
each import that is under way. Beside the folder stands what was typed in `chat`.

The output of a batch may be any file; hidden beside it stand the lock of the run that writes to
it, and what that holds back.
"""

from collections.abc import Iterable

_SESSION = ".jsonl"
_SPOOL = ".part"
_ID_LENGTH = 36
_INDEX = ".once"
_IMPORT = ".import"
_ASKING = ".asking"
_KEY_LENGTH = 32


CHAT_HISTORY = "chat_history.jsonl"
"""In the folder that holds that of the sessions."""


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


def import_folder(token: str) -> str:
    """The folder of sessions that are being imported; `token` has no dot."""
    return f".{token}{_IMPORT}"


def import_folders(entries: list[str]) -> list[str]:
    """Those of a folder's `entries` that are such folders."""
    return [each for each in entries if each.startswith(".") and each.endswith(_IMPORT)]


def once_index_files(name: str) -> tuple[str, str]:
    """The index, and the journal that SQLite keeps beside it. To be removed in this order: a
    journal without its index is passed over, an index without its journal is not."""
    return f".{name}{_INDEX}", f".{name}{_INDEX}-journal"


def once_lock_file(name: str, key_hash: str) -> str:
    """The lock of one key of `--once`; `key_hash` has 32 letters."""
    return f".{name}.{key_hash}{_ASKING}"


def once_locks_of(name: str, entries: Iterable[str]) -> list[str]:
    """Those of a folder's `entries` that are locks of keys of session `name`."""
    return _of_session(name, entries, _KEY_LENGTH, _ASKING)


def batch_run_file(output: str) -> str:
    """The lock of the run that writes to the file `output`."""
    return f".{output}.run"


def batch_held_file(output: str) -> str:
    """The records that cannot stand in the file `output` yet."""
    return f".{output}.held"


def spool_file(name: str, turn_id: str) -> str:
    return f".{name}.{turn_id}{_SPOOL}"


def spools_of(name: str, entries: Iterable[str]) -> list[str]:
    """Those of a folder's `entries` that are spools of session `name`, oldest first."""
    return _of_session(name, entries, _ID_LENGTH, _SPOOL)


def _of_session(name: str, entries: Iterable[str], id_length: int, ending: str) -> list[str]:
    prefix = f".{name}."
    length = len(prefix) + id_length + len(ending)
    return sorted(
        entry
        for entry in entries
        if len(entry) == length and entry.startswith(prefix) and entry.endswith(ending)
    )


def session_of_spool(entry: str) -> str | None:
    """The session whose spool a folder's `entry` is; None where it is no spool."""
    end = len(entry) - _ID_LENGTH - len(_SPOOL) - 1
    is_spool = end > 1 and entry[0] == entry[end] == "." and entry.endswith(_SPOOL)
    return entry[1:end] if is_spool else None


def turn_id_of(entry: str) -> str:
    """The id of the turn whose spool `entry` is."""
    return entry[-_ID_LENGTH - len(_SPOOL) : -len(_SPOOL)]
