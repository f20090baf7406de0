"""What root never sees: a home that is not absolute, a folder that may be written and not read."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.servers import ChatServer, answer, mirror
from tests.test_batch_run import items

pytestmark = pytest.mark.in_process


@pytest.mark.parametrize("more", [(), ("--budget", "1000000tok/day"), ("--session", "s")])
@pytest.mark.parametrize("home", ["home", "not/there", "./home"])
def test_a_home_that_is_not_absolute_is_in_the_folder_where_the_user_stands(
    program: Program, tmp_path: Path, home: str, more: tuple[str, ...]
) -> None:
    env = {"HOME": home, "PIPECHAT_HOME": None}
    with ChatServer(answer("so")) as server:
        looked = program.run("doctor", "--base-url", server.url, env=env, cwd=tmp_path)
        assert b"(to be made in " in looked.stdout
        assert b"(to be made in )" not in looked.stdout
        server.requests.clear()
        ask = ("ask", "why?", "--base-url", server.url, *more)
        assert program.run(*ask, env=env, cwd=tmp_path).stdout == b"so\n"
        assert len(server.requests) == 1
    kept = tmp_path / home / ".local" / "share" / "pipechat"
    assert [path for path in (kept / "ledger").glob("*.jsonl") if path.stat().st_size]
    assert (kept / "sessions" / "s.jsonl").exists() == ("--session" in more)


@pytest.fixture
def drop_box(program: Program, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of sessions; its names may be used and added to, and not read: mode 0300."""
    folder = program.home / "sessions"
    folder.mkdir(mode=0o700)
    real_open = os.open

    def as_no_root(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if str(path) == str(folder) and not flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real_open(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", as_no_root)
    return folder


def test_what_was_paid_for_stays_in_a_file_of_a_folder_that_may_not_be_read(
    program: Program, drop_box: Path
) -> None:
    (drop_box / "s.jsonl").touch(0o600)  # as a run that died before its turn leaves it
    with ChatServer(mirror()) as server:
        url = ("--base-url", server.url)
        batch = program.run("batch", "run", *url, "-o", str(drop_box / "out"), input=items(3))
        record = program.run("ask", "why?", *url, "--record", str(drop_box / "record"))
        session = program.run("ask", "why?", *url, "--session", "s")
        assert len(server.requests) == 5
    assert [each.status for each in (batch, record, session)] == [0, 0, 0]
    records = [json.loads(each) for each in (drop_box / "out").read_bytes().splitlines()]
    assert [each["status"] for each in records] == ["complete"] * 3
    assert (drop_box / "record").stat().st_size
    (turn,) = map(json.loads, (drop_box / "s.jsonl").read_bytes().splitlines())
    assert turn["status"] == "complete"


@pytest.mark.in_process(False)
@pytest.mark.parametrize(
    ("streams", "status"), [("", 0), ("<&-", 0), (">&-", 11), ("<&- >&- 2>&-", 11)]
)
def test_in_a_jail_without_dev_null_the_answer_goes_where_it_belongs_or_nowhere(
    program: Program, tmp_path: Path, streams: str, status: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.devnull = '/no/such'\n")
    environ = program.environ()
    environ["PYTHONPATH"] = f"{tmp_path}:{environ['PYTHONPATH']}"
    ask = [program.python, "-m", "pipechat", "ask", "--offline", "-q", "--session", "s", "why?"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *ask],
        env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert done.stdout.endswith(b"you asked: why?\n" if status == 0 else b"")
    assert b"Traceback" not in done.stderr
    for path in (program.home / "sessions").glob("*.jsonl"):
        assert [json.loads(each)["question"] for each in path.read_bytes().splitlines()]


@pytest.mark.parametrize("of", ["a folder", "a link"])
def test_it_is_the_lock_of_a_batch_that_is_named_where_the_lock_cannot_be_written(
    program: Program, tmp_path: Path, of: str
) -> None:
    out, lock = tmp_path / "out", tmp_path / ".out.run"
    with ChatServer(mirror()) as server:
        batch = ("batch", "run", "--base-url", server.url, "-o", str(out))
        assert program.run(*batch, input=items(1)).status == 0
        lock.mkdir() if of == "a folder" else lock.symlink_to("elsewhere")
        result = program.run(*batch, input=items(2))
        assert len(server.requests) == 1
    assert (result.status, result.code) == (11, "output_failed")
    assert f"{lock} could not be written: it is " in result.stderr.decode()


@pytest.mark.parametrize("kind", [".lock", "the folder"])
def test_who_spends_by_a_budget_is_not_told_to_do_without_the_ledger(
    program: Program, kind: str
) -> None:
    ledger = program.home / "ledger"
    if kind == ".lock":
        (ledger / kind).mkdir(parents=True)
    else:
        ledger.write_text("a file")
    with ChatServer(answer("so")) as server:
        result = program.run("ask", "--base-url", server.url, "--budget", "99999tok/day", "why?")
        assert server.requests == []
    assert (result.status, result.code) == (9, "ledger_unwritable")
    assert b"A budget needs it: see that it can be written." in result.stderr
    assert b"ledger = false" not in result.stderr


def test_a_config_file_that_may_not_be_read_is_told_with_who_names_its_folder(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("pipechat.settings.config.open_named", refused)
    result = program.run("ask", "--offline", "why?")
    assert (result.status, result.code) == (3, "bad_config")
    for name in (str(program.home), "HOME", "XDG_CONFIG_HOME", "PIPECHAT_HOME"):
        assert name in result.stderr.decode()
