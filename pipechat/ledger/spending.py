"""What was spent, summed up by groups: a line at a time, so that it takes memory by the groups and
not by the lines.

Sums are kept apart by the rates that hold, which are looked up once for each model, endpoint, tier
and day; what they cost is reckoned at the end. Pure, but for the list of prices.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from pipechat.ledger.months import Period
from pipechat.ledger.periods import stamp
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
# The model that answered, the one that was asked, endpoint, tier, and the day or the minute.
_Place = tuple[str, Any, str | None, Any, str]
# Of these: the number of the rates, the longest prompt that they hold for, and what else may hold.
_Known = tuple[int, int, Prices | None]
_NOWHERE: _Place = ("", None, None, None, "")
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
        self._slots: dict[_Place, _Known] = {_NOWHERE: (_FREE, _NEVER, None)}
        self._rates: dict[Rates | None, int] = {}
        self._at_most: dict[int, int] = {}
        self._days: dict[str, str] = {}
        self.unpriced: dict[tuple[str, str | None, str | None], None] = {}
        """Models without a price, some of them, each with its endpoint and tier."""

    def add(self, line: Mapping[str, Any], *, requests: int = 1, settled: bool = True) -> bool:
        """Count a line, which stands for so many `requests`; False where it is none of a ledger.
        `settled`: a line without usage used nothing; else nobody knows what it used."""
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
            place = (model, line.get("asked"), host, line.get("tier"), at[:_DAY])
            known = self._slots.get(place if used is not _NOTHING else _NOWHERE)
            is_known = known is not None and used[0] + used[1] + used[2] <= known[1]
            slot = known[0] if known and is_known else self._slot(place, at, used.prompt)
            if bound is not None:
                slot = self._slot_at_most(slot)
            when = self._local(at) if self._when else ""
            key = (slot, when, *map(line.get, self._fields))
            cell = self._cells.get(key) or self._new_cell(key)
        except (TypeError, ValueError):  # a list for a name, or a time that is none
            return False
        cell[_REQUESTS] += requests
        if tokens is None:
            cell[_BOUND] += bound is not None
            cell[_UNKNOWN] += bound is None and not settled
        plain, cached, written, answer, reasoning, sound = used  # a loop takes twice as long
        cell[_TOKENS] += plain
        cell[_TOKENS + 1] += cached
        cell[_TOKENS + 2] += written
        cell[_TOKENS + 3] += answer
        cell[_TOKENS + 4] += reasoning
        cell[_TOKENS + 5] += sound
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

    def _new_cell(self, key: tuple[Any, ...]) -> list[int]:
        return self._cells.setdefault(key, [0] * (_TOKENS + len(Tokens._fields)))

    def _slot(self, day: _Place, at: str, prompt: int) -> int:
        """The number of the rates that hold for a request, looked up where they are not known."""
        slot, most, prices = self._slots.get(day) or self._looked_up(day, at)
        if prices is not None and prices.by_time:
            minute = (*day[:-1], at[:_MINUTE])
            slot, most, prices = self._slots.get(minute) or self._looked_up(minute, at)
        if prices is not None and prices.beyond and prompt > most:
            return self._numbered(prices.rates_of(prompt))
        return slot

    def _looked_up(self, place: _Place, at: str) -> _Known:
        model, asked, host, tier, when = place
        if type(tier) not in _TEXT or type(asked) not in _TEXT:
            raise TypeError
        prices = prices_of(model, host, tier, self._own, at)
        if prices is None and asked is not None:  # a server's own name for what was asked
            prices = prices_of(asked, host, tier, self._own, at)
        if prices is None and len(self.unpriced) < _MOST_NAMED:
            self.unpriced[model, host, tier] = None
        most = min((most for most, _ in prices.beyond), default=_NEVER) if prices else _NEVER
        if prices is not None and prices.by_time and len(when) == _DAY:
            most = -1  # each is looked at again, by its minute
        if len(self._slots) >= _MOST_KNOWN:
            self._slots = {_NOWHERE: self._slots[_NOWHERE]}
        self._slots[place] = (self._numbered(prices.rates if prices else None), most, prices)
        return self._slots[place]

    def _numbered(self, rates: Rates | None) -> int:
        return self._rates.setdefault(rates, len(self._rates))

    def _slot_at_most(self, slot: int) -> int:
        """That of the rates of a bound, whose tokens may be of the dearest kind."""
        if slot not in self._at_most:
            rates = list(self._rates)[slot]
            self._at_most[slot] = self._numbered(rates.at_most() if rates else None)
        return self._at_most[slot]

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
        return stamp(datetime.fromisoformat(at))
    except (ValueError, OverflowError):
        return at


def _bound(line: Mapping[str, Any]) -> Tokens | None:
    """What a request that no usage came of took at most."""
    bound = line.get("bound")
    if not isinstance(bound, list) or len(bound) != 2:
        return None
    return tokens_of({"prompt_tokens": bound[0], "completion_tokens": bound[1]})
