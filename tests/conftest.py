"""Fixtures that every test may use, and the one check over everything that the tests wrote."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import PLANTED_KEY, Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program with an empty home; afterwards, the key must be nowhere it wrote."""
    home = tmp_path / "home"
    home.mkdir()
    program = Program(home)
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
