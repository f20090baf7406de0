"""The days and months of budgets, by the local clock. Pure: the time is handed in."""

from datetime import UTC, date, datetime, timedelta
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
    first = date(now.year, now.month, now.day if kind == "day" else 1)
    later = first + timedelta(days=1 if kind == "day" else 31)
    if kind == "month":
        later = later.replace(day=1)
    return Period(stamp(midnight(first)), midnight(later))


def midnight(day: date) -> datetime:
    """When a day begins here. Where the clock is put on at midnight there is no 00:00, and where
    it is put back there may be two of it: that is when the date is first that of the day."""
    found = datetime(day.year, day.month, day.day)
    begins = [found.replace(fold=fold).astimezone() for fold in (0, 1)]
    return min((each for each in begins if each.date() >= day), default=begins[0])


def stamp(time: datetime) -> str:
    """A time as the ledger writes it; without a zone it is local."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
