"""`batch run --engine ray` on Ray itself, in an environment of its own: `scripts/test --all`.

Two nodes run in a network of their own, where nothing but loopback is (`unshare -n`, which takes
root or user namespaces).
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.proc_watch import holds

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.storm, pytest.mark.timeout(1200)]

INSTALL_S = 600
STORM_S = 500


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of an environment with Ray: installed once, brought up to date each time."""
    venv = ROOT / ".venv-ray"
    with open(ROOT / ".venv-ray.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = venv / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=INSTALL_S)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--editable", f"{ROOT}[batch,ray]"],
            check=True,
            timeout=INSTALL_S,
        )
    return python


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: sockets are below it. Whatever ran there must have ended."""
    folder = Path(tempfile.mkdtemp(prefix="storm-", dir="/tmp"))
    try:
        yield folder
        ends_at = time.monotonic() + 20
        while (left := running_in(folder)) and time.monotonic() < ends_at:
            time.sleep(0.1)
        assert left == []
    finally:
        shutil.rmtree(folder)


def running_in(folder: Path) -> list[str]:
    lines = [path for path in Path("/proc").glob("[0-9]*/cmdline") if holds(str(folder), path)]
    return [line.read_text() for line in lines]


def storm(folder: Path, *command: str | Path) -> dict[str, Any]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(
        [*command, folder], env=environ, cwd=ROOT, capture_output=True, timeout=STORM_S
    )
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_a_cluster_of_its_own_listens_on_loopback_alone_and_leaves_nothing(
    python: Path, folder: Path
) -> None:
    report = storm(folder, python, "-m", "tests.ray_storm", "own")
    assert report["outside"] == []
    assert report["leaks"] == []
    assert [path for path in report["left"] if Path(path).name != "ledger"] == []
    check_all_asked_once(report, 20)


@pytest.mark.alone  # it asks for a pace that takes both cores
def test_two_nodes_are_one_run_with_one_limit_and_one_output(python: Path, folder: Path) -> None:
    can = subprocess.run(["unshare", "-n", "true"], capture_output=True)
    assert can.returncode == 0, f"no network of its own can be had here: {can.stderr.decode()}"
    report = storm(folder, "unshare", "-n", python, "-m", "tests.ray_storm", "two")
    check_all_asked_once(report["spread"], 300)
    assert report["spread"]["nodes"] == 2
    check_events(report["streamed"], 5)
    check_limit_is_met_and_not_wasted(report["limited"])
    check_own_limit_holds_for_all_nodes(report["rpm"])
    check_only_the_missing_are_asked(report["resumed"])
    check_own_death_after_grace(report["terminated"])
    check_all_complete_though_a_node_died(report["node_killed"])
    check_stops_when_the_cluster_is_gone(report["cluster_killed"])
    assert report["logs"]["count"] > 20
    assert report["logs"]["leaks"] + report["command_lines"] == []


def check_all_asked_once(run: dict[str, Any], count: int) -> None:
    check_complete(run, count)
    assert set(run["asked"].values()) == {1}
    assert (run["keys"], run["accounts"]) == (["Bearer KEY"], ["org-of-the-run"])


def check_complete(run: dict[str, Any], count: int) -> None:
    """Exit 0, a record each, and no word but how far it was, where that took long, and the end."""
    assert run["status"] == 0, run["stderr"]
    assert run["stdout"] == ""
    lines = run["stderr"].splitlines()
    assert [line for line in lines if " failed" not in line and " in flight; " not in line] == []
    assert not run["leaked"]
    assert Counter(map(tuple, run["records"])) == {(f"i{n}", "complete"): 1 for n in range(count)}


def check_events(run: dict[str, Any], count: int) -> None:
    assert run["status"] == 0, run["stderr"]
    events = [json.loads(line) for line in run["stdout"].splitlines()]
    kinds = Counter(event["type"] for event in events)
    assert (kinds["start"], kinds["end"]) == (count, count)
    for end in (event for event in events if event["type"] == "end"):
        own = (event for event in events if event["item"] == end["item"])
        assert "".join(event["text"] for event in own if event["type"] == "chunk") == end["answer"]


def check_limit_is_met_and_not_wasted(run: dict[str, Any]) -> None:
    """50 requests/s and 429 above: at least four fifths of them, and few refused."""
    check_complete(run, 1000)
    assert run["per_s"] >= 0.8 * 50
    assert run["refused"] < 150


def check_own_limit_holds_for_all_nodes(run: dict[str, Any]) -> None:
    """--rpm 1200 is 20 a second."""
    check_all_asked_once(run, 100)
    assert 15 < run["per_s"] < 21
    assert run["most_in_a_second"] <= 24


def check_only_the_missing_are_asked(run: dict[str, Any]) -> None:
    check_complete(run, 330)
    assert run["asked"] == {f"question {n}": 1 for n in range(300, 330)}


def check_own_death_after_grace(run: dict[str, Any]) -> None:
    assert run["status"] == -15
    assert "interrupted: stopped by SIGTERM" in run["stderr"]
    assert 40 <= len(run["records"]) < 300
    assert len(run["records"]) == sum(run["asked"].values()), "what was sent was waited for"


def check_all_complete_though_a_node_died(run: dict[str, Any]) -> None:
    check_complete(run, 300)
    assert 0 < sum(run["asked"].values()) - 300 <= 16, "no more than what the node had"


def check_stops_when_the_cluster_is_gone(run: dict[str, Any]) -> None:
    assert run["status"] == 5
    assert run["stdout"] == ""
    assert "pipechat: ray_failed: " in run["stderr"].splitlines()[-1]
    assert {status for _, status in run["records"]} == {"complete"}
