"""A run without a process of its own: `main.run` here, over pipes, against the same servers.

Owns what a process would have had for itself, and gives it back afterwards: environment, folder,
umask, signals. What a run must not leave behind is checked: a thread, a descriptor, a changed
signal, umask or stdout.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2

from pipechat import main
from pipechat.environment import Environment, Input, Messages, Output
from pipechat.signals import Waits
from tests.program import Program, Result

_JOIN_S = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InProcess(Program):
    """pipechat in the process of the tests. `start` starts a real one all the same, so a test may
    mix the two. Not to be seen here: what the commands that a run starts say on stderr."""

    def run(
        self,
        *arguments: str | bytes | Path,
        input: bytes | None = b"",
        env: Mapping[str, str | None] | None = None,
        events: bool = True,
        **options: Any,
    ) -> Result:
        """Run it to its end; the result is that of a process. With options that only a process
        has (`stdin=`, `preexec_fn=`), it is one."""
        if options.keys() - {"cwd"}:
            return super().run(*arguments, input=input, env=env, events=events, **options)
        words = [os.fsdecode(each) for each in arguments]
        before = set(threading.enumerate())
        folder = Path(options.get("cwd", "."))
        with _own_state(self.environ(env), folder) as umask, _closed_clients():
            status, stdout, stderr = _run(words, input or b"", umask)
        for thread in set(threading.enumerate()) - before:
            thread.join(_JOIN_S)
            assert not thread.is_alive(), f"the run left {thread} behind"
        return self.checked(Result(status, stdout, stderr), words, events=events)


def _run(words: list[str], input: bytes, umask: int) -> tuple[int, bytes, bytes]:
    with _Pipe() as stdin, _Pipe() as stdout, _Pipe() as stderr:
        waits = Waits()
        environment = Environment(
            stdin=Input(stdin.read_end),
            stdout=Output(stdout.write_end, name="stdout", waits=waits),
            stderr=Messages(Output(stderr.write_end, name="stderr", waits=waits)),
            environ=dict(os.environ),
            waits=waits,
            umask=umask,
        )
        stdin.fill(input)
        stdout.drain()
        stderr.drain()
        status = main.run(environment, words)
        stdin.close_reading()
        return status, stdout.taken(), stderr.taken()


class _Pipe:
    """A pipe with one end for the run, and for the other a thread, as a shell's neighbour."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self._open = {self.read_end, self.write_end}
        self._thread: threading.Thread | None = None
        self._parts: list[bytes] = []

    def __enter__(self) -> "_Pipe":
        return self

    def __exit__(self, *_: Any) -> None:
        self._close(self.write_end)
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._close(self.read_end)

    def fill(self, data: bytes) -> None:
        """Write all of `data`, and close."""
        self._begin(lambda: self._fill(data))

    def drain(self) -> None:
        """Read all that comes."""
        self._begin(self._drain)

    def close_reading(self) -> None:
        """Whatever is still to be filled in has no reader from here on."""
        self._close(self.read_end)

    def taken(self) -> bytes:
        """All that came, once the run writes no more."""
        self._close(self.write_end)
        assert self._thread is not None
        self._thread.join(_JOIN_S)
        return b"".join(self._parts)

    def _begin(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, daemon=True, name="pipe")
        self._thread.start()

    def _fill(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.write_end, left) :]
        except BrokenPipeError:
            return
        finally:
            self._close(self.write_end)

    def _drain(self) -> None:
        while data := os.read(self.read_end, 65536):
            self._parts.append(data)

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
            os.close(fd)


@contextmanager
def _closed_clients() -> Iterator[None]:
    """A process that ends closes the connections of its HTTP client; here they are closed."""
    clients: list[httpx2.Client] = []
    initialize = httpx2.Client.__init__

    def noted(client: httpx2.Client, **options: Any) -> None:
        clients.append(client)
        initialize(client, **options)

    with patch.object(httpx2.Client, "__init__", noted):
        yield
    for client in clients:
        client.close()


@contextmanager
def _own_state(environ: Mapping[str, str], folder: Path) -> Iterator[int]:
    """What a process has for itself, for a while; gives the umask that it began with. HTTP
    libraries and typer look at `os.environ` themselves, and so do the commands that a run starts.
    """
    handlers = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    stdout, stderr = sys.stdout, sys.stderr
    umask = os.umask(0o077)
    try:
        with patch.dict(os.environ, environ, clear=True), chdir(folder):
            for signum in _SIGNALS:
                signal.signal(signum, signal.SIG_DFL)
            yield umask
        left = [signal.getsignal(signum) for signum in _SIGNALS]
        assert left == [signal.SIG_DFL] * len(_SIGNALS), "the run left a handler of a signal"
        assert (sys.stdout, sys.stderr) == (stdout, stderr), "the run left sys.stdout changed"
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        assert os.umask(umask) == 0o077, "the run changed the umask"
