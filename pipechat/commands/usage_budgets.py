"""`pipechat usage --budget`: how each budget stands."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from pipechat import jsonl
from pipechat.commands.budgets import open_budget_book
from pipechat.commands.history_output import Page, look_of, open_page
from pipechat.environment import Environment
from pipechat.ledger.amounts import NANO, shown
from pipechat.settings.resolve import Settings
from pipechat.show.aligned import aligned
from pipechat.text import counted

if TYPE_CHECKING:
    from pipechat.ledger.budgets import Standing
    from pipechat.store.sessions import SessionStore

_COLUMNS = ("budget", "session", "amount", "spent", "reserved", "left", "renews", "unpriced")
_SHOWN = ("budget", "session", "renews", "spent", "reserved", "left")
_NAMES = 3
_SPARE = (4, 2, 1)


def tell_budgets(
    env: Environment,
    store: SessionStore,
    settings: Settings,
    sessions: Sequence[str],
    output_format: str,
) -> int:
    """Write how the budgets of `settings` stand, those of a session for each of `sessions`.

    Raises:
        UsageError: `bad_session_name`.
        SetupError: `no_ledger`.
        SessionError: the ledger cannot be read, or is in use for too long.
    """
    for name in sessions:
        store.path(name)  # a bad name is told before anything is written
    if not settings.budget:
        env.warn('there is no budget; `budget = ["5usd/day"]` in config.toml sets one')
    found = list(_standings(env, settings, sessions)) if settings.budget else []
    if not sessions and any(each.period == "session" for each in settings.budget):
        env.warn("budgets of a session are told of the sessions that are named")
    with open_page(env) as page:
        if output_format in ("json", "ndjson"):
            records = [jsonl.dumps(_record(session, each)) for session, each in found]
            page.records(records, output_format)
        elif output_format == "text" and env.stdout.is_terminal:
            _table(env, page, found)
        else:
            _lines(page, found, output_format)
    for _, each in found:
        if each.unpriced:
            of = counted(each.unpriced, "request")
            env.warn(f"{each.budget.said} does not count {of} without a price")
    return 0


def _standings(
    env: Environment, settings: Settings, sessions: Sequence[str]
) -> Iterator[tuple[str | None, Standing]]:
    """Each budget, with the session that it is of."""
    book = open_budget_book(env, settings)
    for standing in book.standings():
        yield None, standing
    for name in dict.fromkeys(sessions):
        for standing in book.standings(name):
            if standing.budget.period == "session":
                yield name, standing


def _record(session: str | None, standing: Standing) -> dict[str, Any]:
    budget = standing.budget
    amounts = (budget.amount, standing.spent, standing.reserved, standing.left)
    renews = standing.renews.isoformat() if standing.renews else None
    values = (budget.said, session, *(_figure(each, budget.unit) for each in amounts), renews)
    return {"unit": budget.unit, **dict(zip(_COLUMNS, (*values, standing.unpriced), strict=True))}


def _figure(amount: int, unit: str) -> int | float:
    return amount if unit == "tok" else amount / NANO


def _lines(page: Page, found: Sequence[tuple[str | None, Standing]], output_format: str) -> None:
    is_csv = output_format == "csv"
    text = StringIO()
    writer = csv.writer(text, delimiter="," if is_csv else "\t", lineterminator="\n")
    if is_csv:
        writer.writerow(_COLUMNS)
    for session, standing in found:
        record = _record(session, standing)
        nothing = "" if is_csv else "-"
        cells = [record[name] for name in _COLUMNS]
        writer.writerow([nothing if cell is None else _plain(cell) for cell in cells])
    page.write(text.getvalue().encode())


def _plain(cell: Any) -> str:
    """A figure without an exponent."""
    return f"{cell:.9f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell)


def _table(env: Environment, page: Page, found: Sequence[tuple[str | None, Standing]]) -> None:
    if not found:
        return
    rows: list[Sequence[str]] = [_SHOWN]
    for session, standing in found:
        unit = standing.budget.unit
        renews = f"{standing.renews:%Y-%m-%d %H:%M}" if standing.renews else "never"
        amounts = (standing.spent, standing.reserved, standing.left)
        cells = (shown(each, unit) for each in amounts)
        rows.append((standing.budget.said, session or "-", renews, *cells))
    heading, *lines = aligned(rows, _NAMES, env.stdout.columns(), _SPARE)
    for line in (look_of(env).dim(heading), *lines):
        page.write(f"{line}\n".encode())
