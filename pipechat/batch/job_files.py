"""The files of a job at the provider, beside its output: what was done, and what was asked.

`OUT.batch.json` says how far each part is; it is replaced as a whole, safe on disk before the
next step is taken. Of each part `OUT.batch.N.jsonl` is the file that is uploaded, and
`OUT.batch.N.items` keeps what its records need; both go once it is fetched. Whoever writes them
has the output's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from pipechat import jsonl
from pipechat.batch.job import BatchJob, Part
from pipechat.batch.job_faults import unreadable
from pipechat.batch.journal import unwritable
from pipechat.errors import SessionError
from pipechat.store.locked_file import (
    FILE_MODE,
    SAFE_FLAGS,
    open_to_read,
    read_all,
    sync,
    sync_folder,
    write_all,
)

_BUFFER_BYTES = 1 << 16


class Place(NamedTuple):
    """Where an item stands: the line (from 1) in both files of its part; offset and size, in
    bytes, in that of the items."""

    line: int
    offset: int
    size: int


class KeptItem(NamedTuple):
    """What is kept of an item while the provider has it. `turn`: the id of its record to be."""

    custom_id: str
    item: str
    hash: str
    turn: str
    question: str
    system: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> KeptItem:
        kept = cls(*(record[name] for name in cls._fields))
        texts = (kept.custom_id, kept.item, kept.hash, kept.turn, kept.question, kept.system or "")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("an item is none")
        return kept


class KeptItems:
    """The items of one part, in the order of the file that was uploaded."""

    def __init__(self, fd: int, path: str, count: int) -> None:
        self._fd = fd
        self._path = path
        self._count = count

    def __iter__(self) -> Iterator[tuple[Place, KeptItem]]:
        """Each item, and where it is. Raises SessionError: `unreadable_batch`."""
        offset = number = 0
        try:
            for number, line in jsonl.lines_forwards(self._fd):
                yield Place(number, offset, len(line)), KeptItem.of(jsonl.loads_line(line))
                offset += len(line) + 1
            if number != self._count:
                raise ValueError(f"it holds {number} items of {self._count}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unreadable(self._path, error) from error

    def at(self, place: Place) -> KeptItem:
        """The item that stands there. Raises SessionError: `unreadable_batch`."""
        try:
            return KeptItem.of(jsonl.loads_line(os.pread(self._fd, place.size, place.offset)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unreadable(self._path, error) from error


class JobFiles:
    """The files of the job of the output at `path`."""

    def __init__(self, path: str) -> None:
        self.output = path
        self.state_path = f"{path}.batch.json"

    def requests_path(self, number: int) -> str:
        return f"{self.output}.batch.{number}.jsonl"

    def items_path(self, number: int) -> str:
        return f"{self.output}.batch.{number}.items"

    def read(self) -> BatchJob | None:
        """The job; None where there is none.

        Raises:
            SessionError: `unreadable_batch`.
        """
        try:
            fd = open_to_read(self.state_path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(self.state_path, error) from error
        try:
            return BatchJob.from_record(jsonl.loads_line(read_all(fd)))
        except (OSError, ValueError) as error:
            raise unreadable(self.state_path, error) from error
        finally:
            os.close(fd)

    def is_there(self) -> bool:
        """Whether something stands of a job, readable or not."""
        return os.path.lexists(self.state_path)

    def existing(self) -> BatchJob:
        """The job. Raises SessionError: `no_batch` where there is none."""
        job = self.read()
        if job is None:
            message = f"nothing was submitted for {self.output}: there is no {self.state_path}"
            raise SessionError("no_batch", message, "Name the file that `batch submit -o` named.")
        return job

    def write(self, job: BatchJob) -> None:
        """Note how far `job` is; returns when it is safe. Raises OutputError."""
        new = f"{self.state_path}.new"
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFE_FLAGS, FILE_MODE)
            try:
                write_all(fd, jsonl.dumps(job.record()) + b"\n")
                sync(fd)
            finally:
                os.close(fd)
            os.rename(new, self.state_path)
            sync_folder(os.path.dirname(self.state_path))
        except OSError as error:
            raise unwritable(self.state_path, error) from error

    @contextmanager
    def items(self, part: Part) -> Iterator[KeptItems]:
        """What is kept of the items of a part.

        Raises:
            SessionError: `unreadable_batch`.
        """
        path = self.items_path(part.number)
        try:
            fd = open_to_read(path)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            yield KeptItems(fd, path, part.items)
        finally:
            os.close(fd)

    def remove(self, number: int) -> None:
        """Remove the files of a part that needs them no more. Raises OutputError."""
        for path in (self.requests_path(number), self.items_path(number)):
            _remove(path)

    def forget(self) -> None:
        """Remove all that stands of a job. Raises OutputError."""
        _remove(self.state_path)
        self.sweep(None)

    def sweep(self, job: BatchJob | None) -> None:
        """Remove the files of parts that `job` does not hold: of one that is fetched, or of one
        that was never finished. Raises OutputError."""
        held = {part.number for part in job.held} if job is not None else set()
        for number in self._numbers() - held:
            self.remove(number)

    def _numbers(self) -> set[int]:
        """The numbers of the parts of which there are files."""
        folder, name = os.path.split(self.output)
        found: set[int] = set()
        try:
            entries = os.listdir(folder or ".")
        except OSError:  # a folder that may be written to and not be listed
            return found
        for entry in entries:
            number, _, kind = entry.removeprefix(f"{name}.batch.").partition(".")
            is_part = number.isascii() and number.isdigit() and kind in ("jsonl", "items")
            if entry.startswith(f"{name}.batch.") and is_part:
                found.add(int(number))
        return found


class PartWriter:
    """Writes the two files of new parts, many at once. Nothing of them counts until the job
    names them; what an earlier writer left unfinished is overwritten."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files
        self._buffers: dict[str, bytearray] = {}
        self._begun: set[str] = set()

    def add(self, number: int, request: bytes, item: KeptItem) -> None:
        """Add a request to part `number`. Raises OutputError."""
        self._add(self._files.requests_path(number), request)
        self._add(self._files.items_path(number), jsonl.dumps(item._asdict()))

    def finish(self) -> None:
        """Returns when all is safe on disk. Raises OutputError."""
        for path in self._buffers:
            self._flush(path, last=True)

    def _add(self, path: str, line: bytes) -> None:
        buffer = self._buffers.setdefault(path, bytearray())
        buffer += line
        buffer += b"\n"
        if len(buffer) >= _BUFFER_BYTES:
            self._flush(path)

    def _flush(self, path: str, *, last: bool = False) -> None:
        # Opened each time: as many files as there are models may grow at once.
        begins = path not in self._begun
        self._begun.add(path)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFE_FLAGS
            fd = os.open(path, flags | (os.O_TRUNC if begins else 0), FILE_MODE)
            try:
                write_all(fd, self._buffers[path])
                self._buffers[path] = bytearray()
                if last:
                    sync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise unwritable(path, error) from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(path, error) from error
