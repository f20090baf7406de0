"""What the tests of the store share: turns, forked workers, syscalls that fail.

Workers are forked and import nothing of their own, so that a storm of thousands is cheap.
"""

import errno
import fcntl
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import Turn, now
from pipechat.store import in_flight
from pipechat.store.layout import spool_file
from pipechat.store.sessions import SessionStore


def turn_of_id(turn_id: str, question: str = "why?", answer: str = "so", **others: Any) -> Turn:
    fields = {"time": now(), "status": "complete", "model": "m", **others}
    return Turn(id=turn_id, question=question, answer=answer, **fields)


def ask(store: SessionStore, name: str, answer: str = "so", **others: Any) -> Turn:
    """A whole turn through the store; returns it once it was acknowledged."""
    writer = store.begin(name)
    turn = turn_of_id(writer.id, answer=answer, **others)
    writer.head(turn)
    writer.text(answer)
    writer.finish(turn)
    return turn


def raw_lines(store: SessionStore, name: str) -> list[bytes]:
    return Path(store.path(name)).read_bytes().split(b"\n")


def records(store: SessionStore, name: str) -> list[dict[str, Any]]:
    """Every line of the session that parses, doubles included."""
    found = []
    for line in raw_lines(store, name):
        try:
            found.append(jsonl.loads(line))
        except ValueError:
            continue
    return found


def ids(store: SessionStore, name: str) -> list[str]:
    return [record["id"] for record in records(store, name)]


def hidden(store: SessionStore) -> list[str]:
    """The names of spools, locks of keys and temporary files, as they stand below the folder."""
    return hidden_in(Path(store.folder))


def hidden_in(folder: Path) -> list[str]:
    """The same below the folder of sessions `folder`."""
    beside = [path.name for path in folder.glob(".*") if path.is_file()]
    inside = [str(path.relative_to(folder)) for path in folder.glob(".in-flight/*/*")]
    return sorted(name for name in (*beside, *inside) if not name.endswith(".busy"))


def spool_path(folder: str | Path, name: str, turn_id: str) -> Path:
    """Where the spool of a turn stands, in a folder that is there."""
    in_flight.make_room(str(folder), name)
    return Path(folder, spool_file(name, turn_id))


def fork(work: Callable[[], object]) -> int:
    """Run `work` in a child; returns its pid. It exits 0, or 1 with its traceback shown."""
    # A signal that came before the child is ready would raise KeyboardInterrupt in pytest's code.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    with warnings.catch_warnings():
        # Python 3.12 warns where threads run (pytest-xdist has one): the child takes none over.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        return pid
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait_for(pid: int) -> int:
    """The exit status of a child, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def failure_of(call: Callable[..., object], *args: object) -> SessionError | None:
    """What the store raised when called; None where it did not."""
    try:
        call(*args)
    except SessionError as error:
        return error
    return None


CALLS = [
    *((os, name) for name in ("open", "write", "fsync", "fdatasync", "rename", "link")),
    *((os, name) for name in ("ftruncate", "unlink", "mkdir", "listdir", "pread", "utime")),
    (fcntl, "flock"),
]


class Faults:
    """Lets the Nth of the store's system calls fail. `hit`: whether it came to that."""

    def __init__(self, nth: int, error: int) -> None:
        self.left = nth
        self.error = error
        self.hit = ""

    def count(self, name: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.hit = name
            raise OSError(self.error, os.strerror(self.error))


@contextmanager
def nth_call_fails(nth: int, error: int = errno.ENOSPC) -> Iterator[Faults]:
    faults = Faults(nth, error)
    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            real = getattr(module, name, None)
            if real is not None:
                patch.setattr(module, name, _failing(real, name, faults))
        yield faults


def _failing(real: Callable[..., Any], name: str, faults: Faults) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        faults.count(name)
        return real(*args, **kwargs)

    return call
