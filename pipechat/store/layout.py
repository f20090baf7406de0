"""The names of the files in the folder of the sessions. Pure; nobody else knows them.

A session is `NAME.jsonl`; beside it may stand `NAME.torn`, lines that were moved aside, and
hidden, the lock of `--if-busy`, what a rewrite or a fork has not finished, and the index of
`--once`. What processes have in flight, a spool for each turn and of `--once` a lock for each key
that is being asked, stands in a folder of the session, `.in-flight/NAME/`: it is found by the name
however many sessions there are. An import that is under way has a
folder. Beside the folder of all stands what was typed in `chat`.

The output of a batch may be any file; hidden beside it stand the lock of the run that writes to
it, and what that holds back.
"""

_SESSION = ".jsonl"
_SPOOL = ".part"
_ID_LENGTH = 36
_INDEX = ".once"
_IMPORT = ".import"
_REWRITE = ".rewrite"
_FORK = ".fork"
_ASKING = ".asking"
_KEY_LENGTH = 32

IN_FLIGHT = ".in-flight"
"""The folder that holds one for each session with something in flight."""

SWEPT = f"{IN_FLIGHT}/.swept"
"""Is there where nothing is known to stand any more where it stood formerly."""

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
    return f".{name}{_REWRITE}"


def fork_file(name: str) -> str:
    return f".{name}{_FORK}"


def is_copy(entry: str) -> bool:
    """Whether a folder's `entry` is what a rewrite or a fork has not finished, of any session."""
    return entry.startswith(".") and entry.endswith((_REWRITE, _FORK))


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
    return f"{in_flight_folder(name)}/{key_hash}{_ASKING}"


def is_once_lock(entry: str) -> bool:
    """Whether an entry of a session's folder of what is in flight is the lock of a key."""
    return len(entry) == _KEY_LENGTH + len(_ASKING) and entry.endswith(_ASKING)


def batch_run_file(output: str) -> str:
    """The lock of the run that writes to the file `output`."""
    return f".{output}.run"


def batch_held_file(output: str) -> str:
    """The records that cannot stand in the file `output` yet."""
    return f".{output}.held"


def in_flight_folder(name: str) -> str:
    """Where spools and locks of keys of session `name` stand; made when they are, and gone with
    the last of them."""
    return f"{IN_FLIGHT}/{name}"


def spool_file(name: str, turn_id: str) -> str:
    return f"{in_flight_folder(name)}/{turn_id}{_SPOOL}"


def is_spool(entry: str) -> bool:
    """Whether an entry of a session's folder of what is in flight is a spool."""
    return len(entry) == _ID_LENGTH + len(_SPOOL) and entry.endswith(_SPOOL)


def turn_id_of(path: str) -> str:
    """The id of the turn whose spool is at `path`."""
    return path[-_ID_LENGTH - len(_SPOOL) : -len(_SPOOL)]


def formerly_in_flight(entry: str) -> tuple[str, str] | None:
    """What was in flight once stood in the folder of the sessions itself, as `.NAME.TURNID.part`
    and `.NAME.KEY.asking`: the session of such an `entry` of that folder, and its path there now;
    None where it is no such thing."""
    for ending, length in ((_SPOOL, _ID_LENGTH), (_ASKING, _KEY_LENGTH)):
        end = len(entry) - length - len(ending) - 1
        if end > 1 and entry[0] == entry[end] == "." and entry.endswith(ending):
            name = entry[1:end]
            return name, f"{in_flight_folder(name)}/{entry[end + 1 :]}"
    return None
