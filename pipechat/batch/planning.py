"""What goes to the provider's batch engine: every item is checked, and written to its part,
before any is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pipechat import jsonl
from pipechat.batch.failures import FirstFailures
from pipechat.batch.items import BadItemError, Item, ItemReader
from pipechat.batch.job import BatchJob, Part, Splitter
from pipechat.batch.job_files import JobFiles, KeptItem, PartWriter
from pipechat.batch.journal import OutputFile
from pipechat.batch.keeping import turn_of_bad_item
from pipechat.batch.known import KnownItems
from pipechat.batch.rows import Row
from pipechat.batch.source import Skipped, found_in
from pipechat.client.batch_api import CHAT_PATH
from pipechat.errors import ExitCode, PipechatError
from pipechat.messages import ChatRequest, new_turn_id, now
from pipechat.text import counted

_LONGEST_CUSTOM_ID = 64
_TOGETHER = 256  # records of bad items that are written as one


@dataclass
class Submitted:
    """What came of a submission. `items` and `parts`: of this call; `skipped` by why (`complete`,
    `double`, `failed`, `submitted` before)."""

    items: int = 0
    parts: int = 0
    batches: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    first_failures: FirstFailures = field(default_factory=FirstFailures)
    stopped: PipechatError | None = None

    @property
    def exit_code(self) -> int:
        if self.stopped is not None:
            return int(self.stopped.exit_code)
        return int(ExitCode.SOME_FAILED if self.codes.total() else ExitCode.COMPLETE)

    def record(self) -> dict[str, Any]:
        """As JSON: `--output-format json`."""
        names = ("complete", "double", "failed", "submitted")
        return {
            "type": "submitted",
            "v": 1,
            "items": self.items,
            "parts": self.parts,
            "batches": self.batches,
            "failed": self.codes.total(),
            "skipped": {why: self.skipped[why] for why in names},
            "codes": dict(sorted(self.codes.items())),
            "stopped": self.stopped.code if self.stopped is not None else None,
            "exit_code": self.exit_code,
        }

    def line(self) -> str:
        """In one line, for people."""
        new = f"{counted(self.items, 'item')} in {counted(self.parts, 'new part')}"
        parts = [f"{new}, {counted(self.batches, 'batch')} created"]
        if self.codes:
            each = ", ".join(f"{count} {code}" for code, count in sorted(self.codes.items()))
            parts.append(f"{self.codes.total()} failed ({each})")
        names = {"complete": "complete before", "double": "doubles", "failed": "failed before",
                 "submitted": "submitted before"}  # fmt: skip
        parts += [f"{self.skipped[why]} {names[why]}" for why in names if self.skipped[why]]
        return ", ".join(parts)


class Planner:
    """Checks all items of an input, and writes the parts that those which are new make.

    Args:
        body: the body of a request, as the endpoint takes it.
        wanted: what the answers have to be, as the job keeps it.
    """

    def __init__(
        self,
        files: JobFiles,
        output: OutputFile,
        reader: ItemReader,
        body: Callable[[ChatRequest], Mapping[str, Any]],
        wanted: Mapping[str, Any] | None,
        *,
        retry_failed: bool,
    ) -> None:
        self._files = files
        self._output = output
        self._reader = reader
        self._wanted = wanted
        self._retry_failed = retry_failed
        self._body = body
        self._bad: list[bytes] = []

    def plan(self, job: BatchJob, rows: Iterator[Row], summary: Submitted) -> BatchJob:
        """`job` with the new parts, which are safe on disk and in it; rows that are no items have
        their records.

        Raises:
            PipechatError: the input, the output or the job's files failed; nothing was sent.
        """
        known = KnownItems()
        known.read(self._output.path)
        held = self._held(job)
        splitter = Splitter(job.last + 1)
        writer = PartWriter(self._files)
        parts: dict[int, Part] = {}
        for row in rows:
            found = found_in(row, self._reader, known, retry_failed=self._retry_failed)
            if isinstance(found, Item) and hash((found.id, found.hash)) in held:
                found = Skipped("submitted")
            if isinstance(found, Item):
                found = self._place(found, splitter, writer, parts) or found
            if isinstance(found, BadItemError):
                # What it says of the item, the output may say already.
                if not (found.is_told or known.is_told(found.id, found.code)):
                    self._note_bad(found)
                summary.codes[found.code] += 1
                summary.first_failures.note(found.code, found.id, found.message, found.hint)
            elif isinstance(found, Skipped):
                summary.skipped[found.why] += 1
            else:
                summary.items += 1
        self._write_bad()
        writer.finish()
        summary.parts = len(parts)
        if parts:
            job = job.adding([parts[number] for number in sorted(parts)])
            self._files.write(job)
        return job

    def _held(self, job: BatchJob) -> set[int]:
        """The items that the provider has, or is about to get: a number for each."""
        held = set()
        for part in job.held:
            with self._files.items(part) as items:
                held |= {hash((item.item, item.hash)) for _, item in items}
        return held

    def _place(
        self, item: Item, splitter: Splitter, writer: PartWriter, parts: dict[int, Part]
    ) -> BadItemError | None:
        """Put an item into its part; why it cannot be in any, where it cannot."""
        body = self._body(item.request)
        if item.session is not None:
            return _bad(item, "bad_item", "it names a session, and the provider keeps none")
        if body.get("stream"):
            return _bad(item, "bad_item", "it asks for a stream, and the provider has none")
        custom_id = _custom_id(item.id)
        line = {"custom_id": custom_id, "method": "POST", "url": CHAT_PATH, "body": body}
        request = jsonl.dumps(line)
        size = len(request) + 1
        if not splitter.fits(size):
            return _bad(item, "too_large", "it is larger than the provider takes a file")
        model = item.request.model
        number = splitter.place(model, size)
        kept = KeptItem(custom_id, item.id, item.hash, new_turn_id(), item.question, item.system)
        writer.add(number, request, kept)
        part = parts.get(number) or Part(number, model, 0, 0, now(), self._wanted)
        parts[number] = Part(
            number, model, part.items + 1, part.size + size, part.time, self._wanted
        )
        return None

    def _note_bad(self, error: BadItemError) -> None:
        self._bad.append(jsonl.dumps(turn_of_bad_item(error).record()))
        if len(self._bad) >= _TOGETHER:
            self._write_bad()

    def _write_bad(self) -> None:
        if self._bad:
            self._output.append(self._bad)
            self._bad = []


def _bad(item: Item, code: str, message: str) -> BadItemError:
    return BadItemError(item.number, code, message, item.id)


def _custom_id(item_id: str) -> str:
    """The item's id where it may stand in a file of requests, else one made of it."""
    if len(item_id) <= _LONGEST_CUSTOM_ID and item_id.isascii() and item_id.isprintable():
        return item_id
    return f"sha256-{sha256(item_id.encode('utf-8', 'replace')).hexdigest()[:48]}"
