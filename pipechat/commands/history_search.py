"""`pipechat history search`: lines of questions and answers, by what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat import jsonl
from pipechat.commands.history_output import (
    NoPager,
    OutputFormat,
    Page,
    Quiet,
    Verbose,
    check_format,
    look_of,
    open_paged,
    opened,
)
from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, SessionError
from pipechat.show.transcript import Look
from pipechat.text import check_argument, visible_line, whole_text

if TYPE_CHECKING:
    from pipechat.store.search import Hit, Query
    from pipechat.store.sessions import SessionStore

# As grep has it, and every script expects it of a search: the one exception to the exit table.
NOTHING_FOUND = 1

Pattern = Annotated[
    str,
    typer.Argument(
        help="Fixed text, or with -E a regular expression (Python's syntax).", metavar="PATTERN"
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Argument(
        help="Only in these: sessions, and files of turns (paths with a /).",
        metavar="[NAME|FILE]…",
        show_default=False,
    ),
]
FirstOfWhere = Annotated[
    str | None,
    typer.Option("--session", help="The same as first after PATTERN.", metavar="NAME|FILE"),
]
IsRegexp = Annotated[bool, typer.Option("--regexp", "-E", help="PATTERN is a regular expression.")]
IgnoreCase = Annotated[
    bool, typer.Option("--ignore-case", "-i", help="Upper and lower case are the same.")
]


def search(
    context: typer.Context,
    pattern: Pattern,
    where: Where = None,
    session: FirstOfWhere = None,
    regexp: IsRegexp = False,
    ignore_case: IgnoreCase = False,
    output_format: OutputFormat = "text",
    no_pager: NoPager = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Search questions and answers, in all sessions, or in some sessions and files.

    Prints SESSION:TURN:SIDE: and the line of text that matches; SESSION is the name or the path
    as it was given, TURN the number of the record's line in the file, from 1. Exits with 0
    where something matches, with 1 where nothing does, as grep.
    """
    env, store = opened(context, quiet, verbose)
    wanted = check_format(output_format)
    from pipechat.store import sources
    from pipechat.store.search import Query

    query = Query(check_argument(pattern, "PATTERN"), regexp=regexp, ignore_case=ignore_case)
    named = [*([] if session is None else [session]), *(where or ())]
    names = named or _all_names(store)
    for each in named:
        sources.adopt(store, each)  # a bad name is told before anything is found
    hunt = _Hunt(env, store, query)
    with open_paged(env, no_pager=no_pager) as page:
        if wanted == "text":
            count = _print_text(page, look_of(env), hunt.through(names))
        else:
            records = (jsonl.dumps(_record(name, hit)) for name, hit in hunt.through(names))
            count = page.records(records, wanted)
    return hunt.status or (0 if count else NOTHING_FOUND)


def _all_names(store: SessionStore) -> list[str]:
    """All sessions. Turns of processes that died are turns as well."""
    store.adopt_all()
    return store.names()


class _Hunt:
    """A search through sessions and files; one that cannot be read is told, and the others are
    searched all the same. `status`: the exit status that this earns."""

    def __init__(self, env: Environment, store: SessionStore, query: Query) -> None:
        self._env = env
        self._store = store
        self._query = query
        self.status = 0

    def through(self, names: list[str]) -> Iterator[tuple[str, Hit]]:
        from pipechat.store import sources
        from pipechat.store.search import search as search_session

        for name in names:
            try:
                tell_mode = len(names) == 1
                with sources.reading(self._store, name, tell_mode=tell_mode) as session:
                    for hit in search_session(session, self._query):
                        yield name, hit
            except SessionError as error:
                report(self._env, error)
                self.status = int(ExitCode.SESSION)


def _print_text(page: Page, look: Look, hits: Iterator[tuple[str, Hit]]) -> int:
    count = 0
    for name, hit in hits:
        count += 1
        shown = visible_line(whole_text(name)) if look.terminal else name
        address = look.dim(f"{shown}:{hit.turn_number}:{hit.side}:")
        found = f"{address} {_highlighted(look, hit)}\n"
        page.write(found.encode("utf-8", "surrogateescape"))  # a path has the bytes it came with
    return count


def _highlighted(look: Look, hit: Hit) -> str:
    if not look.color:
        return look.text(hit.text)
    shown = ""
    end = 0
    for start, stop in hit.spans:
        if stop > start:
            shown += look.text(hit.text[end:start]) + look.hit(look.text(hit.text[start:stop]))
            end = stop
    return shown + look.text(hit.text[end:])


def _record(name: str, hit: Hit) -> dict[str, object]:
    return {
        "session": name,
        "turn": hit.turn_number,
        "id": hit.turn.id,
        "time": hit.turn.time,
        "status": hit.turn.status,
        "side": hit.side,
        "line": hit.line_number,
        "text": hit.text,
        "spans": hit.spans,
    }
