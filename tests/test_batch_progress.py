"""How a batch is getting on: a live line for a person, and nothing of it left at the end."""

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.batch.summary import Summary
from pipechat.commands.batch_progress import Extent, live_text
from pipechat.errors import Interrupted, OutputError, PipechatError
from tests.in_process import InProcess
from tests.program import Program
from tests.properties import MODEST, cut, cut_points
from tests.pseudo_terminal import AtTerminal
from tests.screen import Screen
from tests.servers import ChatServer, Reply, Request, Wait, completion, error_reply, json_reply

LIVE = re.compile(r"in flight|\d+ done| of ~?\d+, ")
SUMMARY = re.compile(r"pipechat: 20 complete, 0 failed, 0 tokens; [\d.]+ s\n")


def summary(**counts: Any) -> Summary:
    codes = Counter(counts.pop("codes", {}))
    skipped = Counter(counts.pop("skipped", {}))
    usage = Counter(counts.pop("usage", {}))
    return Summary(**counts, codes=codes, skipped=skipped, usage=usage)


def extent(size: int | None, *blocks: bytes, ended: bool = False) -> Extent:
    found = Extent(size)
    taken = found.of(iter(blocks))
    for _ in blocks:
        next(taken)
    if ended:
        assert next(taken, None) is None
    return found


@pytest.mark.parametrize(
    ("found", "items"),
    [
        (extent(None), None),
        (extent(None, b"a\nb\n"), None),
        (extent(None, b"a\nb\n", ended=True), (2, True)),
        (extent(None, b"a\nb", ended=True), (2, True)),
        (extent(8, b"a\nb\n"), (4, False)),
        (extent(8, b"a\nb\n", b"c\nd\n"), (4, True)),
        (extent(4, b"a\nb\n", b"it grew\n"), (3, True)),
        (extent(0, ended=True), (0, True)),
        (extent(8), None),
    ],
)
def test_how_many_items_there_are_is_told_by_what_was_read(
    found: Extent, items: tuple[int, bool] | None
) -> None:
    assert found.items == items


@MODEST
@given(st.lists(st.sampled_from(["a", "bc", "longer"]), min_size=1), st.booleans(), cut_points)
def test_at_the_end_of_an_input_its_lines_are_counted_whatever_its_blocks(
    lines: list[str], newline: bool, points: list[int]
) -> None:
    data = ("\n".join(lines) + "\n" * newline).encode()
    blocks = [block for block in cut(data, points) if block]
    assert extent(len(data), *blocks, ended=True).items == (len(lines), True)


@pytest.mark.parametrize(
    ("counts", "seconds", "found", "text"),
    [
        ({}, 0.0, extent(None), "0 done, 0.0/s, 0 in flight"),
        ({"complete": 50, "in_flight": 16}, 10, extent(None), "50 done, 5.0/s, 16 in flight"),
        (
            {"complete": 1, "failed": 1, "codes": {"cut": 1}, "in_flight": 2},
            2,
            extent(8, b"a\nb\n"),
            "2 of ~4, 1.0/s, 2 s left, 1 failed (1 cut), 2 in flight",
        ),
        (
            {"complete": 1000, "skipped": {"complete": 200}, "usage": {"total_tokens": 12345}},
            100,
            extent(None, b"a\n" * 9200, ended=True),
            "1,200 of 9,200, 10.0/s, 13 min left, 0 in flight, 12,345 tokens, 200 skipped",
        ),
        (
            {"complete": 10, "in_flight": 5},
            10,
            extent(4, b"a\nb\n"),
            "10 of 15, 1.0/s, 5 s left, 5 in flight",
        ),
        (
            {"complete": 10},
            100,
            extent(None, b"a\n" * 1000, ended=True),
            "10 of 1,000, 0.1/s, 2.8 h left, 0 in flight",
        ),
    ],
)
def test_the_line_says_how_far_it_is_how_fast_and_how_long_it_will_take(
    counts: dict[str, Any], seconds: float, found: Extent, text: str
) -> None:
    assert live_text(summary(**counts), seconds, found) == text


def slow(request: Request) -> Reply:
    reply = json_reply(200, completion(request.question, usage=None))
    return Reply((Wait(0.05), *reply.steps), keep_alive=True)


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.ndjson"
    path.write_text("".join(json.dumps({"question": f"q{n}"}) + "\n" for n in range(20)))
    return path


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipechat.commands.batch_progress._LIVE_EVERY_S", 0.02)


def run(
    program: Program, server: ChatServer, source: Path, *more: str, terminals: str = "stderr",
    columns: int = 80, input: bytes = b"", env: dict[str, str] | None = None,
) -> tuple[Screen, Any]:  # fmt: skip
    """A run at a terminal: what that shows, and the result."""
    assert isinstance(program, InProcess)
    program.terminals = frozenset(terminals.split())
    program.columns = columns
    words = ("batch", "run", str(source), "--base-url", server.url, "-j", "2", *more)
    result = program.run(*words, env={"TERM": "xterm", **(env or {})}, input=input, events=False)
    sent = result.stdout if "stdout" in terminals else result.stderr
    return Screen(columns).feed(sent), result


@pytest.mark.in_process
@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("source", ["file", "-"])
def test_a_person_sees_how_far_it_is_and_at_the_end_the_summary_alone(
    program: Program, items: Path, columns: int, source: str, tmp_path: Path
) -> None:
    name = items if source == "file" else Path("-")
    out = tmp_path / "out.jsonl"
    with ChatServer(slow) as server:
        more = ("-o", str(out))
        screen, result = run(
            program, server, name, *more, columns=columns, input=items.read_bytes()
        )
    assert result.status == 0
    assert re.search(r"\d+ of 20, [\d.]+/s", screen.sent)
    drawn = re.findall(r"\x1b\[2m(.*?)\x1b\[0m", screen.sent)
    assert drawn
    assert max(map(len, drawn)) < columns
    assert re.fullmatch(
        r"pipechat:20complete,0failed,0tokens;[\d.]+s", re.sub(r"\s", "", screen.text)
    )


@pytest.mark.in_process
@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("more", [(), ("--events",), ("--ordered",)])
def test_records_on_the_same_terminal_stand_in_lines_of_their_own(
    program: Program, items: Path, more: tuple[str, ...]
) -> None:
    with ChatServer(slow) as server:
        screen, result = run(
            program, server, items, *more, terminals="stdout stderr", columns=10_000
        )
    assert result.status == 0
    assert LIVE.search(screen.sent)
    *records, last = screen.text.splitlines()
    assert SUMMARY.fullmatch(last + "\n")
    found = [json.loads(record) for record in records]
    assert len(found) == (60 if more == ("--events",) else 20)


@pytest.mark.in_process
@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("terminals", "more", "env"),
    [
        ("stderr", ("-q",), {}),
        ("stderr", (), {"TERM": "dumb"}),
        ("stdout", (), {}),
        ("", (), {}),
    ],
)
def test_who_wants_none_or_has_no_terminal_is_sent_none(
    program: Program, items: Path, terminals: str, more: tuple[str, ...], env: dict[str, str]
) -> None:
    with ChatServer(slow) as server:
        _, result = run(program, server, items, *more, terminals=terminals, env=env)
    assert result.status == 0
    stderr = result.stderr.decode()
    assert stderr == "" if more else SUMMARY.fullmatch(stderr)
    assert b"\x1b" not in result.stdout + result.stderr


@pytest.mark.in_process
@pytest.mark.usefixtures("often")
def test_elsewhere_a_line_comes_now_and_then(
    program: Program, items: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipechat.commands.batch_progress._EVERY_S", 0.1)
    with ChatServer(slow) as server:
        _, result = run(program, server, items, terminals="")
    lines = result.stderr.decode().splitlines()
    assert len(lines) > 1
    assert all(re.match(r"pipechat: \d+ complete, ", line) for line in lines)


@pytest.mark.in_process
@pytest.mark.usefixtures("often")
def test_failures_are_told_by_their_codes_while_it_runs(program: Program, items: Path) -> None:
    def refusing(request: Request) -> Reply:
        bad = error_reply(400) if request.question in ("q0", "q1", "q2") else slow(request)
        return Reply((Wait(0.05), *bad.steps), keep_alive=True)

    with ChatServer(refusing) as server:
        screen, result = run(program, server, items)
    assert result.status == 10
    assert re.search(r"3 failed \(3 \w+\)", screen.sent)
    assert not re.search("in flight", screen.text)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_a_signal_ends_leaves_no_live_line(
    program: Program, items: Path, signum: signal.Signals
) -> None:
    with ChatServer(slow) as server:
        words = ("batch", "run", str(items), "--base-url", server.url, "-j", "1", "--rpm", "60")
        out = str(items.parent / "out.jsonl")
        with AtTerminal(program, *words, "-o", out, env={}) as terminal:
            terminal.wait_for("in flight")
            os.kill(terminal.pid, signum)
            assert terminal.leave() == -signum
            left = Screen().feed(terminal.screen).text
    assert not LIVE.search(left)
    assert re.match(r"pipechat: \d+ complete", left)
    assert f"interrupted: stopped by {signum.name}. Run it again to go on." in left


def test_a_run_that_is_being_stopped_says_what_it_waits_for_and_how_not_to(
    program: Program, items: Path
) -> None:
    def never(_: Request) -> Reply:
        return Reply((Wait(60),))

    with ChatServer(never) as server:
        words = ("batch", "run", str(items), "--base-url", server.url, "-j", "2", "--grace", "60")
        out = str(items.parent / "out.jsonl")
        with AtTerminal(program, *words, "-o", out, env={}) as terminal:
            terminal.wait_for("2 in flight")
            terminal.type("\x03")
            terminal.wait_for("stopping, 2 in flight; Ctrl-C again: at once")
            terminal.type("\x03")
            assert terminal.leave() == -signal.SIGINT


@pytest.mark.parametrize("stopped", [OutputError("output_failed", "full"), Interrupted(15)])
def test_why_it_stops_is_told_once_and_not_while_it_waits(stopped: PipechatError) -> None:
    told = live_text(summary(complete=3, in_flight=1200, stopped=stopped), 2.0, extent(None))
    assert told.startswith("stopping, 1,200 in flight")
    assert ("Ctrl-C" in told) == isinstance(stopped, Interrupted)
