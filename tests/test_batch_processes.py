"""`pipechat batch run` as a process: killed, stopped by signals, left by its reader, talked to by
another program, and slowed by a server's limit."""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program, Result
from tests.servers import ChatServer, Reply, Request, error_reply
from tests.servers.mirror import mirror
from tests.servers.steps import Wait
from tests.test_batch_run import asked, items, ndjson, records

SLOW = 0.05


def start(
    program: Program, server: ChatServer, *more: str | Path, **options: Any
) -> "subprocess.Popen[bytes]":
    return program.start("batch", "run", *more, "--base-url", server.url, **options)


def slowly(seconds: float) -> Any:
    """Whole answers, each after a while."""
    whole = mirror()

    def choose(request: Request) -> Reply:
        reply = whole(request)
        return Reply((Wait(seconds), *reply.steps), keep_alive=reply.keep_alive)

    return choose


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.ndjson"
    path.write_bytes(items(60))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def killed_and_resumed(
    program: Program, source: Path, out: Path, kills: int, seed: int, *more: str
) -> None:
    """Kill runs at random moments, resume until done, and check what must hold."""
    moments = random.Random(seed)
    with ChatServer(slowly(0.01)) as server:
        for _ in range(kills):
            process = start(program, server, source, "-o", out, "-j", "4", *more)
            before = len(server.requests)
            if moments.random() < 0.8:  # the others die while they start
                with_requests = before + moments.randrange(1, 12)
                deadline = time.monotonic() + 20
                while len(server.requests) < with_requests and process.poll() is None:
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
            process.kill()
            process.communicate()
            complete = Counter(r["item"] for r in whole_records(out) if r["status"] == "complete")
            assert not complete or max(complete.values()) == 1
        result = program.finish(start(program, server, source, "-o", out, *more), input=b"")
        again = asked(server)
    assert result.status == 0
    assert not list(out.parent.glob(".out.jsonl*")), "nothing stays behind"
    found = records(out)  # every line parses
    assert Counter(record["item"] for record in found) == Counter(
        {f"i{n}": 1 for n in range(60)}
    ), "none is missing, and no complete one was asked again"
    # At most what was in flight is lost with each kill.
    assert sum(again.values()) <= 60 + 4 * kills


def whole_records(out: Path) -> list[dict[str, Any]]:
    if not out.exists():
        return []
    lines = out.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]


def in_sessions(source: Path) -> None:
    """The same items, each a turn of one of ten sessions."""
    each = (json.loads(line) for line in source.read_bytes().splitlines())
    source.write_bytes(ndjson(*({**item, "session": f"s{item['id'][-1]}"} for item in each)))


def check_sessions(program: Program) -> None:
    """No item is a complete turn of its session twice."""
    turns = [turn for n in range(10) for turn in program.records(f"s{n}")]
    complete = Counter(turn["item"] for turn in turns if turn["status"] == "complete")
    assert complete == Counter({f"i{n}": 1 for n in range(60)})


@pytest.mark.parametrize("more", [(), ("--ordered",)])
def test_runs_that_are_killed_are_resumed_and_ask_nothing_twice(
    program: Program, source: Path, out: Path, more: tuple[str, ...]
) -> None:
    killed_and_resumed(program, source, out, 5, 1, *more)


@pytest.mark.parametrize("more", [(), ("--ordered",)])
def test_runs_that_are_killed_leave_no_turn_twice_in_a_session(
    program: Program, source: Path, out: Path, more: tuple[str, ...]
) -> None:
    in_sessions(source)
    killed_and_resumed(program, source, out, 5, 3, *more)
    check_sessions(program)


@pytest.mark.storm
@pytest.mark.parametrize("more", [(), ("--ordered",)])
def test_fifty_runs_killed_at_random_moments(
    program: Program, source: Path, out: Path, more: tuple[str, ...]
) -> None:
    killed_and_resumed(program, source, out, 50, 2, *more)


@pytest.mark.storm
def test_fifty_runs_of_sessions_killed_at_random_moments(
    program: Program, source: Path, out: Path
) -> None:
    in_sessions(source)
    killed_and_resumed(program, source, out, 50, 4, "--ordered")
    check_sessions(program)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_what_is_in_flight_end_starts_nothing_more_and_kills(
    program: Program, source: Path, out: Path, signum: signal.Signals
) -> None:
    with ChatServer(slowly(0.3)) as server:
        process = start(program, server, source, "-o", out, "-j", "4")
        server.wait_for_requests(6)
        process.send_signal(signum)
        result = program.finish(process)
        count = len(server.requests)
    assert result.status == 128 + signum
    assert count < 60
    found = records(out)
    assert len(found) == count, "all that was asked has ended, and its record is there"
    assert {record["status"] for record in found} == {"complete"}
    assert b"interrupted" in result.stderr


def test_a_second_signal_does_not_wait_for_what_is_in_flight(
    program: Program, source: Path, out: Path
) -> None:
    with ChatServer(slowly(60)) as server:
        process = start(program, server, source, "-o", out, "-j", "4", "--grace", "60")
        server.wait_for_requests(4)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)  # two at once are one: signals do not queue
        process.send_signal(signal.SIGTERM)
        result = program.finish(process)
    assert result.status == 128 + signal.SIGTERM
    assert records(out) == []


def test_grace_is_an_end_for_what_is_in_flight(program: Program, source: Path, out: Path) -> None:
    with ChatServer(slowly(60)) as server:
        process = start(program, server, source, "-o", out, "-j", "4", "--grace", "0.2")
        server.wait_for_requests(4)
        process.send_signal(signal.SIGTERM)
        result = program.finish(process)
    assert result.status == 128 + signal.SIGTERM
    with ChatServer(mirror()) as server:
        assert program.finish(start(program, server, source, "-o", out), input=b"").status == 0
        assert len(server.requests) == 60


def test_a_second_run_on_one_output_says_so(program: Program, source: Path, out: Path) -> None:
    with ChatServer(slowly(60)) as server:
        first = start(program, server, source, "-o", out, "-j", "1", "--grace", "0")
        server.wait_for_requests(1)
        second = program.run("batch", "run", str(source), "-o", str(out), "--base-url", server.url)
        shown = program.run("history", "path")  # nothing else is held up
        first.send_signal(signal.SIGTERM)
        program.finish(first)
        assert len(server.requests) == 1
    assert (second.status, second.code) == (9, "batch_busy")
    assert str(out).encode() in second.stderr
    assert shown.status == 0
    assert not list(out.parent.glob(".out.jsonl*")), "no lock stays behind"


@pytest.mark.parametrize("more", [(), ("--events",)])
def test_a_reader_that_leaves_ends_the_run_quietly(
    program: Program, source: Path, more: tuple[str, ...]
) -> None:
    with ChatServer(slowly(0.05)) as server:
        process = start(program, server, source, "-j", "2", *more)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        result = program.finish(process)
        assert len(server.requests) < 60
    assert result.status == 128 + signal.SIGPIPE
    assert b"reader" not in result.stderr


@pytest.mark.parametrize("more", [(), ("--ordered",)])
def test_a_full_disk_stops_the_run_and_what_was_told_stays(
    program: Program, source: Path, out: Path, more: tuple[str, ...]
) -> None:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    with ChatServer(mirror()) as server:
        process = start(program, server, source, "-o", out, "-j", "2", *more, preexec_fn=limit)
        result = program.finish(process, input=b"")
        full = len(records(out))
        assert b"%d complete" % full in result.stderr, "what was not written is not counted"
        assert result.status == 11
        assert 0 < full < 60
        assert program.finish(start(program, server, source, "-o", out), input=b"").status == 0
    assert len({record["item"] for record in records(out)}) == len(records(out)) == 60


def test_stdout_that_is_full_is_an_output_failure(program: Program, source: Path) -> None:
    with ChatServer(mirror()) as server, open("/dev/full", "wb") as full:
        result = program.finish(start(program, server, source, stdout=full), input=b"")
        assert len(server.requests) < 60
    assert (result.status, result.code) == (11, "output_failed")


class Coprocess:
    """A run that is talked to by lines."""

    def __init__(self, program: Program, server: ChatServer, *more: str) -> None:
        self._program = program
        self.process = start(program, server, "-", *more)

    def ask(self, value: Any) -> dict[str, Any]:
        """One item out, one record back."""
        self.say(value)
        assert self.process.stdout is not None
        answered: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answered

    def say(self, value: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(ndjson(value))
        self.process.stdin.flush()

    def end(self) -> Result:
        return self._program.finish(self.process, input=b"")


def test_each_line_is_asked_the_moment_it_comes_while_the_input_stays_open(
    program: Program,
) -> None:
    with ChatServer(mirror()) as server:
        talk = Coprocess(program, server, "-q")
        for n in range(50):
            record = talk.ask({"id": str(n), "question": f"q {n}"})
            assert (record["item"], record["status"]) == (str(n), "complete")
            assert len(server.requests) == n + 1
        bad = talk.ask("no item")
        assert bad["error"]["code"] == "bad_item"
        assert talk.ask({"id": "last", "question": "q"})["status"] == "complete"
        connections = {request.connection for request in server.requests}
        result = talk.end()
    assert result.status == 10  # one of them was none
    assert len(connections) == 1, "it is one connection that is kept"


def test_a_silent_input_harms_nothing_and_its_end_is_the_end(program: Program) -> None:
    with ChatServer(mirror()) as server:
        talk = Coprocess(program, server, "-q")
        assert talk.ask({"id": "a", "question": "q", "session": "s"})["status"] == "complete"
        with pytest.raises(subprocess.TimeoutExpired):
            talk.process.wait(1.5)
        assert talk.ask({"id": "b", "question": "q", "session": "s"})["status"] == "complete"
        result = talk.end()
    assert result.status == 0
    assert result.stderr == b""
    assert [record["item"] for record in program.records("s")] == ["a", "b"]


def test_an_item_of_a_busy_session_waits_while_others_go_on(program: Program) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        reply = whole(request)
        slow = request.question == "slow"
        return Reply((Wait(0.4 if slow else 0), *reply.steps), keep_alive=reply.keep_alive)

    with ChatServer(choose) as server:
        talk = Coprocess(program, server, "-q", "-j", "4")
        for item_id, question, session in (
            ("1", "slow", "s"), ("2", "next", "s"), ("3", "other", "t"), ("4", "alone", None),
        ):  # fmt: skip
            talk.say({"id": item_id, "question": question, "session": session})
        assert talk.process.stdout is not None
        order = [json.loads(talk.process.stdout.readline())["item"] for _ in range(4)]
        assert talk.end().status == 0
    assert set(order[:2]) == {"3", "4"}
    assert order[2:] == ["1", "2"], "the second is asked while the input is silent"


class Limited:
    """Allows so many requests in each second, and answers 429 above."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._window = 0
        self._count = 0
        self._whole = mirror()
        self.answered: list[float] = []
        self.refused = 0

    def __call__(self, request: Request) -> Reply:
        now = time.monotonic()
        if int(now) != self._window:
            self._window, self._count = int(now), 0
        self._count += 1
        if self._count > self._per_s:
            self.refused += 1
            return error_reply(429, "Slow down.", headers={"retry-after": "1"})
        self.answered.append(now)
        return self._whole(request)


@pytest.mark.storm
def test_a_limit_is_learned_and_no_item_fails(program: Program, tmp_path: Path, out: Path) -> None:
    """That the limit is used is held in simulated time (test_batch_pace)."""
    source = tmp_path / "many.ndjson"
    source.write_bytes(items(250))
    limited = Limited(50)
    with ChatServer(limited) as server:
        process = start(program, server, source, "-o", out, "-j", "64", "--retries", "0")
        result = program.finish(process, input=b"")
    assert result.status == 0
    assert len(limited.answered) == 250
    assert limited.refused < 150, "it is not hammered"


def test_rpm_is_kept_over_all_jobs(program: Program, tmp_path: Path, out: Path) -> None:
    source = tmp_path / "few.ndjson"
    source.write_bytes(items(12))
    with ChatServer(mirror()) as server:
        came: list[float] = []
        whole = mirror()

        def choose(request: Request) -> Reply:
            came.append(time.monotonic())
            return whole(request)

        server.play(choose)
        process = start(program, server, source, "-o", out, "-j", "12", "--rpm", "600")
        assert program.finish(process, input=b"").status == 0
    assert came[-1] - came[0] >= 11 * 0.1 - 0.1, "600 a minute are 10 a second"


@pytest.mark.cold
def test_the_key_is_in_nothing_that_a_run_leaves(program: Program, source: Path) -> None:
    """The planted key is looked for in all outputs by the fixture; here in its arguments too."""
    with ChatServer(slowly(0.2)) as server:
        process = start(program, server, source, "-j", "2", "--grace", "0")
        server.wait_for_requests(1)
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        program.finish(process)
    assert b"sk-planted" not in arguments
