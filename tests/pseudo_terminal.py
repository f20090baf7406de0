"""The program at a pseudo-terminal: typed at, and read as a person would read it."""

import os
import pty
import select
import signal
import subprocess
import termios
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from tests.controlling_terminal import take_terminal
from tests.program import Program

LIMIT_S = 30.0


class AtTerminal:
    """A run whose stdin, stdout and stderr are one terminal, which is its controlling one;
    `stdin` and `stdout` may be something else. `extra`: whether prompt_toolkit is there to edit
    lines."""

    def __init__(
        self,
        program: Program,
        *arguments: str,
        env: dict[str, str | None],
        stdin: IO[bytes] | int | None = None,
        stdout: IO[bytes] | None = None,
        columns: int = 80,
        extra: bool = False,
        ignores_hang_up: bool = False,
    ) -> None:
        if not extra:
            env = {**program.without("prompt_toolkit"), **env}
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, columns))
        self._process: subprocess.Popen[bytes] = program.start(
            *arguments,
            env={"TERM": "xterm", **env},
            stdin=slave if stdin is None else stdin,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal_as_nohup if ignores_hang_up else take_terminal,
        )
        os.close(slave)
        self.keys = self._master
        self.pid = self._process.pid
        self.screen = b""
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    @property
    def modes(self) -> list[Any]:
        """The modes that the terminal is in, as termios(3) has them."""
        return termios.tcgetattr(self._master)

    def wait_for_editing(self) -> None:
        """Wait until readline has the terminal: it shows what is typed itself."""
        ends_at = time.monotonic() + LIMIT_S
        while self.modes[3] & termios.ECHO:
            assert time.monotonic() < ends_at, "nobody edits lines"
            time.sleep(0.01)

    def press_until(self, key: str, text: str) -> str:
        """Press a key, again every second as a person would, until `text` is on the screen.
        Python's readline looks at signals only between two keys: one that comes while the key
        before it is still being shown waits for the next."""
        for _ in range(int(LIMIT_S)):
            self.type(key)
            try:
                return self.wait_for(text, 1.0)
            except AssertionError:
                continue
        raise AssertionError(f"{text!r} never came")

    def wait_for(self, text: str, seconds: float = LIMIT_S) -> str:
        """Read until `text` is on the screen; what was shown since the last call, up to it."""
        wanted, ends_at = text.encode(), time.monotonic() + seconds
        while wanted not in self._unread:
            assert time.monotonic() < ends_at, f"no {text!r} in {self._unread!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                shown = self._read()
                assert shown, f"no {text!r} in {self._unread!r}, and the program left"
        end = self._unread.index(wanted) + len(wanted)
        shown, self._unread = self._unread[:end], self._unread[end:]
        return shown.decode().replace("\r\n", "\n")

    def _read(self) -> bytes:
        try:
            shown = os.read(self._master, 4096)
        except OSError:  # Linux: the other side is closed
            return b""
        self.screen += shown
        self._unread += shown
        return shown

    def hang_up(self) -> int:
        """Close the window: the terminal is gone. The exit status."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._master)
        os.close(nothing)
        return self._process.wait(timeout=LIMIT_S)

    def leave(self) -> int:
        """Wait for the end; the exit status."""
        while self._read():
            continue
        return self._process.wait(LIMIT_S)


def read_to_end(fd: int) -> bytes:
    """All that comes out of a pipe or a terminal until nobody has its other end; close yours first.
    One read of a terminal may give a part of what was written before it: the kernel brings it
    over in its own time."""
    parts = []
    with suppress(OSError):  # EIO, of a terminal on Linux: the last of its processes closed it
        while data := os.read(fd, 65536):
            parts.append(data)
    return b"".join(parts)


def take_terminal_as_nohup() -> None:
    """The same, and be told nothing when it is hung up."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    take_terminal()
