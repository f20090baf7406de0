"""`pipechat history show|path`, and the group that the other history commands belong to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat.commands.app import App
from pipechat.commands.history_output import (
    NoPager,
    OutputFormat,
    Page,
    Quiet,
    Source,
    Verbose,
    check_format,
    holds_no_turn,
    look_of,
    open_page,
    open_paged,
    opened,
    source_or_last,
)
from pipechat.errors import UsageError
from pipechat.show.transcript import Look, Transcript
from pipechat.text import visible_line

if TYPE_CHECKING:
    from pipechat.messages import Turn
    from pipechat.store.selection import Wanted

history = App(
    "history", help="What was asked and answered: sessions shown, searched and kept in order."
)
history.add("list", "history_list.list_sessions")
history.add("show", "history.show")
history.add("path", "history.path")
history.add("search", "history_search.search")
history.add("export", "history_export.export")
history.add("import", "history_import.import_")
history.add("fork", "history_edit.fork")
history.add("rename", "history_edit.rename")
history.add("delete", "history_edit.delete")
history.add("prune", "history_edit.prune")
history.add("repair", "history_edit.repair")

Last = Annotated[
    int | None, typer.Option("--last", "-n", help="Only the last N turns.", metavar="N", min=1)
]
OneTurn = Annotated[
    int | None, typer.Option("--turn", help="Only turn N, from 1; -1 is the last.", metavar="N")
]


def show(
    context: typer.Context,
    source: Source = None,
    last: Last = None,
    turn: OneTurn = None,
    output_format: OutputFormat = "text",
    no_pager: NoPager = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Show a session, or a file of turns: who said what, when, and with which model.

    Turns that are not complete are marked with the code of what ended them. json and ndjson
    give the records as they stand in the file.
    """
    env, store = opened(context, quiet, verbose)
    output_format = check_format(output_format)
    wanted = _wanted(last, turn)
    from pipechat.store import sources
    from pipechat.store.names import is_path
    from pipechat.store.selection import records, turns

    source = source_or_last(env, store, source)
    with sources.reading(store, source) as session, open_paged(env, no_pager=no_pager) as page:
        if output_format == "text":
            count = _write_text(page, look_of(env), turns(session, wanted))
        else:
            count = page.records(records(session, wanted), output_format)
        if not count and session.size and is_path(source):
            raise holds_no_turn(source)
    return 0


def path(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="The session; the folder of all unless given.",
            metavar="[NAME]",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Print where a session is, for other programs to read: jq -r .answer "$(…)"."""
    env, store = opened(context, quiet, verbose)
    where = store.folder if name is None else store.path(name)
    if name is not None and not store.exists(name):
        from pipechat.store.faults import missing

        raise missing(name, where)
    with open_page(env) as page:
        shown = visible_line(where) if env.stdout.is_terminal else where
        page.write(os.fsencode(shown) + b"\n")
    return 0


def _write_text(page: Page, look: Look, turns: Iterator[Turn]) -> int:
    transcript = Transcript(look)
    count = 0
    for turn in turns:
        count += 1
        page.write(transcript.turn(turn).encode())
    return count


def _wanted(last: int | None, turn: int | None) -> Wanted:
    from pipechat.store.selection import Wanted

    if turn is None:
        return Wanted(last)
    if last is not None:
        message = "--turn is one turn, and --last the last ones"
        raise UsageError("bad_option", message, "Leave one of them out.")
    if turn == 0:
        raise UsageError("bad_option", "--turn 0: the first turn is 1, the last is -1")
    return Wanted(place=turn) if turn > 0 else Wanted(-turn, only_first_of_last=True)
