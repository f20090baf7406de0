"""Several processes that ask for one batch: together they are one run."""

import asyncio
import errno
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from pipechat.batch import workers as workers_module
from pipechat.batch.asking import Job, LocalWorker
from pipechat.batch.worker_process import SetUp
from pipechat.batch.workers import ProcessWorker, Workers, started
from pipechat.settings.resolve import resolve_settings
from tests.program import Program
from tests.servers import ChatServer, completion, json_reply
from tests.servers.mirror import mirror
from tests.test_batch_alike import SETTINGS, Nobody
from tests.test_batch_processes import Coprocess, slowly, start
from tests.test_batch_run import asked, items, records

pytestmark = pytest.mark.counted


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.ndjson"
    path.write_bytes(items(40))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_children(pid: int, count: int) -> list[int]:
    deadline = time.monotonic() + 20
    while len(found := children_of(pid)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_two_processes_share_the_items_and_the_answers_are_the_same(
    program: Program, source: Path, out: Path
) -> None:
    with ChatServer(slowly(0.02)) as server:
        process = start(program, server, source, "-o", out, "-j", "8", "--workers", "2")
        result = program.finish(process, input=b"")
        assert asked(server) == Counter({f"question {n}": 1 for n in range(40)})
        connections = Counter(request.connection for request in server.requests)
    assert result.status == 0
    assert Counter(each["item"] for each in records(out)) == Counter(f"i{n}" for n in range(40))
    assert len(connections) >= 2
    assert result.stderr.count(b"\n") == 1


def test_a_worker_that_dies_has_its_items_asked_by_others(
    program: Program, source: Path, out: Path
) -> None:
    with ChatServer(slowly(0.2)) as server:
        process = start(program, server, source, "-o", out, "-j", "8", "--workers", "3")
        workers = wait_for_children(process.pid, 2)
        server.wait_for_requests(12)
        os.kill(workers[0], signal.SIGKILL)
        result = program.finish(process, input=b"")
        assert len(asked(server)) == 40
    assert result.status == 0
    assert Counter(each["item"] for each in records(out)) == Counter(f"i{n}" for n in range(40))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_run(
    program: Program, source: Path, out: Path, signum: signal.Signals
) -> None:
    with ChatServer(slowly(60)) as server:
        process = start(
            program, server, source, "-o", out, "-j", "4", "--workers", "2", "--grace", "0"
        )
        [worker] = wait_for_children(process.pid, 1)
        server.wait_for_requests(4)
        arguments = Path(f"/proc/{worker}/cmdline").read_bytes()
        process.send_signal(signum)
        process.communicate()
        deadline = time.monotonic() + 20
        while Path(f"/proc/{worker}").exists():
            assert time.monotonic() < deadline, "a worker outlives its run"
            time.sleep(0.01)
    assert b"sk-planted" not in arguments


def test_a_signal_to_all_of_a_terminal_lets_workers_end_what_they_have(
    program: Program, source: Path, out: Path
) -> None:
    with ChatServer(slowly(0.5)) as server:
        process = start(
            program, server, source, "-o", out, "-j", "4", "--workers", "2", start_new_session=True
        )
        server.wait_for_requests(4)
        os.killpg(process.pid, signal.SIGINT)
        result = program.finish(process)
        count = len(server.requests)
    assert result.status == 128 + signal.SIGINT
    assert len(records(out)) == count


def test_a_signal_to_all_of_a_terminal_is_none_for_a_worker_that_has_just_been_started() -> None:
    async def ready() -> bool:
        [worker] = await started(1)
        assert worker._transport is not None
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            worker._transport.send_signal(signum)
        try:
            await worker.set_up(SetUp(resolve_settings({}, {}, {}), {}, None, 1, {}))
            return not worker.is_lost
        finally:
            await worker.aclose()

    assert asyncio.run(ready())


def test_workers_judge_by_the_schema_as_well(program: Program, source: Path, out: Path) -> None:
    with ChatServer(json_reply(200, completion('{"n":"x"}'))) as server:
        process = start(
            program, server, source, "-o", out, "-j", "4", "--workers", "2", "--schema", "n int"
        )
        result = program.finish(process, input=b"")
    assert result.status == 10
    assert {each["error"]["code"] for each in records(out)} == {"schema_mismatch"}


def test_events_of_a_worker_are_those_of_this_process(program: Program, source: Path) -> None:
    with ChatServer(mirror()) as server:
        process = start(program, server, source, "--events", "-j", "4", "--workers", "2")
        result = program.finish(process, input=b"")
    kinds = Counter(event["type"] for event in result.events)
    assert kinds == {"start": 40, "chunk": 40, "end": 40}


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_a_worker_that_has_nothing_to_do_says_nothing_when_its_run_ends(
    program: Program, end: signal.Signals | None
) -> None:
    with ChatServer(slowly(0.1)) as server:
        talk = Coprocess(program, server, "-q", "-j", "4", "--workers", "2")
        for n in range(4):
            talk.say({"id": str(n), "question": "q"})
        assert talk.process.stdout is not None
        for _ in range(4):
            talk.process.stdout.readline()
        if end is not None:
            talk.process.send_signal(end)
        _, said = talk.process.communicate()
    assert said == b""


@pytest.mark.in_process
@pytest.mark.parametrize("room", [0, 1])
def test_where_there_is_no_room_for_more_processes_those_that_are_there_ask(
    program: Program, source: Path, out: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, rooms = ProcessWorker.start, iter([True] * room)

    async def start_while_there_is_room(worker: ProcessWorker) -> None:
        if not next(rooms, False):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        await start(worker)

    monkeypatch.setattr(ProcessWorker, "start", start_while_there_is_room)
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", source, "-o", out, "--base-url", server.url, "--workers", "3"
        )
        assert asked(server) == Counter({f"question {n}": 1 for n in range(40)})
    assert result.status == 0
    assert result.stderr.startswith(
        f"pipechat: {2 - room} of 3 processes could not be started: ".encode()
    )


def test_a_run_goes_on_where_the_process_that_it_would_have_grown_by_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = 0

    async def start(_worker: ProcessWorker) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def grow() -> None:
        common = SetUp(SETTINGS, {}, None, 1, {})
        workers = Workers(LocalWorker(SETTINGS, Nobody(), None), [], common, may_grow=True)
        while tried < 3:
            await asyncio.sleep(0.001)
        asked = await workers.ask(Job("chat", {"model": "m", "messages": []}, (), None))
        assert asked.cause is not None
        await workers.aclose()

    monkeypatch.setattr(ProcessWorker, "start", start)
    monkeypatch.setattr(workers_module, "_LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(workers_module, "_FULL", -1.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1}, raising=False)
    asyncio.run(asyncio.wait_for(grow(), 20))
