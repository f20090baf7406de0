"""What was spent, summed up by groups: a line at a time, so that it takes memory by the groups and
not by the lines.

Sums are kept apart by the rates that hold, which are looked up once for each model, endpoint, tier
and day; what they cost is reckoned at the end. Pure, but for the list of prices.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from pipechat.ledger.months import Period
from pipechat.ledger.prices import OwnPrices, prices_of
from pipechat.ledger.rates import Prices, Rates
from pipechat.ledger.tokens import Tokens, tokens_of

By = Literal["day", "month", "model", "session", "batch", "endpoint"]
GROUPS: tuple[By, ...] = get_args(By)

_FIELDS = {"model": "model", "session": "session", "batch": "batch", "endpoint": "host"}
_DAY, _MONTH, _MINUTE = len("2026-11-23"), len("2026-11"), len("2026-11-23T09:15")
# Beyond so many what was looked up is looked up again: lines come in the order of their times.
_MOST_KNOWN = 4096
_NEVER = 1 << 62
_NOTHING = Tokens(0, 0, 0, 0, 0)
# In the place of a slot: of requests that used nothing, or nobody knows what.
_FREE = -1
_MOST_NAMED = 100
_TEXT = (str, type(None))
# The places of a cell: requests, those settled by a bound, those of which nothing is known, and
# behind them the tokens by kind.
_REQUESTS, _BOUND, _UNKNOWN, _TOKENS = 0, 1, 2, 3


class Row(NamedTuple):
    """What a group used. `group`: its values in the order that was asked for, None where a
    request has none. `cost` in USD, of the requests that have a price; None: none has. `unpriced`:
    how many have none; `bound`: of how many only an upper bound is known; `unknown`: of how many
    nothing is."""

    group: tuple[str | None, ...]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost: Decimal | None
    unpriced: int
    bound: int
    unknown: int


class Spending:
    """Sums of lines of the ledger, by the groups of `by`."""

    def __init__(self, by: Sequence[By], own_prices: OwnPrices, period: Period) -> None:
        self._by = by
        self._own = own_prices
        self._period = period
        self._is_bounded = period != Period()
        self._fields = [_FIELDS[each] for each in by if each in _FIELDS]
        self._when = _DAY if "day" in by else _MONTH if "month" in by else 0
        self._cells: dict[tuple[Any, ...], list[int]] = {}
        self._slots: dict[tuple[Any, ...], tuple[int, int, Prices | None]] = {}
        self._rates: dict[Rates | None, int] = {}
        self._days: dict[str, str] = {}
        self.unpriced: dict[tuple[str, str | None, str | None], None] = {}
        """Models without a price, some of them, each with its endpoint and tier."""

    def add(self, line: Mapping[str, Any], *, requests: int = 1, settled: bool = True) -> bool:
        """Count a line; False where it is none of a ledger.

        Args:
            requests: how many it stands for.
            settled: a line without usage used nothing; else nobody knows what it used.
        """
        at, model, host = line.get("at"), line.get("model"), line.get("host")
        if type(at) is not str or type(model) is not str or type(host) not in _TEXT:
            return False
        at = at if at[-1:] == "Z" else _in_utc(at)
        if self._is_bounded and not self._period.holds(at):
            return True
        usage = line.get("usage")
        tokens = tokens_of(usage) if type(usage) is dict else None
        bound = _bound(line) if tokens is None else None
        used = tokens or bound or _NOTHING
        try:
            slot = _FREE
            if used is not _NOTHING:
                slot = self._slot(model, host, line.get("tier"), at, used)
            when = self._local(at) if self._when else ""
            cell = self._cell((slot, when, *[line.get(each) for each in self._fields]))
        except (TypeError, ValueError):  # a list for a name, or a time that is none
            return False
        cell[_REQUESTS] += requests
        if tokens is None:
            cell[_BOUND] += bound is not None
            cell[_UNKNOWN] += bound is None and not settled
        for place, count in enumerate(used, _TOKENS):
            if count:
                cell[place] += count
        return True

    def rows(self) -> list[Row]:
        """A row for each group, sorted by what they are called; those without a name first."""
        groups: dict[tuple[str | None, ...], list[tuple[int, list[int]]]] = {}
        for key, cell in self._cells.items():
            groups.setdefault(self._group(key), []).append((key[0], cell))
        ordered = sorted(
            groups, key=lambda group: [(each is not None, each or "") for each in group]
        )
        return [self._row(group, groups[group]) for group in ordered]

    def total(self) -> Row:
        """All of it."""
        return self._row((), [(key[0], cell) for key, cell in self._cells.items()])

    def _group(self, key: tuple[Any, ...]) -> tuple[str | None, ...]:
        _, when, *named = key
        names = iter(named)
        found = [
            when[:_DAY] if each == "day" else when[:_MONTH] if each == "month" else next(names)
            for each in self._by
        ]
        return tuple(None if each is None else str(each) for each in found)

    def _row(self, group: tuple[str | None, ...], cells: list[tuple[int, list[int]]]) -> Row:
        rates = list(self._rates)
        costs: list[Decimal] = []
        unpriced = 0
        sums = [0] * (_TOKENS + len(Tokens._fields))
        for slot, cell in cells:
            sums = [one + other for one, other in zip(sums, cell, strict=True)]
            if slot == _FREE:
                continue
            each = rates[slot]
            cost = each.cost(Tokens(*cell[_TOKENS:]), cell[_REQUESTS]) if each else None
            if cost is None:
                unpriced += cell[_REQUESTS]
            else:
                costs.append(cost)
        tokens = Tokens(*sums[_TOKENS:])
        has_cost = costs or not (unpriced or sums[_UNKNOWN])
        cost = sum(costs, Decimal(0)) if has_cost else None
        return Row(
            group, sums[_REQUESTS], tokens.prompt, tokens.completion, tokens.cached,
            tokens.reasoning, cost, unpriced, sums[_BOUND], sums[_UNKNOWN],
        )  # fmt: skip

    def _cell(self, key: tuple[Any, ...]) -> list[int]:
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = [0] * (_TOKENS + len(Tokens._fields))
        return cell

    def _slot(self, model: str, host: str | None, tier: Any, at: str, used: Tokens) -> int:
        """The number of the rates that hold for a request."""
        known = self._slots.get((model, host, tier, at[:_DAY]))
        if known is None:
            known = self._looked_up(model, host, tier, at, _DAY)
        slot, most, prices = known
        if prices is not None and prices.by_time:
            place = (model, host, tier, at[:_MINUTE])
            slot, most, prices = self._slots.get(place) or self._looked_up(*place[:3], at, _MINUTE)
        if prices is not None and used.prompt > most:
            return self._numbered(prices.rates_of(used.prompt))
        return slot

    def _looked_up(
        self, model: str, host: str | None, tier: Any, at: str, precision: int
    ) -> tuple[int, int, Prices | None]:
        if type(tier) not in _TEXT:
            raise TypeError
        prices = prices_of(model, host, tier, self._own, at)
        if prices is None and len(self.unpriced) < _MOST_NAMED:
            self.unpriced[model, host, tier] = None
        most = min((most for most, _ in prices.beyond), default=_NEVER) if prices else _NEVER
        found = (self._numbered(prices.rates if prices else None), most, prices)
        if len(self._slots) >= _MOST_KNOWN:
            self._slots.clear()
        self._slots[model, host, tier, at[:precision]] = found
        return found

    def _numbered(self, rates: Rates | None) -> int:
        return self._rates.setdefault(rates, len(self._rates))

    def _local(self, at: str) -> str:
        """The day or the month of this place."""
        minute = at[:_MINUTE]
        day = self._days.get(minute)
        if day is None:
            local = datetime.fromisoformat(at).astimezone()
            if len(self._days) >= _MOST_KNOWN:
                self._days.clear()
            day = self._days[minute] = local.date().isoformat()[: self._when]
        return day


def _in_utc(at: str) -> str:
    """The time as the ledger has it; one that is none stays as it is."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return at


def _bound(line: Mapping[str, Any]) -> Tokens | None:
    """What a request that no usage came of took at most."""
    bound = line.get("bound")
    if not isinstance(bound, list) or len(bound) != 2:
        return None
    return tokens_of({"prompt_tokens": bound[0], "completion_tokens": bound[1]})
