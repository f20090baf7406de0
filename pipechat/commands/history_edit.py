"""`pipechat history repair|delete|prune|rename|fork`: sessions kept in order.

Each says in one line on stderr what it did; with --dry-run, on stdout what it would do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pipechat.commands.history_output import Quiet, Verbose, open_page, opened
from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, SessionError, UsageError
from pipechat.text import counted

if TYPE_CHECKING:
    from pipechat.store.rewrite import RepairReport
    from pipechat.store.sessions import SessionStore

OneSession = Annotated[
    str | None,
    typer.Argument(
        help="The session; all of them unless given.", metavar="[NAME]", show_default=False
    ),
]
ASession = Annotated[str, typer.Argument(help="The session.", metavar="NAME")]
NewName = Annotated[str, typer.Argument(help="The name that the new session gets.", metavar="NEW")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")
]


class _Told(NamedTuple):
    """What was done to a session, in a line, and whether anything was."""

    line: str
    changed: bool


def repair(
    context: typer.Context,
    name: OneSession = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Move lines that are no turns, and doubles of turns, to NAME.torn beside the session.

    Nothing is deleted, and what stays keeps its bytes.
    """
    env, store = opened(context, quiet, verbose)
    from pipechat.store import rewrite

    def one(session: str) -> _Told:
        done = rewrite.repair(store, session, dry_run=dry_run)
        return _Told(_told_repair(done, dry_run), bool(done.torn or done.doubles))

    return _for_each(env, store, name, dry_run, one, "in order")


def _told_repair(done: RepairReport, dry_run: bool) -> str:
    stay = f"{counted(done.turns, 'turn')} {'stays' if done.turns == 1 else 'stay'}"
    if not (done.torn or done.doubles):
        return f"session {done.name!r} is in order: {stay}"
    doubles = f" and {counted(done.doubles, 'double')}" if done.doubles else ""
    verb = "would move" if dry_run else "moved"
    lines = counted(done.torn, "torn line")
    return f"session {done.name!r}: {verb} {lines}{doubles} to {done.torn_path}; {stay}"


def prune(
    context: typer.Context,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            help="An age (90d; units s, m, h, d, w) or a date or time in RFC 3339.",
            metavar="AGE|DATE",
        ),
    ],
    name: OneSession = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Drop old turns, from all sessions or one. They are gone for good."""
    env, store = opened(context, quiet, verbose)
    limit = parse_limit(older_than, datetime.now(UTC))
    from pipechat.store import rewrite

    def one(session: str) -> _Told:
        done = rewrite.prune(store, session, limit, dry_run=dry_run)
        verb = "would drop" if dry_run else "dropped"
        of_all = f"{counted(done.dropped, 'turn')} of {done.dropped + done.kept}"
        return _Told(f"session {session!r}: {verb} {of_all}", bool(done.dropped))

    return _for_each(env, store, name, dry_run, one, "nothing to drop")


def parse_limit(text: str, now: datetime) -> datetime:
    """The time that an age such as `90d`, or a date or a time in RFC 3339, means. What has no
    offset is UTC, as the times of the records are.

    Raises:
        UsageError: `bad_option`.
    """
    from pipechat.commands.moments import age_of

    try:
        age = age_of(text)
        if age is not None:
            return now - age
        limit = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        message = f"--older-than {text}: neither an age nor a date"
        raise UsageError("bad_option", message, "Use 90d (s, m, h, d, w) or 2026-01-31.") from error
    return limit if limit.tzinfo else limit.replace(tzinfo=UTC)


def delete(
    context: typer.Context,
    name: ASession,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Delete a session for good. Asks first on a terminal; elsewhere --yes is needed."""
    env, store = opened(context, quiet, verbose)
    from pipechat.store import moves
    from pipechat.store.faults import missing

    if not store.exists(name):
        raise missing(name, store.path(name))
    if not yes and not _agreed(env, name):
        env.warn(f"session {name!r} was left alone")
        return 0
    done = moves.delete(store, name)
    also = f"; {done.torn_path} stays" if done.torn_path else ""
    if done.in_flight:
        also += f"; {counted(done.in_flight, 'turn')} in flight will begin it anew"
    env.warn(f"deleted session {name!r}{also}")
    return 0


def _agreed(env: Environment, name: str) -> bool:
    if not (env.stdin.is_terminal and env.stdout.is_terminal):
        raise UsageError("not_confirmed", f"session {name!r} was not deleted", "Say --yes.")
    answer = env.stdin.ask_line(f"Delete session {name!r} for good? [y/N] ")
    if answer is None:  # Ctrl-D leaves the cursor behind the prompt
        env.stdout.write(b"\n")
    return (answer or "").strip().lower() in ("y", "yes")


def rename(
    context: typer.Context,
    old: ASession,
    new: NewName,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Give a session another name. Refused while a turn of it is in flight."""
    env, store = opened(context, quiet, verbose)
    from pipechat.store import moves

    moves.rename(store, old, new)
    env.warn(f"renamed session {old!r} to {new!r}")
    return 0


def fork(
    context: typer.Context,
    name: ASession,
    new: NewName,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="The last turn to copy: its number from 1, its id, or the beginning of its id.",
            metavar="TURN",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Copy a session's turns into a new one, all or up to a turn."""
    env, store = opened(context, quiet, verbose)
    from pipechat.store import moves

    copied = moves.fork(store, name, new, at)
    env.warn(f"forked session {name!r} to {new!r}: {counted(copied, 'turn')}")
    return 0


def _for_each(
    env: Environment,
    store: SessionStore,
    name: str | None,
    dry_run: bool,
    one: Callable[[str], _Told],
    untouched_are: str,
) -> int:
    """Do `one` to a session or to all, and tell what it did; one that fails is told, and the
    others are seen to all the same. Of all, those that needed nothing are counted in a line."""
    if name is not None:
        _tell(env, one(name).line, dry_run)
        return 0
    status, untouched = 0, 0
    for session in store.names():
        try:
            told = one(session)
        except SessionError as error:
            report(env, error)
            status = int(ExitCode.SESSION)
            continue
        if told.changed:
            _tell(env, told.line, dry_run)
        untouched += not told.changed
    if untouched:
        _tell(env, f"{untouched_are}: {counted(untouched, 'session')}", dry_run)
    return status


def _tell(env: Environment, line: str, dry_run: bool) -> None:
    if not dry_run:
        env.warn(line)
        return
    with open_page(env) as page:
        page.write(line.encode() + b"\n")
