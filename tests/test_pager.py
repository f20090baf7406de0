"""What is shown goes through a pager as git has it: at a terminal, and nowhere else."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.history_kit import line, on_a_terminal, turn, write_session
from tests.in_process import InProcess
from tests.program import Program
from tests.pseudo_terminal import AtTerminal

PAGED = {
    "list": ("history", "list"),
    "show": ("history", "show", "w"),
    "search": ("history", "search", "why"),
}
FORMATS = ("text", "json", "ndjson")
# Keeps what it reads, and what less would look at, beside what it shows.
TO_FILE = "{ echo LESS=$LESS LV=$LV; cat; } > page"


@pytest.fixture
def at_terminal(program: Program, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A session, and a terminal for stdout."""
    assert isinstance(program, InProcess)
    write_session(program, "w", [line(turn(1)), line(turn(2))])
    program.terminals = frozenset({"stdout"})
    monkeypatch.chdir(program.home)
    return program


def paged(program: Program) -> str | None:
    """What went to the pager."""
    path = program.home / "page"
    return path.read_text() if path.exists() else None


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("command", PAGED)
def test_at_a_terminal_all_of_it_goes_to_the_pager_and_is_the_same(
    at_terminal: Program, command: str, output_format: str
) -> None:
    words = (*PAGED[command], "--output-format", output_format)
    env = {"PAGER": TO_FILE, "LESS": None, "LV": None, "TERM": "xterm"}
    plain = at_terminal.run(*words, "--no-pager", env=env)
    assert paged(at_terminal) is None
    result = at_terminal.run(*words, env=env)
    assert (result.status, result.stdout, result.stderr) == (0, b"", b"")
    assert paged(at_terminal) == f"LESS=FRX LV=-c\n{plain.stdout.decode()}"
    assert b"\x1b[" in plain.stdout or output_format != "text"


@pytest.mark.in_process
@pytest.mark.parametrize("command", PAGED)
def test_into_a_pipe_nothing_goes_through_a_pager(at_terminal: Program, command: str) -> None:
    assert isinstance(at_terminal, InProcess)
    at_terminal.terminals = frozenset({"stderr"})
    result = at_terminal.run(*PAGED[command], env={"PIPECHAT_PAGER": TO_FILE})
    assert (result.status, paged(at_terminal)) == (0, None)
    assert result.stdout


CHOICES: dict[str, tuple[dict[str, str | None], bool]] = {
    "its own variable is stronger": ({"PIPECHAT_PAGER": TO_FILE, "PAGER": "false"}, True),
    "an empty one of its own": ({"PIPECHAT_PAGER": "", "PAGER": TO_FILE}, False),
    "an empty one": ({"PAGER": ""}, False),
    "blanks": ({"PAGER": "  "}, False),
    "cat, which git takes for none": ({"PAGER": "cat"}, False),
    "one that is named, on a dumb terminal": ({"PAGER": TO_FILE, "TERM": "dumb"}, True),
    "none that is named, on a dumb terminal": ({"PAGER": None, "TERM": "dumb"}, False),
    "none that is named, and no less": ({"PAGER": None, "TERM": "xterm", "PATH": "/"}, False),
    "one that the shell starts": ({"PAGER": f"exec sh -c '{TO_FILE}'"}, True),
}


@pytest.mark.in_process
@pytest.mark.parametrize("choice", CHOICES)
def test_the_pager_is_chosen_as_git_does(at_terminal: Program, choice: str) -> None:
    env, is_paged = CHOICES[choice]
    result = at_terminal.run("history", "show", "w", env=env)
    assert (result.status, result.stderr) == (0, b"")
    assert (paged(at_terminal) is not None) == is_paged
    assert (b"why?" in result.stdout) == (not is_paged)


@pytest.mark.in_process
def test_less_is_the_pager_where_none_is_named_and_keeps_what_the_user_set(
    at_terminal: Program, tmp_path: Path
) -> None:
    less = tmp_path / "less"
    less.write_text(f"#!/bin/sh\n{TO_FILE}\n")
    less.chmod(0o755)
    env = {"PAGER": None, "LESS": "-S", "TERM": "xterm", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for command in PAGED.values():
        assert at_terminal.run(*command, env=env).status == 0
        assert (paged(at_terminal) or "").startswith("LESS=-S LV=-c\n")


@pytest.mark.in_process
def test_a_list_of_more_than_a_screen_is_begun_at_its_end(at_terminal: Program) -> None:
    for number in range(60):
        write_session(at_terminal, f"s{number}", [line(turn(1))])
    env = {"PAGER": TO_FILE, "LESS": None}
    for more, less in (((), "FRX+G"), (("-n", "3"), "FRX"), (("--output-format", "json"), "FRX")):
        at_terminal.run("history", "list", *more, env=env)
        assert (paged(at_terminal) or "").startswith(f"LESS={less} ")


@pytest.mark.in_process
@pytest.mark.parametrize("variable", ["PAGER", "PIPECHAT_PAGER"])
@pytest.mark.parametrize("command", PAGED)
def test_a_pager_that_is_not_there_is_told_in_a_line_and_done_without(
    at_terminal: Program, command: str, variable: str
) -> None:
    result = at_terminal.run(*PAGED[command], env={variable: "no-such-pager -R"})
    assert result.status == 0
    assert result.stderr.decode() == (
        f"pipechat: {variable}: there is no program 'no-such-pager'; it is shown without a pager\n"
    )
    assert b"why" in result.stdout


@pytest.mark.parametrize("command", PAGED)
def test_a_pager_that_its_shell_cannot_start_is_exit_11_in_a_line(
    program: Program, command: str
) -> None:
    write_session(program, "w", [line(turn(1))])
    result = on_a_terminal(program, *PAGED[command], env={"PAGER": "A=1 no-such-pager"})
    assert result.status == 11
    assert b"pipechat: output_failed: the pager 'A=1 no-such-pager' could not be" in result.stdout
    assert b"Traceback" not in result.stdout


@pytest.mark.parametrize("command", ["show", "search"])
def test_who_leaves_the_pager_early_has_seen_enough(program: Program, command: str) -> None:
    write_session(program, "w", [line(turn(n, "why? " * 2000)) for n in range(100)])
    result = on_a_terminal(program, *PAGED[command], env={"PAGER": "head -c 5; exit 3"})
    assert (result.status, len(result.stdout)) == (0, 5)


@pytest.mark.in_process
def test_what_is_told_meanwhile_goes_the_same_way_and_a_failure_comes_after(
    at_terminal: Program,
) -> None:
    assert isinstance(at_terminal, InProcess)
    at_terminal.terminals = frozenset({"stdout", "stderr"})
    write_session(at_terminal, "w", [line(turn(1)), b"torn\n", line(turn(2))])
    env = {"PAGER": TO_FILE}
    result = at_terminal.run("history", "show", "w", env=env)
    assert result.stdout == b""
    page = paged(at_terminal) or ""
    assert "session 'w': line 2 is no turn" in page
    result = at_terminal.run("history", "show", "w", "--turn", "99", env=env)
    assert (result.status, result.stdout.count(b"turn_missing")) == (9, 1)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_a_signal_leaves_the_terminal_to_the_pager_until_it_is_left(
    program: Program, tmp_path: Path, signum: int
) -> None:
    write_session(program, "w", [line(turn(n, "why? " * 2000)) for n in range(100)])
    go, gone = tmp_path / "go", tmp_path / "gone"
    os.mkfifo(go)
    # As less: it takes Ctrl-C for its own, has read a page, and waits for a key.
    read, done = f"read key < '{go}'", f"touch '{gone}'"
    pager = f"trap '' INT TERM HUP; echo ready; {read}; cat > /dev/null; {done}"
    env: dict[str, str | None] = {"PAGER": pager}
    with AtTerminal(program, "history", "show", "w", env=env) as run:
        run.wait_for("ready")
        os.kill(run.pid, signum)
        time.sleep(0.3)  # long enough for a process that does not wait to be gone
        assert os.waitpid(run.pid, os.WNOHANG) == (0, 0)
        go.write_text("q\n")
        assert run.leave() == -signum
        assert gone.exists()
        assert b"Traceback" not in run.screen


def test_ctrl_c_in_the_pager_kills_no_page_that_less_still_shows(program: Program) -> None:
    write_session(program, "w", [line(turn(n, f"question {n}?")) for n in range(100)])
    env = {"PAGER": "less", "LESS": None, "LANG": "C.UTF-8"}
    with AtTerminal(program, "history", "show", "w", env=env) as run:
        run.press_until("G", "question 99?")  # by now all of it is written
        run.type("\x03")
        run.press_until("g", "question 3?")
        run.type("q")
        assert run.leave() in (0, -signal.SIGINT)
