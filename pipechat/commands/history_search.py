"""`pipechat history search`: lines of questions and answers, by what they say."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat.commands.found_output import check_shown, lines_for, print_found
from pipechat.commands.history_output import (
    NoPager,
    OutputFormat,
    Quiet,
    Verbose,
    check_format,
    open_paged,
    opened,
)
from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, SessionError
from pipechat.text import check_argument

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

NamesOnly = Annotated[
    bool,
    typer.Option("--files-with-matches", "-l", help="Only the names of sessions that match."),
]
CountOnly = Annotated[
    bool, typer.Option("--count", "-c", help="Only how many turns match, a session a line.")
]
Context = Annotated[
    int,
    typer.Option(
        "--context",
        "-C",
        help="N lines of the turn before and after each one that matches.",
        metavar="N",
        min=0,
        show_default=False,
    ),
]
Color = Annotated[
    str,
    typer.Option(
        "--color",
        help="auto: on a terminal, unless NO_COLOR is set; always: for `less -R` [auto].",
        metavar="auto|always|never",
        show_default=False,
    ),
]


def search(
    context: typer.Context,
    pattern: Pattern,
    where: Where = None,
    session: FirstOfWhere = None,
    regexp: IsRegexp = False,
    ignore_case: IgnoreCase = False,
    names_only: NamesOnly = False,
    count_only: CountOnly = False,
    context_lines: Context = 0,
    color: Color = "auto",
    output_format: OutputFormat = "text",
    no_pager: NoPager = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Search questions and answers, in all sessions, or in some sessions and files.

    Prints SESSION:TURN:SIDE: and the line of text that matches; SESSION is the name or the path
    as it was given, TURN the number of the record's line in the file, from 1. On a terminal a
    line that is too wide is cut around what matches. Exits with 0 where something matches, with
    1 where nothing does, as grep.
    """
    env, store = opened(context, quiet, verbose)
    wanted = check_format(output_format)
    lines = lines_for(env, color)
    shown = check_shown(names_only, count_only, context_lines)
    from pipechat.store.search import Query

    query = Query(check_argument(pattern, "PATTERN"), regexp=regexp, ignore_case=ignore_case)
    names = _named(store, [*([] if session is None else [session]), *(where or ())])
    hunt = _Hunt(env, store, query)
    with open_paged(env, no_pager=no_pager) as page:
        is_found = print_found(page, wanted, lines, hunt.through(names), shown)
    return hunt.status or (0 if is_found else NOTHING_FOUND)


def _named(store: SessionStore, named: list[str]) -> list[str]:
    """Those names, tried before anything is found; all sessions where there are none."""
    from pipechat.store import sources

    for each in named:
        sources.adopt(store, each)
    return named or _all_names(store)


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

    def through(self, names: list[str]) -> Iterator[tuple[str, Generator[Hit, None, None]]]:
        for name in names:
            yield name, self._in(name, tell_mode=len(names) == 1)

    def _in(self, name: str, *, tell_mode: bool) -> Generator[Hit, None, None]:
        from pipechat.store import sources
        from pipechat.store.search import search as search_session

        try:
            with sources.reading(self._store, name, tell_mode=tell_mode) as session:
                yield from search_session(session, self._query)
        except SessionError as error:
            report(self._env, error)
            self.status = int(ExitCode.SESSION)
