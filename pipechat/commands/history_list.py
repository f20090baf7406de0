"""`pipechat history list`: the sessions a line each, the newest last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat import jsonl
from pipechat.commands.history_output import (
    NoPager,
    OutputFormat,
    Quiet,
    Verbose,
    check_format,
    look_of,
    open_paged,
    opened,
)
from pipechat.errors import UsageError
from pipechat.show.transcript import SessionTable
from pipechat.text import not_one_of

if TYPE_CHECKING:
    from pipechat.messages import Summary
    from pipechat.store.sessions import SessionStore

_SORTS = ("time", "name", "turns", "size")
# A pager that begins at the end waits for all of it, so for no longer than a person would notice.
_MOST_AWAITED = 2000

LastSessions = Annotated[
    int | None,
    typer.Option("--last", "-n", help="Only the last N in that order.", metavar="N", min=1),
]
Sort = Annotated[
    str,
    typer.Option(
        "--sort",
        help="By when it was written, the newest last; by name; by turns or size, the most last "
        "[time].",
        metavar="time|name|turns|size",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        help="Only those written since: an age (90d; units s, m, h, d, w), a local day (or today) "
        "or month, or a time in RFC 3339.",
        metavar="AGE|DATE",
    ),
]


def list_sessions(
    context: typer.Context,
    last: LastSessions = None,
    sort: Sort = "time",
    since: Since = None,
    output_format: OutputFormat = "text",
    no_pager: NoPager = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """List the sessions: name, turns, time of the last one, size, first words.

    The newest comes last; that is the one which `ask -c` goes on with. Aligned on a terminal,
    with local times; elsewhere separated by tabs, without a heading, sizes in bytes.
    """
    env, store = opened(context, quiet, verbose)
    wanted = check_format(output_format)
    if sort not in _SORTS:
        raise UsageError("bad_option", f"--sort: {not_one_of(sort, _SORTS)}")
    store.adopt_all()
    names = _names(store, sort, since)
    names = names[-last:] if last and sort != "turns" else names
    summaries = _by_turns(store, names, last) if sort == "turns" else store.summaries(names)
    at_end = wanted == "text" and shutil.get_terminal_size().lines < len(names) <= _MOST_AWAITED
    with open_paged(env, no_pager=no_pager, at_end=at_end) as page:
        if wanted != "text":
            page.records((jsonl.dumps(summary._asdict()) for summary in summaries), wanted)
            return 0
        table = SessionTable(look_of(env), names, env.stdout.columns())
        if names:
            page.write(table.heading().encode())
        elif env.stdout.is_terminal:
            env.warn(_why_none(since))
        for summary in summaries:
            page.write(table.row(summary).encode())
    return 0


def _names(store: SessionStore, sort: str, since: str | None) -> list[str]:
    """The names in their order, which none is opened for."""
    from pipechat.store.listing import listed

    found = listed(store.folder)
    if since is not None:
        limit_ns = _limit_ns(since)
        found = [each for each in found if each.written_ns >= limit_ns]
    if sort == "name":
        return sorted(each.name for each in found)
    if sort == "size":
        return [each.name for each in sorted(found, key=lambda each: (each.size, each.written_ns))]
    return [each.name for each in sorted(found, key=lambda each: (each.written_ns, each.name))]


def _limit_ns(since: str) -> int:
    from pipechat.commands.moments import moment

    limit = datetime.fromisoformat(moment("--since", since, datetime.now(UTC)))
    return int(limit.timestamp() * 1000) * 1_000_000


def _by_turns(store: SessionStore, names: list[str], last: int | None) -> Iterator[Summary]:
    """All are read before the first is shown. Of as many turns, the newer one is later."""
    summaries = sorted(store.summaries(names), key=lambda summary: summary.turns)
    yield from summaries[-last:] if last else summaries


def _why_none(since: str | None) -> str:
    if since is not None:
        return f"no session was written since {since}"
    return "there are no sessions; `pipechat ask --session NAME` begins one"
