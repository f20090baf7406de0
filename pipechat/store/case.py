"""Names that differ only by case: on many disks they would be one file."""

import os

from pipechat.errors import SessionError
from pipechat.store.layout import session_file, session_of_file


def may_be_new(folder: str, name: str) -> bool:
    """Whether there is no session of this very name: none at all, or one whose name the disk takes
    for the same. Costs the same however many there are."""
    path = os.path.join(folder, session_file(name))
    try:
        found = os.lstat(path)
        other = os.lstat(os.path.join(folder, session_file(name).swapcase()))
    except OSError:  # missing; or too long, in the other case
        return not os.path.lexists(path)
    return os.path.samestat(found, other)  # the disk ignores case: only a list has the true name


def check_case(name: str, entries: list[str]) -> None:
    """Raises SessionError where `name` would be new, and differs from one of the folder's
    `entries` only by case."""
    file_name = session_file(name)
    if file_name in entries:
        return
    folded = file_name.casefold()
    for entry in entries:
        if entry.casefold() == folded:
            other = session_of_file(entry) or entry
            message = f"session {name!r} differs from {other!r} only by case"
            raise SessionError("session_exists", message, f"Use {other!r}, or another name.")
