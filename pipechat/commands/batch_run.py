"""`pipechat batch run`, put together: input, output, worker, pace, signals, progress."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NamedTuple

from pipechat import jsonl
from pipechat.batch.items import ItemReader
from pipechat.batch.journal import GroupWriter, InOrder, OutputFile
from pipechat.batch.keeping import Keepers
from pipechat.batch.known import KnownItems
from pipechat.batch.pace import Pace
from pipechat.batch.records import Records
from pipechat.batch.rows import InputFormat, Row, format_of_name, read_rows
from pipechat.batch.run import BatchRun, Limit
from pipechat.batch.source import SessionOrder, items_to_ask, rows_as_they_come, rows_at_hand
from pipechat.batch.summary import Summary
from pipechat.commands.batch_engine import check_engine, make_worker
from pipechat.commands.batch_progress import progress_shown
from pipechat.commands.wanted import read_wanted
from pipechat.commands.wiring import open_keeper, report, with_key
from pipechat.environment import Environment
from pipechat.errors import Interrupted, ReaderLeft, UsageError
from pipechat.settings.resolve import Settings
from pipechat.signals import die_by
from pipechat.turn.conversation import Wanted
from pipechat.wire.chat_completions import ChatCompletions

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BLOCK_BYTES = 1 << 16


class Source(NamedTuple):
    """An input that is open. `is_file`: all of it is there. `path`: of a file that was named."""

    blocks: Iterator[bytes]
    is_file: bool
    path: str | None = None


def run_batch(env: Environment, settings: Settings, source_name: str) -> int:
    """One run; its exit status."""
    began = time.monotonic()
    settings = replace(settings, stream=settings.batch_stream)
    _check(settings)
    wanted = read_wanted(env, settings)
    with ExitStack() as stack:
        source = _open_source(env, source_name, stack)
        reader = _item_reader(settings, wanted)
        input_format = settings.input_format or format_of_name(source_name)
        rows = read_rows(
            source.blocks, _known_format(input_format), longest=settings.max_input_bytes,
            lossy=settings.lossy,
        )  # fmt: skip
        settings = with_key(env, settings)
        output = _open_output(env, settings, source, stack)
        known = KnownItems()
        if output is not None:
            known.read(output.path)
        summary = asyncio.run(
            _run(env, settings, source, rows, reader, known, output, wanted, began)
        )
    return _conclude(env, settings, summary, output, began)


def _check(settings: Settings) -> None:
    to_file = settings.batch_output not in (None, "-")
    for name, needed in (("fresh", to_file), ("summary_format", to_file)):
        if name in settings.origins and not needed:
            message = f"{settings.origins[name]} needs a file: -o OUT"
            raise UsageError("bad_option", message)
    if settings.variables and settings.template is None:
        raise UsageError("bad_option", f"{settings.origins['variables']} needs a --template")
    check_engine(settings)


def _known_format(name: str) -> InputFormat:
    formats: dict[str, InputFormat] = {
        "ndjson": "ndjson", "csv": "csv", "tsv": "tsv", "lines": "lines",
    }  # fmt: skip
    return formats[name]


def _open_source(env: Environment, name: str, stack: ExitStack) -> Source:
    if name == "-":
        if env.stdin.is_terminal:
            env.warn("type an item a line, then Ctrl-D")
        return Source(env.stdin.blocks(), env.stdin.is_file)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        mode = os.fstat(fd).st_mode
    except OSError as error:
        message = f"{name}: {error.strerror or error}"
        raise UsageError("unreadable_input", message) from error
    if stat.S_ISDIR(mode):
        raise UsageError("unreadable_input", f"{name}: it is a folder")
    return Source(_blocks(fd), stat.S_ISREG(mode), name)


def _blocks(fd: int) -> Iterator[bytes]:
    while block := os.read(fd, _BLOCK_BYTES):
        yield block


def _item_reader(settings: Settings, wanted: Wanted | None) -> ItemReader:
    template = None
    if settings.template is not None:
        from pipechat.commands.templating import template_of

        template = template_of(settings)
    return ItemReader(
        settings,
        ChatCompletions().name,
        wanted.formats if wanted is not None else (),
        template,
        settings.variables,
    )


def _open_output(
    env: Environment, settings: Settings, source: Source, stack: ExitStack
) -> OutputFile | None:
    path = settings.batch_output
    if path is None or path == "-":
        env.stdout.check_open()
        return None
    if not path:
        raise UsageError("bad_option", f"{settings.origins['batch_output']}: there is no name")
    if source.path is not None and _is_same(path, source.path):
        raise UsageError("bad_option", f"{path} is the input and the output")
    output = OutputFile(path, fresh=settings.fresh)
    stack.callback(output.close)
    return output


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # the output is not there yet
        return False


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
    order = SessionOrder(items_to_ask(come, reader, known, retry_failed=settings.retry_failed))
    writers = _Writers(env, settings, output)
    keepers = Keepers(
        settings,
        ChatCompletions().name,
        lambda name: open_keeper(env, name, None, settings.timeout_s),
        wanted,
        resumes=output is not None,
    )
    run = BatchRun(
        settings,
        order,
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


def _conclude(
    env: Environment, settings: Settings, summary: Summary, output: OutputFile | None, began: float
) -> int:
    seconds = time.monotonic() - began
    stopped = summary.stopped
    if output is not None and settings.summary_format == "json":
        env.stdout.write(jsonl.dumps(summary.record(seconds)) + b"\n")
    if not isinstance(stopped, ReaderLeft):
        env.warn(summary.line(seconds))
    if stopped is not None:
        report(env, stopped)
    if isinstance(stopped, Interrupted) and not isinstance(stopped, ReaderLeft):
        die_by(stopped.signum)
    return summary.exit_code
