"""Where cron and containers start a program: no home, no name, no terminal, no locale."""

import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program
from tests.servers import ChatServer, answer, mirror

pytestmark = pytest.mark.cold

NOBODY = 54321  # a uid without an entry in the password database
# It may read everything, since the interpreter may stand in root's home; and write nothing.
BECOME_NOBODY = (
    f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    " --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
)


class Nameless(Program):
    """The program as a user who has no entry in the password database.

    As root by becoming one; otherwise by a password database that knows nobody.
    """

    def __init__(self, home: Path, patch: Path) -> None:
        super().__init__(home)
        self.patched: dict[str, str | None] = {}
        if os.getuid() == 0:
            os.chown(home, NOBODY, NOBODY)
            wrapper = patch / "python"
            wrapper.write_text(f'#!/bin/sh\nexec {BECOME_NOBODY} {sys.executable} "$@"\n')
            wrapper.chmod(0o755)
            self.python = str(wrapper)
        else:
            (patch / "sitecustomize.py").write_text(
                "import pwd\ndef unknown(uid):\n    raise KeyError(uid)\npwd.getpwuid = unknown\n"
            )
            self.patched = {"PYTHONPATH": f"{patch}:{self.environ()['PYTHONPATH']}"}


@pytest.fixture
def nameless(tmp_path: Path) -> Iterator[Nameless]:
    """Its home is outside of pytest's folders, which are root's alone."""
    home = Path(tempfile.mkdtemp(prefix="pipechat-"))
    home.chmod(0o700)
    yield Nameless(home, tmp_path)
    home.chmod(0o700)
    shutil.rmtree(home)


def test_without_home_the_folders_come_from_the_password_database(program: Program) -> None:
    env: dict[str, str | None] = {"HOME": None, "PIPECHAT_HOME": None}
    assert program.run("ask", "--offline", "-q", "hello", env=env).status == 0
    env |= {"XDG_DATA_HOME": str(program.home)}
    result = program.run("ask", "--offline", "-q", "--session", "s", "hello", env=env)
    assert (result.status, result.stderr) == (0, b"")
    assert (program.home / "pipechat" / "sessions" / "s.jsonl").exists()


def test_a_user_without_a_name_and_a_home_is_told_what_to_set(nameless: Nameless) -> None:
    bare: dict[str, str | None] = {"HOME": None, "PIPECHAT_HOME": None, **nameless.patched}
    ask = ("ask", "--offline", "-q", "--session", "s", "hello")
    result = nameless.run(*ask, env=bare)
    assert (result.status, result.code) == (3, "no_home")
    assert b"PIPECHAT_HOME" in result.stderr
    for name in ("HOME", "PIPECHAT_HOME"):
        env = {**bare, name: str(nameless.home)}
        result = nameless.run(*ask, env=env)
        assert (result.status, result.stderr) == (0, b"")
    assert nameless.records("s")[0]["status"] == "complete"


def test_a_read_only_home_fails_before_anything_is_sent_and_only_where_it_is_needed(
    nameless: Nameless,
) -> None:
    if os.getuid() == 0:
        os.chown(nameless.home, 0, 0)
    nameless.home.chmod(0o555)
    with ChatServer(answer("fine")) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        result = nameless.run(*ask, "--session", "s", env=nameless.patched)
        assert (result.status, result.code) == (9, "session_unwritable")
        assert b"permission denied" in result.stderr
        assert server.requests == []
        plain = nameless.run(*ask, env=nameless.patched)
        assert (plain.status, plain.stdout) == (0, b"fine\n")
        assert plain.stderr.count(b"\n") == 1
        assert b"the ledger" in plain.stderr
        quiet = nameless.run(*ask, "-q", env=nameless.patched)
        assert (quiet.status, quiet.stdout, quiet.stderr) == (0, b"fine\n", b"")


@pytest.mark.parametrize("locale", ["C", "POSIX", "no_such.locale", None])
def test_text_is_exact_in_any_locale(program: Program, locale: str | None) -> None:
    text = "问：ß — \N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16} e\u0301"
    env: dict[str, str | None] = {"LANG": locale, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"}
    with ChatServer(mirror()) as server:
        ask = ("ask", "--session", "s\u00e9ance", "--base-url", server.url, text)
        result = program.run(*ask, input=text.encode(), env=env)
        assert server.requests[0].question == f"{text}\n\n{text}"
    assert (result.status, result.stderr) == (0, b"")
    assert result.stdout.decode() == f"echo: {text}\n\n{text}\n"
    (record,) = program.records("s\u00e9ance")
    assert record["question"] == f"{text}\n\n{text}"
    assert record["answer"] == result.stdout.decode()[:-1]
    missing = program.run("ask", "--offline", "--session", "ä/ö", "hello", env=env)
    assert (missing.status, missing.code) == (2, "bad_session_name")


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_folders_are_0700_and_files_0600_whatever_the_umask_is(
    program: Program, umask: int, tmp_path: Path
) -> None:
    home = tmp_path / "home" / "deep" / "down"
    output = tmp_path / "answer.txt"
    env: dict[str, str | None] = {"PIPECHAT_HOME": str(home)}
    with ChatServer(answer("fine")) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url, "hello")
        result = program.run(*ask, env=env, umask=umask)
        busy = program.run(*ask, "--if-busy", "fail", "-o", output, env=env, umask=umask)
        killed = program.start(*ask, "--no-stdin", env=env, umask=umask)
        server.play(answer("slow", gap=30.0))
        server.wait_for_requests(3)
        killed.send_signal(signal.SIGKILL)
        program.finish(killed)
    assert (result.status, busy.status, result.stderr) == (0, 0, b"")
    made = [home.parent, home, *home.rglob("*")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    folders = {path.name for path in made if path.is_dir()}
    assert {name: oct(mode) for name, mode in modes.items()} == {
        name: oct(0o700 if name in folders else 0o600) for name in modes
    }
    assert {"deep", "down", "sessions", "ledger"} <= folders
    files = modes.keys() - folders
    assert "s.jsonl" in files
    assert len(files) in (4, 5)  # with the spool of the one that was killed in time
    assert stat.S_IMODE(output.stat().st_mode) == 0o666 & ~umask


def test_without_a_terminal_and_a_session_of_processes_all_is_the_same(program: Program) -> None:
    import subprocess

    result = program.run(
        *("ask", "--offline", "-q", "--session", "s", "hello"),
        input=None,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"PATH": None, "TERM": None, "LANG": None},
    )
    assert (result.status, result.stderr) == (0, b"")
    assert result.stdout == b"offline, with no earlier turn: you asked: hello\n"
