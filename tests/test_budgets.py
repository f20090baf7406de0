"""--budget: nothing is sent that could take more than what is left, by however many processes."""

import json
import os
import random
import re
import signal
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipechat.ledger import listed_prices
from pipechat.ledger.account import append
from pipechat.messages import new_turn_id, now
from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    Reply,
    Request,
    Reset,
    Script,
    Stall,
    answer,
    answer_events,
    error_reply,
    event,
    http_reply,
    stream_reply,
    usage_chunk,
)
from tests.test_ledger import lines

pytestmark = pytest.mark.in_process
FORMATS = pytest.mark.parametrize("output_format", ["text", "ndjson"])
OF_ONE = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
LIMIT = ("--max-tokens", "50")
OWN_PRICE = '[prices."m"]\ninput = 1000\noutput = 1000\n'  # a tenth of a cent a token


def spend(home: Path, tokens: int, *, at: str | None = None, **more: Any) -> None:
    """Put a request into the ledger that took so many tokens."""
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    line = {"v": 1, "at": at or now(), "turn": new_turn_id(), "host": "h", "api": "chat"}
    line |= {"model": "m", "usage": usage, "status": "complete", **more}
    append(str(home / "ledger"), [line])


def left_over(home: Path) -> list[str]:
    """What of requests in flight is there still."""
    return [path.name for path in (home / "ledger").iterdir() if ".hold" in path.name]


SPENT = {
    "tokens of a day": ("1000tok/day", "", {}),
    "tokens of a month": ("1000tok/month", "", {}),
    "tokens of a session": ("1000tok/session", "", {"session": "s"}),
    "money of a day": ("1usd/day", OWN_PRICE, {}),
    "money of a month": ("1.00usd/month", OWN_PRICE, {}),
    "money of a session": ("1usd/session", OWN_PRICE, {"session": "s"}),
}


@FORMATS
@pytest.mark.parametrize("kind", SPENT)
def test_a_budget_that_is_spent_sends_nothing_exits_8_and_says_when_it_renews(
    program: Program, kind: str, output_format: str
) -> None:
    said, prices, more = SPENT[kind]
    (program.home / "config.toml").write_text(prices)
    spend(program.home, 950, **more)
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "-m", "m", "--session", "s", *LIMIT)
        result = program.run(
            *ask, "--budget", said, "--output-format", output_format, "hello", events=True
        )
        assert (result.status, result.code) == (8, "budget_spent")
        assert server.requests == []
    message = result.stderr.decode()
    assert f"{said} (--budget)" in message
    tomorrow = datetime.now() + timedelta(days=1)
    first = (datetime.now().replace(day=1) + timedelta(days=31)).replace(day=1)
    renewal = {"day": f"{tomorrow:%Y-%m-%d} at 00:00", "month": f"{first:%Y-%m-%d} at 00:00"}
    assert renewal.get(said.split("/")[1], "never renews") in message
    if output_format == "ndjson":
        (event,) = result.events
        assert (event["type"], event["exit_code"]) == ("error", 8)
    assert not (program.home / "sessions" / "s.jsonl").exists()
    assert left_over(program.home) == []


@pytest.mark.parametrize("kind", SPENT)
def test_what_is_left_is_spent_and_no_more(program: Program, kind: str) -> None:
    said, prices, more = SPENT[kind]
    (program.home / "config.toml").write_text(prices)
    spend(program.home, 650, **more)
    with ChatServer(answer("so", usage=OF_ONE)) as server:
        ask = ("ask", "--base-url", server.url, "-m", "m", "--session", "s", *LIMIT)
        # 125 at most each: 650, 750, 850 leave room for it, 950 does not.
        statuses = [program.run(*ask, "--budget", said, "hello").status for _ in range(4)]
        assert statuses == [0, 0, 0, 8]
        assert len(server.requests) == 3


def test_what_is_of_other_days_sessions_or_months_does_not_count(program: Program) -> None:
    yesterday = (datetime.now().astimezone() - timedelta(days=1)).isoformat()
    long_ago = "2020-01-31T23:00:00.000Z"
    from pipechat.ledger.periods import stamp

    spend(program.home, 990, at=long_ago)
    spend(program.home, 990, at=stamp(datetime.fromisoformat(yesterday)), session="other")
    budgets = ("--budget", "1000tok/day", "--budget", "1000tok/session")
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "--session", "s", *LIMIT, *budgets, "hello")
        assert program.run(*ask).status == 0


@FORMATS
def test_a_request_that_no_budget_would_ever_let_go_is_told_so(
    program: Program, output_format: str
) -> None:
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "--budget", "1000tok/day", "hello")
        result = program.run(*ask, "--output-format", output_format)
        assert (result.status, result.code) == (8, "budget_spent")
        assert b"more than all of 1000tok/day" in result.stderr
        assert server.requests == []
        (program.home / "config.toml").write_text("budget_max_tokens = 100\n")
        assert program.run(*ask).status == 0


def test_of_several_budgets_each_holds(program: Program) -> None:
    spend(program.home, 550)
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT)
        for budgets, status in (
            (("10000tok/day", "600tok/month"), 8),
            (("600tok/day", "10000tok/month"), 8),
            (("700tok/day", "700tok/month"), 0),
        ):
            words = [word for each in budgets for word in ("--budget", each)]
            assert program.run(*ask, *words, "hello").status == status


@pytest.mark.parametrize("where", ["file", "profile", "variable", "flag"])
def test_a_budget_holds_wherever_it_was_set_and_is_named_by_it(
    program: Program, where: str
) -> None:
    config = program.home / "config.toml"
    spend(program.home, 950)
    one = "1000tok/month"
    if where in ("file", "profile"):
        table = "[profiles.p]\n" if where == "profile" else ""
        config.write_text(f'{table}budget = ["9999999tok/day", "{one}"]\n')
    arguments = {"profile": ("--profile", "p"), "flag": ("--budget", one)}.get(where, ())
    env = {"PIPECHAT_BUDGET": f"9999999tok/day\n{one}"} if where == "variable" else {}
    names = {"file": "config.toml: budget", "profile": "profiles.p.budget"}
    named_by = names.get(where) or {"variable": "PIPECHAT_BUDGET", "flag": "--budget"}[where]
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, *arguments, "hello")
        result = program.run(*ask, env=env)
        assert (result.status, result.code) == (8, "budget_spent")
        assert named_by in result.stderr.decode()
        assert program.run(*ask[:-1], "--budget", "none", "hello", env=env).status == 0


@pytest.mark.parametrize(
    "said",
    [
        "5",
        "5usd",
        "5eur/day",
        "usd/day",
        "1.5tok/day",
        "0usd/day",
        "-1usd/day",
        "5usd/week",
        "1e3usd/day",
        "٥tok/day",
        "5²tok/day",
    ],
)
def test_what_is_no_budget_is_refused_by_its_name(program: Program, said: str) -> None:
    result = program.run("ask", f"--budget={said}", "hello")
    assert (result.status, result.code) == (2, "bad_option")
    assert b"--budget" in result.stderr
    if said not in ("1.5tok/day", "0usd/day"):  # which are one, and cannot hold
        assert f"'{said}' is no budget such as 5usd/day, 200000tok/month" in result.stderr.decode()
    (program.home / "config.toml").write_text(f'budget = ["{said}"]\n')
    assert program.run("ask", "hello").status == 3


def test_a_budget_without_a_ledger_is_refused_and_not_passed_over(program: Program) -> None:
    (program.home / "config.toml").write_text("ledger = false\n")
    with ChatServer(answer("so")) as server:
        for command in (("ask", "hello"), ("chat",)):
            words = (command[0], "--base-url", server.url, "--budget", "5usd/day", *command[1:])
            result = program.run(*words, input=b"hello\n", events=False)
            assert (result.status, result.code) == (3, "no_ledger")
        assert server.requests == []


@FORMATS
def test_a_model_without_a_price_is_refused_under_a_budget_of_money(
    program: Program, output_format: str
) -> None:
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "-m", "nobody-knows", "--budget", "5usd/day")
        result = program.run(*ask, "--output-format", output_format, "hello")
        assert (result.status, result.code) == (3, "no_price")
        there = f"nobody-knows has no known price at {server.origin().partition('//')[2]}, and"
        assert there in result.stderr.decode()
        assert server.requests == []


@pytest.mark.parametrize("period", ["day", "month", "session"])
def test_what_had_no_price_counts_as_soon_as_the_list_of_prices_is_there(
    program: Program, monkeypatch: pytest.MonkeyPatch, period: str
) -> None:
    (program.home / "config.toml").write_text(OWN_PRICE)
    used = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    spend(program.home, 1, session="s", model="gpt-5.4", host="api.openai.com", usage=used)
    with ChatServer(answer("so", usage=OF_ONE)) as server:
        say = ("--session", "s", "--budget", f"1usd/{period}", "hello")
        ask = ("ask", "--base-url", server.url, "-m", "m", *LIMIT, *say)
        with monkeypatch.context() as patched:
            patched.setattr(listed_prices, "is_installed", lambda: False)
            assert program.run(*ask).status == 0
        assert program.run(*ask).status == 8
        assert len(server.requests) == 1


def test_what_has_no_price_is_told_of_and_does_not_count_as_nothing(program: Program) -> None:
    (program.home / "config.toml").write_text(OWN_PRICE)
    spend(program.home, 10, model="free-of-charge")
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "-m", "m", *LIMIT, "--budget", "5usd/day", "hello")
        result = program.run(*ask)
    assert result.status == 0
    assert b"1 request has no price" in result.stderr


UNPRICED: dict[str, dict[str, Any]] = {
    "another tier": {"tier": "gold"},
    "another tier of another name": {"tier": "flex", "model": "m-2026", "asked": "m"},
    "sound": {"usage": {"prompt_tokens": 900, "completion_tokens": 50,
                        "completion_tokens_details": {"audio_tokens": 50}}},
    "both": {"tier": "gold", "usage": {"prompt_tokens": 950, "completion_tokens": 0,
                                       "prompt_tokens_details": {"audio_tokens": 5}}},
}  # fmt: skip


@FORMATS
@pytest.mark.parametrize("kind", UNPRICED)
def test_an_answer_of_a_tier_or_a_kind_without_a_price_counts_by_the_models_own(
    program: Program, kind: str, output_format: str
) -> None:
    (program.home / "config.toml").write_text(OWN_PRICE)
    spend(program.home, 950, **UNPRICED[kind])
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "-m", "m", *LIMIT, "--budget", "1usd/day", "hello")
        result = program.run(*ask, "--output-format", output_format, events=True)
        assert (result.status, result.code) == (8, "budget_spent")
        assert b"$0.95 of 1usd/day" in result.stderr
        assert server.requests == []


def test_an_answer_that_told_no_usage_counts_by_its_bound_and_that_is_told(
    program: Program,
) -> None:
    with ChatServer(stream_reply(*answer_events("half")[:3], Close())) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "hello")
        result = program.run(*ask)
        assert result.status == 6
        (line,) = lines(program.home)
        bound = sum(line["bound"])
        assert bound > 50
        assert f"{bound} tokens are counted" in result.stderr.decode()
        spend(program.home, 1000 - 2 * bound)
        assert program.run(*ask).status == 6  # exactly what is left
        assert program.run(*ask).status == 8
        assert len(server.requests) == 2


SO_FAR = event(usage_chunk({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}))
BROKEN: dict[str, tuple[Any, ...]] = {
    "ended": (SO_FAR, Close()),
    "reset": (SO_FAR, Reset()),
    "ended between two chunks": (SO_FAR, *answer_events("half")[2:4], SO_FAR, Close()),
    "told an error": (SO_FAR, {"error": {"message": "overloaded", "code": 503}}, Close()),
}


@FORMATS
@pytest.mark.parametrize("kind", BROKEN)
def test_what_was_counted_before_an_answer_broke_off_is_not_what_it_took(
    program: Program, kind: str, output_format: str
) -> None:
    with ChatServer(stream_reply(*answer_events("half")[:3], *BROKEN[kind])) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--retries", "0", "--budget", "999tok/day")
        result = program.run(*ask, "hello", "--output-format", output_format, events=True)
    assert result.status not in (0, 8)
    (line,) = lines(program.home)
    assert line["usage"] is None
    assert sum(line["bound"]) > 50


def test_of_an_answer_that_is_counted_with_every_chunk_the_last_count_stands(
    program: Program,
) -> None:
    *text, end, usage, done = answer_events("all of it", usage=OF_ONE)
    for order in ([end, usage, done], [usage, end, done], [usage, end]):
        with ChatServer(stream_reply(*text[:2], SO_FAR, *text[2:], SO_FAR, *order)) as server:
            ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "999tok/day", "hello")
            assert program.run(*ask).status == 0
        assert lines(program.home)[-1]["usage"] == OF_ONE


def test_a_refusal_costs_nothing_and_a_retry_is_a_request_of_its_own(program: Program) -> None:
    with ChatServer([error_reply(503, "later"), answer("so", usage=OF_ONE)]) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "hello")
        assert program.run(*ask).status == 0
        spend(program.home, 1000 - 100 - 150)
        assert program.run(*ask).status == 0
    assert [line["usage"] is None for line in lines(program.home)] == [True, False, False, False]


def test_where_there_is_no_room_for_another_try_the_first_failure_stands(
    program: Program,
) -> None:
    spend(program.home, 850)
    lost = stream_reply(Close())
    with ChatServer(lost) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "hello")
        result = program.run(*ask, "--retries", "3", "-v")
        assert result.status == 5
        assert b"not asked again" in result.stderr
        assert len(server.requests) == 1


def test_a_fallback_to_a_profile_with_a_budget_of_its_own_is_refused_unless_one_is_given(
    program: Program,
) -> None:
    with ChatServer([error_reply(503, "no"), answer("so")]) as server:
        other = f'[profiles.p]\nbase_url = "{server.url}"\nbudget = ["5usd/day"]\n'
        (program.home / "config.toml").write_text(other)
        ask = ("ask", "--base-url", server.url, "--retries", "0", "--fallback", "p", *LIMIT)
        result = program.run(*ask, "hello")
        assert (result.status, result.code) == (3, "bad_config")
        assert server.requests == []
        assert program.run(*ask, "--budget", "1000tok/day", "hello").status == 0
    assert len(lines(program.home)) == 2


def test_every_question_of_a_chat_is_held_to_the_budget(program: Program) -> None:
    spend(program.home, 700)
    with ChatServer(answer("so", usage=OF_ONE)) as server:
        chat = ("chat", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day")
        result = program.run(*chat, input=b"one\ntwo\nthree\nfour\n", events=False)
        assert result.status == 8
        assert len(server.requests) == 2
    assert result.stderr.count(b"budget_spent") == 2


def test_a_budget_of_sessions_needs_one_as_a_flag_and_else_waits_for_one(
    program: Program,
) -> None:
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "hello")
        result = program.run(*ask, "--budget", "1000tok/session")
        assert (result.status, result.code) == (2, "bad_option")
        assert b"--session" in result.stderr
        (program.home / "config.toml").write_text('budget = ["1tok/session"]\n')
        assert program.run(*ask).status == 0
        assert program.run(*ask, "--session", "s").status == 8


def _unkeepable(home: Path, kind: str) -> None:
    folder = home / "ledger"
    if kind == "a file in its place":
        folder.write_text("")
        return
    folder.mkdir()
    name = {"ledger is a link": f"{now()[:7]}.jsonl", "lock is a link": ".lock"}[kind]
    (folder / name).symlink_to(home / "elsewhere")


@FORMATS
@pytest.mark.parametrize("kind", ["a file in its place", "ledger is a link", "lock is a link"])
def test_nothing_is_sent_that_a_budget_could_not_count(
    program: Program, kind: str, output_format: str
) -> None:
    _unkeepable(program.home, kind)
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "hello")
        result = program.run(*ask, "--output-format", output_format)
        assert (result.status, result.code) == (9, "ledger_unwritable")
        assert server.requests == []


STATES = {
    "missing": None,
    "empty": b"",
    "torn": b"12345678 [",
    "somebody's": b'00000000 ["","","","",0,0,0,0]',
    "of another ledger": b"x",
}


@pytest.mark.parametrize("state", STATES)
def test_a_count_that_is_missing_torn_or_wrong_is_made_anew(program: Program, state: str) -> None:
    with ChatServer(answer("so", usage=OF_ONE)) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "hello")
        assert program.run(*ask).status == 0
        (count,) = (program.home / "ledger").glob(".*.spent")
        spend(program.home, 850)
        content = STATES[state]
        if state == "of another ledger":
            (month,) = (program.home / "ledger").glob("*.jsonl")
            whole = month.read_bytes()
            month.unlink()
            month.write_bytes(whole.replace(b"\n", b"\n" * 2))
        elif content is None:
            count.unlink()
        else:
            count.write_bytes(content)
        assert program.run(*ask).status == 8
        assert len(server.requests) == 1


def test_a_torn_or_foreign_line_of_the_ledger_is_passed_over(program: Program) -> None:
    spend(program.home, 100)
    (month,) = (program.home / "ledger").glob("*.jsonl")
    with month.open("ab") as file:
        file.write(b'{"v":1,"at":"20\n[]\n{"v":2}\nnull\n{"v":1,"at":1}\n{"v":1,"at"')
    spend(program.home, 850)
    with ChatServer(answer("so", usage=OF_ONE)) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "hello", "--budget")
        assert program.run(*ask, "1000tok/day").status == 8
        assert program.run(*ask, "1100tok/day").status == 0
        (mine,) = [json.loads(each) for each in month.read_text().splitlines()[-1:]]
        assert mine["usage"] == OF_ONE


def _bytes_read(monkeypatch: pytest.MonkeyPatch, run: Any) -> int:
    read = 0
    real = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        nonlocal read
        data = real(fd, size, offset)
        read += len(data)
        return data

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", counted)
        assert run().status == 0
    return read


@pytest.mark.parametrize("budget", ["1000000000tok/day", "100000usd/day", "100000usd/session"])
def test_a_budget_reads_the_same_of_a_ledger_of_100_lines_and_of_100_000(
    program: Program, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    prices = "".join(f'[prices."model-{number}"]\ninput = 1\noutput = 1\n' for number in range(99))
    (program.home / "config.toml").write_text(prices.replace("model-7", "m"))
    spend(program.home, 1, session="s")
    (month,) = (program.home / "ledger").glob("*.jsonl")
    line = month.read_bytes()
    read = []
    with ChatServer(answer("so", usage=OF_ONE)) as server:
        say = ("--session", "s", "--budget", budget, "hello")
        ask = ("ask", "--base-url", server.url, "-m", "m", *LIMIT, *say)
        for count in (100, 20_000):
            month.write_bytes(line * count)
            for _ in range(2):
                assert program.run(*ask).status == 0
            (program.home / "sessions" / "s.jsonl").unlink()  # whose turns are read as well
            read.append(_bytes_read(monkeypatch, lambda: program.run(*ask)))
    assert max(read) - min(read) < 20  # the digits of an offset
    assert max(read) < 4096


@pytest.mark.in_process(False)
def test_what_a_killed_process_held_is_free_and_what_it_sent_counts_by_its_bound(
    program: Program,
) -> None:
    with ChatServer(stream_reply(Stall())) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "hello")
        killed = program.start(*ask, "--no-stdin")
        server.wait_for_requests(1)
        spend(program.home, 850)
        held = program.run(*ask)  # while it lives its bound is held
        assert held.status == 8
        assert re.search(rb"\d+ tokens are held by what is in flight", held.stderr)
        killed.kill()
        program.finish(killed)
        server.play(answer("so", usage=OF_ONE))
        assert program.run(*ask).status == 8  # it was sent, and may cost that
        assert left_over(program.home) == []
        assert b"in flight" not in program.run(*ask).stderr
    sent = [line for line in lines(program.home) if "bound" in line]
    assert [line["status"] for line in sent] == ["partial"]


def _rows(count: int) -> bytes:
    rows = ({"id": f"i{n}", "question": "hello"} for n in range(count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("jobs", ["1", "8"])
def test_a_batch_asks_what_the_budget_lets_it_and_the_next_run_goes_on(
    program: Program, jobs: str
) -> None:
    out = program.home / "out.jsonl"
    less = {"prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 70}
    with ChatServer(answer("so", usage=less)) as server:
        run = ("batch", "run", "-", "-o", out, "--base-url", server.url, "-j", jobs, *LIMIT)
        result = program.run(*run, "--budget", "735tok/day", input=_rows(20), events=False)
        assert (result.status, result.code) == (8, "budget_spent")
        # Each takes less than it is held for: what is given back is asked for again.
        assert len(server.requests) == 10
        records = [json.loads(line) for line in out.read_text().splitlines()]
        assert [record["status"] for record in records] == ["complete"] * 10
        assert left_over(program.home) == []
        result = program.run(*run, "--budget", "1470tok/day", input=_rows(20), events=False)
        assert result.status == 0
        assert len(server.requests) == 20


def test_of_an_item_that_may_not_be_tried_again_the_failure_stands(program: Program) -> None:
    spend(program.home, 850)
    with ChatServer([answer("no JSON", usage=OF_ONE), answer('{"name":"x"}')]) as server:
        out = program.home / "out.jsonl"
        run = ("batch", "run", "-", "-o", out, "--base-url", server.url, *LIMIT)
        schema = ("--schema", "name", "--schema-retries", "2")
        budget = ("--budget", "1050tok/day")
        result = program.run(*run, *schema, *budget, input=_rows(1), events=False)
        assert len(server.requests) == 1
    assert result.status == 10
    (record,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert record["usage"] == OF_ONE
    assert record["attempts"] == 1


@pytest.mark.parametrize("origin", ["flag", "file"])
def test_a_batch_at_the_provider_is_refused_under_a_budget(program: Program, origin: str) -> None:
    budget = ("--budget", "5usd/day") if origin == "flag" else ()
    if origin == "file":
        (program.home / "config.toml").write_text('budget = ["5usd/day"]\n')
    with ChatServer(answer("so")) as server:
        submit = ("batch", "submit", "-", "-o", program.home / "o", "--base-url", server.url)
        result = program.run(*submit, *budget, input=_rows(1), events=False)
        assert (result.status, result.code) == (2, "bad_option")
        assert b"batch run" in result.stderr
        assert server.requests == []


def test_a_budget_of_sessions_as_a_flag_of_a_batch_is_refused(program: Program) -> None:
    with ChatServer(answer("so")) as server:
        run = ("batch", "run", "-", "--base-url", server.url, "--budget", "5000tok/session")
        result = program.run(*run, input=_rows(1), events=False)
        assert (result.status, result.code) == (2, "bad_option")
        assert server.requests == []


def _bound(program: Program, ask: tuple[str, ...]) -> int:
    """What one request of `ask` is held for, in tokens."""
    body = program.run(*ask, "--dry-run").stdout.rstrip(b"\n")
    return -(-len(body) // 3) + int(LIMIT[1])


def _storm(program: Program, processes: int, room: int, killed: int) -> list[int]:
    """Start so many processes at once against a budget with `room` for some, and kill some at
    random; what must hold whatever happens is checked. The exit statuses of the others."""
    chance = random.Random(7)
    ask: tuple[str, ...] = ("ask", "--no-stdin", *LIMIT, "hello")
    bound = _bound(program, ask)
    usage = {"prompt_tokens": bound - 50, "completion_tokens": 50, "total_tokens": bound}
    with ChatServer(answer("so it is", usage=usage, gap=0.05)) as server:
        ask = (*ask, "--base-url", server.url, "--budget", f"{room * bound}tok/day")
        started = [program.start(*ask) for _ in range(processes)]
        for process in chance.sample(started, killed):
            time.sleep(chance.uniform(0, 2.0 / killed))
            process.kill()
        statuses = [program.finish(process).status for process in started]
        assert len(server.requests) <= room
        if not killed:
            assert len(server.requests) == room
        while (last := program.run(*ask)).status == 0:
            assert len(server.requests) <= room
        assert last.status == 8
        assert b"in flight" not in last.stderr
    assert left_over(program.home) == []
    kept = lines(program.home)  # each of them can be read
    assert len({line["turn"] for line in kept}) == len(kept) == room
    return [status for status in statuses if status != 128 + signal.SIGKILL]


def test_of_processes_at_once_only_as_many_send_as_the_budget_has_room_for(
    program: Program,
) -> None:
    assert set(_storm(program, processes=8, room=3, killed=3)) <= {0, 8}


@pytest.mark.storm
def test_of_fifty_processes_twenty_send_and_thirty_exit_8(program: Program) -> None:
    statuses = _storm(program, processes=50, room=20, killed=0)
    assert (statuses.count(0), statuses.count(8)) == (20, 30)


@pytest.mark.storm
def test_of_fifty_processes_of_which_a_third_is_killed_never_more_than_twenty_send(
    program: Program,
) -> None:
    assert set(_storm(program, processes=50, room=20, killed=17)) <= {0, 8}


def _breaking_the_ledger(home: Path, reply: Reply) -> Script:
    """Answers, and on the way puts a link in the place of the month's file."""

    def choose(_request: Request) -> Reply:
        for month in (home / "ledger").glob("2*.jsonl"):
            if not month.is_symlink():
                month.rename(home / "moved")
                month.symlink_to(home / "moved")
        return reply

    return choose


@FORMATS
def test_an_answer_that_can_no_longer_be_counted_stays_and_exits_9(
    program: Program, output_format: str
) -> None:
    spend(program.home, 1)
    with ChatServer(_breaking_the_ledger(program.home, answer("so", usage=OF_ONE))) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "--budget", "1000tok/day", "--session", "s")
        result = program.run(*ask, "--output-format", output_format, "hello")
        assert (result.status, result.code) == (9, "ledger_unwritable")
        assert b"so" in result.stdout
        assert program.records("s")[0]["answer"] == "so"
        assert program.run(*ask, "hello").status == 9
        assert len(server.requests) == 1


@pytest.mark.in_process(False)
def test_what_could_not_be_counted_is_counted_by_the_next_process_that_can(
    program: Program,
) -> None:
    spend(program.home, 1)
    with ChatServer(_breaking_the_ledger(program.home, answer("so", usage=OF_ONE))) as server:
        ask = ("ask", "--base-url", server.url, *LIMIT, "hello", "--budget")
        assert program.run(*ask, "1000tok/day").status == 9
        (month,) = (program.home / "ledger").glob("2*.jsonl")
        month.unlink()
        (program.home / "moved").rename(month)
        assert program.run(*ask, "150tok/day").status == 8
    _, settled = lines(program.home)
    assert settled["bound"]
    assert left_over(program.home) == []


def test_answers_of_a_batch_that_can_no_longer_be_counted_are_kept(program: Program) -> None:
    spend(program.home, 1)
    out = program.home / "out.jsonl"
    with ChatServer(_breaking_the_ledger(program.home, answer("so", usage=OF_ONE))) as server:
        run = ("batch", "run", "-", "-o", out, "--base-url", server.url, *LIMIT, "-j", "1")
        result = program.run(*run, "--budget", "9999tok/day", input=_rows(5), events=False)
    assert (result.status, result.code) == (9, "ledger_unwritable")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) == len(server.requests) >= 1


def test_items_that_wait_for_room_do_not_wait_for_each_other(program: Program) -> None:
    lost = http_reply(200, Close(), content_type="application/json", length=100)
    with ChatServer(lost) as server:
        run = ("batch", "run", "-", "--base-url", server.url, *LIMIT, "-j", "4")
        budget = ("--retries", "2", "--budget", "500tok/day")
        result = program.run(*run, *budget, input=_rows(4), events=False)
        assert result.status in (8, 10)
        assert len(server.requests) <= 6
