"""When a request is sent again, and after how long. Pure."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC

from pipechat.errors import TryLaterError

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0


def backoff_s(attempt: int, jitter: float) -> float:
    """Seconds before attempt number `attempt` (1 is the first retry): exponential, and spread
    by `jitter` (0 to 1) over 75 % to 125 %, so that many clients do not come back at once."""
    doublings = min(attempt - 1, 10)  # far past the longest wait: 2.0 ** 1024 is an error
    wait: float = min(FIRST_WAIT_S * 2**doublings, LONGEST_WAIT_S)
    return wait * (0.75 + jitter / 2)


class RetryPolicy:
    """Counts the tries of one request, and says how long to wait before the next.

    Args:
        retries: how many tries there are after the first.
        jitter: gives numbers from 0 to 1.
    """

    def __init__(self, retries: int, jitter: Callable[[], float] = random.random) -> None:
        self._retries = retries
        self._jitter = jitter
        self.attempt = 0

    def wait_s(self, error: TryLaterError) -> float | None:
        """Seconds until the next try; None where there is none for `error`."""
        if not error.again or self.attempt >= self._retries:
            return None
        self.attempt += 1
        return wait_s(self.attempt, error.retry_after_s, self._jitter())


def wait_s(attempt: int, retry_after_s: float | None, jitter: float) -> float:
    """Seconds to wait: what the server asked for, else our own backoff."""
    if retry_after_s:
        return round(retry_after_s, 3)
    return round(backoff_s(attempt, jitter), 3)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """What `retry-after-ms` or `Retry-After` asks for, in seconds (RFC 9110 §10.2.3: a number
    or an HTTP date); None where nothing sensible is asked.

    Args:
        headers: the response's headers, names looked up in lower case.
        now: the time of day, seconds since the epoch.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    from email.utils import parsedate_to_datetime  # costs 20 ms, and comes up once in a while

    try:
        date = parsedate_to_datetime(value)
        # A date without a zone is in GMT (RFC 9110 §5.6.7), not in the zone of this machine.
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError, TypeError):  # a year that no clock knows
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
