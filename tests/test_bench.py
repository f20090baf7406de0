"""scripts/bench: what it prints of itself is so, whatever is asked of it; nothing is measured."""

import importlib
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def part(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module(f"benching.{name}")


@pytest.mark.parametrize("pattern", ["(", "ask, [20", "*"])
def test_rows_that_are_no_pattern_are_told_before_anything_is_installed(
    pattern: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench"), "--rows", pattern],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--rows: {pattern!r} is no regular expression: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_row_names_no_size_that_quick_makes_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = part("plan", monkeypatch).Sizes()
    sizes = [whole.turns, whole.chunks, whole.items, whole.tails, whole.sessions]
    told = {f"{size:,}" for size in sizes}
    rows = part("rows", monkeypatch).ROWS
    assert len(rows) > 30
    for row in rows:
        words = " ".join((row.title, row.of, row.to)).replace(": ", " ").split()
        assert told.isdisjoint(words), row


def test_no_target_is_held_to_small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, rows = part("plan", monkeypatch), list(part("rows", monkeypatch).ROWS)
    small = plan.with_targets_of(plan.Sizes(small=True), rows)
    assert [row.title for row in small] == [row.title for row in rows]
    assert {row.at_most for row in small} == {None}
    assert plan.with_targets_of(plan.Sizes(), rows) == rows
    assert sum(row.at_most is not None for row in rows) > 20


@pytest.mark.parametrize(
    ("name", "is_folder"), [(".bench", False), (".bench/lock", True), (".bench/installed", True)]
)
def test_what_cannot_be_written_is_one_line_that_names_it_and_exit_3(
    name: str, is_folder: bool, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / name  # of another kind, because permissions do not stop root
    path.parent.mkdir(exist_ok=True)
    if is_folder:
        path.mkdir()
    else:
        path.touch()
    done = subprocess.run(
        [sys.executable, tmp_path / "scripts" / "bench", "--quick"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"bench: {path}: ")
    hint = "Copy the project to a folder of your own, without .bench."
    assert done.stderr.endswith(f". {hint}\n")
    assert done.stderr.count("\n") == 1


def test_results_that_cannot_be_kept_are_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    bench = runpy.run_path(str(ROOT / "scripts" / "bench"))
    keep = bench["_keep"]
    monkeypatch.setitem(keep.__globals__, "_ROOT", tmp_path)
    assert not keep("{}\n")
    told = capsys.readouterr().err
    assert told.startswith(f"bench: {tmp_path}/.bench/results.json: ")
    assert told.endswith(". The results are on stdout alone.\n")
