"""What root never sees: a home that is not absolute, a folder that may be written and not read."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipechat import environment
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


def test_who_has_all_three_streams_needs_no_dev_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "devnull", "/no/such")
    assert environment._fill_missing_descriptors() == set()
