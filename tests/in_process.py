"""A run without a process of its own: `main.run` here, over pipes, against the same servers.

Owns what a process would have had for itself, and gives it back afterwards: environment, folder,
umask, signals; and no name resolves but this machine's. Tries again sooner: how long it waits is
arithmetic, and tested as such. A command is built once, and run as often as it is called. What a
run must not leave behind is checked: a thread, a descriptor, a changed signal, umask or stdout.
"""

import os
import pty
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import httpx2

from pipechat import main
from pipechat.client import ahead, retries
from pipechat.environment import Environment, Messages, Output
from pipechat.signals import Waits
from pipechat.stdin import Input
from tests.no_names import no_names
from tests.program import Program, Result
from tests.pseudo_terminal import read_to_end

_JOIN_S = 10.0
_FIRST_WAIT_S = 0.05
_SPARE_S = 2.0  # a thread whose answer nobody waits for any more ends that much later
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_made_once = cache(main.make_command)  # which is 40 % of what a run costs


class InProcess(Program):
    """pipechat in the process of the tests. `start` starts a real one all the same, so a test may
    mix the two. Not to be seen here: what the commands that a run starts say on stderr.

    `terminals`: which of `stdout` and `stderr` are terminals, with so many `columns`; what comes
    out of one that both are is the result's stdout.
    """

    terminals: frozenset[str] = frozenset()
    columns = 80

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
            stdout, stderr = (
                _Terminal(self.columns) if name in self.terminals else _Pipe()
                for name in ("stdout", "stderr")
            )
            if self.terminals == {"stdout", "stderr"}:
                stderr = stdout
            result = _run(words, input or b"", umask, stdout, stderr)
        for thread in set(threading.enumerate()) - before:
            thread.join(_JOIN_S)
            assert not thread.is_alive(), f"the run left {thread} behind"
        if "stdout" in self.terminals:  # events are mixed with what is drawn
            self.written += [result.stdout, result.stderr]
            return result
        return self.checked(result, words, events=events)


def _run(words: list[str], input: bytes, umask: int, stdout: "_Pipe", stderr: "_Pipe") -> Result:
    stdin = _Pipe(into_run=True, data=input)
    with ExitStack() as stack:
        for each in {stdin, stdout, stderr}:
            stack.enter_context(each)
        waits = Waits()
        out = Output(stdout.end, name="stdout", waits=waits)
        environment = Environment(
            stdin=Input(stdin.end),
            stdout=out,
            stderr=Messages(Output(stderr.end, name="stderr", waits=waits), out),
            environ=dict(os.environ),
            waits=waits,
            umask=umask,
        )
        status = main.run(environment, words)
        return Result(status, stdout.close(), b"" if stderr is stdout else stderr.close())


class _Pipe:
    """A pipe of which the run has one end, and a thread, as its neighbour in a shell, the other.
    Each closes its own."""

    def __init__(self, *, into_run: bool = False, data: bytes = b"") -> None:
        read_end, write_end = self._ends()
        self.end, self._other = (read_end, write_end) if into_run else (write_end, read_end)
        self._data = data
        self._closed = False
        work = self._fill if into_run else self._drain
        self._thread = threading.Thread(target=work, daemon=True, name="pipe")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> bytes:
        """Close the run's end; what came through it to the other."""
        if not self._closed:
            self._closed = True
            os.close(self.end)
        self._thread.join(_JOIN_S)
        return self._data

    def _ends(self) -> tuple[int, int]:
        return os.pipe()

    def _fill(self) -> None:
        left = memoryview(self._data)
        try:
            while left:
                left = left[os.write(self._other, left) :]
        except BrokenPipeError:
            return  # the run ended without reading all of it
        finally:
            os.close(self._other)

    def _drain(self) -> None:
        self._data = read_to_end(self._other)
        os.close(self._other)


class _Terminal(_Pipe):
    """A terminal in the place of a pipe; newlines come out of it as they went in."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        super().__init__()

    def _ends(self) -> tuple[int, int]:
        master, slave = pty.openpty()
        tty.setraw(slave)
        termios.tcsetwinsize(master, (24, self._columns))
        return master, slave


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
        with (
            patch.dict(os.environ, environ, clear=True),
            patch.object(main, "make_command", _made_once),
            patch.object(socket, "getaddrinfo", no_names(socket.getaddrinfo)),
            patch.object(retries, "FIRST_WAIT_S", min(retries.FIRST_WAIT_S, _FIRST_WAIT_S)),
            patch.object(ahead, "_SPARE_S", _SPARE_S),
            chdir(folder),
        ):
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
