"""Where events go: text for people and pipes, NDJSON and JSON for programs, a file for -o.

A sink is handed its output and knows no client and no session. The event schema that NDJSON
writes stands in `events.py`; `pipechat schema event` prints it.
"""

import errno
import os
import select
import stat
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Protocol

from pipechat import jsonl
from pipechat.errors import OutputError, ReaderLeft
from pipechat.events import End, Error, Event, Sink, TextChunk
from pipechat.signals import LONGEST_WAIT_S
from pipechat.text import visible, visible_json

_ANYWHERE = nullcontext()


class Writable(Protocol):
    """What a sink writes to."""

    is_terminal: bool

    def write(self, data: bytes) -> None: ...


class TextSink:
    """The answer and nothing else, each chunk the moment it comes.

    Into a pipe or a file the bytes are the model's; on a terminal control characters are shown,
    unless `raw`. A whole answer ends with a newline.
    """

    def __init__(self, out: Writable, *, raw: bool = False) -> None:
        self._out = out
        self._clean = out.is_terminal and not raw
        self._at_line_start = True

    def emit(self, event: Event) -> None:
        if isinstance(event, TextChunk):
            text = visible(event.text) if self._clean else event.text
            self._out.write(text.encode())
            self._at_line_start = text.endswith("\n")
        elif isinstance(event, End):
            if not event.answer.endswith("\n"):
                self._out.write(b"\n")
        elif isinstance(event, Error) and not self._at_line_start and self._out.is_terminal:
            self._out.write(b"\n")


class NdjsonSink:
    """Every event, one JSON object a line, each flushed by itself."""

    def __init__(self, out: Writable, *, raw: bool = False) -> None:
        self._out = out
        self._clean = out.is_terminal and not raw

    def emit(self, event: Event) -> None:
        line = jsonl.dumps(event.record())
        if self._clean:
            line = visible_json(line.decode()).encode()
        self._out.write(line + b"\n")


class JsonSink(NdjsonSink):
    """The terminal event alone."""

    def emit(self, event: Event) -> None:
        if isinstance(event, End | Error):
            super().emit(event)


class OnceBroken:
    """Gives a sink up after its first failure, so that the terminal event does not fail again."""

    def __init__(self, sink: Sink) -> None:
        self._sink: Sink | None = sink

    def emit(self, event: Event) -> None:
        if self._sink is None:
            return
        try:
            self._sink.emit(event)
        except (OutputError, ReaderLeft):
            self._sink = None
            raise


class FileOutput:
    """-o FILE: a temporary file beside it, which takes its name when the answer is whole.

    Args:
        path: FILE; a link is followed. What is no regular file (a device, a FIFO) is written
            in place, at the end.
        mode: the permissions of a new file; one that is there keeps its own.
        waits: entered to wait for who reads a FIFO.

    Raises:
        OutputError: it cannot be made; nothing was sent yet.
    """

    is_terminal = False

    def __init__(
        self, path: str, mode: int, waits: AbstractContextManager[object] = _ANYWHERE
    ) -> None:
        self._path = path
        self._waits = waits
        self._target = os.path.realpath(path)
        folder, name = os.path.split(self._target)
        self._temporary = os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}.part")
        try:
            if os.path.isdir(self._target):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if os.path.exists(self._target):
                there = os.stat(self._target).st_mode
                mode = stat.S_IMODE(there)
                if not stat.S_ISREG(there):
                    self._temporary = self._target
            flags = os.O_WRONLY | os.O_CLOEXEC
            if self._temporary != self._target:
                flags |= os.O_CREAT | os.O_EXCL
            self._fd = os.open(self._temporary, flags, 0o600)
            if self._temporary != self._target:
                os.fchmod(self._fd, mode)
        except OSError as error:
            raise self._failure(error) from error
        self._is_open = True

    def write(self, data: bytes) -> None:
        """Keep `data`. Raises OutputError."""
        left = memoryview(data)
        while left:
            try:
                if self._temporary != self._target:
                    left = left[os.write(self._fd, left) :]
                    continue
                with self._waits:
                    ready = select.select([], [self._fd], [], LONGEST_WAIT_S)[1]
                if not ready:
                    continue
                left = left[os.write(self._fd, left[: select.PIPE_BUF]) :]
            except OSError as error:
                raise self._failure(error) from error

    def commit(self) -> None:
        """Let the file appear, whole. Raises OutputError."""
        try:
            if self._temporary != self._target:
                os.fsync(self._fd)
                os.rename(self._temporary, self._target)
        except OSError as error:
            raise self._failure(error) from error
        self._is_open = False
        os.close(self._fd)

    def discard(self) -> None:
        """Leave no trace where it was not committed; what stood at FILE before still does."""
        if not self._is_open:
            return
        self._is_open = False
        os.close(self._fd)
        if self._temporary != self._target:
            with suppress(OSError):
                os.unlink(self._temporary)

    def _failure(self, error: OSError) -> OutputError:
        message = f"{self._path} could not be written: {os.strerror(error.errno or 0)}"
        return OutputError("output_failed", message)


class FileSink:
    """A sink into a FileOutput: it appears on `end`, and never on `error`."""

    def __init__(self, sink: Sink, file: FileOutput) -> None:
        self._sink = sink
        self._file = file

    def emit(self, event: Event) -> None:
        if isinstance(event, Error):
            self._file.discard()
            return
        self._sink.emit(event)
        if isinstance(event, End):
            self._file.commit()


def make_sink(out: Writable, output_format: str, *, raw: bool = False) -> Sink:
    """The sink for `text`, `json` or `ndjson`."""
    if output_format == "ndjson":
        return NdjsonSink(out, raw=raw)
    if output_format == "json":
        return JsonSink(out, raw=raw)
    return TextSink(out, raw=raw)
