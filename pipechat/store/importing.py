"""New sessions from elsewhere: made aside, then all put in place, or none.

They are written in a hidden folder beside the sessions, whose lock its owner holds; a folder whose
owner died is removed by the next import. Each then gets its name by a link, which never replaces
one that is there. Imported only by that command.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from pipechat.errors import SessionError
from pipechat.signals import held_off
from pipechat.store.faults import unwritable, words_for
from pipechat.store.layout import import_folder, import_folders, session_file, session_of_file
from pipechat.store.locked_file import (
    FILE_MODE,
    FOLDER_MODE,
    SAFE_FLAGS,
    is_named,
    make_folder,
    sync,
    sync_folder,
    write_all,
)
from pipechat.store.sessions import SessionStore

_BLOCK = 1 << 20


class Staging:
    """Sessions on their way in. Left without `commit`, nothing of them is there.

    Raises (throughout):
        SessionError: `session_exists`, `session_unwritable`.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._turns: dict[str, int] = {}
        self._numbers: dict[str, int] = {}  # by a name in lower case, the last that was tried
        self._open = ""
        self._buffer = bytearray()
        with _translated():
            make_folder(store.folder)
            self._fd, self._folder = _new_folder(store.folder)
            remove_dead(store.folder)
        # By what a disk that minds no case makes of them; "" for one that is on its way.
        self._taken = {each.casefold(): each for each in os.listdir(store.folder)}

    @property
    def turns(self) -> dict[str, int]:
        """How many each session has, by its name."""
        return self._turns

    def free_name(self, wanted: str) -> str:
        """`wanted`, or where one that was begun has this name, in upper or lower case, NAME-2 and
        so on. Costs the same however many have it."""
        stem = wanted.casefold()
        number = self._numbers.get(stem, 1)
        name = wanted if number == 1 else f"{wanted}-{number}"
        while self._taken.get(session_file(name).casefold()) == "":
            number += 1
            name = f"{wanted}-{number}"
        self._numbers[stem] = number
        return name

    def begin(self, name: str) -> None:
        """Make room for session `name`, which must be free, in upper or lower case: on many disks
        two that differ by that would be one file. Raises UsageError: `bad_session_name`."""
        self._store.path(name)
        folded = session_file(name).casefold()
        if (there := self._taken.get(folded)) is not None:
            raise _exists(session_of_file(there) or name)
        self._taken[folded] = ""
        self._turns[name] = 0

    def add(self, name: str, line: bytes) -> None:
        """Add a turn to a session that was begun."""
        if name != self._open or len(self._buffer) > _BLOCK:
            self._flush()
        self._open = name
        self._buffer += line + b"\n"
        self._turns[name] += 1

    def commit(self) -> None:
        """Put all of them in place. A signal waits until that is done."""
        self._flush()
        names = [name for name, turns in self._turns.items() if turns]
        with _translated():
            for name in names:
                fd = os.open(self._aside(name), os.O_RDONLY | SAFE_FLAGS)
                try:
                    sync(fd)
                finally:
                    os.close(fd)
        with held_off():
            self._link(names)

    def _link(self, names: list[str]) -> None:
        linked: list[str] = []
        try:
            for name in names:
                with _translated(name):
                    os.link(self._aside(name), self._store.path(name))
                linked.append(self._store.path(name))
            with _translated():
                sync_folder(self._store.folder)
        except BaseException:
            for path in linked:
                os.unlink(path)
            raise

    def _flush(self) -> None:
        if not self._buffer:
            return
        with _translated(self._open):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | SAFE_FLAGS
            fd = os.open(self._aside(self._open), flags, FILE_MODE)
            try:
                write_all(fd, self._buffer)
            finally:
                os.close(fd)
        self._buffer = bytearray()

    def _aside(self, name: str) -> str:
        return os.path.join(self._folder, session_file(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._fd)


def _new_folder(folder: str) -> tuple[int, str]:
    """A folder of our own, locked: its descriptor and its path."""
    while True:
        path = os.path.join(folder, import_folder(os.urandom(8).hex()))
        os.mkdir(path, FOLDER_MODE)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(OSError):  # a file system without locks has no dead imports removed
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_named(fd, path):  # another import may have taken it for a dead one
            return fd, path
        os.close(fd)


def remove_dead(folder: str) -> None:
    """Remove what imports that were killed left in the folder of the sessions."""
    for entry in import_folders(os.listdir(folder)):
        path = os.path.join(folder, entry)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # gone just now, or no folder of ours
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # its owner lives
        finally:
            os.close(fd)


@contextmanager
def _translated(name: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not name:
            what, hint = words_for(error)
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            message = f"nothing can be imported: {where}{what}"
            raise SessionError("session_unwritable", message, hint) from error
        if isinstance(error, FileExistsError):
            raise _exists(name) from error
        raise unwritable(name, error) from error


def _exists(name: str) -> SessionError:
    message = f"there is a session {name!r} already; nothing was imported"
    return SessionError("session_exists", message, "Give another name with --session.")
