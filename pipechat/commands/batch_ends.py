"""What the commands of a batch begin and end with alike: input, items, output, summary."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from typing import Any, NamedTuple

from pipechat import jsonl
from pipechat.batch.accounts import fetched_lines
from pipechat.batch.failures import FirstFailures
from pipechat.batch.heads import checked_head, with_newlines
from pipechat.batch.items import ItemReader
from pipechat.batch.job import Part
from pipechat.batch.job_faults import UnseenError
from pipechat.batch.job_files import JobFiles
from pipechat.batch.journal import OutputFile
from pipechat.batch.rows import InputFormat, Row, format_of_name, read_rows
from pipechat.batch.summary import Summary
from pipechat.client.request_form import RequestForm
from pipechat.commands.accounts import open_books
from pipechat.commands.own_files import RECORDS, check_kind
from pipechat.commands.reporting import report
from pipechat.commands.wiring import learned_api
from pipechat.environment import Environment
from pipechat.errors import Interrupted, PipechatError, ReaderLeft, SessionError, UsageError
from pipechat.events import Told
from pipechat.messages import ChatRequest, Turn
from pipechat.settings.resolve import Settings
from pipechat.signals import die_by
from pipechat.text import counted
from pipechat.turn.conversation import Wanted
from pipechat.wire.dialect import dialect_of

_BLOCK_BYTES = 1 << 16


class Source(NamedTuple):
    """An input that is open. `is_file`: all of it is there. `is_at`: whether it is the file of a
    path, or of a descriptor."""

    blocks: Iterator[bytes]
    is_file: bool
    is_at: Callable[[str | int], bool]


def open_source(env: Environment, name: str, stack: ExitStack) -> Source:
    """The input of that name, `-` for stdin, until `stack` is left. Raises UsageError."""
    if name == "-":
        if env.stdin.is_terminal:
            env.warn("type an item a line, then Ctrl-D")
        return Source(env.stdin.blocks(), env.stdin.is_file, env.stdin.is_at)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        mode = os.fstat(fd).st_mode
    except OSError as error:
        is_circle = error.errno == errno.ELOOP
        what = "its symbolic links lead in a circle" if is_circle else error.strerror or error
        raise UsageError("unreadable_input", f"{name}: {what}") from error
    if stat.S_ISDIR(mode):
        raise UsageError("unreadable_input", f"{name}: it is a folder")
    return Source(_blocks(fd, name), stat.S_ISREG(mode), lambda path: _is_same(path, name))


def _blocks(fd: int, name: str) -> Iterator[bytes]:
    try:
        while block := os.read(fd, _BLOCK_BYTES):
            yield block
    except OSError as error:
        raise UsageError("unreadable_input", f"{name}: {error.strerror or error}") from error


def rows_of(settings: Settings, source: Source, name: str) -> Iterator[Row]:
    """The rows of an input, in the format that was said, or that its name tells."""
    input_format = _known_format(settings.input_format or format_of_name(name))
    longest, lossy = settings.max_input_bytes, settings.lossy
    is_items = source.is_file and input_format == "ndjson"
    blocks = checked_head(source.blocks, "stdin" if name == "-" else name, is_items=is_items)
    return read_rows(with_newlines(blocks), input_format, longest=longest, lossy=lossy)


def _known_format(name: str) -> InputFormat:
    formats: dict[str, InputFormat] = {
        "ndjson": "ndjson", "csv": "csv", "tsv": "tsv", "lines": "lines",
    }  # fmt: skip
    return formats[name]


def bodies_of(env: Environment, settings: Settings) -> Callable[[ChatRequest], Mapping[str, Any]]:
    """Makes bodies of requests, without what each model was found to refuse: here nobody can ask
    again. The engine takes Chat Completions alone."""
    settings = settings._replace(api="chat")
    memory = learned_api(env, settings)
    tell = env.stderr.note if env.verbose else lambda _: None
    forms: dict[str, RequestForm] = {}

    def body(request: ChatRequest) -> Mapping[str, Any]:
        if request.model not in forms:
            of_model = memory(request.model) if memory is not None else None
            forms[request.model] = RequestForm(settings, tell, of_model)
        return forms[request.model].body(request)

    return body


def item_reader(env: Environment, settings: Settings, wanted: Wanted | None) -> ItemReader:
    """What makes items of rows, by the options. Raises UsageError."""
    template = None
    if settings.template is not None:
        from pipechat.commands.templating import template_of

        template = template_of(settings)
    return ItemReader(
        settings,
        dialect_of(settings.api).name,
        wanted.formats if wanted is not None else (),
        template,
        settings.variables,
        env.warn,
    )


def open_output(settings: Settings, path: str, source: Source, stack: ExitStack) -> OutputFile:
    """The file of the records, until `stack` is left.

    Raises:
        UsageError: it has no name, it is the input, or it holds something else.
        SessionError, OutputError: as `OutputFile`.
    """
    if not path:
        raise UsageError("bad_option", f"{settings.origins['batch_output']}: there is no name")
    if source.is_at(path):
        message = f"{settings.origins['batch_output']}: {path} is the input as well"
        raise UsageError("bad_option", message, "Name another file: this one would be added to.")
    check_kind(path, settings.origins["batch_output"], RECORDS)
    output = OutputFile(path, start_over=settings.fresh)
    stack.callback(output.close)
    return output


def check_provider(settings: Settings, path: str) -> None:
    """Let a run of its own into `path` pass, or raise: nothing that the provider has is asked
    twice.

    Raises:
        SessionError: `at_provider`: answers for `path` are to be fetched yet, and it is not
            started over.
    """
    if settings.fresh:
        return
    job = JobFiles(path).read()
    if job is not None and job.held:
        are = "is" if job.held_items == 1 else "are"
        message = f"{counted(job.held_items, 'item')} of {path} {are} at the provider"
        hint = f"First `pipechat batch fetch {path}` (or `cancel`), or start over with --fresh."
        raise SessionError("at_provider", message, hint)


def started_over(env: Environment, output: OutputFile, rows: Iterator[Row]) -> Iterator[Row]:
    """`rows`, of which the first has come: `output` is emptied, and what the provider has for it
    forgotten. An input that cannot be read costs nothing. Raises OutputError."""
    first = next(rows, None)
    forget(env, JobFiles(output.path))
    output.clear()
    return chain(() if first is None else (first,), rows)


def forget(env: Environment, files: JobFiles) -> None:
    """Let go of all that was submitted, even where what stands of it is damaged; what is given up
    is named.

    Raises:
        OutputError
        SessionError: `unreadable_batch`: it may be whole, and only could not be read. All stays.
    """
    job = None
    try:
        job = files.read()
    except UnseenError:
        raise
    except SessionError as error:
        env.warn(f"forgotten: {error.message}")
    for part in job.held if job is not None else ():
        _check_seen(files, part)
    for part in job.held if job is not None else ():
        env.warn(f"forgotten: {part.items} items at the provider, {part.batch_id or part.step}")
    files.forget()


def _check_seen(files: JobFiles, part: Part) -> None:
    """Raises UnseenError where what is kept of its items may be whole, and cannot be read."""
    try:
        with files.items(part):
            return
    except UnseenError:
        raise
    except SessionError:
        return  # damaged, or gone


def kept_in_ledger(
    env: Environment, settings: Settings, path: str
) -> Callable[[list[tuple[Turn, Told]]], None]:
    """What keeps a line for each result that is fetched."""
    books = open_books(env, settings._replace(budget=()))  # it is spent already

    def keep(took: list[tuple[Turn, Told]]) -> None:
        if books is not None and took:
            lines = fetched_lines(took, settings.ledger_host, os.path.abspath(path))
            books.settle({"": lines})

    return keep


def _is_same(path: str | int, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # the output is not there yet
        return False


def show_failures(env: Environment, first: FirstFailures, stopped: PipechatError | None) -> None:
    """Say which items failed, the first of each kind; -q silences it, as it does the counts."""
    if not env.quiet:
        for line in first.lines(stopped):
            env.stderr.line(line)


def conclude(
    env: Environment, settings: Settings, summary: Summary, seconds: float, *, to_file: bool
) -> int:
    """Say what came of a batch, and why it stopped, if it did; the exit status.

    Args:
        to_file: the records are in a file, so that stdout is free for the summary.
    """
    stopped = summary.stopped
    if to_file and settings.summary_format == "json":
        env.stdout.write(jsonl.dumps(summary.record(seconds)) + b"\n")
    if not isinstance(stopped, ReaderLeft):
        env.warn(summary.line(seconds))
        show_failures(env, summary.first_failures, stopped)
    if isinstance(stopped, Interrupted) and to_file:
        stopped.hint = "Run it again to go on."
    if stopped is not None:
        report(env, stopped)
    if isinstance(stopped, Interrupted) and not isinstance(stopped, ReaderLeft):
        die_by(stopped.signum)
    return summary.exit_code
