"""How long a retry waits: bounded, spread out, and as the server asked."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.client.retries import FIRST_WAIT_S, LONGEST_WAIT_S, backoff_s, retry_after_s, wait_s
from tests.properties import MODEST

NOW = 1_800_000_000.0


@MODEST
@given(st.integers(1, 100_000), st.floats(0, 1))
def test_the_backoff_stays_within_its_bounds_however_often_it_failed(
    attempt: int, jitter: float
) -> None:
    wait = backoff_s(attempt, jitter)
    assert 0.75 * FIRST_WAIT_S <= wait <= 1.25 * LONGEST_WAIT_S
    assert wait <= backoff_s(attempt + 1, jitter)


def test_the_backoff_doubles() -> None:
    assert [backoff_s(attempt, 0.5) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 8, 8]


def test_the_server_decides_the_wait_unless_it_asks_for_none() -> None:
    assert wait_s(1, 17.12345, 0.5) == 17.123
    assert wait_s(5, 0.25, 0.5) == 0.25
    for nothing in (None, 0.0):
        assert 0.375 <= wait_s(1, nothing, 0.9) <= 0.625


def at(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "-1", "retry-after": "7"}, 7.0),
        ({"retry-after": at(30)}, 30.0),
        ({"retry-after": at(-30)}, 0.0),
        ({"retry-after": at(30).replace("GMT", "-0000")}, 30.0),
        ({"retry-after": at(30).replace(" GMT", "")}, 30.0),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "Mon, 99 Nov 2026 10:00:00 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 99999 10:00:00 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:00 +999999"}, None),
    ],
)
def test_retry_after_is_read_in_every_form_or_ignored(
    headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        found = retry_after_s(headers, NOW)
    time.tzset()
    assert found == seconds


@MODEST
@given(
    st.text(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [JND][a-z]{2} \d{1,6} \d\d?:\d\d:\d\d [-+]?\d{0,9}")
)
def test_no_header_crashes_the_wait(value: str) -> None:
    seconds = retry_after_s({"retry-after": value}, NOW)
    assert seconds is None or 0 <= seconds < float("inf")
