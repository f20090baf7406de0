"""`pipechat batch run`, put together: input, output, worker, pace, signals, progress."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from pipechat.batch.accounts import BatchAccounts
from pipechat.batch.groups import GroupWriter, InOrder, records_to
from pipechat.batch.items import BadItemError, Item, ItemReader
from pipechat.batch.journal import OutputFile
from pipechat.batch.keeping import Keepers
from pipechat.batch.known import KnownItems
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.row_lots import rows_as_they_come, rows_at_hand
from pipechat.batch.rows import Row
from pipechat.batch.run import BatchRun
from pipechat.batch.source import SessionOrder, items_to_ask
from pipechat.batch.stopping import Limit
from pipechat.batch.summary import Summary
from pipechat.commands.accounts import open_books
from pipechat.commands.batch_ends import (
    Source,
    check_provider,
    conclude,
    item_reader,
    open_output,
    open_source,
    rows_of,
    started_over,
)
from pipechat.commands.batch_engine import check_engine, make_worker, with_jobs_that_fit
from pipechat.commands.batch_progress import Progress
from pipechat.commands.stores import open_keeper, open_store
from pipechat.commands.wanted import read_wanted
from pipechat.commands.wiring import learned_api, with_key
from pipechat.environment import Environment
from pipechat.errors import Interrupted, OutputError, PipechatError, UsageError
from pipechat.settings.resolve import Settings
from pipechat.store.item_turns import ItemTurns
from pipechat.turn.conversation import Wanted
from pipechat.wire.dialect import dialect_of

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A run ready to begin. `rows`: of its input, which are all there where `at_hand`. `output`:
    the file of its records, or None."""

    env: Environment
    settings: Settings
    rows: Iterator[Row]
    at_hand: bool
    reader: ItemReader
    wanted: Wanted | None
    output: OutputFile | None
    progress: Progress


def run_batch(env: Environment, settings: Settings, source_name: str) -> int:
    """One run; its exit status."""
    progress = Progress(env)
    env.stdout.when_cut = "The last line may be cut; with -o OUT the next run goes on."
    settings = settings._replace(stream=settings.batch_stream)
    _check(settings)
    wanted = read_wanted(env, settings)
    with ExitStack() as stack:
        source = open_source(env, source_name, stack)
        reader = item_reader(env, settings, wanted)
        rows = rows_of(settings, progress.measured(source, source_name), source_name)
        settings = with_key(env, with_jobs_that_fit(env, settings))
        output = _open_output(env, settings, source, stack)
        if output is not None and settings.fresh:
            rows = started_over(env, output, rows)
        batch = _Batch(env, settings, rows, source.is_file, reader, wanted, output, progress)
        summary = asyncio.run(_run(batch, _known(batch)))
        if output is not None:
            _end_output(output, summary)
    return conclude(env, settings, summary, progress.seconds, to_file=output is not None)


def _check(settings: Settings) -> None:
    to_file = settings.batch_output not in (None, "-")
    for name, needed in (("fresh", to_file), ("summary_format", to_file)):
        if name in settings.origins and not needed:
            message = f"{settings.origins[name]} needs a file: -o OUT"
            raise UsageError("bad_option", message)
    check_engine(settings)


def _open_output(
    env: Environment, settings: Settings, source: Source, stack: ExitStack
) -> OutputFile | None:
    path = settings.batch_output
    if path is None or path == "-":
        env.stdout.check_open()
        fd = env.stdout.file_fd
        if fd is not None and source.is_at(fd):
            message = "stdout is the input: each answer would be asked in its turn"
            raise UsageError("bad_option", message, "Send stdout to another file.")
        return None
    output = open_output(settings, path, source, stack)
    check_provider(settings, path)
    if not settings.fresh:  # else it is cleared first, which makes room
        output.begin()
    return output


def _known(batch: _Batch) -> KnownItems:
    known = KnownItems()
    if batch.output is not None and not batch.settings.fresh:
        known.read(batch.output.path)
    return known


def _end_output(output: OutputFile, summary: Summary) -> None:
    """The run is over: all of it is to be there."""
    if summary.stopped is None:
        try:
            output.check_there()
        except OutputError as error:
            summary.stopped = error
    missed = output.was_left and summary.stopped is not None
    output.to_resume = missed or isinstance(summary.stopped, OutputError)


async def _run(batch: _Batch, known: KnownItems) -> Summary:
    env, settings = batch.env, batch.settings
    worker = await make_worker(env, settings, batch.wanted)
    summary = Summary()
    accounts = _accounts(batch)
    writers = _Writers(env, settings, batch.output, accounts)
    run = BatchRun(
        settings,
        summary,
        SessionOrder(_items(batch, known, summary)),
        worker,
        _keepers(batch),
        writers.records,
        Pace(time.monotonic, settings.rpm, settings.tpm),
        jobs=settings.jobs,
        grace_s=settings.grace,
        limit=_limit(settings.max_failures),
        tell=env.stderr.note if env.verbose else lambda _: None,
        memory=learned_api(env, settings),
        accounts=accounts,
    )
    # What is there by now stays: to look through it for garbage stops all, 20 ms and more, at some
    # moment of the first items.
    gc.freeze()
    try:
        with _signals_taken(run), batch.progress.shown(run.summary):
            return await run.run()
    finally:
        gc.unfreeze()
        await writers.aclose()
        await worker.aclose()


def _accounts(batch: _Batch) -> BatchAccounts | None:
    """Who keeps account of what is sent. Raises SetupError, UsageError."""
    env, settings, output = batch.env, batch.settings, batch.output
    books = open_books(env, settings)
    path = os.path.abspath(output.path) if output is not None else None
    return BatchAccounts(books, path, settings.budget_max_tokens) if books is not None else None


def _items(
    batch: _Batch, known: KnownItems, summary: Summary
) -> AsyncIterator[Item | BadItemError]:
    def skip(why: str) -> None:
        summary.skipped[why] += 1

    come = rows_at_hand(batch.rows) if batch.at_hand else rows_as_they_come(batch.rows)
    return items_to_ask(come, batch.reader, known, skip, retry_failed=batch.settings.retry_failed)


def _keepers(batch: _Batch) -> Keepers:
    env, settings, output = batch.env, batch.settings, batch.output
    resumes = output is not None and output.was_left and not settings.fresh
    return Keepers(
        settings,
        dialect_of(settings.api).name,
        lambda name: open_keeper(env, name, None, settings.timeout_s),
        batch.wanted,
        ItemTurns(open_store(env), output.since).find if output and resumes else None,
    )


class _Writers:
    """Where records, events and what the ledger is to have go, by the options."""

    def __init__(
        self,
        env: Environment,
        settings: Settings,
        output: OutputFile | None,
        accounts: BatchAccounts | None,
    ) -> None:
        def to_stdout(lines: list[bytes]) -> None:
            env.stdout.write(b"\n".join(lines) + b"\n")

        events = GroupWriter(to_stdout) if settings.events else None
        append = output.append if output is not None else (None if events else to_stdout)
        also = accounts.settle if accounts is not None else None
        in_order = writer = None
        if append is not None and settings.ordered:
            room = max(16 * settings.jobs, 256)
            held = output.held if output is not None else None
            in_order = InOrder(append, room, held, also=also)
        elif append is not None or also is not None:
            writer = GroupWriter(records_to(append), also)
        self._all = [each for each in (in_order, writer, events) if each is not None]
        self.records = Records(writer, events, in_order)

    async def aclose(self) -> None:
        for each in self._all:
            with suppress(PipechatError):  # what cannot be written is told already
                await each.aclose()


def _limit(max_failures: int | float | None) -> Limit:
    if isinstance(max_failures, float):
        return Limit(share=max_failures)
    return Limit(count=max_failures)


@contextmanager
def _signals_taken(run: BatchRun) -> Iterator[None]:
    """The first signal lets what is in flight end; the second does not wait."""
    loop = asyncio.get_running_loop()
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    taken = [signum for signum in _SIGNALS if before[signum] is not signal.SIG_IGN]
    for signum in taken:
        loop.add_signal_handler(signum, _stop, run, signum)
    try:
        yield
    finally:
        for signum in taken:
            loop.remove_signal_handler(signum)
            signal.signal(signum, before[signum])


def _stop(run: BatchRun, signum: int) -> None:
    run.stop(Interrupted(signum), at_once=run.summary.stopped is not None)
