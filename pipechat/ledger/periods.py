"""The days and months of budgets, by the local clock. Pure: the time is handed in."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Period(NamedTuple):
    """What is of it has a time (RFC 3339 in UTC, milliseconds) of `since` or later. `renews`: when
    the next one begins, local; None: never."""

    since: str
    renews: datetime | None


def period_at(kind: str, now: datetime) -> Period:
    """The `day` or the `month` of a local time; of `session` the one that has no end."""
    if kind == "session":
        return Period("", None)
    first = datetime(now.year, now.month, now.day if kind == "day" else 1)
    later = first + timedelta(days=1 if kind == "day" else 31)
    if kind == "month":
        later = later.replace(day=1)
    return Period(stamp(first), later.astimezone())


def stamp(time: datetime) -> str:
    """A time as the ledger writes it; without a zone it is local."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
