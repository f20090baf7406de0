"""Where something may not be looked at, that is what is said: not that nothing is there."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.file_modes import heed_modes
from tests.history_kit import turn, write_session
from tests.program import Program

pytestmark = pytest.mark.in_process

SHUT = {"nothing": 0o000, "names alone": 0o400, "no names": 0o300}
FORMATS = ("text", "ndjson")


@contextmanager
def shut(path: Path, mode: int, patch: pytest.MonkeyPatch, within: Path) -> Iterator[None]:
    """`path` with that mode, which holds for root too."""
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode)
    try:
        with patch.context() as heeding:
            heed_modes(heeding, within)
            yield
    finally:
        path.chmod(before)


def sessions_of(program: Program) -> Path:
    """The folder, with a session in it."""
    return write_session(program, "s", [turn(1, "here")]).parent


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("mode", [0o000, 0o400])
@pytest.mark.parametrize(
    "command", [("history", "list"), ("history", "show"), ("ask", "--offline", "-c", "why?")]
)
def test_a_folder_of_sessions_that_may_not_be_looked_into_is_named_in_one_line(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    mode: int,
    output_format: str,
) -> None:
    folder = sessions_of(program)
    with shut(folder, mode, monkeypatch, program.home):
        result = program.run(*command, "--output-format", output_format)
    assert (result.status, result.code) == (9, "session_unreadable"), result.stderr
    assert f"{folder}: permission denied" in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


NAMING = (
    ("history", "path", "s"),
    ("history", "delete", "s", "--yes"),
    ("history", "show", "s"),
    ("ask", "--offline", "--session", "s", "--existing", "why?"),
)


@pytest.mark.parametrize("command", NAMING)
@pytest.mark.parametrize("where", ["0000", "0400", "above", "no folder"])
def test_a_session_is_missing_only_where_it_could_be_seen_that_it_is(
    program: Program, monkeypatch: pytest.MonkeyPatch, where: str, command: tuple[str, ...]
) -> None:
    folder = sessions_of(program)
    barred, mode, cause = folder, 0o000 if where == "0000" else 0o400, "permission denied"
    if where == "above":  # as in the home of another
        command = command if "ask" not in command else NAMING[0]  # which is told of its settings
        barred, mode = program.home, 0o000
    if where == "no folder":
        folder.rename(program.home / "elsewhere")
        folder.touch()
        cause = "what should be its folder is a file"
    with shut(barred, mode, monkeypatch, program.home):
        result = program.run(*command)
    assert (result.status, result.code) == (9, "session_unreadable"), result.stderr
    assert f"{cause}. " in result.stderr.decode()
    assert program.run("history", "path", "t").code in ("session_missing", "session_unreadable")


def test_a_session_that_is_not_there_is_missing(program: Program) -> None:
    sessions_of(program)
    for command in NAMING:
        named = [word.replace("s", "t") if word == "s" else word for word in command]
        result = program.run(*named)
        assert (result.status, result.code) == (9, "session_missing"), named
