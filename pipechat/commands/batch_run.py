"""`pipechat batch run`, put together: input, output, worker, pace, signals, progress."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from pipechat.batch.items import ItemReader
from pipechat.batch.journal import GroupWriter, InOrder, OutputFile
from pipechat.batch.keeping import Keepers
from pipechat.batch.known import KnownItems
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.rows import Row
from pipechat.batch.run import BatchRun
from pipechat.batch.source import SessionOrder, items_to_ask, rows_as_they_come, rows_at_hand
from pipechat.batch.stopping import Limit
from pipechat.batch.summary import Summary
from pipechat.commands.batch_ends import (
    Source,
    conclude,
    item_reader,
    let_go_of_the_provider,
    open_output,
    open_source,
    rows_of,
)
from pipechat.commands.batch_engine import check_engine, make_worker
from pipechat.commands.batch_progress import progress_shown
from pipechat.commands.wanted import read_wanted
from pipechat.commands.wiring import open_keeper, with_key
from pipechat.environment import Environment
from pipechat.errors import Interrupted, PipechatError, UsageError
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted
from pipechat.wire.chat_completions import ChatCompletions

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_batch(env: Environment, settings: Settings, source_name: str) -> int:
    """One run; its exit status."""
    began = time.monotonic()
    settings = replace(settings, stream=settings.batch_stream)
    _check(settings)
    wanted = read_wanted(env, settings)
    with ExitStack() as stack:
        source = open_source(env, source_name, stack)
        reader = item_reader(env, settings, wanted)
        rows = rows_of(settings, source, source_name)
        settings = with_key(env, settings)
        output = _open_output(env, settings, source, stack)
        known = KnownItems()
        if output is not None:
            known.read(output.path)
        summary = asyncio.run(
            _run(env, settings, source, rows, reader, known, output, wanted, began)
        )
    seconds = time.monotonic() - began
    return conclude(env, settings, summary, seconds, to_file=output is not None)


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
    let_go_of_the_provider(env, settings, path)
    return output


async def _run(
    env: Environment,
    settings: Settings,
    source: Source,
    rows: Iterator[Row],
    reader: ItemReader,
    known: KnownItems,
    output: OutputFile | None,
    wanted: Wanted | None,
    began: float,
) -> Summary:
    worker = await make_worker(env, settings, wanted)
    come = rows_at_hand(rows) if source.is_file else rows_as_they_come(rows)
    summary = Summary()

    def skip(why: str) -> None:
        summary.skipped[why] += 1

    items = items_to_ask(come, reader, known, skip, retry_failed=settings.retry_failed)
    writers = _Writers(env, settings, output)
    keepers = Keepers(
        settings,
        ChatCompletions().name,
        lambda name: open_keeper(env, name, None, settings.timeout_s),
        wanted,
        resumes=output is not None and not settings.fresh,
    )
    run = BatchRun(
        settings,
        summary,
        SessionOrder(items),
        worker,
        keepers,
        writers.records,
        Pace(time.monotonic, settings.rpm, settings.tpm),
        jobs=settings.jobs,
        grace_s=settings.grace,
        limit=_limit(settings.max_failures),
        tell=env.stderr.note if env.verbose else lambda _: None,
    )
    try:
        with _signals_taken(run), progress_shown(env, run.summary, began):
            return await run.run()
    finally:
        await writers.aclose()
        await worker.aclose()


class _Writers:
    """Where records and events go, by the options."""

    def __init__(self, env: Environment, settings: Settings, output: OutputFile | None) -> None:
        def to_stdout(lines: list[bytes]) -> None:
            env.stdout.write(b"\n".join(lines) + b"\n")

        stdout = GroupWriter(to_stdout) if output is None or settings.events else None
        file = GroupWriter(output.append) if output is not None else None
        writer = file if file is not None else (None if settings.events else stdout)
        self._all = [each for each in (stdout, file) if each is not None]
        room = max(16 * settings.jobs, 256)
        in_order = InOrder(writer, room) if settings.ordered and writer is not None else None
        self.records = Records(writer, stdout if settings.events else None, in_order)

    async def aclose(self) -> None:
        with suppress(PipechatError):  # what cannot be written is told already
            await self.records.flush()
        for each in self._all:
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
