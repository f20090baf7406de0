"""`pipechat usage`: what was used and what it cost, from the ledger, sessions and files."""

import csv
import json
import os
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.commands import usage_sources
from pipechat.commands.moments import moment
from pipechat.errors import UsageError
from pipechat.ledger import listed_prices, months, prices, spending
from pipechat.ledger.months import Period, lines_of, month_files
from pipechat.ledger.prices import price_of
from pipechat.ledger.spending import GROUPS, By, Spending
from pipechat.ledger.tokens import tokens_of
from pipechat.messages import now
from pipechat.store import locked_file
from tests.history_kit import turn, write_session
from tests.in_process import InProcess
from tests.program import Program, Result
from tests.properties import MODEST
from tests.servers import USAGE, ChatServer, answer

pytestmark = pytest.mark.in_process

OWN = '[prices."mine"]\ninput = 1\noutput = 2\n'
FORMATS = ("text", "json", "ndjson", "csv")
MILLION = 1_000_000


def used(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


def entry(at: str = "2026-11-20T12:00:00.000Z", **more: Any) -> dict[str, Any]:
    """A line of the ledger; one of a million tokens on each side that costs 3 USD."""
    return {
        "v": 1,
        "at": at,
        "turn": "01a20632-3269-7831-b7d6-000000000001",
        "host": "api.example.com",
        "api": "chat",
        "model": "mine",
        "usage": used(MILLION, MILLION),
        "status": "complete",
        **more,
    }


def write_ledger(program: Program, *lines: dict[str, Any] | bytes) -> None:
    """Each line in the file of its month; bytes go to that of November."""
    folder = program.home / "ledger"
    folder.mkdir(exist_ok=True)
    for line in lines:
        month = "2026-11" if isinstance(line, bytes) else line["at"][:7]
        data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        with (folder / f"{month}.jsonl").open("ab") as file:
            file.write(data)
    (program.home / "config.toml").write_text(OWN)


def rows(result: Result) -> list[list[str]]:
    return [line.split("\t") for line in result.stdout.decode().splitlines()]


def records(program: Program, *arguments: str) -> list[dict[str, Any]]:
    """The rows of ndjson, and the total behind them."""
    return program.run("usage", "--output-format", "ndjson", *arguments).events


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place where it is always five hours and three quarters later than in Greenwich."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "XXX-05:45")
        time.tzset()
        yield
    time.tzset()


KINDS = (
    entry("2026-09-30T12:00:00.000Z", session="trip"),
    entry("2026-11-20T12:00:00.000Z", batch="/tmp/out.jsonl", item="a"),
    entry("2026-11-21T12:00:00.000Z", host="other.example.com"),
)


@pytest.mark.parametrize(
    ("by", "named"),
    [
        ("day", ["2026-09-30", "2026-11-20", "2026-11-21"]),
        ("month", ["2026-09", "2026-11"]),
        ("model", ["mine"]),
        ("session", [None, "trip"]),
        ("batch", [None, "/tmp/out.jsonl"]),
        ("endpoint", ["api.example.com", "other.example.com"]),
    ],
)
def test_each_group_has_a_row_in_every_format(
    program: Program, by: str, named: list[str | None]
) -> None:
    write_ledger(program, *KINDS)
    text = program.run("usage", "--by", by)
    assert (text.status, text.stderr) == (0, b"")
    assert [row[0] for row in rows(text)] == [each or "-" for each in named]
    *found, total = records(program, "--by", by)
    assert [each[by] for each in found] == named
    assert sum(each["cost_usd"] for each in found) == total["cost_usd"] == 9
    whole = json.loads(program.run("usage", "--by", by, "--output-format", "json").stdout)
    assert [{"type": "row", **each} for each in whole["rows"]] == found
    assert {"type": "total", **whole["total"]} == total
    table = program.run("usage", "--by", by, "--output-format", "csv").stdout.decode()
    assert [row[by] for row in csv.DictReader(table.splitlines())] == [each or "" for each in named]


@pytest.mark.parametrize(
    "by", [("--by", "month,endpoint"), ("--by", "month", "--by", "endpoint"),
           ("--by", "month, endpoint,month")],
)  # fmt: skip
def test_several_groups_make_a_row_of_each_combination(
    program: Program, by: tuple[str, ...]
) -> None:
    write_ledger(program, *KINDS)
    found = rows(program.run("usage", *by))
    assert [row[:2] for row in found] == [
        ["2026-09", "api.example.com"],
        ["2026-11", "api.example.com"],
        ["2026-11", "other.example.com"],
    ]
    assert found[0][2:] == ["1", "1000000", "0", "1000000", "0", "3", "0", "0", "0"]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "wrong",
    [("--by", "modle"), ("--by", "model,"), ("--by", ""), ("--since", "soon"),
     ("--until", "2026-13"), ("--since", "2026-12", "--until", "2026-11"),
     ("--sessions", "trip"), ("-bad-",), (".bad",), ("no name",)],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told_with_the_same_code_in_every_format(
    program: Program, output_format: str, wrong: tuple[str, ...]
) -> None:
    done = program.run("usage", "--output-format", output_format, *wrong)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1


def test_bars_are_for_people_alone(program: Program) -> None:
    for output_format in FORMATS[1:]:
        done = program.run("usage", "--plot", "--output-format", output_format)
        assert (done.status, done.stdout) == (2, b"")
    assert program.run("usage", "--output-format", "yaml").status == 2


def test_what_has_no_price_is_unpriced_and_never_nothing(program: Program) -> None:
    stranger = entry(model="theirs", tier="gold")
    write_ledger(program, entry(), stranger)
    done = program.run("usage")
    assert [[row[0], *row[6:]] for row in rows(done)] == [
        ["mine", "3", "0", "0", "0"],
        ["theirs", "unpriced", "1", "0", "0"],
    ]
    assert b"no price is known of 1 request (theirs in tier gold at api.example.com)" in done.stderr
    mine, theirs, total = records(program)
    assert (mine["cost_missing"], theirs["cost_missing"]) == (None, "unpriced")
    assert theirs["cost_usd"] is None
    assert (total["cost_usd"], total["unpriced"]) == (3, 1)
    table = program.run("usage", "--output-format", "csv").stdout.decode().splitlines()
    assert [row["cost_usd"] for row in csv.DictReader(table)] == ["3", "unpriced"]


def test_a_bound_is_counted_and_marked_and_a_refusal_costs_nothing(program: InProcess) -> None:
    bound = entry(usage=None, bound=[MILLION, MILLION], status="failed")
    refused = entry(usage=None, status="failed", model="theirs")
    write_ledger(program, entry(), bound, refused)
    done = program.run("usage")
    assert [[row[0], *row[6:]] for row in rows(done)] == [
        ["mine", "6", "0", "1", "0"],
        ["theirs", "0", "0", "0", "0"],
    ]
    assert b"no usage came of 1 request: an upper bound is counted" in done.stderr
    assert program.run("usage", "-q").stderr == b""
    program.terminals = frozenset({"stdout"})
    assert "≤6.0000" in program.run("usage").stdout.decode()


@pytest.mark.parametrize("output_format", FORMATS)
def test_without_the_list_tokens_are_told_and_why_no_cost_is(
    program: Program, monkeypatch: pytest.MonkeyPatch, output_format: str
) -> None:
    monkeypatch.setattr(listed_prices, "is_installed", lambda: False)
    write_ledger(program, entry(), entry(model="gpt-5.4-mini", host="api.openai.com"))
    done = program.run("usage", "--output-format", output_format)
    assert (done.status, done.stdout.count(b"no_prices") > 0) == (0, True)
    assert b"1000000" in done.stdout
    assert b"install 'pipechat[prices]'" in done.stderr


TIMES = (
    "2026-10-31T18:14:59.999Z",  # the last moment of October, in that place
    "2026-10-31T18:15:00.000Z",
    "2026-11-20T18:14:59.999Z",
    "2026-11-20T18:15:00.000Z",
    "2026-11-30T18:14:59.999Z",
    "2026-11-30T18:15:00.000Z",
)


@pytest.mark.usefixtures("here")
def test_days_and_months_are_those_of_the_place() -> None:
    summed = Spending(["month", "day"], {}, Period())
    for at in TIMES:
        assert summed.add(entry(at))
    assert [row.group for row in summed.rows()] == [
        ("2026-10", "2026-10-31"),
        ("2026-11", "2026-11-01"),
        ("2026-11", "2026-11-20"),
        ("2026-11", "2026-11-21"),
        ("2026-11", "2026-11-30"),
        ("2026-12", "2026-12-01"),
    ]


NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("since", "until", "held"),
    [
        ("2026-11", None, TIMES[1:]),
        ("2026-11", "2026-11", TIMES[1:5]),
        (None, "2026-11-20", TIMES[:3]),
        ("2026-11-20", "2026-11-20", TIMES[2:3]),
        ("20d", None, TIMES[2:]),
        ("1w", "2d", ()),
        ("today", None, TIMES[3:]),
        ("yesterday", "yesterday", TIMES[2:3]),
        ("2026-11-20T18:14:59.999+00:00", "2026-11-20T18:15:00Z", TIMES[2:3]),
        ("2026-11-21T00:00", None, TIMES[3:]),
    ],
)
def test_a_period_is_meant_in_local_days(
    since: str | None, until: str | None, held: tuple[str, ...]
) -> None:
    period = Period(
        since and moment("--since", since, NOW),
        until and moment("--until", until, NOW, closing=True),
    )
    assert tuple(filter(period.holds, TIMES)) == held
    assert all(period.touches(at[:7]) for at in held)


@pytest.mark.parametrize("text", ["", "d", "9999999999d", "-1d", "1y", "2026-02-30", "2026-00"])
def test_what_is_no_time_is_told_with_the_option(text: str) -> None:
    with pytest.raises(UsageError, match=f"--since {text}: neither an age nor a date"):
        moment("--since", text, NOW)


def test_months_that_a_period_rules_out_are_not_opened(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def opening(path: str, *, follow: bool) -> int:
        opened.append(os.path.basename(path))
        return open_to_read(path, follow=follow)

    open_to_read = locked_file.open_to_read
    monkeypatch.setattr(months, "open_to_read", opening)
    for month in ("2026-07", "2026-08", "2026-09", "2026-10", "2026-11"):
        write_ledger(program, entry(f"{month}-15T12:00:00.000Z"))
    (program.home / "ledger" / "notes.jsonl").write_bytes(b"{}\n")
    assert rows(program.run("usage", "--since", "2026-08-10", "--until", "2026-09-20"))[0][1] == "2"
    assert opened == ["2026-08.jsonl", "2026-09.jsonl"]
    opened.clear()
    program.run("usage", "--until", "2026-07-20")
    assert opened == ["2026-07.jsonl"]
    opened.clear()
    done = program.run("usage", "--since", "2027-03")
    assert (opened, done.stdout) == ([], b"")
    assert b"the ledger has nothing of that time" in done.stderr


FOREIGN = (
    b'{"v":1,"at":"2026-11-20T12:0\n',
    b"[1]\n",
    b'{"hello": 1}\n',
    b'{"v": 1, "at": 5, "model": "mine"}\n',
    b'{"v": 1, "at": "2026-11-20T12:00:00.000Z", "model": "mine", "host": ["x"]}\n',
    b'{"v": 1, "at": "2026-11-20T12:00:00.000Z", "model": "mine", "batch": ["x"]}\n',
    b'{"v": 1, "at": "noon", "model": "mine"}\n',
    b'{"v": 2, "at": "2026-11-20T12:00:00.000Z", "model": "mine"}\n',
    b"\xff\xfe\n",
    b'{"at": "2026-11-20T12:00:00.000Z"',  # torn, and the last
)


@pytest.mark.parametrize("line", FOREIGN)
def test_a_line_that_is_none_of_a_ledger_is_skipped_and_told(program: Program, line: bytes) -> None:
    write_ledger(program, entry(), b"\n", line)
    done = program.run("usage", "--by", "batch,day")
    assert [row[2] for row in rows(done)] == ["1"]
    assert b"2026-11.jsonl: line 3 is none of a ledger and was skipped" in done.stderr
    assert done.status == 0


def test_of_many_such_lines_the_first_are_told_and_the_others_counted(program: Program) -> None:
    write_ledger(program, *[b"torn\n"] * 9, entry())
    done = program.run("usage")
    assert rows(done)[0][1] == "1"
    assert done.stderr.count(b"was skipped") == 3
    assert b"6 more lines were skipped" in done.stderr


def test_a_month_that_cannot_be_read_is_told_and_the_others_are_counted(program: Program) -> None:
    write_ledger(program, entry())
    (program.home / "ledger" / "2026-10.jsonl").mkdir()
    for output_format in FORMATS:
        done = program.run("usage", "--output-format", output_format)
        assert done.status == 9
        assert b"ledger_unreadable" in done.stderr
        assert b"mine" in done.stdout


def test_sessions_and_files_are_summed_up_as_the_ledger_is(
    program: Program, tmp_path: Path
) -> None:
    write_ledger(program)
    one = turn(1, model="mine", usage=used(MILLION, 0))
    undone = turn(1, model="mine", usage=used(MILLION, 0), context=False)
    lost = turn(2, model="mine", status="partial", usage=None)
    refused = turn(3, model="mine", status="failed", usage=None)
    batch = turn(4, model="mine", usage=used(0, MILLION), item="a", attempts=3)
    write_session(program, "trip", [one, one, undone, lost, refused])
    never_sent = turn(5, model="", status="failed", usage=None, item="b", attempts=0)
    file = tmp_path / "out.jsonl"
    file.write_bytes(write_session(program, "other", [batch, never_sent]).read_bytes())
    done = program.run("usage", "--by", "session,batch", "trip", str(file))
    assert "" not in {each.get("model") for each in records(program, "trip", str(file))}
    assert rows(done) == [
        ["-", str(file), "3", "0", "0", "1000000", "0", "2", "0", "0", "0"],
        ["trip", "-", "3", "1000000", "0", "0", "0", "1", "0", "0", "1"],
    ]
    assert b"no usage came of 1 request: what it cost is not known" in done.stderr
    everything = records(program, "--by", "session", "--sessions")
    assert [(each.get("session"), each["cost_usd"]) for each in everything] == [
        ("other", 2),
        ("trip", 1),
        (None, 3),
    ]
    missing = program.run("usage", "nobody", "trip")
    assert (missing.status, b"session_missing" in missing.stderr) == (9, True)
    assert rows(missing)[0][1] == "3"


def test_a_file_may_be_a_month_of_a_ledger_and_one_of_neither_is_told(
    program: Program, tmp_path: Path
) -> None:
    write_ledger(program, entry(), b"torn", b"\n")
    kept = tmp_path / "old.jsonl"
    (program.home / "ledger" / "2026-11.jsonl").rename(kept)
    link = tmp_path / "link.jsonl"
    link.symlink_to(kept)
    for path in (kept, link):
        done = program.run("usage", str(path))
        assert rows(done) == [["mine", "1", "1000000", "0", "1000000", "0", "3", "0", "0", "0"]]
        assert b"line 2 is none of a ledger" in done.stderr
    other = tmp_path / "other.jsonl"
    other.write_bytes(b'{"hello": 1}\n')
    for output_format in FORMATS:
        done = program.run("usage", str(other), str(kept), "--output-format", output_format)
        assert (done.status, b"other.jsonl holds no turn" in done.stderr) == (9, True)
        assert b"mine" in done.stdout


def test_a_turn_that_tells_its_endpoint_and_tier_is_priced_by_them(program: Program) -> None:
    def told(number: int, **more: str) -> bytes:
        record = turn(number, model="gpt-5.4-mini", usage=used(MILLION // 10, 0)).record()
        return json.dumps({**record, **more}).encode() + b"\n"

    places = ("api.openai.com/v1", "llm.example.com/v1", "https://api.openai.com/v1")
    lines = [told(number, endpoint=place) for number, place in enumerate(places)]
    flex = told(8, endpoint=places[0], service_tier="flex")
    write_session(program, "trip", [*lines, flex, told(9)])
    found = records(program, "--by", "endpoint", "trip")
    costs = [(each.get("endpoint"), each["requests"], each["cost_usd"]) for each in found[:-1]]
    assert costs == [(None, 1, 0.075), ("api.openai.com", 3, 0.1875), ("llm.example.com", 1, None)]


LINES = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.sampled_from(TIMES),
            "host": st.sampled_from(["api.openai.com", "api.deepseek.com", "a.example"]),
            "model": st.sampled_from(["gpt-5.4", "gpt-5.6-luna", "deepseek-chat", "mine"]),
        },
        optional={
            "tier": st.sampled_from(["flex", "default", "gold"]),
            "session": st.sampled_from(["one", "two"]),
            "usage": st.builds(used, st.integers(0, 600_000), st.integers(0, 1000)),
            "bound": st.lists(st.integers(0, 600_000), min_size=2, max_size=2),
        },
    ),
    max_size=30,
)


@MODEST
@given(LINES, st.lists(st.sampled_from(GROUPS), unique=True, max_size=3))
def test_rows_add_up_to_what_each_request_cost_by_itself(
    lines: list[dict[str, Any]], by: list[By]
) -> None:
    own = {"mine": {"input": 1, "output": 2, "reasoning": 3}}
    summed = Spending(by, own, Period())
    cost, requests, prompt = Decimal(0), 0, 0
    for line in lines:
        assert summed.add(line)
        requests += 1
        usage = line.get("usage")
        is_bound = usage is None and "bound" in line
        if is_bound:
            usage = used(*line["bound"])
        tokens = tokens_of(usage)
        prompt += tokens.prompt if tokens else 0
        where = (line["model"], line["host"], line.get("tier"))
        price = price_of(*where, usage, own, line["at"], at_most=is_bound)
        cost += price or 0
    found = summed.rows()
    total = summed.total()
    assert (total.requests, total.prompt_tokens, total.cost or 0) == (requests, prompt, cost)
    assert sum(row.requests for row in found) == requests
    assert sum(row.prompt_tokens for row in found) == prompt
    assert sum((row.cost or Decimal(0)) for row in found) == cost
    assert len({row.group for row in found}) == len(found)


def test_a_price_is_looked_up_once_a_day_for_each_model_endpoint_and_tier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def looking(*given: Any) -> Any:
        asked.append(given)
        return prices_of(*given)

    prices_of = prices.prices_of
    monkeypatch.setattr(spending, "prices_of", looking)
    summed = Spending(["model"], {}, Period())
    for number in range(1000):
        model, tier = f"gpt-5.4{('', '-mini')[number % 2]}", (None, "flex")[number % 4 // 2]
        summed.add(entry(f"2026-11-20T{number % 24:02}:00:00.000Z", model=model, tier=tier))
    assert len(asked) == 4


def test_a_ledger_takes_no_memory_by_its_lines(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        line = json.dumps(entry(session="trip", batch="x" * 200)).encode() + b"\n"
        (folder / "2026-11.jsonl").write_bytes(line * count)
        tracemalloc.start()
        summed = Spending(GROUPS, {}, Period())
        for path in month_files(str(folder), Period()):
            for _, found in lines_of(path, lambda *_: None, lambda _: None):
                summed.add(found)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert summed.total().requests == count
        return most

    peak(1)  # what is imported and remembered once
    assert peak(8000) < peak(800) * 1.5 + 100_000


def on_terminal(program: InProcess, columns: int, *arguments: str) -> list[str]:
    program.terminals = frozenset({"stdout"})
    program.columns = columns
    env = {"TERM": "xterm", "NO_COLOR": "1"}
    return program.run("usage", *arguments, env=env).stdout.decode().splitlines()


def test_on_a_terminal_there_are_a_heading_and_a_total_whatever_its_width(
    program: InProcess,
) -> None:
    long = "a-model-with-a-name-that-is-longer-than-any-terminal-is-wide-今日は"
    write_ledger(program, entry(), entry(model=long), entry(model="ev\x1b[31mil"))
    wide = on_terminal(program, 120)
    assert wide[0].split() == ["model", "requests", "prompt", "cached", "completion", "reasoning",
                               "cost", "(USD)"]  # fmt: skip
    assert wide[-1].split() == ["total", "3", "3,000,000", "0", "3,000,000", "0", "3.0000", "+",
                                "unpriced"]  # fmt: skip
    for columns in (24, 40, 60, 80):
        lines = on_terminal(program, columns)
        assert len(lines) == 5
        assert max(map(len, lines)) <= columns
        assert "\x1b" not in "".join(lines)
        assert lines[-1].startswith("total")


def test_bars_are_as_long_as_what_they_stand_for(program: InProcess) -> None:
    half = entry("2026-11-21T12:00:00.000Z", usage=used(MILLION, MILLION // 4))
    little = entry("2026-11-22T12:00:00.000Z", usage=used(1, 0))
    write_ledger(program, entry(), half, little)
    for columns in (40, 80):
        heading, *lines = on_terminal(program, columns, "--by", "day", "--plot")
        bars = [line.split()[-1] for line in lines]
        assert heading.split() == ["day", "cost", "(USD)"]
        assert max(map(len, lines)) == columns
        assert abs(len(bars[0]) - 2 * len(bars[1])) <= 1
        assert bars[2] == "▏"
    in_a_pipe = Program.run  # the same in a pipe, at the usual width
    assert "█" in in_a_pipe(program, "usage", "--by", "day", "--plot").stdout.decode()


def test_bars_are_of_tokens_where_no_cost_is_known(program: InProcess) -> None:
    write_ledger(program, entry(model="theirs"), entry(model="others", usage=used(MILLION, 0)))
    heading, others, theirs = on_terminal(program, 60, "--plot")
    assert heading.split() == ["model", "tokens"]
    assert others.split()[1] == "1,000,000"
    assert theirs.count("█") > others.count("█")
    program.terminals = frozenset({"stdout"})
    dumb = program.run("usage", "--plot", env={"TERM": "dumb"}).stdout.decode()
    assert "#" in dumb
    assert dumb.isascii()


def test_an_empty_ledger_is_told_and_is_no_failure(program: InProcess) -> None:
    for output_format in FORMATS:
        done = program.run("usage", "--output-format", output_format)
        assert done.status == 0
        assert b"the ledger has nothing yet; --sessions looks at the sessions" in done.stderr
    assert on_terminal(program, 80) == on_terminal(program, 80, "--plot") == []


@pytest.mark.parametrize("where", ["file", "profile", "variable"])
def test_a_ledger_that_is_off_is_told_of_where_it_is_read(program: InProcess, where: str) -> None:
    write_ledger(program, entry(model="m"))
    text = {"file": "ledger = false\n", "profile": "[profiles.p]\nledger = false\n"}.get(where, "")
    (program.home / "config.toml").write_text(text)
    more = ("--profile", "p") if where == "profile" else ()
    env = {"PIPECHAT_LEDGER": "no"} if where == "variable" else {}
    names = {"file": "config.toml: ledger", "profile": "profiles.p.ledger"}
    told = f"{names.get(where, 'PIPECHAT_LEDGER')} turns the ledger off: nothing comes to it"
    for output_format in FORMATS:
        done = program.run("usage", *more, "--output-format", output_format, env=env)
        assert (done.status, told in done.stderr.decode()) == (0, True)


def test_who_waits_at_a_terminal_is_told_how_far_it_is_and_a_script_is_not(
    program: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_sources, "_QUIET_S", 0.0)
    write_ledger(program, entry())
    write_session(program, "trip", [turn(1)])
    assert program.run("usage", "--by", "day").stderr == b""
    program.terminals = frozenset({"stderr"})
    env = {"TERM": "xterm"}
    assert "reading 2026-11.jsonl, 100 %" in program.run("usage", env=env).stderr.decode()
    assert "reading trip, 1 turns" in program.run("usage", "trip", env=env).stderr.decode()
    assert b"reading" not in program.run("usage", "-q", env=env).stderr


@pytest.mark.parametrize("block", [1, 7, 100])
def test_how_a_file_is_read_in_blocks_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    path = tmp_path / "2026-11.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": "' + b"x" * 300 + b'"}\ntorn\n{"a": 5}\n{"a": 6}')
    monkeypatch.setattr(months, "_BLOCK", block)
    foreign: list[int] = []
    ends: list[int] = []
    found = list(lines_of(str(path), lambda done, size: ends.append(size - done), foreign.append))
    assert [(number, str(line["a"])[:2]) for number, line in found] == [
        (1, "1"),
        (3, "xx"),
        (5, "5"),
        (6, "6"),
    ]
    assert foreign == [4]
    assert ends[-1] == 0


def test_what_stands_there_when_reading_begins_is_what_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "2026-11.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 3)

    def found(lines: Iterable[tuple[int, Any]]) -> Iterator[int]:
        for number, _ in lines:
            with path.open("ab") as file:  # as an `ask` that ends meanwhile
                file.write(b'{"a": 2}\n')
            yield number

    assert list(found(lines_of(str(path), lambda *_: None, lambda _: None))) == [1, 2, 3]


BUDGETS = 'budget = ["5usd/day", "3000000tok/month", "6usd/session"]\n' + OWN


def budgets(program: Program, *arguments: str) -> list[dict[str, Any]]:
    done = program.run("usage", "--budget", "--output-format", "ndjson", *arguments)
    assert done.status == 0
    return done.events


def test_each_budget_is_told_with_what_is_spent_held_and_left(program: InProcess) -> None:
    write_ledger(program, entry(now()), entry(now(), session="trip"))
    (program.home / "config.toml").write_text(BUDGETS)
    day, month = budgets(program)
    assert [day[name] for name in ("budget", "unit", "amount", "spent", "reserved", "left")] == [
        "5usd/day", "usd", 5, 6, 0, 0,
    ]  # fmt: skip
    assert [month[name] for name in ("unit", "spent", "left")] == ["tok", 4_000_000, 0]
    renews = datetime.fromisoformat(day["renews"])
    assert (renews.hour, renews.minute, renews > datetime.now(UTC)) == (0, 0, True)
    of_session = budgets(program, "trip", "other")[2:]
    assert [(each["session"], each["spent"], each["left"]) for each in of_session] == [
        ("trip", 3, 3),
        ("other", 0, 6),
    ]
    assert of_session[0]["renews"] is None
    text = program.run("usage", "--budget", "trip")
    assert [row[:6] for row in rows(text)] == [
        ["5usd/day", "-", "5", "6", "0", "0"],
        ["3000000tok/month", "-", "3000000", "4000000", "0", "0"],
        ["6usd/session", "trip", "6", "3", "0", "3"],
    ]
    table = program.run("usage", "--budget", "--output-format", "csv").stdout.decode()
    assert next(csv.DictReader(table.splitlines()))["left"] == "0"
    lines = on_terminal(program, 100, "--budget", "trip")
    assert lines[0].split() == ["budget", "session", "renews", "spent", "reserved", "left"]
    assert lines[3].split() == ["6usd/session", "trip", "never", "$3.00", "$0.00", "$3.00"]


def test_budgets_are_those_of_the_profile_and_the_environment(program: Program) -> None:
    text = 'budget = ["1usd/day"]\n[profiles.night]\nbudget = ["2usd/month"]\n'
    (program.home / "config.toml").write_text(text)
    assert [each["budget"] for each in budgets(program)] == ["1usd/day"]
    assert [each["budget"] for each in budgets(program, "--profile", "night")] == ["2usd/month"]
    env = {"PIPECHAT_BUDGET": "7tok/day"}
    assert rows(program.run("usage", "--budget", env=env))[0][0] == "7tok/day"


@pytest.mark.parametrize("output_format", FORMATS)
def test_without_a_budget_that_is_said_and_beside_what_was_used_it_is_refused(
    program: Program, output_format: str
) -> None:
    how = ("--output-format", output_format)
    done = program.run("usage", "--budget", *how)
    assert (done.status, b"there is no budget" in done.stderr) == (0, True)
    others = (("--by", "day"), ("--since", "1d"), ("--until", "1d"), ("--sessions",), ("./f",))
    for other in others:
        refused = program.run("usage", "--budget", *other, *how)
        assert (refused.status, refused.stdout) == (2, b"")
    (program.home / "config.toml").write_text('budget = ["1usd/day"]\nledger = false\n')
    off = program.run("usage", "--budget", *how)
    assert (off.status, off.code, off.stdout) == (3, "no_ledger", b"")


def test_what_was_asked_is_told_with_the_price_of_the_model_that_was_asked_or_answered(
    program: Program,
) -> None:
    write_ledger(program)
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "-m", "mine")
        assert program.run(*ask, "--session", "trip", "hello").status == 0
        assert program.run(*ask, "hello").status == 0
    cost = (USAGE["prompt_tokens"] + 2 * USAGE["completion_tokens"]) / MILLION
    *found, total = records(program, "--by", "session,endpoint")
    assert [each["session"] for each in found] == [None, "trip"]
    assert {each["endpoint"] for each in found} == {server.url.split("/")[2]}
    assert [each["cost_usd"] for each in (*found, total)] == [cost, cost, 2 * cost]
