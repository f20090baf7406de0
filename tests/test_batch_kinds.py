"""What an attack on `batch run` found, by kind: each rule with its members."""

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from pipechat.batch.pace import Pace
from pipechat.batch.rows import read_rows
from tests.pace_simulation import Reply as Answered
from tests.pace_simulation import simulate
from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    Reply,
    Request,
    Reset,
    Stall,
    completion,
    cut,
    error_reply,
    json_reply,
    raw_reply,
)
from tests.servers.mirror import mirror
from tests.servers.steps import Wait
from tests.test_batch_processes import slowly, start
from tests.test_batch_run import asked, items, ndjson, records, run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.ndjson"
    path.write_bytes(items(30))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.in_process
@pytest.mark.parametrize("status", [429, 500, 503])
def test_no_wait_goes_beyond_the_time_of_an_item(program: Program, out: Path, status: int) -> None:
    reply = error_reply(status, "later", headers={"retry-after": "3"})
    with ChatServer(reply) as server:
        began = time.monotonic()
        result = run(program, server, items(1), "-o", str(out), "--timeout", "0.5")
        took = time.monotonic() - began
    assert result.status == 10
    # A limit that is told holds for all, and so this one is waited for by the pace.
    assert took < 2.5 or status == 429
    assert [each["error"]["code"] for each in records(out)] == [
        "rate_limited" if status == 429 else "server_error"
    ]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_what_is_held_for_its_order_is_written_when_the_run_is_stopped(
    program: Program, source: Path, out: Path, signum: signal.Signals
) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        reply = whole(request)
        slow = request.question == "question 0"
        return Reply((Wait(60 if slow else 0), *reply.steps), keep_alive=reply.keep_alive)

    with ChatServer(choose) as server:
        process = start(
            program, server, source, "-o", out, "-j", "4", "--ordered", "--grace", "0.5"
        )
        server.wait_for_requests(30)
        process.send_signal(signum)
        result = program.finish(process)
    assert result.status == 128 + signum
    assert [each["item"] for each in records(out)] == [f"i{n}" for n in range(1, 30)]


@pytest.mark.in_process
def test_ordered_is_the_order_of_the_input_with_sessions_too(program: Program, out: Path) -> None:
    names = ["s", "s", "t", None, "s", "t", None, "s"]
    source = ndjson(
        *({"id": str(n), "question": f"q {n}", "session": s} for n, s in enumerate(names))
    )
    for jobs in ("1", "2", "8"):
        with ChatServer(slowly(0.02)) as server:
            result = run(
                program, server, source, "-o", str(out), "--ordered", "-j", jobs, "--fresh"
            )
        assert result.status == 0
        assert [each["item"] for each in records(out)] == [str(n) for n in range(8)]


@pytest.mark.parametrize("more", [("--rpm", "120"), ("--rpm", "60", "--ordered")])
def test_nothing_new_is_sent_once_a_run_is_to_stop(
    program: Program, source: Path, out: Path, more: tuple[str, ...]
) -> None:
    with ChatServer(mirror()) as server:
        process = start(program, server, source, "-o", out, "-j", "8", *more)
        server.wait_for_requests(2)
        process.send_signal(signal.SIGTERM)
        result = program.finish(process)
        count = len(server.requests)
    assert result.status == 128 + signal.SIGTERM
    assert count <= 3, "one may have been on its way"
    assert len(records(out)) == count


@pytest.mark.in_process
@pytest.mark.parametrize(
    "changed", [{"model": "other"}, {"system": "S"}, {"options": {"temperature": 1}}]
)
def test_an_answer_to_another_request_is_not_taken_from_the_session(
    program: Program, out: Path, changed: dict[str, object]
) -> None:
    item = {"id": "a", "question": "q", "session": "s"}
    with ChatServer(mirror()) as server:
        run(program, server, ndjson(item), "-o", str(out))
        result = run(program, server, ndjson({**item, **changed}), "-o", str(out))
        assert len(server.requests) == 2
        fresh = run(program, server, ndjson({**item, **changed}), "-o", str(out), "--fresh")
        assert len(server.requests) == 3
    assert result.status == fresh.status == 0


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (raw_reply(Close()), "connection_lost"),
        (raw_reply(Reset()), "connection_lost"),
        (cut(json_reply(200, completion("half")), 200, "fin"), "connection_lost"),
        (cut(json_reply(200, completion("half")), 200, "rst"), "connection_lost"),
        (cut(json_reply(200, completion("half")), 40, "fin"), "connection_lost"),
    ],
)
@pytest.mark.parametrize("way", ["aio", "threads"])
def test_a_connection_that_breaks_is_told_as_what_it_is_whoever_carried_it(
    program: Program, out: Path, reply: Reply, code: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "threads":
        monkeypatch.setattr("pipechat.client.aio_sender.is_available", lambda _settings: False)
    with ChatServer(reply) as server:
        result = run(program, server, items(1), "-o", str(out), "--retries", "0")
    assert result.status == 10
    [record] = records(out)
    assert record["error"]["code"] == code
    assert "\n" not in record["error"]["message"]
    assert "400" not in record["error"]["message"]


@pytest.mark.in_process
def test_a_server_that_closes_kept_connections_fails_no_item(program: Program, out: Path) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        reply = whole(request)
        return Reply((*reply.steps, Wait(0.003), Close()), keep_alive=False)

    with ChatServer(choose) as server:
        result = run(program, server, items(100), "-o", str(out), "-j", "8")
        again = sum(asked(server).values()) - 100
    assert result.status == 0
    assert again <= 10, "a request that met a closed connection was not read"


class DownFor:
    """Says 429 to everybody for so long, without a word of when."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def ask(self, now: float) -> Answered:
        return Answered(now > self._seconds, {})


@pytest.mark.parametrize("seconds", [5.0, 20.0, 120.0])
def test_a_server_that_was_down_is_used_again_soon_after(seconds: float) -> None:
    run = simulate(DownFor(seconds), seconds=seconds + 40)
    assert run.limited < 64 + seconds, "and it is not hammered meanwhile"
    assert len(run.answered) > 400


@pytest.mark.parametrize("reset", ["1795392000", "1795392000000", "9999d"])
def test_a_reset_that_is_a_time_of_day_or_nonsense_stops_nothing(reset: str) -> None:
    pace = Pace(lambda: 100.0)
    headers = {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": reset,
    }
    pace.went_through(headers, None)
    assert pace.wait_s() == 0


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_mark_at_the_beginning_may_come_in_pieces(at: int) -> None:
    data = b'\xef\xbb\xbf{"question":"q"}\n'
    rows = list(read_rows([data[:at], data[at:]], "ndjson", longest=100))
    assert [row.value for row in rows] == [{"question": "q"}]


def test_a_header_of_many_columns_is_read_once() -> None:
    header = ",".join(f"c{n}" for n in range(50_000))
    rows = list(read_rows([header.encode() + b"\n"], "csv", longest=1 << 20))
    assert rows == []


def test_requests_that_hang_keep_no_others_waiting_whoever_carries_them(
    program: Program, out: Path, tmp_path: Path
) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        return (
            raw_reply(Stall())
            if request.question in ("question 0", "question 1")
            else (whole(request))
        )

    source = tmp_path / "in.ndjson"
    source.write_bytes(items(8))
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'aiohttp' else find(name, *more)\n"
    )
    for path in ("", f"{blocked}:"):
        with ChatServer(choose) as server:
            python_path = path + program.environ()["PYTHONPATH"]
            process = start(
                program, server, source, "-o", out, "-j", "2", "--fresh", "--timeout", "1",
                "--retries", "0", "--workers", "1", env={"PYTHONPATH": python_path},
            )  # fmt: skip
            result = program.finish(process, input=b"")
        assert result.status == 10
        counts = Counter(each["status"] for each in records(out))
        assert counts == {"complete": 6, "failed": 2}


@pytest.mark.parametrize("way", ["named", "stdin", "link"])
def test_the_output_is_never_the_input(program: Program, out: Path, way: str) -> None:
    out.write_bytes(items(3))
    link = out.with_name("link")
    link.symlink_to(out)
    name = {"named": str(out), "stdin": "-", "link": str(link)}[way]
    with ChatServer(mirror()) as server, out.open("rb") as file:
        process = start(program, server, name, "-o", out, stdin=file if way == "stdin" else None)
        result = program.finish(process)
        assert not server.requests
    assert (result.status, result.code) == (2, "bad_option")
    assert out.read_bytes() == items(3)


@pytest.mark.in_process
def test_an_input_that_cannot_be_read_is_told_by_its_name(program: Program) -> None:
    with ChatServer(mirror()) as server:
        result = program.run("batch", "run", "/proc/self/mem", "--base-url", server.url)
    assert (result.status, result.code) == (2, "unreadable_input")
    assert b"/proc/self/mem" in result.stderr


def test_every_row_is_accounted_for(program: Program, source: Path, out: Path) -> None:
    source.write_bytes(items(10) + b"bad\n" + items(12) + b"\n\n[]\n")
    with ChatServer(mirror()) as server:
        process = start(program, server, source, "-o", out, "--output-format", "json")
        result = program.finish(process, input=b"")
    summary = json.loads(result.stdout)
    assert summary["complete"] + summary["failed"] + sum(summary["skipped"].values()) == 24
    assert Counter(each["status"] for each in records(out)) == {"complete": 12, "failed": 2}
