"""Files that an attacker names: without an end, without a writer, not what they seem."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program import Program
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
