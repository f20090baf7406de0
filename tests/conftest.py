"""Fixtures that every test may use."""

import compileall
import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.in_process import InProcess
from tests.program import Program, a_program
from tests.rewriting import import_in_turn
from tests.surroundings import settle
from tests.warm_start import state_before


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cold", action="store_true", help="every process of the program begins with its imports"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "in_process(wanted=True): its `program` runs in the process of the tests",
    )
    config.addinivalue_line(
        "markers",
        "cold: its processes begin with their imports, because it says something of the start",
    )
    config.addinivalue_line(
        "markers",
        "counted: coverage learns from its processes what no run in process tells it",
    )
    if config.getoption("dist", "no") == "no":  # here tests are run, and not handed to others
        settle()
        state_before()
    if not hasattr(config, "workerinput"):
        # A test with a full disk would have Python cut what it compiles, for all others.
        compileall.compile_dir(str(Path(__file__).parent.parent / "pipechat"), quiet=1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected (a third of what that takes), nor later in
    what was: it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _counting() -> str | None:
    """What makes a process tell coverage what it ran; taken away, because it costs each 150 ms."""
    return os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_collectstart(collector: pytest.Collector) -> None:
    if isinstance(collector, pytest.Directory):  # which is this one; coverage counts by now
        import_in_turn(collector.config)


@pytest.fixture(autouse=True)
def _counted(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _counting: str | None
) -> None:
    """Let the processes of a `counted` test tell coverage what they ran."""
    if _counting is not None and request.node.get_closest_marker("counted") is not None:
        monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", _counting)


@pytest.fixture(scope="session")
def warm(request: pytest.FixtureRequest) -> bool:
    """Whether processes of the program may begin after their imports."""
    return not request.config.getoption("--cold")


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest, warm: bool) -> Iterator[Program]:
    """The program with an empty home; afterwards, the key must be nowhere it wrote."""
    mark = request.node.get_closest_marker("in_process")
    in_process = mark is not None and mark.args != (False,)
    cold = request.node.get_closest_marker("cold") is not None
    with a_program(tmp_path, InProcess if in_process else Program) as program:
        program.warm = warm and not cold
        yield program
