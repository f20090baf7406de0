"""A real terminal of a given size, without a person: tmux, on a socket of its own.

Keys go in and the screen comes out as tmux drew it. Every wait has an end, and so has the server:
it is ended by its own socket, whatever the test did.
"""

import os
import select
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

LIMIT_S = 30.0


class Tmux:
    """One window, in which `command` runs.

    Args:
        folder: for the socket; a short path.
        size: columns and rows.
        environ: all that the command's environment holds. TERM in it is what the command sees.
    """

    def __init__(
        self,
        folder: Path,
        command: list[str],
        environ: Mapping[str, str],
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self._socket = str(folder / "tmux")
        self._config = str(folder / "tmux.conf")
        Path(self._config).write_text(
            "set -g status off\nset -g escape-time 0\nset -g remain-on-exit on\n"
            "set -g default-shell /bin/sh\n"  # whatever the user's is
        )
        # tmux 3.3 may lose the end of a child: its status is written where nobody can.
        self._status = folder / "status"
        wrapped = ["sh", "-c", 'trap : INT; "$@"; echo $? >"$0"', str(self._status), *command]
        columns, rows = size
        words = ["env", "-i", *(f"{name}={value}" for name, value in environ.items()), *wrapped]
        self._call(
            "-f", self._config, "new-session", "-d", "-x", str(columns), "-y", str(rows),
            shlex.join(words),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Until they are gone, both still write and remove in the folder.
        pids = self._call("display-message", "-p", "#{pid} #{pane_pid}").split()
        with ExitStack() as stack:
            ends = [stack.enter_context(_end_of(int(pid))) for pid in pids]
            self._call("kill-server")
            for end in ends:
                assert end.poll(LIMIT_S * 1000), "tmux does not end"

    def type(self, text: str) -> None:
        """Press the keys of `text`, as they stand."""
        for start in range(0, len(text), 2000):
            self._call("send-keys", "-l", "--", text[start : start + 2000])

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: `Enter`, `C-c`, `M-Enter`, `Up`."""
        self._call("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste: set off as a paste where the program asked the terminal for that."""
        self._call("load-buffer", "-", input=text)
        self._call("paste-buffer", "-p", "-r")

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size, as a window is dragged."""
        self._call("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def screen(self) -> str:
        """What a person sees, without blanks at the ends of lines; what was wrapped is joined."""
        shown = self._call("capture-pane", "-p", "-J")
        return "\n".join(line.rstrip() for line in shown.splitlines()).rstrip()

    @property
    def rows(self) -> list[str]:
        """The same, row by row as the terminal has them."""
        return [row.rstrip() for row in self._call("capture-pane", "-p").splitlines()]

    @property
    def styled(self) -> str:
        """The screen with its ANSI codes."""
        return self._call("capture-pane", "-p", "-e")

    @property
    def pid(self) -> int:
        """The process of the window, whose child is the command."""
        return int(self._call("display-message", "-p", "#{pane_pid}"))

    def wait_for(self, text: str, count: int = 1, seconds: float = LIMIT_S) -> str:
        """Wait until `text` stands on the screen `count` times; the screen then."""
        ends_at = time.monotonic() + seconds
        while (screen := self.screen).count(text) < count:
            assert time.monotonic() < ends_at, f"no {text!r} ({count}) in:\n{screen}"
            time.sleep(0.05)
        return screen

    def wait_for_end(self) -> int:
        """Wait until the command has ended; its status."""
        ends_at = time.monotonic() + LIMIT_S
        while not (self._status.exists() and (status := self._status.read_text())):
            assert time.monotonic() < ends_at, f"it has not ended:\n{self.screen}"
            time.sleep(0.05)
        return int(status)

    def _call(self, *arguments: str, input: str | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", self._socket, *arguments],
            input=input,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=LIMIT_S,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def _end_of(pid: int) -> Iterator[select.poll]:
    """What can be polled for the end of a process, which may have ended already."""
    end = select.poll()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        fd = os.open(os.devnull, os.O_RDONLY)  # ready at once
    end.register(fd, select.POLLIN)
    try:
        yield end
    finally:
        os.close(fd)
