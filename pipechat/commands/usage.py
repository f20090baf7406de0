"""`pipechat usage`: what was asked, in tokens and in money."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat.commands.history_output import Quiet, Verbose, open_page, opened
from pipechat.errors import UsageError
from pipechat.settings.config import find_folders, read_config
from pipechat.text import not_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pipechat.environment import Environment
    from pipechat.ledger.months import Period
    from pipechat.ledger.spending import By
    from pipechat.settings.resolve import Settings
    from pipechat.store.sessions import SessionStore

_FORMATS = {
    "text": "text",
    "json": "json",
    "ndjson": "ndjson",
    "stream-json": "ndjson",
    "csv": "csv",
}

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Sessions, and files of turns (paths with a /); the ledger unless given.",
        metavar="[NAME|FILE]…",
        show_default=False,
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        help="What a row is of; several, with commas between or one --by each, are of each "
        "combination [model].",
        metavar="day|month|model|session|batch|endpoint",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        help="From then on: an age (90d; s, m, h, d, w), a local day (or today, yesterday) or"
        " month, or a time.",
        metavar="AGE|DATE",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until", help="To the end of that day or month, or to that time.", metavar="AGE|DATE"
    ),
]
AllSessions = Annotated[
    bool,
    typer.Option(
        "--sessions", help="From all sessions, not the ledger: for what is older than that."
    ),
]
Budgets = Annotated[
    bool,
    typer.Option(
        "--budget", help="How each budget stands instead; those of sessions for the NAMEs given."
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", help="With the prices and budgets of [profiles.NAME].", metavar="NAME"
    ),
]
Plot = Annotated[bool, typer.Option("--plot", help="With a bar for each row.")]
Format = Annotated[
    str,
    typer.Option(
        "--output-format",
        help="json: one object, with the total; ndjson: an object a row, the total last; csv: with "
        "a heading [text].",
        metavar="text|json|ndjson|csv",
        show_default=False,
    ),
]


def usage(
    context: typer.Context,
    sources: Sources = None,
    by: Groups = None,
    since: Since = None,
    until: Until = None,
    sessions: AllSessions = False,
    plot: Plot = False,
    budget: Budgets = False,
    profile: Profile = None,
    output_format: Format = "text",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Tell what was used, and what it cost, by model, day, month, session, batch or endpoint.

    Tokens are as the servers counted them; completions hold those of thinking, prompts the cached
    ones. Costs are in USD, by the model, endpoint and service tier that answered; what has no
    price is `unpriced`, never 0. ≤ marks a cost of which a part is an upper bound, since no usage
    came. Aligned on a terminal, with the total; elsewhere separated by tabs, without either.
    """
    env, store = opened(context, quiet, verbose)
    wanted = _checked(output_format, plot)
    if budget:
        _refuse_beside(by=by, since=since, until=until, sessions=sessions, plot=plot)
        from pipechat.commands.usage_budgets import tell_budgets

        return tell_budgets(env, store, _settings(env, profile), sources or [], wanted)
    named = _named(store, sources or [], sessions)
    groups = read_groups(by or ["model"])
    period = _period(since, until)
    from pipechat.commands.usage_output import Report
    from pipechat.commands.usage_sources import Reading
    from pipechat.ledger.spending import Spending

    spending = Spending(groups, _prices(env, profile, of_ledger=named is None), period)
    status = Reading(env, store, spending).of(named, period)
    with open_page(env) as page:
        Report(env, groups, spending).write(page, wanted, plot=plot)
    return status


def read_groups(given: list[str]) -> list[By]:
    """The groups of --by, each once.

    Raises:
        UsageError: `bad_option`.
    """
    from pipechat.ledger.spending import GROUPS

    found: dict[By, None] = {}
    for word in (word.strip() for each in given for word in each.split(",")):
        group = next((group for group in GROUPS if group == word), None)
        if group is None:
            raise UsageError("bad_option", f"--by: {not_one_of(word, GROUPS)}")
        found[group] = None
    return list(found)


def _named(store: SessionStore, sources: list[str], sessions: bool) -> list[str] | None:
    """The sessions and files that are asked for; None: the ledger."""
    if sessions and sources:
        message = "--sessions is all sessions, and others are named"
        raise UsageError("bad_option", message, "Leave one of them out.")
    if sessions:
        return list(store.names())
    return list(dict.fromkeys(sources)) or None


def _checked(output_format: str, plot: bool) -> str:
    if output_format not in _FORMATS:
        raise UsageError("bad_option", f"--output-format: {not_one_of(output_format, _FORMATS)}")
    if plot and output_format != "text":
        message = f"--plot draws, and --output-format {output_format} is for programs"
        raise UsageError("bad_option", message, "Leave one of them out.")
    return _FORMATS[output_format]


def _period(since: str | None, until: str | None) -> Period:
    from pipechat.commands.moments import moment
    from pipechat.ledger.months import Period

    now = datetime.now(UTC)
    first = None if since is None else moment("--since", since, now)
    end = None if until is None else moment("--until", until, now, closing=True)
    if first is not None and end is not None and first >= end:
        raise UsageError("bad_option", f"--since {since} is not before --until {until}")
    return Period(first, end)


def _prices(env: Environment, profile: str | None, *, of_ledger: bool) -> Mapping[str, Any]:
    """Your own prices. Of a ledger that is off it is told that what was asked is not in it."""
    settings = _settings(env, profile)
    if of_ledger and not settings.ledger:
        env.warn(f"{settings.origins['ledger']} turns the ledger off: nothing comes to it")
    return settings.prices


def _settings(env: Environment, profile: str | None) -> Settings:
    """Those of config.toml, the environment and a profile."""
    from pipechat.settings.resolve import resolve_settings

    path = find_folders(env.environ).config_file
    return resolve_settings({"profile": profile}, env.environ, read_config(path), path)


def _refuse_beside(**others: object) -> None:
    """Raises UsageError where one of `others` is given beside --budget."""
    for other, given in others.items():
        if given:
            message = f"--budget tells how budgets stand, and --{other} is of what was used"
            raise UsageError("bad_option", message, "Leave one of them out.")
