"""Budgets as arithmetic: whatever reserves, settles, dies or tears, what is spent and held never
passes a budget by more than servers reported above the bounds; and when days and months begin."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pipechat.commands.moments import moment
from pipechat.errors import BudgetError, SessionError
from pipechat.events import Told
from pipechat.ledger.account import Sent, append
from pipechat.ledger.amounts import amount_of, shown
from pipechat.ledger.bounds import upper_bound
from pipechat.ledger.budgets import BudgetBook
from pipechat.ledger.periods import Period, period_at
from pipechat.ledger.prices import price_of
from pipechat.messages import new_turn_id, now
from pipechat.settings.budget import read_budgets

LIMIT = 1000
_HOLDS, _HELD = "pipechat.ledger.holds", ("write_all", "_sizes")
_ROOM = st.integers(0, 400)


def _line(turn: str, **more: Any) -> dict[str, Any]:
    return {"v": 1, "at": now(), "turn": turn, "host": "h", "api": "chat", "model": "m",
            "usage": None, "status": "complete", **more}  # fmt: skip


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}


def a_book(folder: str, *said: str) -> BudgetBook:
    return BudgetBook(folder, read_budgets(said), "--budget", lambda *_: None, "", lambda _: None)


class Process:
    """What a process is to the others: its book, and what its turns hold."""

    def __init__(self, folder: str) -> None:
        self.book = a_book(folder, f"{LIMIT}tok/day", f"{LIMIT}tok/month")
        self.held: dict[str, int] = {}


def die(process: Process) -> None:
    """The kernel closes what it had open."""
    if process.book._hold._fd >= 0:
        os.close(process.book._hold._fd)
        process.book._hold._fd = -1


class Budgets(RuleBasedStateMachine):
    """Processes of one user, each of which may die at any moment."""

    processes: Bundle[Process] = Bundle("processes")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="pipechat-budgets-")
        self.alive: list[Process] = []
        self.spent = 0
        self.above = 0  # what was told above its bound, or spent without a budget

    def teardown(self) -> None:
        for process in self.alive:
            die(process)
        shutil.rmtree(self.folder)

    @rule(target=processes)
    def start(self) -> Process:
        process = Process(self.folder)
        self.alive.append(process)
        return process

    @rule(process=processes, bound=_ROOM)
    def reserve(self, process: Process, bound: int) -> None:
        turn = new_turn_id()
        fits = self.spent + self._held() + bound <= LIMIT
        try:
            process.book.reserve(turn, lambda: [_line(turn, bound=[bound, 0], status="partial")])
        except BudgetError:
            assert not fits
        else:
            assert fits
            process.held[turn] = bound

    @rule(process=processes, reported=st.none() | _ROOM)
    def settle(self, process: Process, reported: int | None) -> None:
        if not process.held:
            return
        turn, bound = process.held.popitem()
        process.book.settle({turn: [self._settled(turn, bound, reported)]})

    @rule(process=consumes(processes))
    def kill(self, process: Process) -> None:
        self.spent += sum(process.held.values())
        die(process)
        self.alive.remove(process)

    @rule(process=consumes(processes), reported=_ROOM)
    def kill_before_it_lets_go(self, process: Process, reported: int) -> None:
        if process.held:
            turn, bound = process.held.popitem()
            append(self.folder, [self._settled(turn, bound, reported)])
        self.kill(process)

    @rule(tokens=_ROOM)
    def spend_without_a_budget(self, tokens: int) -> None:
        append(self.folder, [_line(new_turn_id(), usage=_usage(tokens))])
        self.spent += tokens
        self.above += tokens

    @rule(size=st.integers(-1, 60))
    def tear_a_count(self, size: int) -> None:
        for count in Path(self.folder).glob(".*.spent"):
            if size < 0:
                count.unlink()
            else:
                os.truncate(count, size)

    @invariant()
    def what_is_spent_and_held_is_what_was_and_never_too_much(self) -> None:
        onlooker = a_book(self.folder, f"{LIMIT}tok/day", f"{LIMIT}tok/month")
        for standing in onlooker.standings():
            assert (standing.spent, standing.reserved) == (self.spent, self._held())
        assert self.spent + self._held() <= LIMIT + self.above
        assert not [name for name in os.listdir(self.folder) if name.endswith(".new")]

    def _settled(self, turn: str, bound: int, reported: int | None) -> dict[str, Any]:
        took = bound if reported is None else reported
        self.spent += took
        self.above += max(took - bound, 0)
        if reported is None:
            return _line(turn, bound=[bound, 0])
        return _line(turn, usage=_usage(reported))

    def _held(self) -> int:
        return sum(sum(process.held.values()) for process in self.alive)


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(deadline=None, max_examples=25, stateful_step_count=25)


@pytest.mark.parametrize("others", [0, 1, 2])
def test_what_died_behind_its_last_line_is_not_counted_twice(tmp_path: Path, others: int) -> None:
    folder = str(tmp_path)
    process = Process(folder)
    append(folder, [_line("before", usage=_usage(1))])
    for turn in ("a", *"bc"[:others]):
        process.book.reserve(turn, lambda turn=turn: [_line(turn, bound=[100, 0])])  # type: ignore[misc]  # because a lambda in a loop
    append(folder, [_line("a", usage=_usage(30))])
    die(process)
    for _ in range(2):
        for standing in a_book(folder, f"{LIMIT}tok/day").standings():
            assert (standing.spent, standing.reserved) == (31 + others * 100, 0)


@contextmanager
def zone(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time

    with monkeypatch.context() as patched:
        patched.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("where", "at", "kind", "since", "renews"),
    [
        ("UTC", "2026-11-26T12:00", "day", "2026-11-26T00:00:00.000Z", "2026-11-27T00:00+00:00"),
        ("Asia/Tokyo", "2026-11-26T03:00", "day", "2026-11-25T15:00:00.000Z",
         "2026-11-27T00:00+09:00"),
        # The clock goes back an hour on this day, which has 25.
        ("Europe/Berlin", "2026-10-25T12:00", "day", "2026-10-24T22:00:00.000Z",
         "2026-10-26T00:00+01:00"),
        ("Europe/Berlin", "2026-12-31T23:59", "month", "2026-11-30T23:00:00.000Z",
         "2027-01-01T00:00+01:00"),
        ("America/New_York", "2024-02-29T00:00", "month", "2024-02-01T05:00:00.000Z",
         "2024-03-01T00:00-05:00"),
    ],
)  # fmt: skip
def test_days_and_months_begin_at_the_local_midnight(
    monkeypatch: pytest.MonkeyPatch, where: str, at: str, kind: str, since: str, renews: str
) -> None:
    with zone(where, monkeypatch):
        period = period_at(kind, datetime.fromisoformat(at).astimezone())
    assert period == Period(since, datetime.fromisoformat(renews))


# Days on which the clock is put on, or back, at midnight: there is no 00:00, or there are two.
ODD_MIDNIGHTS = [
    ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00.000Z"),
    ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00.000Z"),
    ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00.000Z"),
    ("America/Havana", "2026-03-08", "2026-03-08T05:00:00.000Z"),
    ("America/Havana", "2026-11-01", "2026-11-01T04:00:00.000Z"),
    ("Atlantic/Azores", "2026-10-25", "2026-10-25T00:00:00.000Z"),
]


@pytest.mark.parametrize(("where", "day", "begins"), ODD_MIDNIGHTS)
def test_a_day_without_a_midnight_or_with_two_begins_when_its_date_does(
    monkeypatch: pytest.MonkeyPatch, where: str, day: str, begins: str
) -> None:
    first = datetime.fromisoformat(begins)
    with zone(where, monkeypatch):
        before = period_at("day", (first - timedelta(minutes=1)).astimezone())
        assert before.renews == first
        for minutes in (0, 30, 90, 600):
            at = (first + timedelta(minutes=minutes)).astimezone()
            assert period_at("day", at).since == begins
        assert moment("--since", day, first) == begins
        yesterday = (first - timedelta(minutes=1)).astimezone().date().isoformat()
        assert moment("--until", yesterday, first, closing=True) == begins


def test_what_is_spent_of_a_day_is_free_on_the_next_and_nothing_is_read_anew(
    tmp_path: Path,
) -> None:
    folder = str(tmp_path)
    clock = [datetime(2026, 11, 26, 12).astimezone()]
    book = BudgetBook(folder, read_budgets(["100tok/day", "150tok/month"]), "--budget",
                      lambda *_: None, "", lambda _: None, clock=lambda: clock[0])  # fmt: skip
    append(folder, [{**_line("a", usage=_usage(90)), "at": "2026-11-26T11:00:00.000Z"}])
    assert [each.spent for each in book.standings()] == [90, 90]
    clock[0] = datetime(2026, 11, 27, 12).astimezone()
    append(folder, [{**_line("b", usage=_usage(50)), "at": "2026-11-27T11:00:00.000Z"}])
    assert [(each.spent, each.left) for each in book.standings()] == [(50, 50), (140, 10)]
    clock[0] = datetime(2026, 12, 2, 12).astimezone()
    assert [each.spent for each in book.standings()] == [0, 0]
    clock[0] = datetime(2026, 11, 27, 12).astimezone()  # somebody set the clock back
    assert [each.spent for each in book.standings()] == [50, 140]


# What the clock says at each step, and the times of the lines that came since the one before.
CLOCKS = {
    "an answer that ends in the next month": [
        ("2026-11-30T23:59:00+00:00", []),
        ("2026-12-01T00:00:05+00:00", ["2026-12-01T00:00:01.000Z"]),
        ("2026-12-01T00:00:30+00:00", ["2026-11-30T23:59:50.000Z"]),
    ],
    "a clock that was ahead once": [
        ("2026-11-26T12:00:00+00:00", ["2027-02-01T00:00:00.000Z"]),
        ("2026-11-26T12:01:00+00:00", ["2026-11-26T12:00:30.000Z"]),
        ("2026-11-26T12:02:00+00:00", ["2026-11-26T12:01:30.000Z"]),
    ],
    "a clock that steps back over midnight": [
        ("2026-11-26T00:00:05+00:00", ["2026-11-26T00:00:03.000Z"]),
        ("2026-11-25T23:59:58+00:00", ["2026-11-25T23:59:57.000Z"]),
        ("2026-11-26T00:00:09+00:00", []),
    ],
    "a clock that steps back over the end of a month": [
        ("2026-12-01T00:00:05+00:00", ["2026-12-01T00:00:03.000Z"]),
        ("2026-11-30T23:59:58+00:00", ["2026-11-30T23:59:57.000Z"]),
        ("2026-12-01T00:00:09+00:00", ["2026-11-30T23:59:59.000Z"]),
    ],
}


def _standings_at(folder: str, at: str) -> list[int]:
    book = BudgetBook(folder, read_budgets(["9999tok/day", "9999tok/month", "9999tok/session"]),
                      "--budget", lambda *_: None, "", lambda _: None,
                      clock=lambda: datetime.fromisoformat(at).astimezone())  # fmt: skip
    return [each.spent for each in book.standings("s")]


@pytest.mark.parametrize("where", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("kind", CLOCKS)
def test_whatever_the_clock_does_each_line_counts_in_its_own_day_and_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    with zone(where, monkeypatch):
        written: list[str] = []
        for clock, came in CLOCKS[kind]:
            append(str(tmp_path), [
                {**_line(new_turn_id(), usage=_usage(1), session="s"), "at": at} for at in came
            ])  # fmt: skip
            written += came
            local = [datetime.fromisoformat(at).astimezone().isoformat() for at in written]
            here = datetime.fromisoformat(clock).astimezone().isoformat()
            expected = [
                sum(at[:10] == here[:10] for at in local),
                sum(at[:7] == here[:7] for at in local),
                len(written),
            ]
            assert _standings_at(str(tmp_path), clock) == expected


_HOURS = st.integers(-40, 40).map(
    lambda hours: (datetime(2026, 12, 1, tzinfo=UTC) + timedelta(hours=hours)).isoformat()
)


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(st.tuples(_HOURS, st.lists(_HOURS, max_size=3)), max_size=6))
def test_a_count_that_went_on_is_what_one_from_the_beginning_is(
    steps: list[tuple[str, list[str]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for clock, came in steps:
            append(folder, [
                {**_line(new_turn_id(), usage=_usage(1), session="s"),
                 "at": f"{at[:19]}.000Z"} for at in came
            ])  # fmt: skip
            went_on = _standings_at(folder, clock)
            for count in Path(folder).glob(".*.spent"):
                count.unlink()
            assert _standings_at(folder, clock) == went_on
            _standings_at(folder, clock)


@pytest.mark.parametrize("step", ["os.rename", *(f"{_HOLDS}.{name}" for name in _HELD)])
@pytest.mark.parametrize("then", ["dies", "settles and dies", "reserves and dies"])
def test_what_was_settled_counts_once_where_the_disk_was_full_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, then: str
) -> None:
    process = Process(str(tmp_path))
    for turn in "ab":
        process.book.reserve(turn, lambda turn=turn: [_line(turn, bound=[100, 0])])  # type: ignore[misc]  # because a lambda in a loop

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(step, full)
        with suppress(SessionError):
            process.book.settle({"a": [_line("a", usage=_usage(30))]})
    expected = 130
    if then == "settles and dies":
        process.book.settle({"b": [_line("b", usage=_usage(40))]})
        expected = 70
    elif then == "reserves and dies":
        process.book.reserve("c", lambda: [_line("c", bound=[5, 0])])
        expected = 135
    die(process)
    for _ in range(2):
        for standing in a_book(str(tmp_path), f"{LIMIT}tok/day").standings():
            assert (standing.spent, standing.reserved) == (expected, 0)


@pytest.mark.parametrize("month", ["2026-10", "2026-11", "2027-03"])
def test_what_died_behind_its_last_line_is_known_whatever_month_is_the_newest(
    tmp_path: Path, month: str
) -> None:
    folder = str(tmp_path)
    process = Process(folder)
    append(folder, [{**_line("before", usage=_usage(1)), "at": f"{month}-20T00:00:00.000Z"}])
    held = {**_line("a", bound=[100, 0]), "at": "2026-11-20T00:00:00.000Z"}
    process.book.reserve("a", lambda: [held])
    append(folder, [{**held, "usage": _usage(30)}])
    die(process)
    a_book(folder, f"{LIMIT}tok/day").standings()
    found = [json.loads(line) for line in (tmp_path / "2026-11.jsonl").read_text().splitlines()]
    assert [line["turn"] for line in found if line["turn"] != "before"] == ["a"]


@pytest.mark.parametrize("tokens", [1 << 59, (1 << 62) - 1, 1 << 61])
def test_a_sum_beyond_64_bits_is_kept_and_told_to_the_digit(tmp_path: Path, tokens: int) -> None:
    append(str(tmp_path), [_line(new_turn_id(), usage=_usage(tokens)) for _ in range(64)])
    for _ in range(2):
        (standing,) = a_book(str(tmp_path), "5tok/month").standings()
        assert standing.spent == tokens * 64
        assert shown(standing.spent, "tok") == f"{tokens * 64:,} tokens"


@pytest.mark.parametrize("count", [-1, 1 << 62, 1 << 63, (1 << 64) - 1, 1e30, "100", None, True])
def test_an_absurd_count_is_no_usage_and_the_bound_counts(count: object) -> None:
    sent = Sent("h", "chat", "m", {"max_tokens": 50})
    sent.told = lambda: Told({"prompt_tokens": count, "completion_tokens": 1})
    line = sent.line({"turn": "t"}, "complete", 4096)
    assert line is not None
    assert amount_of(line, "tok", lambda *_: None) == sum(upper_bound({"max_tokens": 50}, 0))


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ({"usage": _usage(7)}, 7),
        ({"usage": None, "bound": [3, 4]}, 7),
        ({"usage": {"prompt_tokens": -5, "completion_tokens": 1}, "bound": [3, 4]}, 7),
        ({"usage": {"prompt_tokens": "12"}, "bound": [3, 4]}, 7),
        ({"usage": {"prompt_tokens": 1e300, "completion_tokens": 2}, "bound": [3, 4]}, 7),
        ({"usage": None}, 0),
        ({"usage": None, "bound": "many"}, 0),
    ],
)
def test_a_line_counts_by_its_usage_else_by_its_bound(line: dict[str, Any], tokens: int) -> None:
    assert amount_of(_line("t") | line, "tok", lambda *_: None) == tokens


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, 4096),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 11}, 11),
        ({"max_output_tokens": 12}, 12),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": "ten"}, 4096),
        ({"max_tokens": "-5"}, 4096),
        ({"max_tokens": 5.5}, 4096),
        ({"max_tokens": 1e5}, 100_000),
        ({"max_tokens": "100000"}, 100_000),
        ({"max_tokens": 10, "n": "3"}, 30),
        ({"max_tokens": 10, "n": 3.0}, 30),
    ],
)
def test_the_bound_of_an_answer_is_what_the_request_limits_it_to(
    more: dict[str, Any], answer: int
) -> None:
    question, most = upper_bound({"messages": [], **more}, 4096)
    assert most == answer
    assert question > 0


@pytest.mark.parametrize(
    "more",
    [
        {"max_tokens": 1 << 62},
        {"max_tokens": 10**30},
        {"max_completion_tokens": 1e300},
        {"max_output_tokens": "9" * 18, "n": 7},
        {"max_tokens": 1 << 40, "n": 1 << 40},
        {"n": 10**20},
    ],
)
def test_a_limit_beyond_all_bounds_is_no_way_around_a_budget(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    line = _line("t", bound=upper_bound({"messages": [], **more}, 4096))
    for said in ("999999999tok/day", "999999usd/month"):
        book = BudgetBook(str(tmp_path), read_budgets([said]), "--budget",
                          lambda *_: Decimal(10**9), "", lambda _: None)  # fmt: skip
        with pytest.raises(BudgetError):
            book.reserve("t", lambda: [line])


OWN = {"m": {"input": 1, "output": 2, "cached": 5, "reasoning": 20}}
KINDS = {
    "none of them": ("m", "h", {}, {}),
    "cached, which costs more": ("m", "h", {"cached_tokens": 1000}, {}),
    "thinking": ("m", "h", {}, {"reasoning_tokens": 1000}),
    "both": ("m", "h", {"cached_tokens": 1000}, {"reasoning_tokens": 400}),
    "kept in a cache": ("claude-sonnet-4-5", "api.anthropic.com",
                        {"cache_write_tokens": 1000}, {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_of_whatever_kind_its_tokens_are_a_request_within_its_bound_costs_no_more_than_it(
    kind: str,
) -> None:
    model, host, inputs, outputs = KINDS[kind]

    def price(
        model: str, host: str | None, tier: str | None, usage: Any, at: str | None, is_bound: bool
    ) -> Decimal | None:
        return price_of(model, host, tier, usage, OWN, at, at_most=is_bound)

    line = _line("t", bound=[1000, 1000]) | {"model": model, "host": host}
    usage = {"prompt_tokens": 1000, "prompt_tokens_details": inputs,
             "completion_tokens": 1000, "completion_tokens_details": outputs}  # fmt: skip
    held, took = amount_of(line, "usd", price), amount_of(line | {"usage": usage}, "usd", price)
    assert held is not None
    assert took is not None
    assert 0 < took <= held


def test_money_and_tokens_are_shown_as_people_write_them() -> None:
    amounts = [(1_234, "tok"), (5_000_000_000, "usd"), (20, "usd"), (1_250_000_000, "usd")]
    assert [shown(*each) for each in amounts] == [
        "1,234 tokens",
        "$5.00",
        "$0.00000002",
        "$1.25",
    ]
