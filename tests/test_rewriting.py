"""Whichever worker imports the tests first, each imports all of them, and where all are wanted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import rewriting

HERE = Path(__file__).parent
ALL = sorted(f"tests.{path.stem}" for path in HERE.glob("test_*.py"))


def imported(monkeypatch: pytest.MonkeyPatch, *args: str, **more: Any) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(rewriting, "import_module", names.append)
    config: Any = SimpleNamespace(rootpath=HERE.parent, args=args, **more)
    rewriting.import_in_turn(config)
    return names


@pytest.mark.parametrize("count", [1, 2, 4, 1000])
def test_every_worker_imports_all_tests_and_each_begins_elsewhere(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    first = []
    for number in {0, 1, count // 2, count - 1} & {*range(count)}:
        worker = {"workerid": f"gw{number}", "workercount": count}
        names = imported(monkeypatch, "tests", workerinput=worker)
        assert sorted(names) == ALL
        first.append(names[0])
    assert count > len(ALL) or len({*first}) == len(first)


@pytest.mark.parametrize("args", [("tests/test_sse.py",), ("tests", "tests/test_sse.py"), ("x",)])
def test_who_wants_some_tests_does_not_wait_for_all(
    monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    worker = {"workerid": "gw0", "workercount": 2}
    assert imported(monkeypatch, *args, workerinput=worker) == []
    assert imported(monkeypatch, "tests") == [], "without workers there is nothing to share"


def test_a_module_that_cannot_be_imported_is_left_to_who_collects_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def import_module(name: str) -> None:
        tried.append(name)
        raise SyntaxError(name)

    monkeypatch.setattr(rewriting, "import_module", import_module)
    worker = {"workerid": "gw0", "workercount": 2}
    config: Any = SimpleNamespace(rootpath=HERE.parent, args=["tests"], workerinput=worker)
    rewriting.import_in_turn(config)
    assert tried == ALL
