"""What the headers of a response say of the end of what was asked. Pure.

RFC 9745: `Deprecation: @1688169599`; drafts before it: `true`, or a date as HTTP has it.
RFC 8594: `Sunset: Sat, 31 Dec 2018 23:59:59 GMT`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipechat.wire.model_list import read_day

_HEADERS = ("deprecation", "sunset")
_HTTP_DATE = re.compile(r"\w{3}, (\d{2}) (\w{3}) (\d{4}) ")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO = ("", "false", "0", "?0", "null", "none")


def told_end(headers: Mapping[str, str]) -> str | None:
    """What they say, to stand behind who says it: `is deprecated, and gone after 2018-12-31`;
    None where they say nothing of it."""
    deprecation, sunset = (headers.get(name, "").strip() for name in _HEADERS)
    end = _day(sunset)
    if deprecation.lower() in _NO:
        return f"is gone after {end}" if end else None
    since = _day(deprecation)
    # The day may be one to come (RFC 9745 §2.1).
    said = f"is deprecated{f' from {since} on' if since else ''}"
    return f"{said}, and gone after {end}" if end else said


def _day(value: str) -> str | None:
    found = _HTTP_DATE.match(value)
    if found and found[2] in _MONTHS:
        return f"{found[3]}-{_MONTHS.index(found[2]) + 1:02}-{found[1]}"
    return read_day(value.removeprefix("@"))
