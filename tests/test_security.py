"""FAULTS §4 through the real program: what a terminal is shown, where the key goes, and that
nothing a model says is ever more than text."""

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipechat.messages import now
from tests.program import PLANTED_KEY, Program, Result
from tests.pseudo_terminal import AtTerminal
from tests.servers import (
    ChatServer,
    Raw,
    Reply,
    answer,
    chunk,
    error_reply,
    event,
    http_reply,
    json_reply,
    raw_reply,
    redirect,
    stream_reply,
    text_reply,
)

pytestmark = pytest.mark.in_process

KEY = PLANTED_KEY
STOP = chunk(finish_reason="stop")
CLIPBOARD = "\x1b]52;c;" + base64.b64encode(b"rm -rf ~").decode() + "\x07"
HOSTILE = f"a{CLIPBOARD}\x1b[2J\r\x08\x7f\x9b31m\u202egnp.exe\u2066\u200f\0b\tc\nd"
SHOWN = (
    f"a^[]52;c;{base64.b64encode(b'rm -rf ~').decode()}^G^[[2J^M^H^?<U+009B>31m<U+202E>gnp.exe"
    "<U+2066><U+200F>^@b\tc\nd"
)


def test_controls_are_shown_on_a_terminal_and_exact_in_a_pipe(program: Program) -> None:
    with ChatServer(stream_reply(chunk(HOSTILE), STOP)) as server:
        ask = ("ask", "--session", "s", "--no-stdin", "--base-url", server.url, "hello")
        assert program.run(*ask).stdout.decode() == HOSTILE + "\n"
        with AtTerminal(program, *ask, env={}) as terminal:
            assert terminal.leave() == 0
            # The terminal driver turns a newline into CR LF, and tabs stay.
            assert terminal.screen.decode() == (SHOWN + "\n").replace("\n", "\r\n")
        with AtTerminal(program, *ask, "--raw", env={}) as terminal:
            assert terminal.leave() == 0
            assert terminal.screen.decode() == (HOSTILE + "\n").replace("\n", "\r\n")
    assert [record["answer"] for record in program.records("s")] == [HOSTILE] * 3


def test_controls_cut_in_two_by_chunks_are_shown_as_well(program: Program) -> None:
    pieces = [chunk(piece) for piece in HOSTILE]
    with ChatServer(stream_reply(*pieces, STOP)) as server:
        ask = ("ask", "--no-stdin", "--base-url", server.url, "hello")
        with AtTerminal(program, *ask, env={}) as terminal:
            assert terminal.leave() == 0
            assert terminal.screen.decode() == (SHOWN + "\n").replace("\n", "\r\n")


def test_stderr_is_always_one_clean_line(program: Program) -> None:
    with ChatServer(error_reply(404, f"no {HOSTILE}\nmore")) as server:
        for raw in ((), ("--raw",)):
            result = program.run("ask", "--base-url", server.url, *raw, "hello")
            assert (result.status, result.stderr.count(b"\n")) == (4, 1)
            line = result.stderr.decode().rstrip("\n")
            assert line.isprintable(), line
            assert "^[]52" in line


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-rf", "a/b", "../a", "/etc/passwd", "a\\b", "a b", "a\nb", "a:b",
     "CON", "nul.txt", "Aux", "com1", "lpt9.x", "a\u202eb", "e\u0301", "x" * 201, "ä" * 101, "~",
     "$HOME", "a*", "a|b", "a;b", "a\u200db"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_before_anything_is_made_or_sent(
    program: Program, name: str
) -> None:
    result = program.run("ask", "--offline", f"--session={name}", "hello")
    assert (result.status, result.code) == (2, "bad_session_name")
    assert list(program.home.iterdir()) == []


def test_names_of_any_script_are_taken_as_they_are_and_case_alone_is_no_difference(
    program: Program,
) -> None:
    for name in ("работа", "日記", "séance_1.2-3", "_x"):
        assert program.run("ask", "--offline", "-q", "--session", name, "hello").status == 0
    result = program.run("ask", "--offline", "--session", "Работа", "hello")
    assert (result.status, result.code) == (9, "session_exists")


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_a_session_that_is_no_file_is_refused_before_anything_is_sent(
    program: Program, kind: str, tmp_path: Path
) -> None:
    path = program.home / "sessions" / "s.jsonl"
    path.parent.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if kind == "link":
        path.symlink_to(victim)
    else:
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    with ChatServer(answer("no")) as server:
        result = program.run("ask", "--session", "s", "--base-url", server.url, "hello")
        assert server.requests == []
    assert (result.status, victim.read_text()) == (9, "precious")


def echo_replies() -> dict[str, Reply]:
    """Each place in which a server can say the key back."""
    said = f"Incorrect API key provided: {KEY}."
    return {
        "401": error_reply(401, said, "invalid_request_error", "invalid_api_key"),
        "401 detail": json_reply(401, {"detail": [{"msg": said}]}),
        "code": error_reply(400, "No.", code=KEY),
        "escaped": json_reply(401, {"error": said}),
        "page": text_reply(502, "text/html", f"<h1>Bearer {KEY}</h1>"),
        "page with 200": text_reply(200, f"text/{KEY}", f"<h1>{KEY}</h1>"),
        "stream error": stream_reply(chunk("Hi"), event({"error": {"message": said}})),
        "event: error": stream_reply(b"event: error\ndata: " + said.encode() + b"\n\n"),
        "request id": http_reply(
            200, event(chunk("Hi")), event(STOP), content_type="text/event-stream",
            headers={"x-request-id": f"req-{KEY}"}
        ),
        "status line": raw_reply(f"HTTP/1.1 403 {KEY}\r\ncontent-length: 0\r\n\r\n".encode()),
        "location": redirect(307, f"https://other.invalid/?key={KEY}"),
        "header that breaks": raw_reply(b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\0: x\r\n\r\n"),
        "no HTTP": raw_reply(Raw(KEY.encode() + b"\r\n\r\n")),
        "finish reason": stream_reply(chunk("Hi"), chunk(finish_reason=KEY)),
        "usage": stream_reply(chunk("Hi"), chunk(finish_reason="stop", usage={KEY: KEY})),
    }  # fmt: skip


@pytest.mark.parametrize("where", echo_replies())
def test_a_key_that_a_server_says_back_is_nowhere(program: Program, where: str) -> None:
    with ChatServer(echo_replies()[where]) as server:
        ask = ("ask", "--session", "s", "--retries", "0", "--base-url", server.url, "hello", "-v")
        results = [program.run(*ask), program.run(*ask, "--output-format", "ndjson")]
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    for result in results:
        assert KEY not in (result.stdout + result.stderr).decode("utf-8", "replace")
    for path in program.home.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("source", ["config", "profile", "command"])
def test_a_key_of_any_source_is_sent_and_hidden(program: Program, source: str) -> None:
    lines = {
        "config": f'api_key = "{KEY}"\n',
        "profile": f'profile = "p"\n[profiles.p]\napi_key = "{KEY}"\n',
        "command": f"api_key_command = \"printf '%s\\\\n' {KEY}\"\n",
    }
    config = program.home / "config.toml"
    config.write_text(lines[source])
    config.chmod(0o600)
    with ChatServer(error_reply(401, f"Wrong key: {KEY}")) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url, "-v", "hello")
        result = program.run(*ask, "--output-format", "json", env={"OPENAI_API_KEY": None})
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert (result.status, result.events[-1]["message"][-5:]) == (3, "[key]")
    assert f"127.0.0.1:{server.port}" in result.stderr.decode()  # where the key went


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_config_with_a_key_that_others_may_read_is_refused(program: Program, mode: int) -> None:
    config = program.home / "config.toml"
    config.write_text(f'[profiles.p]\napi_key = "{KEY}"\n')
    config.chmod(mode)
    result = program.run("ask", "--offline", "hello")
    assert (result.status, result.code) == (3, "bad_config")
    assert b"chmod 600" in result.stderr
    config.write_text('model = "m"\n')
    assert program.run("ask", "--offline", "hello").status == 0


@pytest.mark.parametrize("option", ["--base-url", "--proxy"])
@pytest.mark.parametrize("user", ["me:hunter2", "hunter2", ":hunter2", "%68unter2:hunter2"])
def test_urls_with_a_user_or_password_are_refused_and_not_repeated(
    program: Program, option: str, user: str
) -> None:
    result = program.run("ask", option, f"http://{user}@127.0.0.1:1/v1", "-v", "hello")
    assert (result.status, result.code) == (2, "bad_option")
    assert b"hunter2" not in result.stderr


def test_a_key_goes_in_the_clear_to_this_machine_alone(program: Program) -> None:
    for host in ("server.invalid", "127.0.0.1.invalid", "localhost.invalid", "0x7f.invalid"):
        result = program.run("ask", "--base-url", f"http://{host}/v1", "hello")
        assert (result.status, result.code) == (3, "insecure_http"), host
        assert host.encode() in result.stderr
    with ChatServer(answer("fine"), also=["localhost"]) as server:
        result = program.run("ask", "--base-url", server.url_at("localhost"), "hello")
        assert result.stdout == b"fine\n"
    insecure = ("ask", "--base-url", "http://server.invalid/v1", "--retries", "0", "hello")
    nowhere = program.without_names()
    assert program.run(*insecure, "--insecure-http", env=nowhere).code == "unknown_host"
    keyless = program.run(*insecure, env={"OPENAI_API_KEY": None, **nowhere})
    assert keyless.code == "unknown_host"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_neither_key_nor_question_to_another_origin(
    program: Program, status: int
) -> None:
    with ChatServer(answer("no")) as other:
        location = f"{other.url}/chat/completions"
        with ChatServer(redirect(status, location)) as server:
            result = program.run("ask", "--base-url", server.url, "a secret question")
        assert (result.status, result.code) == (4, "redirected")
        assert other.connections == 0


COMMANDS = [
    "$(touch pwned)", "`touch pwned`", "; touch pwned", "--base-url=http://evil.invalid",
    "-o pwned", "../../pwned", "| touch pwned", "\n.save pwned\n", "@/etc/passwd",
]  # fmt: skip


def test_what_a_model_says_is_text_and_never_a_command_an_option_or_a_path(
    program: Program, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    hostile: list[dict[str, Any]] = [chunk(text, id=text, model=text) for text in COMMANDS]
    headers = {"x-request-id": "../../pwned", "content-disposition": "attachment; filename=pwned"}
    with ChatServer(stream_reply(*hostile, STOP, headers=headers)) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url)
        for _ in range(2):  # the second time, what it said goes along as context
            result = program.run(*ask, "-o", "out.txt", "hello", cwd=here)
            assert (result.status, result.stdout, result.stderr) == (0, b"", b"")
        said = server.requests[1].messages[1]
    text = "".join(COMMANDS)
    assert said == {"role": "assistant", "content": text}
    assert (here / "out.txt").read_text().rstrip("\n") == text.rstrip("\n")
    assert [path.name for path in here.iterdir()] == ["out.txt"]
    of_ours = {"sessions", "s.jsonl", ".in-flight", ".swept", "ledger", f"{now()[:7]}.jsonl"}
    assert {path.name for path in program.home.rglob("*")} <= of_ours
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "home"]


def test_the_key_is_on_no_command_line_and_in_no_environment_but_ours(program: Program) -> None:
    config = program.home / "config.toml"
    config.write_text('api_key_command = "env > seen; echo from-command"\n')
    with ChatServer(answer("fine")) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        result: Result = program.run(
            *ask, env={"OPENAI_API_KEY": None}, cwd=program.home, stdin=subprocess.DEVNULL
        )
        assert server.requests[0].headers["authorization"] == "Bearer from-command"
    assert (result.status, result.stderr) == (0, b"")
    assert program.run("ask", "--api-key", KEY, "hello").status == 2
