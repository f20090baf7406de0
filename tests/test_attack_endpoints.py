"""Endpoints that say odd things, and set-ups that are odd: what an attack found, kind by kind."""

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipechat.commands.config import _write_new
from pipechat.doctor import judging
from pipechat.doctor.folder import look_at
from pipechat.settings.cached_note import CachedNote
from pipechat.settings.endpoint import read_endpoint
from pipechat.settings.proxy import find_proxy
from tests.program import Program
from tests.servers import ChatServer, Reply, Request, chunk, completion, stream_reply, text_reply
from tests.servers.responses import ended, whole

pytestmark = pytest.mark.in_process

DEEP = {"total_tokens": 3, "more": "deep"}


def deeply(said: Any) -> str:
    """The JSON of `said`, with 900 lists in one another where it says "deep"."""
    return json.dumps(said).replace('"deep"', "[" * 900 + "]" * 900)


def in_one(said: Any) -> Reply:
    return text_reply(200, "application/json", deeply(said))


def as_events(*said: Any) -> Reply:
    return stream_reply(*(f"data: {deeply(each)}\n\n".encode() for each in said))


DEEP_ANSWERS = {
    "chat": ((), as_events(chunk("Hi"), chunk(finish_reason="stop", usage=DEEP))),
    "chat, whole": (("--no-stream",), in_one(completion("Hi", usage=DEEP))),
    "responses": (("--api", "responses"), as_events(ended(whole("Hi", usage=DEEP)))),
    "responses, whole": (("--api", "responses", "--no-stream"), in_one(whole("Hi", usage=DEEP))),
}


@pytest.mark.parametrize("kind", DEEP_ANSWERS)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_what_is_nested_beyond_sense_spoils_no_answer(
    program: Program, kind: str, output_format: str
) -> None:
    options, reply = DEEP_ANSWERS[kind]
    with ChatServer(reply) as server:
        given = (
            "ask",
            "--base-url",
            server.url,
            "--session",
            "s",
            "--output-format",
            output_format,
        )
        result = program.run(*given, *options, "hello")
    assert result.status == 0, result.stderr
    said = result.stdout.decode() if output_format == "text" else result.events[-1]["answer"]
    assert said.strip() == "Hi"
    assert program.records("s")[0]["usage"]["total_tokens"] == 3


@pytest.mark.parametrize("where", ["model", "beside", "list"])
@pytest.mark.parametrize("command", ["models", "json", "doctor"])
def test_a_list_of_models_may_be_nested_beyond_sense(
    program: Program, where: str, command: str
) -> None:
    entry: Any = {"id": "gpt-5.4-mini"}
    pages: dict[str, Any] = {
        "model": {"data": [entry | {"more": "deep"}]},
        "beside": {"data": [entry], "more": "deep"},
        "list": {"data": [entry, "deep"]},
    }
    given = {"json": ("models", "--output-format", "json")}.get(command, (command,))
    with ChatServer(in_one(pages[where])) as server:
        result = program.run(*given, "--base-url", server.url)
    assert result.status == 0, result.stderr
    assert b"gpt-5.4-mini" in result.stdout


GMT = (
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 -0000",
)  # fmt: skip


@pytest.mark.parametrize("date", GMT)
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_a_servers_date_is_in_gmt_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, date: str, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert judging.clock(date, 784111777.0).verdict == "ok"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("stronger", ["variable", "profile", "flag"])
@pytest.mark.parametrize("fault", ['timeout = "abc"', "timeout = -1", "timeout = []"])
@pytest.mark.parametrize("output_format", ["text", "json"])
def test_config_show_tells_what_is_wrong_though_something_stronger_counts(
    program: Program, fault: str, stronger: str, output_format: str
) -> None:
    profile = 'profile = "p"\n' if stronger == "profile" else ""
    text = f"{profile}{fault}\n[profiles.p]\ntimeout = 5\n"
    (program.home / "config.toml").write_text(text)
    env = {"PIPECHAT_TIMEOUT": "5"} if stronger == "variable" else {}
    options = ("--profile", "p") if stronger == "flag" else ()
    given = ("config", "show", "--output-format", output_format, *options)
    result = program.run(*given, env=env)
    assert (result.status, result.code) == (3, "bad_config")
    assert result.stderr.count(b"config.toml: timeout") == 1
    assert b"timeout" in result.stdout


@pytest.mark.parametrize("what", ["home", "folder", "above"])
def test_config_init_tells_a_file_that_is_there_from_a_folder_that_is_none(
    program: Program, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "config").mkdir()
    env: dict[str, str | None] = {"PIPECHAT_HOME": str(file)}
    if what == "folder":
        (tmp_path / "config" / "pipechat").write_text("mine")
        env = {"PIPECHAT_HOME": None, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    elif what == "above":
        env = {"PIPECHAT_HOME": None, "XDG_CONFIG_HOME": str(file)}
    result = program.run("config", "init", env=env)
    assert (result.status, result.code) == (3, "config_unwritable"), result.stderr
    assert b"there already" not in result.stderr
    assert file.read_text() == "mine"


@pytest.mark.parametrize("refused", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_config_init_needs_no_filesystem_with_links(program: Program, refused: int) -> None:
    config = program.home / "config.toml"
    with patch("os.link", side_effect=OSError(refused, os.strerror(refused))):
        assert program.run("config", "init").status == 0
        assert config.stat().st_mode & 0o777 == 0o600
        written = config.read_bytes()
        assert program.run("config", "init").code == "config_exists"
    assert b"config show" in written
    assert config.read_bytes() == written
    assert os.listdir(program.home) == ["config.toml"]


def killed_at(step: str, work: Callable[[], object]) -> None:
    """Do `work` as a process that is killed at `step`, and takes nothing away any more."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with patch(step, die), patch("os.unlink"), pytest.raises(KeyboardInterrupt):
        work()


def test_what_a_killed_process_left_is_in_no_ones_way(program: Program) -> None:
    """In a container the next process may well have the same id."""
    config, sessions = program.home / "config.toml", str(program.home / "sessions")
    note = CachedNote(str(program.home / "cache"), "api", "http://h", "m")
    os.mkdir(sessions, 0o700)
    killed_at("os.link", lambda: _write_new(str(config), b""))
    killed_at("os.replace", lambda: note.write("chat"))
    killed_at("os.fsync", lambda: look_at(sessions))
    assert program.run("config", "init").status == 0
    note.write("responses")
    assert note.read() == "responses"
    assert look_at(sessions).refused is None


@pytest.mark.parametrize("kind", ["api", "end", "ends"])
def test_making_room_for_a_note_takes_nothing_that_is_not_ours(tmp_path: Path, kind: str) -> None:
    theirs = {f"{prefix}{number}" for prefix in ("photo-", "api-notes-") for number in range(300)}
    for name in theirs:
        (tmp_path / name).write_text("theirs")
    for number in range(3):
        CachedNote(str(tmp_path), kind, "http://h", f"m{number}").write("chat")
    assert theirs < set(os.listdir(tmp_path))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o622])
@pytest.mark.parametrize("table", ["", "[profiles.cluster]\n"])
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_a_file_that_others_may_write_names_no_cluster_for_the_key(
    program: Program, mode: int, table: str, output_format: str
) -> None:
    config = program.home / "config.toml"
    config.write_text(f'{table}engine = "ray"\nray_address = "10.0.0.1:6379"\n')
    config.chmod(mode)
    result = program.run("ask", "hello", "--offline", "--output-format", output_format)
    assert (result.status, result.code) == (3, "bad_config")
    assert b"others may write it" in result.stderr


_NO_THREADS = """
import threading

def start(self):
    raise RuntimeError("can't start new thread")

threading.Thread.start = start
"""
WITHOUT_THREADS = {
    "ask": ("ask", "hello"),
    "ndjson": ("ask", "hello", "--output-format", "ndjson"),
    "models": ("models",),
    "batch": ("batch", "run", "--input-format", "lines"),
    "doctor": ("doctor",),
    "doctor, json": ("doctor", "--output-format", "json"),
}


@pytest.mark.in_process(False)
@pytest.mark.parametrize("kind", WITHOUT_THREADS)
def test_where_no_thread_is_to_be_had_that_is_what_is_said(program: Program, kind: str) -> None:
    env = program.at_start("no-threads", _NO_THREADS) | {"OPENAI_BASE_URL": "http://127.0.0.1:9"}
    options = () if "doctor" in kind else ("--retries", "0")
    result = program.run(*WITHOUT_THREADS[kind], *options, input=b"hello\n", env=env)
    assert (result.status, result.code) == (5, "no_thread"), result.stderr


CUSTOM = {
    "an accent": "X-Token: caf\u00e9-secret-1",
    "a CR": "X-Token: secret-1\rX-Team: red",
    "a control": "X-Token: secret-1\x01",
    "a long one": f"X-Token: {'secret-1' * 4000}",
    "a name": "X Token: secret-1",
    "a length": "Content-Length: 5",
    "a host": "Host: elsewhere.test",
}


@pytest.mark.parametrize("kind", CUSTOM)
@pytest.mark.parametrize("command", ["text", "ndjson", "batch", "models"])
def test_a_custom_header_that_cannot_be_one_is_told_and_not_repeated(
    program: Program, kind: str, command: str
) -> None:
    given = {
        "batch": ("batch", "run", "--input-format", "lines"),
        "models": ("models",),
    }.get(command, ("ask", "hello", "--output-format", command))
    with ChatServer(in_one(completion("Hi"))) as server:
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_CUSTOM_HEADERS": CUSTOM[kind]}
        result = program.run(*given, "--retries", "0", input=b"hello\n", env=env)
        assert not server.requests
    assert (result.status, result.code) == (3, "bad_config"), result.stderr
    assert b"OPENAI_CUSTOM_HEADERS" in result.stderr
    assert b"secret-1" not in result.stdout + result.stderr


@pytest.mark.parametrize("ending", ["/chat/completions", "/responses", "/models"])
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_an_address_that_was_copied_whole_is_asked_once_and_told_what_to_leave_out(
    program: Program, ending: str, output_format: str
) -> None:
    with ChatServer(text_reply(404, "application/json", '{"detail":"Not Found"}')) as server:
        given = ("ask", "hello", "--base-url", server.url + ending)
        result = program.run(*given, "--output-format", output_format)
        assert len(server.requests) == 1
    assert (result.status, result.code) == (4, "not_found")
    assert f"Leave {ending} out of the base URL." in result.stderr.decode()


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_a_server_that_no_longer_has_what_it_once_asked_for_is_asked_as_all_are(
    program: Program, status: int, output_format: str
) -> None:
    def serve(request: Request) -> Reply:
        gone = request.path.endswith("/responses")
        return text_reply(status, "application/json", "{}") if gone else in_one(completion("Hi"))

    with ChatServer(serve) as server:
        note = CachedNote(str(program.home / "cache"), "api", server.url, "gpt-5.4-mini")
        note.write("responses")
        given = ("ask", "hello", "--base-url", server.url, "--output-format", output_format)
        for _ in range(2):
            assert program.run(*given).status == 0
        ways = [request.path.removeprefix("/v1") for request in server.requests]
    assert ways == ["/responses", "/chat/completions", "/chat/completions"]


def asked_for(program: Program, *options: str, config: str = "") -> dict[str, Any]:
    (program.home / "config.toml").write_text(config)
    result = program.run("ask", "hello", "--dry-run", "--api", "responses", *options)
    assert result.status == 0, result.stderr
    body: dict[str, Any] = json.loads(result.stdout)
    return body


HIGH = '{"effort": "high", "summary": "auto"}'


def test_of_two_efforts_the_stronger_place_says_which(program: Program) -> None:
    flag, option = ("--effort", "low"), ("-O", f"reasoning={HIGH}")
    weak = '[options]\nreasoning = { effort = "high", summary = "auto" }\n'
    assert asked_for(program, *option, config='effort = "low"')["reasoning"] == json.loads(HIGH)
    both = {"effort": "low", "summary": "auto"}
    assert asked_for(program, *flag, config=weak)["reasoning"] == both
    assert asked_for(program, *flag, "-O", 'reasoning={"summary": "auto"}')["reasoning"] == both
    for odd in ("7", "high", "[]"):
        assert "reasoning" in asked_for(program, *flag, "-O", f"reasoning={odd}")
    for output_format in ("text", "ndjson"):
        result = program.run("ask", "hello", *flag, *option, "--output-format", output_format)
        assert (result.status, result.code) == (2, "bad_option")
        assert b"reasoning.effort is said twice" in result.stderr


@pytest.mark.parametrize("mode", ["strict", "json"])
def test_a_field_of_the_text_stands_beside_the_schemas(program: Program, mode: str) -> None:
    wanted = ("--schema", "name", "--schema-mode", mode)
    plain = asked_for(program, *wanted)["text"]
    assert "format" in plain
    both = asked_for(program, *wanted, "-O", 'text={"verbosity": "low"}')["text"]
    assert both == plain | {"verbosity": "low"}


COVERED = [
    ("https://api.example.com/v1", "example.com."),
    ("https://api.example.com./v1", "api.example.com."),
    ("https://[2001:db8::1]/v1", "2001:DB8:0::1"),
    ("https://[2001:db8::1]/v1", "[2001:db8:0::1]:443"),
    ("https://[2001:db8::1]/v1", "[2001:db8::]/32"),
    ("https://10.1.2.3/v1", "10.0.0.0/8"),
]


@pytest.mark.parametrize(("url", "entry"), COVERED)
def test_no_proxy_means_a_place_however_it_is_written(url: str, entry: str) -> None:
    environ = {"https_proxy": "http://proxy.test:1"}
    endpoint = read_endpoint(url)
    assert find_proxy(endpoint, None, "", environ) is not None
    assert find_proxy(endpoint, None, "", environ | {"no_proxy": entry}) is None
    assert find_proxy(endpoint, None, "", environ | {"no_proxy": f"x{entry}, 2001:db9::/32"})


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_headers_that_do_not_end_are_waited_for_within_the_turns_time(
    program: Program, tmp_path: Path, count: int, output_format: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    headers = [part for n in range(count) for part in ("-H", f"X-{n}: @file:{tmp_path}/fifo")]
    given = ("ask", "hello", "--base-url", "http://127.0.0.1:9", "--output-format", output_format)
    began = time.monotonic()
    result = program.run(*given, *headers, "--timeout", "0.3", events=False)
    assert (result.status, result.code) == (2, "bad_option")
    assert b"did not end in time" in result.stderr
    assert time.monotonic() - began < 5  # it was ten, whatever was asked for


@pytest.mark.in_process(False)
@pytest.mark.parametrize(
    ("kind", "output_format"), [("header", "text"), ("system", "json"), ("config", "text")]
)
def test_doctor_waits_for_no_file_that_does_not_end(
    program: Program, kind: str, output_format: str
) -> None:
    config = program.home / "config.toml"
    fifo = config if kind == "config" else program.home / "fifo"
    os.mkfifo(fifo, 0o600)
    if kind != "config":
        said = f'[headers]\nX-A = "@file:{fifo}"' if kind == "header" else f'system = "@{fifo}"'
        config.write_text(said)
        config.chmod(0o600)
    given = ("doctor", "--output-format", output_format)
    result = program.run(*given, env=program.shorter(settings=0.2))
    assert result.status == 3
    assert b"did not end" in result.stdout
    assert b"versions" in result.stdout
