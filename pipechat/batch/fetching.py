"""Bringing answers home from the provider's batch engine, as the records of a run.

Owns when a part is read, and that each of its items gets one record, whoever kills it between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from pipechat import jsonl
from pipechat.batch.job import BatchJob, Part
from pipechat.batch.job_files import JobFiles, KeptItems, Place
from pipechat.batch.journal import OutputFile
from pipechat.batch.known import records_at
from pipechat.batch.patience import Patience
from pipechat.batch.results import Results
from pipechat.batch.seen import Seen
from pipechat.batch.standing import OpenParts, not_ready
from pipechat.batch.summary import Summary
from pipechat.client.batch_api import BatchApi
from pipechat.client.retries import backoff_s
from pipechat.errors import PipechatError, RefusedError, SessionError, TryLaterError
from pipechat.events import Told
from pipechat.messages import Turn

_TOGETHER = 256  # records that are written as one
_LATE_TRIES = 5
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_WAIT_GROWS = 1.5
_MOST_FAILURES = 60  # in a row
_LONGEST_PAUSE_S = 3600.0  # that a server may ask for

# A part that meets one of them keeps no other back.
_OF_ONE_PART = (RefusedError, TryLaterError, SessionError)


class _Taken(NamedTuple):
    """How many results a file holds, each counted once, and whether it ends within one."""

    results: int = 0
    is_torn: bool = False


class Fetcher:
    """Fetches the parts of one job.

    Args:
        results_of: makes what reads the results of a part.
        tell: is told what is waited for.
        fetched: is told, a group at a time, of turns that are in the output, and what became known
            of the cost of each.
    """

    def __init__(
        self,
        files: JobFiles,
        output: OutputFile,
        api: BatchApi,
        patience: Patience,
        results_of: Callable[[Part], Results],
        tell: Callable[[str], None],
        fetched: Callable[[list[tuple[Turn, Told]]], None] = lambda _: None,
    ) -> None:
        self.summary = Summary()
        self._files = files
        self._output = output
        self._api = api
        self._patience = patience
        self._results_of = results_of
        self._tell = tell
        self._fetched = fetched
        self._took: list[tuple[Turn, Told]] = []
        self._told: dict[int, bool] = {}  # records that are in the output: whether complete
        self._lines: list[bytes] = []
        self._unreadable: dict[int, SessionError] = {}

    def fetch(self, job: BatchJob, *, waits: bool) -> None:
        """Fetch every part that is at its end; where it `waits`, all of them.

        Raises:
            TryLaterError: `not_ready`: some are not at their end, and the others are fetched.
            PipechatError: of one part, and the others are fetched; or of all. What was fetched
                before is kept, and the next call goes on.
        """
        self._look_at_what_is_there(job)
        self._job = job
        wait_s, failures = _FIRST_WAIT_S, 0
        while True:
            open_parts, errors = self._fetch_those_at_their_end(asks_again=not waits)
            if not open_parts and not errors:
                return
            why = errors[0] if errors else not_ready(open_parts)
            # A night is long: an hour without network ends no wait.
            passing = [e for e in errors if isinstance(e, TryLaterError) and e.again]
            failures = failures + 1 if passing else 0
            is_open = any(part.is_created for part, _ in open_parts)
            goes_on = failures <= _MOST_FAILURES and (passing or is_open)
            asked_s = max((error.retry_after_s or 0.0 for error in passing), default=0.0)
            pause_s = max(wait_s, min(asked_s, _LONGEST_PAUSE_S))
            if not (waits and goes_on and self._patience.rest(pause_s)):
                raise why
            self._tell(f"{why.code}: {why.message}")
            wait_s = min(wait_s * _WAIT_GROWS, _LONGEST_WAIT_S)

    def _look_at_what_is_there(self, job: BatchJob) -> None:
        """Which records the output has of this job already."""
        self._files.sweep(job)
        wanted: set[int] = set()
        for part in job.parts:
            if part.is_fetched:
                self.summary.skipped["complete"] += part.complete
                self.summary.skipped["failed"] += part.failed
                continue
            try:
                with self._files.items(part) as items:
                    wanted |= {hash(item.turn) for _, item in items}
            except SessionError as error:
                self._unreadable[part.number] = error
        for record in records_at(self._output.path):
            key = hash(record.get("id")) if isinstance(record.get("id"), str) else None
            if key in wanted:
                self._told[key] = record.get("status") == "complete"
        for complete in self._told.values():
            self.summary.skipped["complete" if complete else "failed"] += 1

    def _fetch_those_at_their_end(
        self, *, asks_again: bool
    ) -> tuple[OpenParts, list[PipechatError]]:
        """The parts that are open still, as they were seen, and why others could not be had."""
        still: OpenParts = []
        errors: list[PipechatError] = []
        for part in self._job.held:
            if part.batch_id is None:
                still.append((part, None))
                continue
            try:
                if part.number in self._unreadable:
                    raise self._unreadable[part.number]
                tries = _LATE_TRIES if asks_again else 1
                seen = self._fetch_part(part, part.batch_id, tries=tries)
            except _OF_ONE_PART as error:
                errors.append(error)
                if isinstance(error, TryLaterError) and error.status == 429:
                    break  # a limit is all parts'
                continue
            if seen is not None:
                still.append((part, seen))
                continue
            self._close(part)
        return still, errors

    def _close(self, part: Part) -> None:
        """Note that all of a part is in the output."""
        complete, failed = self._counts(part)
        self._job = self._job.with_part(part.fetched(complete, failed))
        self._files.write(self._job)
        self._files.remove(part.number)

    def _fetch_part(self, part: Part, batch_id: str, *, tries: int) -> Seen | None:
        """None: all of the part is in the output. Else the batch, which is not at its end, or
        whose files lack what they must hold, looked at so many times."""
        for attempt in range(1, tries + 1):
            seen = Seen.of(self._patience.until_done(lambda: self._api.batch(batch_id)))
            step = seen.next()
            if step == "read" and self._read(part, seen):
                return None
            if step == "wait":
                break
            if attempt < tries and not self._patience.rest(backoff_s(attempt, 0.5)):
                break
        return seen

    def _read(self, part: Part, seen: Seen) -> bool:
        """Make records of all that the files of a part hold; False where answers are missing."""
        results = self._results_of(part)
        with self._files.items(part) as items:
            left = {
                item.custom_id: place for place, item in items if hash(item.turn) not in self._told
            }
            answers, others = (
                self._patience.until_done(partial(self._take, file_id, results, items, left))
                if file_id is not None
                else _Taken()
                for file_id in (seen.output_file_id, seen.error_file_id)
            )
            # Errors do not make up for answers; where every item has a result none is missing.
            is_short = answers.results < seen.completed or answers.is_torn or others.is_torn
            if left and is_short:
                return False
            for place in left.values():
                why = seen.why_no_result(place.line)
                self._keep(results.failed(items.at(place), why))
            self._flush()
        return True

    def _take(
        self, file_id: str, results: Results, items: KeptItems, left: dict[str, Place]
    ) -> _Taken:
        """Make records of the results in a file; what is in it, others' included."""
        met: set[int] = set()
        unreadable, is_torn = 0, False
        try:
            for line in self._api.lines(file_id):
                found = _result_in(line)
                if found is None:
                    is_torn = not line.endswith(b"\n")
                    # Its item has no result then, and it is not to be waited for; what a proxy
                    # says instead of the file is no line of it.
                    unreadable += not is_torn and line.lstrip().startswith(b"{")
                    continue
                custom_id, result = found
                met.add(hash(custom_id))
                place = left.pop(custom_id, None)
                if place is not None:
                    self.summary.requests += 1
                    turn = results.turn(items.at(place), result)
                    self._took.append((turn, results.told))
                    self._keep(turn)
        finally:
            self._flush()
        return _Taken(len(met) + unreadable, is_torn)

    def _keep(self, turn: Turn) -> None:
        self.summary.count(turn)
        self._told[hash(turn.id)] = turn.status == "complete"
        self._lines.append(jsonl.dumps(turn.record()))
        if len(self._lines) >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if self._lines:
            self._output.append(self._lines)
            self._lines = []
            took, self._took = self._took, []
            self._fetched(took)

    def _counts(self, part: Part) -> tuple[int, int]:
        """How many items of a part that was read are complete, and how many failed."""
        with self._files.items(part) as items:
            complete = sum(self._told[hash(item.turn)] for _, item in items)
        return complete, part.items - complete


def _result_in(line: bytes) -> tuple[str, dict[str, object]] | None:
    """The id that a line of results is about, and the result; None where it is none."""
    try:
        result = jsonl.loads_line(line)
    except ValueError:
        return None
    custom_id = result.get("custom_id") if isinstance(result, dict) else None
    return (custom_id, result) if isinstance(custom_id, str) else None
