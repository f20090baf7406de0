"""A job at the provider whose files could not be read, and may be whole: it is not thrown away."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.file_modes import heed_modes
from tests.program import Program
from tests.test_batch_provider import ALL_COMPLETE, Desk, a_desk, shorten_waits

pytestmark = pytest.mark.in_process

STATE, ITEMS = "out.jsonl.batch.json", "out.jsonl.batch.1.items"
SUBMIT = ("submit", "in.ndjson", "-o", "out.jsonl")
FORGET = ("cancel", "out.jsonl", "--forget")
READING = {
    STATE: (("status", "out.jsonl"), ("fetch", "out.jsonl"), SUBMIT, ("cancel", "out.jsonl")),
    ITEMS: (("fetch", "out.jsonl"), SUBMIT),
}


@pytest.fixture(autouse=True)
def _shorter_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_waits(monkeypatch)


@pytest.fixture
def desk(tmp_path: Path, program: Program) -> Iterator[Desk]:
    with a_desk(tmp_path, program) as desk:
        yield desk


def bar(patch: pytest.MonkeyPatch, path: Path, code: int) -> None:
    """Let nobody open `path`, for that reason."""
    if code == errno.EACCES:
        path.chmod(0)
        heed_modes(patch, path.parent)
        return
    real = os.open

    def barred(each: Any, *more: Any, **others: Any) -> int:
        if os.path.basename(os.fsdecode(each)) == path.name:
            raise OSError(code, os.strerror(code), each)
        return real(each, *more, **others)

    patch.setattr(os, "open", barred)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize("name", [STATE, ITEMS])
def test_what_could_not_be_read_is_not_let_go_of_and_nobody_is_told_to(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    assert desk.submit().status == 0
    left = desk.left()
    commands = [*READING[name], FORGET, (*FORGET, "--output-format", "json"), (*SUBMIT, "--fresh")]
    with monkeypatch.context() as patch:
        bar(patch, desk.folder / name, code)
        for command in commands:
            result = desk.run(*command)
            assert (result.status, result.code) == (9, "unreadable_batch"), (command, result.stderr)
            told = result.stderr.decode()
            assert f"{name} cannot be read: {os.strerror(code)}. Look at its owner and mode" in told
            assert "--forget" not in told
            assert desk.left() == left
    (desk.folder / name).chmod(0o600)
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


@pytest.mark.parametrize("damage", ["half", "folder", "link"])
def test_what_is_damaged_or_no_file_of_a_job_may_be_let_go_of(desk: Desk, damage: str) -> None:
    assert desk.submit().status == 0
    state = desk.folder / STATE
    if damage == "half":
        state.write_bytes(state.read_bytes()[:-20])
    else:
        state.unlink()
        state.mkdir() if damage == "folder" else state.symlink_to(desk.folder / "in.ndjson")
    result = desk.fetch()
    assert (result.status, result.code) == (9, "unreadable_batch")
    assert b"--forget" in result.stderr
    if damage != "folder":
        assert desk.run(*FORGET).status == 0
        assert desk.left() in ([], ["out.jsonl"])


def test_requests_that_cannot_be_read_are_no_bug_and_are_uploaded_when_they_can(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.batches.trouble["upload"] = ["400"]
    assert desk.submit().status != 0
    requests = desk.folder / "out.jsonl.batch.1.jsonl"
    with monkeypatch.context() as patch:
        bar(patch, requests, errno.EACCES)
        result = desk.run(*SUBMIT)
        assert (result.status, result.code) == (9, "unreadable_batch"), result.stderr
        assert b"owner and mode" in result.stderr
    requests.chmod(0o600)
    assert desk.submit().status == 0
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE
