"""How `usage` is written: as a table, as bars, as JSON and CSV; and what is not known of it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from typing import Any

from pipechat import jsonl
from pipechat.commands.history_output import Page, look_of
from pipechat.environment import Environment
from pipechat.errors import missing_extra
from pipechat.ledger.prices import list_is_missing
from pipechat.ledger.spending import By, Row, Spending
from pipechat.show.aligned import aligned, bar
from pipechat.text import counted, visible_json, visible_line

_COLUMNS = (
    "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens",
    "cost_usd", "unpriced", "bound", "no_usage",
)  # fmt: skip
_HEADINGS = ("requests", "prompt", "cached", "completion", "reasoning", "cost (USD)")
_SPARE = (4, 2, 3, 1)  # of the figures, those that a narrow terminal is not told
_SMALLEST = Decimal("0.0001")
_NAMED = 3
_LEAST_BAR = 10


class Report:
    """What was spent, written to stdout, and what is not known of it told on stderr."""

    def __init__(self, env: Environment, by: list[By], spending: Spending) -> None:
        self._env = env
        self._by = by
        self._spending = spending
        self._rows = spending.rows()
        self._total = spending.total()
        self._has_no_list = bool(self._total.unpriced) and list_is_missing()

    def write(self, page: Page, output_format: str, *, plot: bool) -> None:
        """All of it."""
        if output_format in ("json", "ndjson"):
            self._json(page, output_format)
        elif output_format == "csv":
            self._csv(page)
        elif plot:
            self._bars(page)
        elif self._env.stdout.is_terminal:
            self._table(page)
        else:
            for row in self._rows:
                names = [self._name(each) for each in row.group]
                page.write(_encoded("\t".join([*names, *self._figures(row)])))
        page.flush()
        self._tell_unknown()

    def _json(self, page: Page, output_format: str) -> None:
        rows, total = [*map(self._record, self._rows)], self._record(self._total)
        if output_format == "json":
            objects = [{"by": self._by, "rows": rows, "total": total}]
        else:
            objects = [{"type": "row", **row} for row in rows] + [{"type": "total", **total}]
        for each in objects:
            record = jsonl.dumps(each).decode()
            shown = visible_json(record) if self._env.stdout.is_terminal else record
            page.write(_encoded(shown))

    def _record(self, row: Row) -> dict[str, Any]:
        cost = None if row.cost is None else float(row.cost)
        counts = (row.unpriced, row.bound, row.unknown)
        values = (*_tokens(row), cost, *counts)
        return {
            **dict(zip(self._by, row.group, strict=False)),
            **dict(zip(_COLUMNS, values, strict=True)),
            "cost_missing": self._why(row).replace(" ", "_") or None,
        }

    def _csv(self, page: Page) -> None:
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self._by, *_COLUMNS])
        for row in self._rows:
            names = [visible_line(each or "") for each in row.group]
            writer.writerow([*names, *self._figures(row)])
        page.write(_encoded(text.getvalue().rstrip("\n")))

    def _table(self, page: Page) -> None:
        if not self._rows:
            return
        names = len(self._by)
        rows = [[*self._by, *_HEADINGS]]
        for row in self._rows:
            rows.append([*map(self._name, row.group), *self._cells(row)])
        rows.append(["total", *[""] * (names - 1), *self._cells(self._total)])
        spare = [names + place for place in _SPARE]
        heading, *lines = aligned(rows, names, self._env.stdout.columns(), spare)
        look = look_of(self._env)
        for line in (look.dim(heading), *lines[:-1], look.bold(lines[-1])):
            page.write(_encoded(line))

    def _bars(self, page: Page) -> None:
        """A bar for each row: of its cost, or where no cost is known of its tokens."""
        if not self._rows:
            return
        is_money = bool(self._total.cost)
        figures = [float(row.cost or 0) if is_money else float(_both(row)) for row in self._rows]
        shown = [self._cost(row) if is_money else f"{_both(row):,}" for row in self._rows]
        heading = "cost (USD)" if is_money else "tokens"
        named = [[*map(self._name, row.group)] for row in self._rows]
        rows = [[*name, cell] for name, cell in zip(named, shown, strict=True)]
        columns = self._env.stdout.columns()
        first, *lines = aligned(
            [[*self._by, heading], *rows], len(self._by), columns - _LEAST_BAR - 2
        )
        room = columns - max(map(len, (first, *lines))) - 2
        largest = max(figures) or 1.0
        page.write(_encoded(look_of(self._env).dim(first)))
        for line, figure in zip(lines, figures, strict=True):
            drawn = bar(figure / largest, room, plain=self._is_plain())
            page.write(_encoded(f"{line}  {drawn}".rstrip()))

    def _is_plain(self) -> bool:
        return self._env.stdout.is_terminal and self._env.is_dumb

    def _name(self, name: str | None) -> str:
        return "-" if name is None else visible_line(name)

    def _cells(self, row: Row) -> Iterator[str]:
        for count in _tokens(row):
            yield f"{count:,}"
        yield self._cost(row)

    def _cost(self, row: Row) -> str:
        """The cost for a person: what is not known of it is said, or marked."""
        if row.cost is None:
            return self._why(row)
        small = 0 < row.cost < _SMALLEST
        cost = f"<{_SMALLEST}" if small else f"{row.cost:,.4f}" if row.cost else "0"
        missing = f" + {self._why(row)}" if self._why(row) else ""
        return f"{'≤' if row.bound else ''}{cost}{missing}"

    def _figures(self, row: Row) -> Iterator[str]:
        """The same for programs."""
        yield from map(str, _tokens(row))
        yield self._why(row).replace(" ", "_") if row.cost is None else f"{row.cost.normalize():f}"
        yield from map(str, (row.unpriced, row.bound, row.unknown))

    def _why(self, row: Row) -> str:
        """Why a cost, or a part of it, is not known; "" where it is."""
        if row.unpriced:
            return "no prices" if self._has_no_list else "unpriced"
        return "no usage" if row.unknown else ""

    def _tell_unknown(self) -> None:
        total, warn = self._total, self._env.warn
        if self._has_no_list:
            hint = missing_extra("genai-prices is not installed", "pipechat[prices]").hint
            warn(f"what {counted(total.unpriced, 'request')} cost is not known. {hint}")
        elif total.unpriced:
            named = [_called(*each) for each in self._spending.unpriced]
            some = ", ".join(named[:_NAMED]) + (", …" if len(named) > _NAMED else "")
            where = f" ({some})" if some else ""
            hint = '[prices."MODEL"] in config.toml says one'
            warn(f"no price is known of {counted(total.unpriced, 'request')}{where}; {hint}")
        if total.bound:
            of = counted(total.bound, "request")
            warn(f"no usage came of {of}: an upper bound is counted in its place")
        if total.unknown:
            warn(f"no usage came of {counted(total.unknown, 'request')}: what it cost is not known")


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape") + b"\n"  # a path has the bytes it came with


def _tokens(row: Row) -> tuple[int, ...]:
    return (
        row.requests, row.prompt_tokens, row.cached_tokens, row.completion_tokens,
        row.reasoning_tokens,
    )  # fmt: skip


def _both(row: Row) -> int:
    return row.prompt_tokens + row.completion_tokens


def _called(model: str, host: str | None, tier: str | None) -> str:
    where = f" at {host}" if host else ""
    return f"{model}{f' in tier {tier}' if tier else ''}{where}"
