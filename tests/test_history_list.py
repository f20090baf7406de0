"""`history list`: which sessions, in which order, and that it shows them as it finds them."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipechat.messages import Summary
from pipechat.show.transcript import SessionTable
from pipechat.store import listing
from pipechat.store.sessions import SessionStore
from tests.history_kit import line, turn, write_session
from tests.in_process import InProcess
from tests.program import Program, Result

pytestmark = pytest.mark.in_process

FORMATS = ("text", "json", "ndjson")


def names_of(result: Result, output_format: str) -> list[str]:
    assert (result.status, result.stderr) == (0, b"")
    if output_format == "text":
        return [row.split("\t")[0] for row in result.stdout.decode().splitlines()]
    lines = result.stdout if output_format == "json" else b"[%b]" % result.stdout.replace(
        b"}\n{", b"},{"
    )  # fmt: skip
    return [each["name"] for each in json.loads(lines)]


@pytest.fixture
def four(program: Program) -> Program:
    """Sessions that differ in each order: the name, turns, size and time (2026-01-01 to 04)."""
    sessions = {"b": (3, 10, 4), "d": (1, 900, 3), "a": (2, 300, 1), "c": (4, 1, 2)}
    for name, (turns, length, day) in sessions.items():
        path = write_session(program, name, [turn(n, "x" * length) for n in range(turns)])
        written = datetime(2026, 1, day, 12).timestamp()  # local, as --since is
        os.utime(path, (written, written))
    return program


@pytest.mark.parametrize("written_s", [-1, -(10**9), 0, 2**33])
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_session_is_listed_whatever_the_clock_said_when_it_was_written(
    four: Program, output_format: str, written_s: int
) -> None:
    os.utime(four.home / "sessions/a.jsonl", (written_s, written_s))
    listed = four.run("history", "list", "--output-format", output_format)
    assert sorted(names_of(listed, output_format)) == list("abcd")


ORDERS = {"time": "acdb", "name": "abcd", "turns": "dabc", "size": ""}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("sort", ORDERS)
def test_what_is_looked_for_comes_last_in_every_order(
    four: Program, sort: str, output_format: str
) -> None:
    by_size = sorted("abcd", key=lambda name: (four.home / f"sessions/{name}.jsonl").stat().st_size)
    expected = list(ORDERS[sort]) or by_size
    command = ("history", "list", "--sort", sort, "--output-format", output_format)
    assert names_of(four.run(*command), output_format) == expected
    assert names_of(four.run(*command, "-n", "2"), output_format) == expected[-2:]
    assert names_of(four.run(*command, "--last", "9"), output_format) == expected


@pytest.mark.parametrize("output_format", FORMATS)
def test_by_default_the_last_is_the_session_that_ask_goes_on_with(
    four: Program, output_format: str
) -> None:
    listed = four.run("history", "list", "--output-format", output_format)
    assert names_of(listed, output_format) == list("acdb")
    four.run("ask", "-q", "--offline", "--session", "a", "again")
    listed = four.run("history", "list", "--output-format", output_format)
    assert names_of(listed, output_format) == list("cdba")
    assert four.run("ask", "-q", "--offline", "-c", "more").status == 0
    assert [record["question"] for record in four.records("a")][-2:] == ["again", "more"]


SINCE = {
    "2026-01-03": "db",
    "2026-01-03T12:00:00": "db",
    "2026-01-03T12:00:01": "b",
    "2026-01-05": "",
    "2026-01": "acdb",
    "0s": "",
    "5000w": "acdb",
}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("since", SINCE)
def test_since_is_an_age_or_a_local_date(four: Program, since: str, output_format: str) -> None:
    command = ("history", "list", "--since", since, "--output-format", output_format)
    assert names_of(four.run(*command), output_format) == list(SINCE[since])


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("option", "value"),
    [("--sort", "times"), ("--since", "tomorrow"), ("--since", "5"), ("--last", "0")],
)
def test_what_is_no_order_no_time_and_no_number_is_exit_2(
    four: Program, option: str, value: str, output_format: str
) -> None:
    result = four.run("history", "list", option, value, "--output-format", output_format)
    assert (result.status, result.stdout) == (2, b"")
    assert option in result.stderr.decode()
    assert value in result.stderr.decode()


def test_a_session_is_shown_before_the_next_one_is_read(
    four: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(four, InProcess)
    four.terminals = frozenset({"stdout"})
    happened: list[str] = []
    summaries, row = SessionStore.summaries, SessionTable.row

    def reading(store: SessionStore, names: list[str]) -> Iterator[Summary]:
        for summary in summaries(store, names):
            happened.append(f"read {summary.name}")
            yield summary

    def showing(table: SessionTable, summary: Summary) -> str:
        happened.append("shown")
        return row(table, summary)

    monkeypatch.setattr(SessionStore, "summaries", reading)
    monkeypatch.setattr(SessionTable, "row", showing)
    assert four.run("history", "list", env={"PAGER": ""}).status == 0
    assert happened == [each for name in "acdb" for each in (f"read {name}", "shown")]


def test_no_session_is_opened_that_is_not_listed(
    four: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = os.open

    def noted(path: str, *others: int, **more: int) -> int:
        if str(path).endswith(".jsonl"):
            opened.append(Path(path).stem)
        return real(path, *others, **more)

    monkeypatch.setattr(os, "open", noted)
    assert names_of(four.run("history", "list", "-n", "1"), "text") == ["b"]
    assert opened == ["b"]


def test_a_session_that_goes_while_it_is_listed_is_passed_over(
    four: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = listing.listed

    def gone(folder: str) -> list[listing.Listed]:
        found = real(folder)
        (four.home / "sessions" / "c.jsonl").unlink()
        return found

    monkeypatch.setattr(listing, "listed", gone)
    result = four.run("history", "list")
    assert (result.status, len(result.stdout.splitlines())) == (0, 3)


@pytest.mark.in_process(False)
def test_the_days_of_since_are_those_of_the_users_own_place(program: Program) -> None:
    path = write_session(program, "w", [turn(1)])
    written = datetime(2026, 1, 2, 20, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    for zone, is_listed in (("UTC", False), ("UTC-8", True)):  # where it is 4 in the morning
        listed = program.run("history", "list", "--since", "2026-01-03", env={"TZ": zone})
        assert (listed.status, listed.stdout != b"") == (0, is_listed)


def test_times_are_local_on_a_terminal_and_as_recorded_elsewhere(program: Program) -> None:
    assert isinstance(program, InProcess)
    write_session(program, "w", [line(turn(1))])
    at = "2026-11-23T00:01:30.250Z"
    assert at.encode() in program.run("history", "list").stdout
    program.terminals = frozenset({"stdout"})
    local = datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert local.encode() in program.run("history", "list", env={"PAGER": ""}).stdout
    listed = program.run("history", "list", "--output-format", "ndjson", env={"PAGER": ""})
    assert json.loads(listed.stdout)["last_time"] == at


def test_where_none_was_written_since_a_person_is_told(four: Program) -> None:
    assert isinstance(four, InProcess)
    four.terminals = frozenset({"stdout"})
    result = four.run("history", "list", "--since", "2026-01-05")
    assert (result.status, result.stdout) == (0, b"")
    assert result.stderr == b"pipechat: no session was written since 2026-01-05\n"
