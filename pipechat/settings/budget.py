"""--budget: how much may be spent in a day, in a month or in a session. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

NANO = 1_000_000_000
_FORM = r"([0-9]{1,12})(?:\.([0-9]{1,9}))?(usd|tok)/(day|month|session)"
_LIKE = "5usd/day, 200000tok/month or 20usd/session"


class Budget(NamedTuple):
    """`amount`: in tokens, or in billionths of a dollar. `said`: as it was given."""

    amount: int
    unit: str
    period: str
    said: str


def read_budgets(texts: Sequence[str]) -> tuple[Budget, ...]:
    """Budgets, each AMOUNT/PERIOD; `none` takes back those before it. Raises ValueError."""
    last = max((place for place, text in enumerate(texts, 1) if text == "none"), default=0)
    return tuple(map(_read, texts[last:]))


def _read(said: str) -> Budget:
    found = re.fullmatch(_FORM, said.strip().lower())
    if not found:
        raise ValueError(f"{said[:60]!r} is no budget such as {_LIKE}")
    whole, part, unit, period = found.groups()
    if unit == "tok" and part:
        raise ValueError(f"{said[:60]!r}: tokens are whole")
    amount = int(whole) * NANO + int((part or "").ljust(9, "0")) if unit == "usd" else int(whole)
    if not amount:
        raise ValueError(f"{said[:60]!r} lets nothing be sent")
    return Budget(amount, unit, period, found[0])
