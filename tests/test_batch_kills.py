"""The provider's batch engine where the process is killed at a step of it: before the step had its
effect, and after it had and before that was noted. Run again until done, each part was created
once and each item has one record."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.program import RUN_LIMIT_S, Program, Result
from tests.servers import Batches, Call, ChatServer, Trouble, answered, refused

KILLS: list[Trouble] = ["kill_before", "kill_after"]


class Desk:
    """A folder with an input of two models, and processes at a provider that kills them."""

    def __init__(self, folder: Path, program: Program, batches: Batches, url: str) -> None:
        self.folder = folder
        self.program = program
        self.batches = batches
        self.url = url
        self.items(6)

    def items(self, count: int) -> None:
        each = ({"id": f"i{n}", "question": f"q{n}", "model": f"m{n % 2}"} for n in range(count))
        (self.folder / "in.ndjson").write_text("".join(json.dumps(item) + "\n" for item in each))

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        env: dict[str, str | None] = {"OPENAI_BASE_URL": self.url}
        process = self.program.start("batch", *arguments, env=env, cwd=self.folder)
        self.batches.kill = lambda: os.kill(process.pid, signal.SIGKILL)
        return process

    def run(self, *arguments: str) -> Result:
        return self.program.finish(self.start(*arguments))

    def until_done(self, *arguments: str) -> list[int]:
        """Run it until it is not killed any more; how each ended."""
        statuses: list[int] = []
        while not statuses or (statuses[-1] == 128 + signal.SIGKILL and len(statuses) < 9):
            statuses.append(self.run(*arguments).status)
        return statuses

    def records(self) -> list[dict[str, object]]:
        path = self.folder / "out.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    def check(self, count: int = 6) -> None:
        """Each item was asked in one batch, and has one record."""
        asked = Counter(line["custom_id"] for line in self.batches.asked)
        recorded = Counter(record["item"] for record in self.records())
        once = Counter({f"i{n}": 1 for n in range(count)})
        assert asked == once
        assert recorded == once
        assert sorted(path.name for path in self.folder.glob("*out.jsonl.*")) == [
            "out.jsonl.batch.json"
        ]


@pytest.fixture
def desk(tmp_path: Path, program: Program) -> Iterator[Desk]:
    folder = tmp_path / "desk"
    folder.mkdir()
    batches = Batches()
    with ChatServer(batches) as server:
        yield Desk(folder, program, batches, server.url)


SUBMIT = ("submit", "in.ndjson", "-o", "out.jsonl")


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("call", ["upload", "create"])
def test_a_submit_killed_at_every_step_pays_for_nothing_twice(
    desk: Desk, call: Call, kill: Trouble
) -> None:
    desk.batches.trouble[call] = [kill, kill]
    assert desk.until_done(*SUBMIT) == [137, 137, 0]
    assert len(desk.batches.batches) == desk.batches.uploads == 2
    assert desk.run("fetch", "out.jsonl").status == 0
    desk.check()


def test_a_submit_killed_while_it_looks_for_what_it_made_looks_again(desk: Desk) -> None:
    desk.batches.trouble = {
        "upload": ["kill_after"],
        "list_files": ["kill_before", "kill_after"],
        "create": ["kill_after"],
        "list_batches": ["kill_before", "kill_after"],
    }
    assert desk.until_done(*SUBMIT) == [137] * 6 + [0]
    assert len(desk.batches.batches) == desk.batches.uploads == 2
    assert desk.run("fetch", "out.jsonl").status == 0
    desk.check()


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("call", ["retrieve", "content"])
def test_a_fetch_killed_on_its_way_records_each_item_once(
    desk: Desk, call: Call, kill: Trouble
) -> None:
    def result(request: dict[str, object]) -> dict[str, object]:
        return (refused if request["custom_id"] in ("i0", "i1") else answered)(request)

    desk.batches.result = result  # so that each part has two files
    assert desk.run(*SUBMIT).status == 0
    desk.batches.trouble[call] = ["none", kill]
    assert desk.until_done("fetch", "out.jsonl") == [137, 10]
    desk.check()


def test_a_fetch_killed_within_a_file_adds_only_what_is_missing(desk: Desk) -> None:
    desk.items(1200)
    assert desk.run(*SUBMIT).status == 0
    desk.batches.trouble["content"] = ["half"]
    process = desk.start("fetch", "out.jsonl")
    ends_at = time.monotonic() + RUN_LIMIT_S
    while not (there := (desk.folder / "out.jsonl").read_bytes().count(b"\n")):
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    process.kill()
    desk.program.finish(process)
    assert there < 600
    assert desk.run("fetch", "out.jsonl").status == 0
    desk.check(1200)


@pytest.mark.parametrize("jobs", [1, pytest.param(20, marks=pytest.mark.storm)])
def test_killed_at_any_moment_it_asks_and_records_each_item_once(
    desk: Desk, jobs: int, tmp_path: Path
) -> None:
    chance = random.Random(jobs)
    for number in range(jobs):
        desk.folder = tmp_path / f"job-{number}"
        desk.folder.mkdir()
        desk.items(3000)
        desk.batches.batches.clear()
        for arguments, longest_s in ((SUBMIT, 0.8), (("fetch", "out.jsonl"), 1.2)):
            for _ in range(3):
                process = desk.start(*arguments)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0.2, longest_s))
                process.kill()
                assert desk.program.finish(process).status in (0, 137)
            assert desk.run(*arguments).status == 0
        desk.check(3000)


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("call", ["retrieve", "cancel"])
def test_a_cancel_killed_at_every_step_cancels_all_when_it_is_run_again(
    desk: Desk, call: Call, kill: Trouble
) -> None:
    desk.batches.states = ("in_progress",)
    assert desk.run(*SUBMIT).status == 0
    desk.batches.trouble[call] = ["none", kill]
    assert desk.until_done("cancel", "out.jsonl") == [137, 0]
    assert all(batch.cancelled for batch in desk.batches.batches.values())
    assert desk.run("fetch", "out.jsonl").status == 0
    desk.check()


def test_a_cancel_finds_a_batch_that_was_created_and_not_noted(desk: Desk) -> None:
    desk.batches.states = ("in_progress",)
    desk.batches.trouble["create"] = ["kill_after"]
    assert desk.run(*SUBMIT).status == 137
    assert desk.run("cancel", "out.jsonl").status == 0
    assert [batch.cancelled for batch in desk.batches.batches.values()] == [True]
    assert desk.run("fetch", "out.jsonl").status == 0
    # What was cancelled before it was created is free: it is submitted now, and nothing else.
    assert desk.run(*SUBMIT).status == 0
    desk.batches.states = ("completed",)
    assert desk.run("fetch", "out.jsonl").status == 0
    desk.check()


def test_a_status_that_is_killed_changes_nothing(desk: Desk) -> None:
    assert desk.run(*SUBMIT).status == 0
    state = (desk.folder / "out.jsonl.batch.json").read_bytes()
    desk.batches.trouble["retrieve"] = ["kill_after"]
    assert desk.until_done("status", "out.jsonl") == [137, 0]
    assert (desk.folder / "out.jsonl.batch.json").read_bytes() == state
    assert desk.run("fetch", "out.jsonl").status == 0
    desk.check()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fetch_that_waits_and_nothing_is_lost(desk: Desk, signum: int) -> None:
    desk.batches.states = ("in_progress",)
    assert desk.run(*SUBMIT).status == 0
    process = desk.start("fetch", "out.jsonl", "--wait", "-v")
    assert process.stderr is not None
    assert b"asking" in process.stderr.readline()
    assert b"in_progress" in process.stderr.readline()
    second = Program.run(
        desk.program, "batch", "fetch", "out.jsonl", cwd=desk.folder,
        env={"OPENAI_BASE_URL": desk.url}, events=False,
    )  # fmt: skip
    assert (second.status, second.code) == (9, "batch_busy")
    began = time.monotonic()
    process.send_signal(signum)
    assert desk.program.finish(process).status == 128 + signum
    assert time.monotonic() - began < 5
    desk.batches.states = ("completed",)
    assert desk.run("fetch", "out.jsonl", "--wait").status == 0
    desk.check()
