"""Times as they are typed: an age, a day, a month, or a time to the second.

What has no offset is local: a person means the days of the place where they are.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from pipechat.errors import UsageError
from pipechat.ledger.periods import midnight, stamp

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAYS_AGO = {"today": 0, "yesterday": 1}
_MONTH = re.compile(r"\d{4}-\d{2}")
_DAY = re.compile(r"\d{4}-?(?:\d{2}-?\d{2}|W\d{2}-?\d)")


def age_of(text: str) -> timedelta | None:
    """An age such as `90d` (s, m, h, d, w); None where it is none.

    Raises:
        OverflowError: no clock goes that far back.
    """
    amount, unit = text[:-1], text[-1:]
    if unit in _UNITS_S and amount.isascii() and amount.isdigit():
        return timedelta(seconds=int(amount) * _UNITS_S[unit])
    return None


def moment(option: str, text: str, now: datetime, *, closing: bool = False) -> str:
    """The time that is meant, RFC 3339 in UTC to the millisecond: of a day or a month its
    beginning, and for an option that closes a period its end.

    Raises:
        UsageError: `bad_option`.
    """
    try:
        age = age_of(text)
        found = now - age if age is not None else _local(_day_named(text, now), closing)
        return stamp(found)
    except (ValueError, OverflowError) as error:
        message = f"{option} {text}: neither an age nor a date"
        hint = "Use 90d (s, m, h, d, w), today, yesterday, 2026-01-31 or 2026-01."
        raise UsageError("bad_option", message, hint) from error


def _day_named(text: str, now: datetime) -> str:
    if text not in _DAYS_AGO:
        return text
    return (now.astimezone().date() - timedelta(days=_DAYS_AGO[text])).isoformat()


def _local(text: str, closing: bool) -> datetime:
    if _MONTH.fullmatch(text):
        first = date.fromisoformat(f"{text}-01")
        return midnight((first + timedelta(days=31)).replace(day=1) if closing else first)
    if _DAY.fullmatch(text):
        day = date.fromisoformat(text)
        return midnight(day + timedelta(days=1) if closing else day)
    return datetime.fromisoformat(text)
