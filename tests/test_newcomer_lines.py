"""What is said stands in a line of its own, and tells what it is about, where that is and who
named it: kind by kind, as a newcomer met it."""

import os
import pty
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipechat.doctor.folder import look_at
from pipechat.environment import Messages, Output
from pipechat.events import End, Error, Sink, TextChunk
from pipechat.show.render import RenderSink
from pipechat.show.sinks import TextSink
from tests.in_process import InProcess
from tests.pseudo_terminal import AtTerminal
from tests.servers import ChatServer, answer, error_reply, self_signed, write_certificate

pytestmark = pytest.mark.in_process
END = End(answer="hi", total_s=1.0)
CUT = Error(
    status="partial", code="cut", exit_code=6, retryable=True, message="m", answer="hi", total_s=1.0
)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal that shows bytes as they are."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, slave
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("kind", ["text", "rendered"])
@pytest.mark.parametrize("last", [END, CUT])
def test_at_a_terminal_a_message_begins_a_line_and_the_answer_ends_once(
    terminal: tuple[int, int], kind: str, last: End | Error
) -> None:
    master, slave = terminal
    out = Output(slave, name="stdout")
    sink: Sink = TextSink(out) if kind == "text" else RenderSink(out, color=False)
    messages = Messages(Output(slave, name="stderr"), out)
    sink.emit(TextChunk(0, "hi"))
    if kind == "rendered":  # a block is shown once it is whole: what stands there is a prompt
        out.write(b"AI: ")
    messages.note("the ledger is full")
    sink.emit(last)
    messages.note("done")
    before, after = ("hi", "") if kind == "text" else ("AI: ", "hi\n")
    shown = f"{before}\npipechat: the ledger is full\n{after}pipechat: done\n"
    seen = b""
    while len(seen) < len(shown):
        seen += os.read(master, 4096)
    assert seen.decode() == shown


@pytest.mark.parametrize("terminals", ["", "stderr", "stdout", "stdout stderr"])
def test_what_cannot_be_noted_is_told_below_the_answer_whose_bytes_in_a_pipe_stay(
    program: InProcess, terminals: str
) -> None:
    program.terminals = frozenset(terminals.split())
    (program.home / "ledger").write_text("no folder")
    with ChatServer(answer("Bonjour")) as server:
        result = program.run("ask", "hi", "--base-url", server.url)
    told = f"pipechat: the ledger, {program.home}/ledger: what should be its folder is a file"
    assert result.status == 0
    lines = result.stdout.decode().replace("\r\n", "\n")
    if terminals == "stdout stderr":
        assert lines == f"Bonjour\n{told}\n"
    else:
        assert lines == "Bonjour\n"
        assert result.stderr.decode().replace("\r\n", "\n").endswith(f"{told}\n")


@pytest.mark.parametrize(
    ("flags", "env", "config", "named"),
    [
        ((), {}, "", "-m"),
        (("-m", "no-such"), {}, "", "--model"),
        ((), {"PIPECHAT_MODEL": "no-such"}, "", "PIPECHAT_MODEL"),
        ((), {}, 'model = "no-such"', "config.toml: model"),
        (("--profile", "p"), {}, '[profiles.p]\nmodel = "no-such"', "profiles.p.model"),
    ],
)
def test_a_model_that_is_not_there_is_told_with_who_named_it(
    program: InProcess,
    flags: tuple[str, ...],
    env: dict[str, str | None],
    config: str,
    named: str,
) -> None:
    (program.home / "config.toml").write_text(config)
    gone = error_reply(404, "no such model")
    with ChatServer([gone, gone]) as server:
        ask = ("ask", "hi", "--base-url", server.url, *flags)
        plain = program.run(*ask, env=env)
        events = program.run(*ask, "--output-format", "ndjson", env=env)
    for result in (plain, events):
        assert (result.status, result.code) == (4, "not_found")
        assert f"{named}) and the base URL.\n" in result.stderr.decode()


@pytest.mark.parametrize("fallback", ["gone-too", "p"])
def test_of_a_fallback_it_is_told_who_named_its_model(program: InProcess, fallback: str) -> None:
    (program.home / "config.toml").write_text('[profiles.p]\nmodel = "gone-too"\n')
    with ChatServer([error_reply(500, "boom"), error_reply(404, "no such model")]) as server:
        ask = ("ask", "hi", "--base-url", server.url, "-m", "m", "--fallback", fallback)
        result = program.run(*ask, "--retries", "0")
    named = "--fallback" if fallback != "p" else "config.toml: profiles.p.model"
    assert result.status == 4
    assert f"{named}) and the base URL.\n" in result.stderr.decode()


@pytest.mark.parametrize("named", ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "--cacert"])
def test_a_certificate_that_nobody_vouches_for_is_told_with_the_option_that_does(
    program: InProcess, tmp_path: Path, named: str
) -> None:
    other = str(write_certificate(tmp_path / "other.pem", expired=True))
    flags = ("--cacert", other) if named == "--cacert" else ()
    with ChatServer(answer("hi"), tls=self_signed()) as server:
        env = {"SSL_CERT_FILE": None, "OPENAI_BASE_URL": server.url}
        env |= {} if flags else {named: other}
        result = program.run("ask", "hi", "--retries", "0", *flags, env=env)
    assert (result.status, result.code) == (5, "bad_certificate")
    said = "Check the base URL (OPENAI_BASE_URL), or name its authority by --cacert; only those in"
    assert f"{said} {named}: {other} count.\n" in result.stderr.decode()


def _a_file_for_the_folder(home: Path) -> Path:
    (home / "sessions").write_text("")
    return home / "sessions"


def _a_folder_for_the_file(home: Path) -> Path:
    (home / "sessions" / "s.jsonl").mkdir(parents=True)
    return home / "sessions" / "s.jsonl"


def _a_link_for_the_file(home: Path) -> Path:
    (home / "sessions").mkdir()
    (home / "sessions" / "s.jsonl").symlink_to(home / "elsewhere")
    return home / "sessions" / "s.jsonl"


@pytest.mark.parametrize(
    "spoil", [_a_file_for_the_folder, _a_folder_for_the_file, _a_link_for_the_file]
)
def test_what_stands_in_the_way_of_a_session_is_told_by_its_path(
    program: InProcess, spoil: Callable[[Path], Path]
) -> None:
    path = spoil(program.home)
    for output_format in ("text", "ndjson"):
        ask = ("ask", "--offline", "--session", "s", "hi", "--output-format", output_format)
        result = program.run(*ask)
        assert (result.status, result.code) == (9, "session_unwritable")
        assert f"session 's': {path}: " in result.stderr.decode()


def test_ctrl_d_at_the_question_whether_to_delete_is_no_and_ends_its_line(
    program: InProcess,
) -> None:
    program.run("ask", "--offline", "--session", "s", "hi")
    with AtTerminal(program, "history", "delete", "s", env={}) as at:
        at.wait_for("[y/N] ")
        at.wait_for_editing()
        at.type("\x04")
        assert at.wait_for("was left alone").endswith("\npipechat: session 's' was left alone")
        assert at.leave() == 0


def test_sessions_that_cannot_be_opened_are_told_apart_from_torn_ones(tmp_path: Path) -> None:
    (tmp_path / "whole.jsonl").write_text("{}\n")
    (tmp_path / "torn.jsonl").write_text("{")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "whole.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "notes.txt").write_text("{")
    facts = look_at(str(tmp_path))
    assert (facts.unreadable, facts.torn) == (("folder", "link"), ("torn",))
