"""`pipechat history export`: a session as a document to read, or for other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from pipechat.commands.history_output import (
    Quiet,
    Source,
    Verbose,
    holds_no_turn,
    open_page,
    opened,
    source_or_last,
)
from pipechat.environment import Environment, Output
from pipechat.errors import OutputError, UsageError
from pipechat.text import counted, not_one_of, visible_json, visible_line

_FORMATS = ("markdown", "messages", "ndjson", "html")
_BY_ENDING = {
    ".md": "markdown", ".markdown": "markdown", ".json": "messages", ".jsonl": "ndjson",
    ".ndjson": "ndjson", ".html": "html", ".htm": "html",
}  # fmt: skip
_OF_ANY_TEXT = ("", ".txt", ".text")

Write = Callable[[str], None]


Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Markdown to keep with notes; the messages of a request; the records as they stand;"
        " one page of HTML [by FILE's name; else markdown].",
        metavar="|".join(_FORMATS),
        show_default=False,
    ),
]
OutputFile = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="Write to FILE, which appears only when all is in it; `-` is stdout.",
        metavar="FILE",
        show_default=False,
    ),
]


def export(
    context: typer.Context,
    source: Source = None,
    export_format: Format = None,
    output: OutputFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write a session, or a file of turns, as Markdown, HTML, or JSON for other programs.

    The page of HTML is one file that fetches nothing and runs nothing. messages is what a
    request to the API would send along: turns that are not complete are left out, and told.
    """
    env, store = opened(context, quiet, verbose)
    wanted = _format_of(env, export_format, output)
    from pipechat.commands.exporting import Exported, has_no_turn
    from pipechat.store import sources

    source = source_or_last(env, store, source)
    with sources.reading(store, source) as session:
        if has_no_turn(session):
            raise holds_no_turn(source)
        _check_other(output, session.fd)
        exported = Exported(env, session, wanted)
        with _written(env, output) as write:
            for piece in exported.pieces():
                write(piece)
    if exported.left_out:
        what = counted(exported.left_out, "turn")
        env.warn(f"{what} left out: not complete, or left out of what goes along")
    return 0


def _format_of(env: Environment, given: str | None, output: str | None) -> str:
    if given is not None and given not in _FORMATS:
        raise UsageError("bad_option", f"--format: {not_one_of(given, _FORMATS)}")
    ending = os.path.splitext(output or "")[1].lower()
    if given is None and ending not in _BY_ENDING and ending not in _OF_ANY_TEXT:
        env.warn(f"{ending} is no format of export: this is Markdown; --format names others")
    return given or _BY_ENDING.get(ending, "markdown")


def _check_other(output: str | None, fd: int) -> None:
    """Let FILE pass where it is another one than that behind `fd`, which would be replaced.

    Raises:
        UsageError: `bad_option`.
    """
    with suppress(OSError, ValueError):
        if output is not None and os.path.samestat(os.stat(output), os.fstat(fd)):
            message = f"--output: {visible_line(output)} is what is exported"
            hint = "Name another file: this one would be replaced."
            raise UsageError("bad_option", message, hint)


@contextmanager
def _written(env: Environment, output: str | None) -> Iterator[Write]:
    """Where it goes: stdout, or FILE, of which nothing is left where it is not whole."""
    if output is None or output == "-":
        with _on_stdout(env) as write:
            yield write
        return
    from pipechat.show.files import FileOutput, open_in_place

    try:
        fd = open_in_place(output)
        if fd is None:
            file = FileOutput(output, 0o666 & ~env.umask, "export")
    except OutputError as error:
        error.message = f"--output: {error.message}"
        raise
    if fd is not None:
        env.stdout = Output(fd, name=output, waits=env.waits)
        with _on_stdout(env) as write:
            yield write
        return
    try:
        yield lambda text: file.write(text.encode())
        file.commit()
    finally:
        file.discard()


@contextmanager
def _on_stdout(env: Environment) -> Iterator[Write]:
    """On a terminal, JSON with escapes; what is for people has no control characters anyway."""
    with open_page(env) as page:
        shown = visible_json if env.stdout.is_terminal else str
        yield lambda text: page.write(shown(text).encode())
