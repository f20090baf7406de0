"""What the commands of `history` share: the store they open, and how they write to stdout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat.commands.stores import open_store
from pipechat.environment import Environment, Output
from pipechat.errors import PipechatError, ReaderLeft, SessionError, UsageError
from pipechat.show.transcript import Look
from pipechat.text import not_one_of, visible_json

if TYPE_CHECKING:
    from pipechat.commands.pager import Pager
    from pipechat.store.sessions import SessionStore

_BATCH_BYTES = 1 << 16
_FORMATS = {"text": "text", "json": "json", "ndjson": "ndjson", "stream-json": "ndjson"}
_COLORS = ("auto", "always", "never")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No warnings on stderr, only errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell on stderr what goes on; tracebacks for bugs.")
]
NoPager = Annotated[
    bool, typer.Option("--no-pager", help="Write to the terminal itself, through no pager.")
]
OutputFormat = Annotated[
    str,
    typer.Option(
        "--output-format",
        help="json: one array; ndjson: one object a line [text].",
        metavar="text|json|ndjson",
        show_default=False,
    ),
]


def opened(context: typer.Context, quiet: bool, verbose: bool) -> tuple[Environment, SessionStore]:
    """The environment, told how much to say, and the store."""
    env: Environment = context.obj
    env.quiet = quiet
    env.verbose = verbose
    return env, open_store(env)


Source = Annotated[
    str | None,
    typer.Argument(
        help="A session, or a file of turns (a path with a /); the session used last unless given.",
        metavar="[NAME|FILE]",
        show_default=False,
    ),
]


def source_or_last(env: Environment, store: SessionStore, source: str | None) -> str:
    """The session or the file that is meant, with the turns of processes that died; without a name
    the session used last, which is told on a terminal.

    Raises:
        SessionError: `session_missing`: there is none.
        UsageError: `bad_session_name`.
    """
    from pipechat.store import sources

    named, source = source, source or store.last_used()
    if source is None:
        hint = "`pipechat ask --session NAME` begins one."
        raise SessionError("session_missing", "there are no sessions", hint)
    if named is None and env.stdout.is_terminal and len(store.names()) > 1:
        env.warn(f"session {source}, the one used last")
    sources.adopt(store, source)
    return source


def holds_no_turn(source: str) -> SessionError:
    """The error for a file that a user named, and that is something else."""
    hint = "Name a file of turns, such as the output of `batch run`."
    return SessionError("session_unreadable", f"{source} holds no turn", hint)


def check_format(output_format: str) -> str:
    """`text`, `json` or `ndjson`.

    Raises:
        UsageError: `bad_option`.
    """
    if output_format not in _FORMATS:
        raise UsageError("bad_option", f"--output-format: {not_one_of(output_format, _FORMATS)}")
    return _FORMATS[output_format]


def look_of(env: Environment, color: str = "auto") -> Look:
    """Plain into a pipe; on a terminal with colors unless NO_COLOR (no-color.org) is set; or what
    `color` says: `auto`, `always` or `never`.

    Raises:
        UsageError: `bad_option`: it says something else.
    """
    if color not in _COLORS:
        raise UsageError("bad_option", f"--color: {not_one_of(color, _COLORS)}")
    return Look.of(terminal=env.stdout.is_terminal, environ=env.environ, color=color)


class Page:
    """stdout in batches: many small writes cost more than what they say."""

    def __init__(self, out: Output | Pager, *, is_terminal: bool) -> None:
        self._out = out
        self._is_terminal = is_terminal
        self._batch: list[bytes] = []
        self._size = 0
        # A person sees what is there while the rest is looked for.
        self._limit = 1 if is_terminal else _BATCH_BYTES

    def write(self, data: bytes) -> None:
        """Write `data`, soon."""
        self._batch.append(data)
        self._size += len(data)
        if self._size >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Write what is left, now. Raises OutputError, ReaderLeft."""
        data = b"".join(self._batch)
        self._batch.clear()
        self._size = 0
        if data:
            self._out.write(data)

    def records(self, records: Iterable[bytes], output_format: str) -> int:
        """Write JSON objects, one a line or as one array; how many they were."""
        count = 0
        for record in records:
            count += 1
            shown = visible_json(record.decode()).encode() if self._is_terminal else record
            if output_format == "ndjson":
                self.write(shown + b"\n")
            else:
                self.write((b"[" if count == 1 else b",\n") + shown)
        if output_format == "json":
            self.write(b"]\n" if count else b"[]\n")
        return count


@contextmanager
def open_paged(env: Environment, *, no_pager: bool, at_end: bool = False) -> Iterator[Page]:
    """As `open_page`, through a pager where stdout is a terminal and there is one. Who leaves it
    early has seen enough.

    Args:
        at_end: it is the end that a person looks for.
    """
    if no_pager or not env.stdout.is_terminal:
        with open_page(env) as page:
            yield page
        return
    from pipechat.commands.pager import Pager

    env.stdout.check_open()
    pager = Pager(env, at_end=at_end)
    try:
        with _written_to(Page(pager, is_terminal=True)) as page:
            yield page
    except ReaderLeft as left:
        raise typer.Exit(0) from left
    finally:
        pager.close()


@contextmanager
def open_page(env: Environment) -> Iterator[Page]:
    """stdout to write to. Who stops reading, as `head` does, has had enough: that is no failure
    to tell of, and the exit status says it (141)."""
    env.stdout.check_open()
    try:
        with _written_to(Page(env.stdout, is_terminal=env.stdout.is_terminal)) as page:
            yield page
    except ReaderLeft as left:
        raise typer.Exit(int(left.exit_code)) from left


@contextmanager
def _written_to(page: Page) -> Iterator[Page]:
    try:
        yield page
    except PipechatError:
        page.flush()  # what was found before is still true
        raise
    page.flush()
