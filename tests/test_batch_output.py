"""The output of `batch run`, come what may to it: what was answered stands in it, or beside it
for the next run."""

import asyncio
import errno
import json
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipechat.batch.groups import Entry, GroupWriter, InOrder
from pipechat.batch.held import HeldFile
from pipechat.errors import OutputError, PipechatError, SessionError
from tests.program import Program
from tests.servers import ChatServer, Reply, Request
from tests.servers.mirror import mirror
from tests.servers.steps import Wait
from tests.test_batch_processes import Coprocess, slowly, start
from tests.test_batch_run import asked, items, ndjson, records, run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.ndjson"
    path.write_bytes(items(30))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def held_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.held")


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def first_is_slow(request: Request) -> Reply:
    reply = mirror()(request)
    seconds = 60 if request.question == "question 0" else 0
    return Reply((Wait(seconds), *reply.steps), keep_alive=reply.keep_alive)


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("resumed", [("--ordered",), ()])
def test_what_waits_for_its_order_is_not_asked_again_after_a_kill(
    program: Program, source: Path, out: Path, session: str | None, resumed: tuple[str, ...]
) -> None:
    own = [{} if n == 0 or not session else {"session": f"{session}{n % 2}"} for n in range(30)]
    source.write_bytes(
        ndjson(*({"id": f"i{n}", "question": f"question {n}", **own[n]} for n in range(30)))
    )
    with ChatServer(first_is_slow) as server:
        process = start(program, server, source, "-o", out, "-j", "4", "--ordered")
        wait_for(lambda: held_of(out).exists() and held_of(out).read_bytes().count(b"\n") == 29)
        process.kill()
        process.communicate()
        assert records(out) == []
        server.play(mirror())
        result = program.finish(start(program, server, source, "-o", out, *resumed), input=b"")
        assert asked(server) == Counter({f"question {n}": 2 if n == 0 else 1 for n in range(30)})
    assert result.status == 0
    assert [each["item"] for each in records(out)] == [*(f"i{n}" for n in range(1, 30)), "i0"]
    assert not held_of(out).exists()
    if session:
        kept = Counter(each["item"] for name in ("s0", "s1") for each in program.records(name))
        assert kept == Counter({f"i{n}": 1 for n in range(1, 30)})


@pytest.mark.parametrize("left", ["twice", "torn", "added_already", "nothing"])
def test_what_a_run_has_left_beside_the_output_is_added_once(
    program: Program, source: Path, out: Path, left: str
) -> None:
    with ChatServer(mirror()) as server:
        program.finish(start(program, server, source, "-o", out, "--ordered"), input=b"")
        lines = out.read_bytes().splitlines()
        out.write_bytes(b"".join(line + b"\n" for line in lines[:10]))
        places = [*range(5 if left == "added_already" else 10, 30)]
        held = [b"%d %s\n" % (place, lines[place]) for place in reversed(places)]
        if left == "twice":
            held += held
        if left == "torn":
            held[-1] = held[-1][:-20]
        if left == "nothing":
            held = []
        held_of(out).write_bytes(b"".join(held))
        result = program.finish(start(program, server, source, "-o", out), input=b"")
        missing = {"torn": 1, "nothing": 20}.get(left, 0)
        assert len(server.requests) == 30 + missing
    assert result.status == 0
    found = [each["item"] for each in records(out)]
    assert sorted(found) == sorted(f"i{n}" for n in range(30))
    if not missing:
        assert found == [f"i{n}" for n in range(30)]
    assert not held_of(out).exists()


def test_held_records_are_on_disk_and_take_up_no_more_than_is_held(tmp_path: Path) -> None:
    path = tmp_path / ".held"
    file = HeldFile(str(path))
    held: dict[int, bytes] = {}
    for place in range(400):
        line = b'{"n":%d,"x":"%s"}' % (place, b"x" * 20_000)
        file.add([(place, line)])
        held[place] = line
        held.pop(place - 3, None)
        file.keep(held)
        if place % 50 == 0:
            assert HeldFile(str(path)).read()[-len(held) :] == list(held.values())
        assert path.stat().st_size < (1 << 20) + 3 * 4 * 20_100
    file.keep({})
    file.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("room", "most_bytes", "size"), [(10, 1 << 30, 1), (1000, 1000, 300), (4, 10, 1)]
)
def test_what_is_held_for_its_order_is_bounded_by_count_and_by_bytes(
    room: int, most_bytes: int, size: int
) -> None:
    async def hold() -> int:
        written: list[bytes] = []
        order = InOrder(written.extend, room, None, most_bytes)
        begun = 0

        async def lane(place: int) -> None:
            nonlocal begun
            await order.wait_for_room(place)
            begun += 1
            await order.add(Entry(place, b"x" * size))

        lanes = []
        for place in range(1, 100):  # the first of all is missing
            lanes.append(asyncio.ensure_future(lane(place)))
            for _ in range(3):
                await asyncio.sleep(0.001)
        before = begun
        await lane(0)
        await asyncio.gather(*lanes)
        await order.aclose()
        assert written == [b"x" * size] * 100
        return before

    held = asyncio.run(hold())
    assert 0 < held < min(room, most_bytes // size + 5)


@pytest.mark.parametrize("more", [(), ("--ordered",)])
@pytest.mark.parametrize("what", ["removed", "renamed", "replaced"])
def test_an_output_that_is_gone_ends_the_run_and_loses_no_answer(
    program: Program, source: Path, out: Path, what: str, more: tuple[str, ...]
) -> None:
    aside = out.with_name("aside.jsonl")
    with ChatServer(slowly(0.05)) as server:
        process = start(program, server, source, "-o", out, "-j", "2", *more)
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") >= 3)
        if what == "removed":
            out.unlink()
        else:
            out.rename(aside)
        if what == "replaced":
            out.write_bytes(b"somebody's\n")
        result = program.finish(process, input=b"")
        count = len(server.requests)
        assert (result.status, result.code) == (11, "output_failed")
        assert count < 30
        assert b"was replaced" in result.stderr or b"was removed, or renamed," in result.stderr
        assert str(out).encode() in result.stderr
        if what == "replaced":
            assert out.read_bytes() == b"somebody's\n", "it is not ours to write to"
            out.unlink()
        if what != "removed":
            aside.rename(out)
        result = program.finish(start(program, server, source, "-o", out), input=b"")
        counts = asked(server)
    assert result.status == 0
    assert Counter(each["item"] for each in records(out)) == Counter(f"i{n}" for n in range(30))
    if what != "removed":  # what was removed is gone, and asked again
        assert set(counts.values()) == {1}
    assert not held_of(out).exists()


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_an_output_that_is_gone_when_all_is_done_is_no_success(
    program: Program, out: Path, what: str
) -> None:
    with ChatServer(mirror()) as server:
        talk = Coprocess(program, server, "-o", str(out))
        talk.say({"id": "a", "question": "q"})
        wait_for(lambda: out.exists() and len(records(out)) == 1)
        out.unlink()
        if what == "replaced":
            out.write_bytes(b"")
        result = talk.end()
    assert (result.status, result.code) == (11, "output_failed")


@pytest.mark.parametrize("sessions", [False, True])
def test_with_few_descriptors_fewer_are_asked_at_once_and_it_says_so(
    program: Program, source: Path, out: Path, sessions: bool
) -> None:
    if sessions:
        each = ({"id": f"i{n}", "question": f"question {n}", "session": f"s{n}"} for n in range(30))
        source.write_bytes(ndjson(*each))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with ChatServer(slowly(0.1)) as server:
        process = start(
            program, server, source, "-o", out, "-j", "200", "--ordered", preexec_fn=limit
        )
        result = program.finish(process, input=b"")
        assert asked(server) == Counter({f"question {n}": 1 for n in range(30)})
    assert result.status == 0
    first = result.stderr.splitlines()[0]
    assert b"ulimit -n" in first
    assert b"lower -j" in first
    assert len(records(out)) == 30


def test_a_soft_limit_of_descriptors_is_raised_without_a_word(
    program: Program, source: Path, out: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024))

    with ChatServer(mirror()) as server:
        process = start(program, server, source, "-o", out, "-j", "100", preexec_fn=limit)
        result = program.finish(process, input=b"")
    assert result.status == 0
    assert result.stderr.count(b"\n") == 1, "the summary"


BAD_INPUTS: list[tuple[bytes | None, tuple[str, ...], str]] = [
    (b"id,id,question\n1,2,3\n", ("--input-format", "csv"), "bad_header"),
    (b",,\n1,2,3\n", ("--input-format", "csv"), "bad_header"),
    (b'a\t"b\n', ("--input-format", "tsv"), "bad_header"),
    (None, (), "unreadable_input"),
]


@pytest.mark.in_process
@pytest.mark.parametrize(("data", "more", "code"), BAD_INPUTS)
@pytest.mark.parametrize("way", ["pipe", "file"])
def test_fresh_leaves_the_output_as_it_was_where_the_input_cannot_be_read(
    program: Program, out: Path, tmp_path: Path, data: bytes | None, more: Any, code: str, way: str
) -> None:
    with ChatServer(mirror()) as server:
        run(program, server, items(3), "-o", str(out))
        before = out.read_bytes()
        held_of(out).write_bytes(b"0 {}\n")
        name = "-"
        if data is None:
            name = "/proc/self/mem"
        elif way == "file":
            name = str(tmp_path / "bad")
            Path(name).write_bytes(data)
        result = program.run(
            "batch", "run", name, "-o", str(out), "--fresh", "--base-url", server.url, *more,
            input=data or b"",
        )  # fmt: skip
        assert (result.status, result.code) == (2, code)
        assert out.read_bytes() == before
        assert held_of(out).read_bytes() == b"0 {}\n"
        again = run(program, server, items(2), "-o", str(out), "--fresh")
        empty = run(program, server, b"", "-o", str(out), "--fresh") if way == "file" else None
    assert again.status == 0
    assert len(records(out)) == (0 if empty else 2)
    assert not held_of(out).exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_batch_that_was_started_over_and_stopped_goes_on_as_a_new_one(
    program: Program, source: Path, out: Path, end: signal.Signals
) -> None:
    each = ({"id": f"i{n}", "question": f"q {n}", "session": f"s{n}"} for n in range(6))
    source.write_bytes(ndjson(*each))
    with ChatServer(slowly(0.1)) as server:
        program.finish(start(program, server, source, "-o", out), input=b"")
        process = start(program, server, source, "-o", out, "--fresh", "-j", "1")
        server.wait_for_requests(8)
        process.send_signal(end)
        process.communicate()
        result = program.finish(start(program, server, source, "-o", out), input=b"")
        counts = asked(server)
    assert result.status == 0
    assert set(counts.values()) <= {2, 3}, "none of the first answers is taken for a new one"
    assert sum(counts.values()) <= 12 + 1
    assert Counter(record["item"] for record in records(out)) == Counter(f"i{n}" for n in range(6))
    newest = {f"i{n}": program.records(f"s{n}")[-1]["id"] for n in range(6)}
    assert {record["item"]: record["id"] for record in records(out)} == newest
    assert not list(out.parent.glob(".out.jsonl*"))


def test_a_turn_that_a_killed_run_left_is_not_forgotten_by_a_run_that_is_stopped(
    program: Program, source: Path, out: Path
) -> None:
    each = ({"id": f"i{n}", "question": f"q {n}", "session": f"s{n}"} for n in range(12))
    source.write_bytes(ndjson(*each))
    with ChatServer(slowly(0.1)) as server:
        program.finish(start(program, server, source, "-o", out), input=b"")
        lines = {json.loads(line)["item"]: line for line in out.read_bytes().splitlines(True)}
        out.write_bytes(b"".join(lines[f"i{n}"] for n in range(6, 8)))
        out.with_name(".out.jsonl.run").write_text("0")
        for _ in range(2):  # it has the turns of eleven; the first is asked, and stopped
            turns = program.home / "sessions" / "s0.jsonl"
            turns.write_bytes(b"")
            before = len(server.requests)
            process = start(program, server, source, "-o", out, "-j", "1", "--grace", "0")
            server.wait_for_requests(before + 1)
            process.send_signal(signal.SIGTERM)
            process.communicate()
            assert len(server.requests) == before + 1
        before = len(server.requests)
        result = program.finish(start(program, server, source, "-o", out), input=b"")
        assert len(server.requests) == before + 1
    assert result.status == 0
    assert Counter(record["item"] for record in records(out)) == Counter(f"i{n}" for n in range(12))
    assert not list(out.parent.glob(".out.jsonl*"))


@pytest.mark.in_process
@pytest.mark.parametrize("kind", ["link", "folder", "another_user"])
def test_nothing_of_another_user_or_kind_is_adopted_or_removed(
    program: Program, out: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = b'0 {"id":"x","item":"i0"}\n'
    (tmp_path / "elsewhere").write_bytes(planted)
    if kind == "link":
        held_of(out).symlink_to(tmp_path / "elsewhere")
    elif kind == "folder":
        held_of(out).mkdir()
    else:
        held_of(out).write_bytes(planted)
        monkeypatch.setattr("pipechat.batch.held.os.geteuid", lambda: os.getuid() + 1)
    with ChatServer(mirror()) as server:
        result = run(program, server, items(1), "-o", str(out))
        assert not server.requests
    assert (result.status, result.code) == (11, "output_failed")
    assert os.fsencode(held_of(out)) in result.stderr
    assert os.path.lexists(held_of(out))


FULL = OutputError("output_failed", "no room")
NO_LEDGER = SessionError("ledger_unwritable", "no room")


@pytest.mark.parametrize("written", [None, FULL])
@pytest.mark.parametrize("beside", [None, NO_LEDGER])
def test_what_goes_along_with_records_is_taken_after_them_whatever_became_of_them(
    written: PipechatError | None, beside: PipechatError | None
) -> None:
    took: list[str] = []

    def step(name: str, failure: PipechatError | None) -> Callable[[list[str]], None]:
        def take(entries: list[str]) -> None:
            took.extend(f"{name} {entry}" for entry in entries)
            if failure is not None:
                raise failure

        return take

    async def outcome(writer: GroupWriter[str], entry: str) -> PipechatError | None:
        try:
            return await writer.add(entry)
        except OutputError as error:
            return error

    async def twice() -> list[PipechatError | None]:
        writer = GroupWriter(step("record", written), step("line", beside))
        try:
            return [await outcome(writer, "1"), await outcome(writer, "2")]
        finally:
            await writer.aclose()

    assert asyncio.run(twice()) == [written or beside] * 2
    # Nothing is written behind what could not be.
    records = ["record 1", "record 2"] if written is None else ["record 1"]
    assert [each for each in took if each.startswith("record")] == records
    assert took[:2] == ["record 1", "line 1"]
    assert took[-1] == "line 2"


@pytest.mark.parametrize(
    ("end", "stays"),
    [
        (lambda record: record[: len(record) // 2], False),
        (lambda record: record[:6], False),
        (lambda record: record[:40] + b"\0" * 40, False),
        (lambda record: record[:-1], True),
        (lambda _: b'{"v":1}', True),
        (lambda _: b"a line of somebody else", True),
    ],
    ids=["half", "the first bytes", "zeros behind it", "only its newline", "JSON", "another's"],
)
def test_what_a_kill_left_of_a_record_is_gone_and_nothing_else(
    program: Program, source: Path, out: Path, end: Callable[[bytes], bytes], stays: bool
) -> None:
    given = (source.read_bytes(), "-o", str(out))
    with ChatServer(mirror()) as server:
        assert run(program, server, *given).status == 0
        *others, last = out.read_bytes().splitlines(keepends=True)
        torn = end(last)
        out.write_bytes(b"".join(others) + torn)
        assert run(program, server, *given).status == 0
        assert len(server.requests) == (31 if torn != last[:-1] else 30)
    lines = out.read_bytes().splitlines()
    assert (torn in lines) is stays
    there = [json.loads(line) for line in lines if line.startswith(b"{")]
    assert {each["item"] for each in there if "item" in each} == {f"i{n}" for n in range(30)}


def small_disk(folder: Path, room: int, patch: pytest.MonkeyPatch) -> None:
    """All files of `folder` together take no more than `room` bytes."""
    real = os.write

    def write(fd: int, data: Any) -> int:
        if not os.readlink(f"/proc/self/fd/{fd}").startswith(f"{folder}/"):
            return real(fd, data)
        left = room - sum(path.stat().st_size for path in folder.iterdir())
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[:left])

    patch.setattr(os, "write", write)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.mark.in_process
@pytest.mark.parametrize("more", [(), ("--output-format", "json"), ("--events",), ("--ordered",)])
@pytest.mark.parametrize(
    ("room", "left"), [(0, None), (5, b"0"), (20, None), (4096, b"0" + 70_000 * b"\n")]
)
def test_an_output_without_room_for_answers_is_told_before_anything_is_asked(
    program: Program, disk: Path, more: tuple[str, ...], room: int, left: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if left is not None:  # a run was killed
        (disk / ".out.jsonl.run").write_bytes(left)
    small_disk(disk, room, monkeypatch)
    with ChatServer(mirror()) as server:
        result = run(program, server, items(3), "-o", f"{disk}/out.jsonl", *more)
        assert not server.requests
    assert (result.status, result.code) == (11, "output_failed")
    kept = [(path.name, path.read_bytes()) for path in disk.iterdir() if path.stat().st_size]
    assert kept == ([] if left is None else [(".out.jsonl.run", b"0")])


@pytest.mark.in_process
def test_fresh_makes_room_first(
    program: Program, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = disk / "out.jsonl"
    with ChatServer(mirror()) as server:
        assert run(program, server, items(3), "-o", str(out)).status == 0
        full = out.stat().st_size + 70_000
        with out.open("ab") as file:
            file.write(b"{}\n" * 23_000)
        small_disk(disk, full, monkeypatch)
        assert run(program, server, items(3), "-o", str(out)).status == 11
        assert run(program, server, items(3), "-o", str(out), "--fresh").status == 0
        assert set(asked(server).values()) == {2}
    assert len(records(out)) == 3


@pytest.mark.in_process
@pytest.mark.parametrize("more", [(), ("--ordered",)])
@pytest.mark.parametrize(
    ("jobs", "session"), [(1, {}), (4, {}), (4, {"session": "s"})], ids=["1", "4", "session"]
)
def test_a_disk_that_fills_up_ends_the_run_and_loses_no_answer(
    program: Program, disk: Path, jobs: int, session: dict[str, str], more: tuple[str, ...]
) -> None:
    out = disk / "out.jsonl"
    to = ("-o", str(out), "-j", str(jobs), *more)
    with ChatServer(mirror()) as server:
        with pytest.MonkeyPatch.context() as patch:
            small_disk(disk, (1 << 16) + 3000, patch)
            full = run(program, server, items(24, **session), *to)
        assert (full.status, full.code) == (11, "output_failed")
        assert 0 < len(server.requests) < 24
        assert run(program, server, items(24, **session), *to).status == 0
        assert set(asked(server).values()) == {1}, "what was answered is kept"
    assert Counter(record["item"] for record in records(out)) == Counter(f"i{n}" for n in range(24))
    assert [path.name for path in disk.iterdir()] == ["out.jsonl"]
