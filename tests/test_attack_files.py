"""Files that an attacker names: without an end, without a writer, not what they seem."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program import Program
from tests.servers import ChatServer, Reply, Request, answer
from tests.servers.tls import write_certificate

FORMATS = ("text", "ndjson")
SECURE = ("--base-url", "https://127.0.0.1:1/v1")


def unending(kind: str, path: Path) -> Path:
    """A file that never ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kind", ["FIFO", "device"])
@pytest.mark.parametrize("named_by", ["config.toml", "SSL_CERT_FILE", "--system", "--schema"])
def test_a_named_file_without_an_end_holds_nobody_beyond_the_timeout(
    program: Program, named_by: str, kind: str, output_format: str
) -> None:
    path = unending(kind, program.home / "config.toml" if named_by == "config.toml" else
                    program.home / "named" / "file.json")  # fmt: skip
    more: tuple[str, ...] = (named_by, f"@{path}") if named_by.startswith("--") else ()
    env: dict[str, str | None] = {named_by: str(path)} if named_by == "SSL_CERT_FILE" else {}
    result = program.run(
        "ask", "--timeout", "0.3", "--retries", "0", *SECURE, *more,
        "--output-format", output_format, "hello", env=env,
    )  # fmt: skip
    assert result.status == (2 if more else 3)
    assert result.code in ("bad_config", "bad_certificates", "unreadable_input")
    assert str(path) in result.stderr.decode()


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kind", ["missing", "folder", "FIFO", "/dev/full"])
def test_a_log_of_keys_that_cannot_be_written_is_named_and_no_other_file(
    program: Program, tmp_path: Path, kind: str, output_format: str
) -> None:
    path = {"missing": tmp_path / "no" / "log", "folder": tmp_path}.get(kind, tmp_path / kind)
    if kind == "FIFO":
        os.mkfifo(path)
    good = write_certificate(tmp_path / "c.pem")
    for trusted in (str(good), None):
        result = program.run(
            "ask", *SECURE, "--retries", "0", "--output-format", output_format, "hello",
            env={"SSLKEYLOGFILE": str(path), "SSL_CERT_FILE": trusted},
        )  # fmt: skip
        assert (result.status, result.code) == (3, "bad_key_log")
        assert f"SSLKEYLOGFILE: {path}" in result.stderr.decode()


def in_a_deleted_folder(path: Path) -> Callable[[], None]:
    """In the child: stand in a folder that is no more."""

    def enter() -> None:
        path.mkdir()
        os.chdir(path)
        path.rmdir()

    return enter


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("named_by", "status", "code"),
    [
        (("-o", "out.txt"), 11, "output_failed"),
        (("--record", "r.nd"), 11, "recording_unwritable"),
        (("--replay", "r.nd"), 2, "unreadable_input"),
        (("-f", "notes.txt"), 2, "bad_file"),
        (("--system", "@role.txt"), 2, "unreadable_input"),
        (("PIPECHAT_HOME", "home"), 9, "session_unreadable"),
        (("PIPECHAT_HOME", "home", "--session", "s"), 9, "session_unreadable"),
    ],
)
def test_a_path_from_a_folder_that_was_deleted_has_the_code_of_what_it_is_for(
    program: Program, tmp_path: Path, named_by: tuple[str, ...], status: int, code: str,
    output_format: str,
) -> None:  # fmt: skip
    env: dict[str, str | None] = {}
    if named_by[0] == "PIPECHAT_HOME":
        env, named_by = {"PIPECHAT_HOME": "home"}, named_by[2:]
    result = program.run(
        "ask", "--offline", "-q", *named_by, "--output-format", output_format, "hello", env=env,
        preexec_fn=in_a_deleted_folder(tmp_path / "gone"),
    )  # fmt: skip
    assert (result.status, result.code) == (status, code)


def removed(program: Program) -> None:
    shutil.rmtree(program.home / "sessions")


def replaced_by_a_file(program: Program) -> None:
    removed(program)
    (program.home / "sessions").write_text("no folder")


def without_its_spool(program: Program) -> None:
    """The spool is removed, and the session cannot be written."""
    for spool in program.spools():
        spool.unlink()
    session = program.home / "sessions" / "s.jsonl"
    session.unlink()
    session.mkdir()


def moved_away(program: Program) -> None:
    (program.home / "sessions").rename(program.home / "elsewhere")


GONE, AWAY, KEPT = "nothing of it is kept", "in the folder that was moved", "is kept aside"


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (removed, GONE),
        (replaced_by_a_file, GONE),
        (without_its_spool, GONE),
        (moved_away, AWAY),
    ],
)
def test_a_turn_that_cannot_be_added_is_said_to_be_kept_only_where_it_is(
    program: Program, happens: Callable[[Program], None], said: str, output_format: str
) -> None:
    def reply(_: Request) -> Reply:
        happens(program)
        return answer("Hi")

    with ChatServer(reply) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--session", "s", "--output-format", output_format,
            "hello",
        )  # fmt: skip
    assert (result.status, result.code) == (9, "session_unwritable")
    told = result.stderr.decode()
    assert said in told
    assert KEPT not in told


@pytest.mark.in_process
def test_a_turn_whose_folder_was_moved_away_comes_back_where_it_is_used(program: Program) -> None:
    def reply(_: Request) -> Reply:
        moved_away(program)
        return answer("Hi")

    with ChatServer(reply) as server:
        program.run("ask", "--base-url", server.url, "--session", "s", "hello")
    (program.home / "elsewhere").rename(program.home / "sessions")
    shown = program.run("history", "show", "s", "--output-format", "ndjson")
    assert [each["answer"] for each in shown.events] == ["Hi"]


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("entry", ["s.torn", ".s.busy", "s.jsonl"])
@pytest.mark.parametrize("kind", ["link", "folder", "FIFO"])
def test_a_file_of_a_session_that_is_none_is_named_and_no_other(
    program: Program, entry: str, kind: str, output_format: str
) -> None:
    folder = program.home / "sessions"
    folder.mkdir(mode=0o700)
    path = folder / entry
    if kind == "link":
        path.symlink_to(program.home / "elsewhere")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    orphan = folder / ".s.01a2061b-0000-7000-8000-000000000000.part"
    orphan.write_text('{"torn')
    orphan.chmod(0o600)
    result = program.run(
        "ask", "--offline", "-q", "--session", "s", "--if-busy", "fail",
        "--output-format", output_format, "hello",
    )  # fmt: skip
    assert (result.status, result.code) == (9, "session_unwritable")
    assert f"session 's': {path}: it is" in result.stderr.decode()


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("written", ["x", "./x", "sub/../x", "link", "hard"])
@pytest.mark.parametrize("option", ["--record", "--replay"])
def test_an_answer_and_a_recording_are_not_written_to_one_file(
    program: Program, tmp_path: Path, option: str, written: str, output_format: str
) -> None:
    recording = tmp_path / "x"
    recording.write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(recording)
    (tmp_path / "hard").hardlink_to(recording)
    given = ("--offline", "-q", "--output-format", output_format, option, str(recording))
    result = program.run("ask", *given, "-o", written, "hello", cwd=tmp_path)
    assert (result.status, result.code) == (2, "bad_option")
    assert f"-o and {option}" in result.stderr.decode().replace("--output", "-o")
    assert recording.read_bytes() == b""


@pytest.mark.in_process
def test_a_recording_beside_the_answer_is_as_ever(program: Program, tmp_path: Path) -> None:
    given = ("--offline", "-q", "--record", "x", "-o", "y", "hello")
    assert program.run("ask", *given, cwd=tmp_path).status == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"x", "y"}
