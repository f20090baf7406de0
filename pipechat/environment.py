"""The process's own streams and settings, in one object that is handed in.

The only module that touches file descriptors 0 to 2 and `os.environ`. Bytes go out by
`os.write`, unbuffered; what failed is told apart: nobody reads, closed, full.
"""

import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from pipechat.errors import OutputError, ReaderLeft
from pipechat.signals import LONGEST_WAIT_S, Waits
from pipechat.stdin import Input
from pipechat.text import redacted, visible_line

_USUAL_COLUMNS = 80


class Cover(Protocol):
    """What stands on a terminal for a while, and is gone while anything else is written."""

    def lift(self) -> None: ...
    def lower(self) -> None: ...


class Output:
    """A stream that bytes are written to at once. `closed`: the process was started without it.

    It waits for a reader in `waits` and nowhere else: no write blocks, so that a signal always
    finds the rest of an event noted, whatever the kernel has taken of it.
    """

    def __init__(
        self, fd: int, *, name: str, closed: bool = False, waits: Waits | None = None
    ) -> None:
        self._fd = fd
        self._name = name
        self.closed = closed
        # `1<&0`: a stream that is there, but whose other end nobody could read from.
        self._reads_only = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        self.is_terminal = not closed and os.isatty(fd)
        self.cover: Cover | None = None
        self.when_cut = "What is above is cut."
        """What to tell where a write failed that was not the first."""
        self._begun, self._at_line_start = False, True
        self._waits = waits or Waits()
        self._left = memoryview(b"")
        self._ends_at: float | None = None
        self._ready = select.poll()
        self._ready.register(fd, select.POLLOUT)
        # What poll calls writable takes PIPE_BUF without blocking (pipe(7)); a file takes all.
        is_file = not closed and stat.S_ISREG(os.fstat(fd).st_mode)
        self._at_once = None if is_file else select.PIPE_BUF
        self.file_fd = fd if is_file else None
        """The descriptor, where it is a regular file's."""

    def write(self, data: bytes) -> None:
        """All of `data`, now; after `hurry`, what of it a reader takes in time.

        Raises:
            ReaderLeft: nobody reads the pipe any more.
            OutputError: it is closed, full or broken.
        """
        self.check_open()
        self._at_line_start = data.endswith(b"\n")
        if self.cover is None:
            self._write(data)
            return
        self.cover.lift()
        try:
            if self.is_terminal:
                self._write(data)
        finally:
            self.cover.lower()
        if not self.is_terminal:  # a reader who is slow holds up nobody who writes to stderr
            self._write(data)

    def end_line(self) -> None:
        """On a terminal, end the line that was begun. Raises as `write`."""
        if self.is_terminal and not self._at_line_start:
            self.write(b"\n")

    def _write(self, data: bytes) -> None:
        # What a write that a signal interrupted has still to say: half an event is no event.
        self._left = memoryview(bytes(self._left) + data if self._left else data)
        while self._left and (self._ready.poll(0) or self._wait()):
            try:
                written = os.write(self._fd, self._piece())
            except BlockingIOError:
                continue
            except OSError as error:
                self._left = memoryview(b"")
                raise self._failure(error) from error
            self._begun = True
            self._left = self._left[written:]

    def _piece(self) -> memoryview:
        """What is written next: whole lines, where it is not all, so that none is left in two."""
        piece = self._left[: self._at_once]
        is_all = len(piece) == len(self._left)
        return piece if is_all else piece[: bytes(piece).rfind(b"\n") + 1] or piece

    def write_now(self, data: bytes) -> None:
        """`data` where a reader takes it at once, and nothing otherwise. Raises nothing."""
        with suppress(OSError):
            if self._ready.poll(0):
                os.write(self._fd, data)

    def columns(self) -> int:
        """How wide the terminal is now."""
        try:
            return os.get_terminal_size(self._fd).columns or _USUAL_COLUMNS
        except OSError:
            return _USUAL_COLUMNS

    def is_in_front(self) -> bool:
        """Whether the terminal is this process's to write to: no job in the background."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # no terminal that has jobs
            return True

    def hurry(self, seconds: float) -> None:
        """From here on wait no longer than `seconds` in all for a reader: these are the last
        words of a process that a signal ends, perhaps in the middle of a write."""
        self._ends_at = time.monotonic() + seconds

    def _wait(self) -> bool:
        """Wait for a reader; False where there is no more time for one."""
        poll = select.poll()  # of its own: a poll that a signal interrupted cannot be used again
        poll.register(self._fd, select.POLLOUT)
        if self._ends_at is None:
            while True:
                with self._waits:
                    if poll.poll(LONGEST_WAIT_S * 1000):
                        return True
        left = self._ends_at - time.monotonic()
        return left > 0 and bool(poll.poll(left * 1000))

    def check_open(self) -> None:
        """Raises OutputError where this stream is not there, or cannot be written to."""
        if self.closed or self._reads_only:
            what = "is closed" if self.closed else "is not open for writing"
            hint = "Redirect it to a file or a pipe."
            raise OutputError("output_closed", f"{self._name} {what}", hint)

    def _failure(self, error: OSError) -> OutputError | ReaderLeft:
        if error.errno == errno.EPIPE:
            return ReaderLeft()
        message = f"{self._name} could not be written: {os.strerror(error.errno or 0)}"
        hint = self.when_cut if self._begun else "Nothing of it was written."
        return OutputError("output_failed", message, hint)


class Messages:
    """stderr: one clean line a message; a failure to write one is nobody's to hear of."""

    def __init__(self, output: Output, beside: Output | None = None) -> None:
        """`beside`: where an answer may stand, its line not ended."""
        self.output = output
        self.beside = beside
        self._secrets: list[str] = []
        self.is_terminal = output.is_terminal

    def hide(self, *secrets: str) -> None:
        """Never show `secrets`, whatever says them; what is none is left (`is_secret`)."""
        self._secrets += [each for each in secrets if each not in self._secrets]

    def line(self, text: str, *, dim: bool = False) -> None:
        """Write `text` and a newline, control characters shown; `dim`: set off by ANSI codes."""
        data = self.cleaned(text).encode("utf-8", "replace")
        data = b"\x1b[2m%b\x1b[0m\n" % data if dim else data + b"\n"
        with suppress(OutputError, ReaderLeft):
            if self.is_terminal and self.beside is not None:
                self.beside.end_line()
        with suppress(OutputError, ReaderLeft):
            self.output.write(data)

    def cleaned(self, text: str) -> str:
        """`text` in one line, without secrets, control characters shown."""
        return visible_line(redacted(text, self._secrets))

    def note(self, text: str) -> None:
        """A line that begins with the program's name."""
        self.line(f"pipechat: {text}")


@dataclass(slots=True)
class Environment:
    """Everything that the program touches of its process."""

    stdin: Input
    stdout: Output
    stderr: Messages
    environ: Mapping[str, str]
    umask: int
    waits: Waits = field(default_factory=Waits)
    verbose: bool = False
    quiet: bool = False

    @classmethod
    def of_process(cls) -> "Environment":
        """This process's. Call it first: a descriptor that is missing is opened on /dev/null,
        or the next file that is opened would take its place, and the answer go there."""
        closed = _fill_missing_descriptors()
        waits = Waits()
        stdout = Output(1, name="stdout", closed=1 in closed, waits=waits)
        return cls(
            stdin=Input(0, closed=0 in closed),
            stdout=stdout,
            stderr=Messages(Output(2, name="stderr", closed=2 in closed, waits=waits), stdout),
            environ=os.environ,
            waits=waits,
            # What this program makes is the user's alone, whatever cron's umask is.
            umask=os.umask(0o077),
        )

    @property
    def has_live_line(self) -> bool:
        """Whether a person looks at stderr, who can be and wants to be told how it stands."""
        return self.stderr.is_terminal and not self.quiet and not self.is_dumb

    @property
    def is_dumb(self) -> bool:
        """Whether the terminal, where there is one, obeys no escape sequences."""
        return self.environ.get("TERM", "") in ("", "dumb")

    @property
    def has_color(self) -> bool:
        """Whether a terminal is written to in colors (no-color.org)."""
        return not self.is_dumb and not self.environ.get("NO_COLOR")

    def warn(self, text: str) -> None:
        """A line that -q silences."""
        if not self.quiet:
            self.stderr.note(text)


def take_variables(prefixes: tuple[str, ...], variables: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of this process, a worker's, with `variables` for its own of `prefixes`."""
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        del os.environ[name]
    os.environ.update(variables)
    return os.environ


def _fill_missing_descriptors() -> set[int]:
    way = (os.devnull, os.O_RDWR) if os.access(os.devnull, os.W_OK) else ("/", os.O_RDONLY)
    missing = set()
    while (fd := os.open(*way)) <= 2:  # the lowest that is free, by POSIX; a jail has no /dev
        missing.add(fd)
    os.close(fd)
    return missing
