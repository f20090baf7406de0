"""Fixtures that every test may use, and the one check over everything that the tests wrote."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.in_process import InProcess
from tests.program import PLANTED_KEY, Program


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "in_process(wanted=True): its `program` runs in the process of the tests",
    )
    config.addinivalue_line(
        "markers",
        "counted: coverage learns from its processes what no run in process tells it",
    )


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep coverage out of the processes of a test that is not `counted`: it costs each 150 ms."""
    if request.node.get_closest_marker("counted") is None:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """The program with an empty home; afterwards, the key must be nowhere it wrote."""
    home = tmp_path / "home"
    home.mkdir()
    mark = request.node.get_closest_marker("in_process")
    in_process = mark is not None and mark.args != (False,)
    program = InProcess(home) if in_process else Program(home)
    try:
        yield program
    finally:
        program.close()
    planted = PLANTED_KEY.encode()
    for written in program.written:
        assert planted not in written
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "config.toml":
            assert planted not in path.read_bytes(), f"the key leaked into {path}"
