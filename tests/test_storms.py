"""Storms of the real program: whatever kills it and whatever the server does, no shown byte is
lost, no turn comes twice, and no spool stays behind."""

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.program import Program
from tests.servers import ChatServer, Fault, by_hash, mirror

storm = pytest.mark.storm
DEATHS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
FAULTS: list[Fault] = [
    *("none", "none", "slow", "slow", "slow", "reset", "close", "stall"),
    *("unfinished", "length", "error_event", "reset_first", "429", "400", "500", "silent"),
]
AT_ONCE = 6
LIMITS = ("--timeout", "8", "--idle-timeout", "3", "--retries", "1")


@dataclass(frozen=True)
class Ended:
    """A run that came to its end: what it asked, what it showed, how it died."""

    question: str
    stdout: bytes
    stderr: bytes
    status: int
    death: int | None


def run_and_strike(
    program: Program,
    server: ChatServer,
    question: str,
    *,
    session: str = "same",
    death: int | None = None,
    after_s: float = 0.0,
) -> Ended:
    """Ask; where a `death` is given, send it `after_s` seconds from exec on."""
    ask = ("ask", "--session", session, "--base-url", server.url, *LIMITS, question)
    process = program.start(*ask, stdin=subprocess.DEVNULL)
    if death is not None:
        time.sleep(after_s)
        process.send_signal(death)
    result = program.finish(process)
    return Ended(question, result.stdout, result.stderr, result.status, death)


def check_all(program: Program, runs: Sequence[Ended], session: str = "same") -> Counter[str]:
    """What every run may rely on, once somebody opens the session again; counts of outcomes."""
    opened = program.run("ask", "--offline", "-q", "--session", session, "the last one")
    assert opened.status == 0
    assert program.spools() == []
    records: dict[str, list[dict[str, Any]]] = {}
    for record in program.records(session):  # every line parses, or this raises
        records.setdefault(record["question"], []).append(record)
    seen: Counter[str] = Counter()
    for run in runs:
        kept = records.get(run.question, [])
        seen[f"status {run.status}"] += 1
        if run.status == 0:
            (record,) = kept
            assert record["status"] == "complete"
            assert run.stdout.decode() == record["answer"] + "\n"
        elif run.stdout:
            (record,) = {record["id"]: record for record in kept}.values()
            shown = run.stdout.removesuffix(b"\n")
            assert record["answer"].encode().startswith(shown)
            seen["died with text shown"] += run.status > 128
        assert len(kept) <= 1
        for record in kept:
            answer = f"echo: {run.question}"
            assert answer.startswith(record["answer"])
            assert record["status"] != "complete" or record["answer"] == answer
        if run.death and run.status > 128:
            assert run.status == 128 + run.death
        assert run.status != 1 or hit_python_itself(run), run
    return seen


def hit_python_itself(run: Ended) -> bool:
    """Whether a SIGINT came before the first line of ours: while Python starts, it makes of it a
    fatal error of its own (in `site`, in `runpy`, in a module half imported), with its own
    status, and no line of it is ours."""
    of_python = b"Error" in run.stderr or b"KeyboardInterrupt" in run.stderr
    of_python = of_python and b"pipechat/" not in run.stderr and b"pipechat: " not in run.stderr
    return run.death == signal.SIGINT and not run.stdout and of_python


def storm_of(program: Program, count: int, *, seed: int, longest_s: float) -> Counter[str]:
    """`count` asks, each struck at a random moment of its first `longest_s` seconds."""
    chance = random.Random(seed)
    words = " ".join(f"word{number}" for number in range(30))
    plans = [
        (f"{number} {words}", chance.choice(DEATHS), chance.uniform(0, longest_s))
        for number in range(count)
    ]
    script = mirror(pieces=12, fault=by_hash(*FAULTS))
    with ChatServer(script) as server, ThreadPoolExecutor(AT_ONCE) as pool:
        runs = pool.map(
            lambda plan: run_and_strike(program, server, plan[0], death=plan[1], after_s=plan[2]),
            plans,
        )
        return check_all(program, list(runs))


@pytest.mark.parametrize("count", [30, pytest.param(640, marks=storm)])
def test_asks_that_are_killed_under_faults_lose_nothing_that_was_shown(
    program: Program, count: int
) -> None:
    seen = storm_of(program, count, seed=count, longest_s=1.0)
    print(f"ask storm: {count} runs, {dict(seen)}")


@pytest.mark.parametrize("count", [30, pytest.param(840, marks=storm)])
def test_a_signal_at_a_random_moment_from_exec_on_is_a_clean_death(
    program: Program, count: int
) -> None:
    chance = random.Random(count)
    plans = [
        (str(number), chance.choice(DEATHS[1:]), chance.uniform(0, 1.2)) for number in range(count)
    ]
    with ChatServer(mirror(pieces=6, gap=0.02)) as server, ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(
            pool.map(
                lambda plan: run_and_strike(
                    program, server, plan[0], death=plan[1], after_s=plan[2]
                ),
                plans,
            )
        )
    for run in runs:
        assert run.death is not None
        assert run.status in (0, 128 + run.death) or hit_python_itself(run), run
    startup = sum(hit_python_itself(run) for run in runs)
    seen = check_all(program, runs)
    print(f"random moments: {count} runs, {startup} before our first line, {dict(seen)}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("processes", "asks"), [(8, 3), pytest.param(64, 20, marks=storm)], ids=["dose", "storm"]
)
def test_many_processes_in_one_session_keep_every_acknowledged_answer_exactly_once(
    program: Program, processes: int, asks: int
) -> None:
    def chain(number: int) -> list[Ended]:
        chance = random.Random(number)
        ended = []
        for turn in range(asks):
            death = chance.choice(DEATHS) if chance.random() < 0.4 else None
            # Start-up takes longer the more of them start at once.
            after = chance.uniform(0.1, 0.1 * processes) if death else 0.0
            question = f"{number} {turn} " + "pad " * chance.randrange(200)
            ended.append(
                run_and_strike(program, server, question.strip(), death=death, after_s=after)
            )
        return ended

    script = mirror(pieces=10, gap=0.01)
    with ChatServer(script) as server, ThreadPoolExecutor(processes) as pool:
        runs = [run for chained in pool.map(chain, range(processes)) for run in chained]
    assert len(runs) == processes * asks
    seen = check_all(program, runs)
    assert seen["status 0"] >= len(runs) // 4
    print(f"one session: {processes} x {asks} runs, {dict(seen)}")
