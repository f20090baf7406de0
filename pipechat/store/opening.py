"""A file of turns opened to be read, whosever it is."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipechat.store.faults import missing, unreadable
from pipechat.store.locked_file import open_to_read, settled_size
from pipechat.store.names import called
from pipechat.store.reading import Session

Tell = Callable[[str], None]


@contextmanager
def open_session(name: str, path: str, warn: Tell, *, follow: bool = False) -> Iterator[Session]:
    """The file at `path`, open under `name`; `follow`: links are followed. Raises SessionError."""
    try:
        fd = open_to_read(path, follow=follow)
        try:
            yield Session(name, fd, settled_size(fd, on_wait(name, warn)), warn)
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        raise missing(name, path) from error
    except OSError as error:
        raise unreadable(name, error) from error


def on_wait(name: str, warn: Tell) -> Callable[[], None]:
    """Tells, when it is called, that the lock of `name` is waited for."""
    return lambda: warn(f"waiting for {called(name)}, whose lock another program holds")


def is_there(path: str) -> bool:
    """Whether something stands at `path`. Raises OSError: only what is missing is not there."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
