"""stdin: read to its end, line by line, or typed. What it holds is never dropped."""

import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipechat.errors import UsageError
from pipechat.text import decode_text, in_mib

if TYPE_CHECKING:
    from pipechat.line_editor import LineEditor

_READ_BYTES = 1 << 16
QUIET_STDIN_S = 3.0
_TICK_S = 0.25
_FOREVER = float("inf")


class Input:
    """stdin. `is_data`: a pipe, a socket or a file (a folder is told when it is read)."""

    def __init__(self, fd: int, *, closed: bool = False) -> None:
        self._fd = fd
        self.is_terminal = not closed and os.isatty(fd)
        kind = stat.S_IFMT(0 if closed else os.fstat(fd).st_mode)
        self.is_file = kind == stat.S_IFREG
        self.is_data = kind in (stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK, stat.S_IFDIR)

    def read_all(
        self,
        limit: int,
        timeout_s: float | None = None,
        on_silence: Callable[[], None] = lambda: None,
        tick: Callable[[int], None] | None = None,
    ) -> bytes:
        """All of it, however long its writer takes.

        Args:
            on_silence: called once, when nothing has come for 3 seconds.
            tick: told how many bytes have come, four times a second and more often.

        Raises:
            UsageError: `input_too_large`: more than `limit` bytes; `stdin_timeout`: no end
                within `timeout_s`; `unreadable_input`.
        """
        ends_at = _FOREVER if timeout_s is None else time.monotonic() + timeout_s
        taken = _Taken(limit, tick)
        silent = False
        while True:
            if not silent and not self._speaks_within(min(QUIET_STDIN_S, _left(ends_at)), taken):
                silent = True
                if _left(ends_at):
                    on_silence()
            if not self._speaks_within(_left(ends_at), taken):
                message = f"stdin has not ended within {timeout_s:g} s"
                hint = "Let its writer end, raise --timeout, or leave stdin alone: --no-stdin."
                raise UsageError("stdin_timeout", message, hint)
            part = self._read_some()
            if not part:
                return taken.all()
            taken.add(part)

    def size_left(self) -> int:
        """The bytes of a file that are still to be read."""
        return os.fstat(self._fd).st_size - os.lseek(self._fd, 0, os.SEEK_CUR)

    def is_at(self, path: str | int) -> bool:
        """Whether it is the file at `path`, or that of another descriptor."""
        try:
            return self.is_file and os.path.samestat(os.fstat(self._fd), os.stat(path))
        except OSError:  # there is none
            return False

    def blocks(self) -> Iterator[bytes]:
        """All of it in pieces, each the moment it is there.

        Raises:
            UsageError: `unreadable_input`.
        """
        while part := self._read_some():
            yield part

    def _speaks_within(self, seconds: float, taken: "_Taken") -> bool:
        """Whether a byte or the end comes in time."""
        ends_at = time.monotonic() + seconds
        while True:
            taken.tick()
            left = min(_left(ends_at), taken.longest_wait_s)
            if select.select([self._fd], [], [], None if left == _FOREVER else left)[0]:
                return True
            if not _left(ends_at):
                return False

    def _read_some(self) -> bytes:
        """What is there, waiting for at least a byte; b"" at the end.

        Raises:
            UsageError: `unreadable_input`.
        """
        try:
            return os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            select.select([self._fd], [], [])
            return self._read_some()
        except OSError as error:
            message = f"stdin could not be read: {error.strerror}"
            raise UsageError("unreadable_input", message) from error

    def lines(self, limit: int, *, lossy: bool) -> Iterator[str]:
        """Its lines as they come, without their ends; one that is not UTF-8 ends it.

        Raises:
            UsageError: `not_utf8`, `unreadable_input`; `input_too_large`: one of more than
                `limit` bytes.
        """
        taken = _Taken(limit, what="a line of stdin")
        while part := self._read_some():
            first, *others = part.split(b"\n")
            taken.add(first)
            for begun in others:
                yield decode_text(taken.all(), "stdin", lossy=lossy)
                taken = _Taken(limit, what="a line of stdin")
                taken.add(begun)
        if rest := taken.all():
            yield decode_text(rest, "stdin", lossy=lossy)

    def typed(self, limit: int, when_ready: Callable[[], None]) -> bytes:
        """What is typed until Ctrl-D on a line of its own, each line edited.

        Args:
            when_ready: called when the terminal takes lines of any length.

        Raises:
            UsageError: `input_too_large`, `no_line_editing`.
        """
        taken = _Taken(limit)
        with _line_editor() as editor:
            when_ready()
            while (line := editor.line("")) is not None:
                taken.add(line.encode("utf-8", "surrogateescape") + b"\n")
        return taken.all()

    def ask_line(self, prompt: str, *, lossy: bool = False) -> str | None:
        """A line typed at `prompt`, with line editing; None at the end (Ctrl-D).

        Raises:
            UsageError: `not_utf8`, `no_line_editing`.
        """
        with _line_editor() as editor:
            line = editor.line(prompt)
        if line is None:
            return None
        return decode_text(line.encode("utf-8", "surrogateescape"), "the line", lossy=lossy)


class _Taken:
    """What was read so far; UsageError where it is more than `limit` bytes.

    `what` it is, for messages. `longest_wait_s`: how often whoever looks on is told how much it
    is, if somebody does.
    """

    def __init__(
        self, limit: int, on_tick: Callable[[int], None] | None = None, what: str = "stdin"
    ) -> None:
        self._limit = limit
        self._what = what
        self._on_tick = on_tick
        self.longest_wait_s = _FOREVER if on_tick is None else _TICK_S
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._limit:
            message = f"{self._what} holds more than {in_mib(self._limit)} (max_input_mib)"
            hint = "Send less, or raise it in config.toml."
            raise UsageError("input_too_large", message, hint)

    def tick(self) -> None:
        if self._on_tick is not None:
            self._on_tick(self._size)

    def all(self) -> bytes:
        return b"".join(self._parts)


def _left(ends_at: float) -> float:
    return max(ends_at - time.monotonic(), 0.0)


def _line_editor() -> "LineEditor":
    try:
        from pipechat.line_editor import LineEditor
    except ImportError as error:
        message = "this Python has no readline, without which a terminal cuts long lines"
        hint = "Give the question as arguments, or through a pipe."
        raise UsageError("no_line_editing", message, hint) from error
    return LineEditor()
