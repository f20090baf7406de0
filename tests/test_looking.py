"""Where something may not be looked at, that is what is said: not that nothing is there."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipechat.store import layout
from pipechat.store.sessions import SessionStore
from tests.file_modes import heed_modes
from tests.history_kit import turn, write_session
from tests.program import Program

pytestmark = pytest.mark.in_process

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


def findings(program: Program, output_format: str) -> dict[str, tuple[str, str]]:
    """How each check of doctor went, and what it said."""
    env = {"PIPECHAT_OFFLINE": "1"}
    result = program.run("doctor", "--output-format", output_format, env=env)
    if output_format == "json":
        checks = json.loads(result.stdout)["checks"]
        rows = [(each["verdict"], each["check"], each["message"]) for each in checks]
    else:
        lines = result.stdout.decode().splitlines()
        rows = [(cells[0], cells[1], cells[2]) for cells in (line.split("\t") for line in lines)]
    assert result.status == (3 if any(row[0] == "fail" for row in rows) else 0)
    return {check: (verdict, message) for verdict, check, message in rows}


UNSEEN = [
    ("sessions", 0o000, {"folder": "fail", "sessions": "fail", "spools": "fail"}),
    ("sessions", 0o300, {"folder": "ok", "sessions": "fail", "spools": "fail"}),
    ("sessions", 0o400, {"folder": "fail", "sessions": "warn", "spools": "fail"}),
    (f"sessions/{layout.IN_FLIGHT}", 0o000, {"folder": "fail", "spools": "fail"}),
    (f"sessions/{layout.IN_FLIGHT}", 0o400, {"folder": "fail", "sessions": "ok"}),
    (f"sessions/{layout.IN_FLIGHT}", 0o500, {"folder": "fail", "sessions": "ok"}),
    (f"sessions/{layout.IN_FLIGHT}", 0o300, {"sessions": "ok", "spools": "fail"}),
    ("sessions/s.jsonl", 0o000, {"sessions": "warn", "spools": "ok"}),
    (f"sessions/{layout.spool_file('s', 'x' * 36)}", 0o000, {"sessions": "ok", "spools": "warn"}),
    ("ledger", 0o000, {"folder": "ok", "ledger": "fail"}),
    ("ledger", 0o500, {"folder": "ok", "ledger": "fail"}),
    ("sessions", 0o700, {"folder": "ok", "sessions": "ok", "spools": "ok"}),
]


@pytest.mark.parametrize("output_format", ["text", "json"])
@pytest.mark.parametrize(("where", "mode", "wanted"), UNSEEN)
def test_doctor_says_what_it_did_not_see(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    mode: int,
    wanted: dict[str, str],
    output_format: str,
) -> None:
    folder = sessions_of(program)
    (program.home / "ledger").mkdir()
    (folder / layout.IN_FLIGHT).mkdir(exist_ok=True)
    if where.endswith(".part"):
        (program.home / where).parent.mkdir()
        (program.home / where).touch()
    with shut(program.home / where, mode, monkeypatch, program.home):
        found = findings(program, output_format)
    assert {check: found[check][0] for check in wanted} == wanted, found
    assert ("ledger" in found) == (where == "ledger")
    for check, verdict in wanted.items():
        if verdict != "ok" and not where.endswith(".part"):
            assert "permission denied" in found[check][1]


def test_doctor_tells_of_a_file_that_it_could_make_and_not_remove_and_leaves_but_one(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sessions_of(program)
    unlink = os.unlink

    def only_added_to(path: Any, *more: Any, **others: Any) -> None:  # as by `chattr +a`
        if os.path.dirname(os.fsdecode(path)) == str(folder):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        unlink(path, *more, **others)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", only_added_to)
        for output_format in ("text", "json", "text"):
            verdict, message = findings(program, output_format)["folder"]
            (left,) = folder.glob(".doctor.*")
            assert (verdict, left.name in message) == ("warn", True)
            assert "not be removed (it is not permitted)" in message
    assert findings(program, "text")["folder"][0] == "ok"
    assert not list(folder.glob(".doctor.*"))


READING = [
    ("show", "s"),
    ("export", "s"),
    ("search", "here", "s"),
    ("search", "here", "--session", "s"),
]
UNSOUGHT = "turns of programs that died could not be looked for: "


def a_spool(program: Program) -> Path:
    """What a turn of session `s` left that nobody runs any more."""
    spool = program.home / "sessions" / layout.spool_file("s", turn(2).id)
    spool.parent.mkdir(parents=True, exist_ok=True)
    spool.write_text("")
    return spool


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(
    ("where", "mode"),
    [("sessions", 0o300), (f"sessions/{layout.IN_FLIGHT}", 0o000)],
)
def test_of_turns_that_cannot_be_looked_for_it_is_not_said_that_there_are_any(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    mode: int,
    command: tuple[str, ...],
) -> None:
    sessions_of(program)
    a_spool(program)
    with shut(program.home / where, mode, monkeypatch, program.home):
        result = program.run("history", *command)
    assert (result.status, b"here" in result.stdout) == (0, True)
    told = result.stderr.decode()
    assert (told.count(UNSOUGHT), told.count("\n")) == (1, 1), told
    assert f"{program.home / where}" in told
    assert "permission denied" in told


@pytest.mark.parametrize("command", [*READING, ("list",), ("search", "here")])
@pytest.mark.parametrize("in_flight", [0o000, 0o500, 0o700])
def test_nothing_is_said_of_turns_of_another_in_whose_home_one_only_reads(
    program: Program, monkeypatch: pytest.MonkeyPatch, in_flight: int, command: tuple[str, ...]
) -> None:
    folder = sessions_of(program)
    a_spool(program).chmod(0o400)
    (folder / "s.jsonl").chmod(0o400)
    (folder / layout.IN_FLIGHT).chmod(in_flight)
    with shut(folder, 0o500, monkeypatch, program.home), monkeypatch.context() as patch:
        other = os.geteuid() + 1
        patch.setattr(os, "geteuid", lambda: other)
        result = program.run("history", *command)
    (folder / layout.IN_FLIGHT).chmod(0o700)
    assert (result.status, result.stderr) == (0, b"")
    assert b"s" in result.stdout


@pytest.mark.parametrize("lives", [True, False])
def test_an_interrupted_turn_is_told_of_only_where_there_is_one(
    program: Program, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    told: list[str] = []
    folder = sessions_of(program)
    store = SessionStore(folder, told.append)
    writer = store.begin("s") if lives else None
    if writer is None:
        a_spool(program)
    with shut(folder / "s.jsonl", 0o400, monkeypatch, program.home):
        store.adopt("s")
        store.adopt_all()
    assert len(told) == (0 if lives else 2)
    assert all("an interrupted turn could not be added" in line for line in told)
    if writer is not None:
        writer.abandon()


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("by", ["--cacert", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("where", "mode", "is_told"),
    [
        ("authorities", 0o000, True),
        ("authorities", 0o400, True),
        (".", 0o400, True),
        ("authorities", 0o300, False),  # they are looked up by their names
    ],
)
def test_a_folder_of_authorities_that_may_not_be_looked_into_is_told_as_a_file_is(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    where: str,
    mode: int,
    is_told: bool,
    by: str,
    output_format: str,
) -> None:
    above = tmp_path / "etc"
    folder = above / "authorities"
    folder.mkdir(parents=True)
    ask = ["ask", "--base-url", "https://127.0.0.1:9", "--retries", "0", "why?"]
    ask += ["--output-format", output_format]
    ask += [by, str(folder)] if by.startswith("-") else []
    env = {} if by.startswith("-") else {by: str(folder)}
    with shut(above / where, mode, monkeypatch, above):
        result = program.run(*ask, env=env)
    if is_told:
        assert (result.status, result.code) == (3, "bad_certificates"), result.stderr
        assert f"{by}: {folder}: Permission denied. " in result.stderr.decode()
    else:
        assert (result.status, result.code) == (5, "connection_refused"), result.stderr
