"""What a script may rely on of `pipechat ask`: its input, its output, its options."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Mark,
    Stall,
    WaitFor,
    answer,
    chunk,
    error_reply,
    event,
    json_reply,
    mirror,
    stream_reply,
)

pytestmark = pytest.mark.in_process

OFFLINE = ("ask", "--offline", "-q")


@pytest.mark.parametrize(
    ("words", "stdin", "question"),
    [
        (["What", "is", "this?"], b"", "What is this?"),
        ([], b"What is this?", "What is this?"),
        (["-"], b"What is this?", "What is this?"),
        (["Explain"], b"a pipe", "Explain\n\na pipe"),
        (["Explain", "-"], b"a pipe", "Explain\n\na pipe"),
        (["2 - 1 - 1", "is?"], b"", "2 - 1 - 1 is?"),
        ([], b"nul \0 passes", "nul \0 passes"),
        (["--", "--help", "me"], b"", "--help me"),
    ],
)
def test_words_and_stdin_make_the_question(
    program: Program, words: list[str], stdin: bytes, question: str
) -> None:
    result = program.run("ask", "--dry-run", *words, input=stdin)
    assert json.loads(result.stdout)["messages"] == [{"role": "user", "content": question}]


@pytest.mark.parametrize("words", [[], ["-"], ["  "]])
def test_an_empty_question_exits_2_and_sends_nothing(program: Program, words: list[str]) -> None:
    with ChatServer(answer("no")) as server:
        result = program.run("ask", "--base-url", server.url, *words, input=b" \n\t ")
        assert (result.status, result.stdout, result.code) == (2, b"", "empty_question")
        assert server.requests == []


def test_stdin_that_is_not_utf_8_exits_2_and_names_the_offset(program: Program) -> None:
    result = program.run(*OFFLINE, input=b"caf\xe9 au lait")
    assert (result.status, result.code) == (2, "not_utf8")
    assert b"offset 3" in result.stderr
    assert "caf\ufffd" in program.run(*OFFLINE, "--lossy", input=b"caf\xe9").stdout.decode()


def test_an_argument_that_is_not_utf_8_exits_2(program: Program) -> None:
    result = program.run("ask", "--offline", b"caf\xe9")
    assert (result.status, result.code) == (2, "not_utf8")


def test_more_input_than_the_limit_exits_2(program: Program) -> None:
    (program.home / "config.toml").write_text("max_input_mib = 0.001\n")
    result = program.run(*OFFLINE, input=b"x" * 2000)
    assert (result.status, result.code) == (2, "input_too_large")


def test_no_stdin_leaves_stdin_to_the_loop_around_it(program: Program) -> None:
    script = 'while read -r line; do "$@" "about $line"; done'
    command = [program.python, "-m", "pipechat", *OFFLINE, "--no-stdin"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command],
        input=b"one\ntwo\n",
        capture_output=True,
        env=program.environ(),
        check=True,
    )
    assert [line.rsplit(": ")[-1] for line in done.stdout.decode().splitlines()] == [
        "about one",
        "about two",
    ]


def test_the_first_chunk_is_on_stdout_before_the_server_sends_the_second(
    program: Program,
) -> None:
    seen = threading.Event()
    reply = stream_reply(
        chunk("first "), WaitFor(seen), chunk("second"), chunk(finish_reason="stop")
    )
    with ChatServer(reply) as server:
        process = program.start(
            "ask", "--no-stdin", "--base-url", server.url, "hello", stdin=subprocess.DEVNULL
        )
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"first "
        seen.set()
        assert process.stdout.read() == b"second\n"
        assert program.finish(process).status == 0


def test_the_whole_request_is_what_dry_run_prints(program: Program) -> None:
    arguments = (
        *("-m", "my-model", "-t", "0.25", "--max-tokens", "9", "-O", "top_p=0.5"),
        *("-O", 'stop=["a","b"]', "-O", "user=me", "--system", "Be brief.", "hello"),
    )
    with ChatServer(answer("ok")) as server:
        where = ("--base-url", server.url)
        dry = program.run("ask", "--dry-run", *where, *arguments, env={"OPENAI_API_KEY": None})
        assert server.requests == []
        assert program.run("ask", *where, *arguments).status == 0
        body = server.requests[0].body
    assert json.loads(dry.stdout) == body
    assert body == {
        "model": "my-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.25,
        "max_tokens": 9,
        "top_p": 0.5,
        "stop": ["a", "b"],
        "user": "me",
    }
    vendor = json.loads(program.run("ask", "--dry-run", "--max-tokens", "9", "hello").stdout)
    assert vendor["max_completion_tokens"] == 9
    assert not (program.home / "sessions").exists()


def test_every_option_can_be_given_in_the_environment(program: Program) -> None:
    with ChatServer(answer("ok")) as server:
        env: dict[str, str | None] = {
            "PIPECHAT_BASE_URL": server.url,
            "PIPECHAT_MODEL": "env-model",
            "PIPECHAT_TEMPERATURE": "0.5",
            "PIPECHAT_MAX_TOKENS": "5",
            "PIPECHAT_OPTION": "seed=7",
            "PIPECHAT_SYSTEM": "Be kind.",
            "PIPECHAT_OUTPUT_FORMAT": "json",
            "PIPECHAT_NO_STREAM": "1",
            "PIPECHAT_USAGE": "1",
            "PIPECHAT_SESSION": "env",
            "PIPECHAT_TIMEOUT": "30",
        }
        result = program.run("ask", "hello", env=env)
        body = server.requests[0].body
    assert json.loads(result.stdout)["answer"] == "ok"
    assert b"usage: 11 prompt + 7 completion = 18 tokens" in result.stderr
    assert {key: body[key] for key in ("model", "temperature", "max_tokens", "seed")} == {
        "model": "env-model",
        "temperature": 0.5,
        "max_tokens": 5,
        "seed": 7,
    }
    assert "stream" not in body
    assert program.records("env")[0]["system"] == "Be kind."


def test_a_profile_is_weaker_than_the_environment_and_stronger_than_the_file(
    program: Program,
) -> None:
    (program.home / "config.toml").write_text(
        'model = "file"\nlast_turns = 3\n[options]\nseed = 1\n'
        '[profiles.p]\nmodel = "profile"\ntemperature = 0.5\n[profiles.p.options]\nseed = 2\n'
    )
    dry = ("ask", "--dry-run", "hello")
    assert json.loads(program.run(*dry).stdout)["model"] == "file"
    of_profile = json.loads(program.run(*dry, "--profile", "p").stdout)
    assert [of_profile[key] for key in ("model", "temperature", "seed")] == ["profile", 0.5, 2]
    of_env = program.run(*dry, "--profile", "p", env={"PIPECHAT_MODEL": "env"})
    assert json.loads(of_env.stdout)["model"] == "env"
    missing = program.run(*dry, "--profile", "q")
    assert (missing.status, missing.code) == (3, "unknown_profile")


def test_a_session_sends_its_last_complete_turns_along(program: Program) -> None:
    replies = [answer("one"), answer("two"), error_reply(401, "no"), answer("three")]
    with ChatServer(replies) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url)
        for question in ("q1", "q2", "q3", "q4"):
            program.run(*ask, question)
        contents = [m["content"] for m in server.requests[-1].body["messages"]]
    assert contents == ["q1", "one", "q2", "two", "q4"]
    assert [r["status"] for r in program.records("s")] == [
        "complete",
        "complete",
        "failed",
        "complete",
    ]


def test_last_turns_and_context_tokens_cap_what_goes_along(program: Program) -> None:
    with ChatServer(mirror()) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url, "--output-format", "ndjson")
        for question in ("one one", "two two", "three three"):
            program.run(*ask, question)
        tokens = [record["turn_tokens"] for record in program.records("s")]
        start = program.run(*ask, "--last-turns", "1", "q").events[0]
        assert (start["turns_sent"], start["turns_dropped"]) == (1, 0)
        room = str(tokens[1] + tokens[2])
        start = program.run(*ask, "--last-turns", "3", "--context-tokens", room, "q").events[0]
        assert start["turns_sent"] + start["turns_dropped"] == 3
        nothing = program.run(*ask, "--context-tokens", "0", "q").events[0]
        assert (nothing["turns_sent"], nothing["turns_dropped"]) == (0, 5)
        assert len(server.requests[-1].body["messages"]) == 1


def test_the_system_message_sticks_to_the_session_until_another_is_given(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "role.txt").write_text("You are a pirate.\n")
    with ChatServer(mirror()) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url, "hi")
        program.run(*ask, "--system", f"@{tmp_path}/role.txt")
        program.run(*ask)
        program.run(*ask, "--system", "Be brief.")
        program.run(*ask)
        program.run(*ask, "--system", "")
        program.run(*ask)
        systems = [
            [m["content"] for m in request.body["messages"] if m["role"] == "system"]
            for request in server.requests
        ]
    pirate, brief = ["You are a pirate."], ["Be brief."]
    assert systems == [pirate, pirate, brief, brief, [], []]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"prompt_tokens": None, "total_tokens": 3}, "? prompt + ? completion = 3 tokens"),
        ({"prompt_tokens": "many", "completion_tokens": 2}, "? prompt + 2 completion = ? tokens"),
        ({"prompt_tokens": True, "completion_tokens": [1]}, "? prompt + ? completion = ? tokens"),
        ({"prompt_tokens": {}, "total_tokens": 1.5}, "? prompt + ? completion = ? tokens"),
    ],
)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_tokens_that_were_not_reported_are_a_question_mark(
    program: Program, usage: dict[str, Any], told: str, output_format: str
) -> None:
    body = {
        "choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}],
        "usage": usage,
    }
    with ChatServer(json_reply(200, body)) as server:
        ask = ("ask", "--base-url", server.url, "--usage", "--output-format", output_format)
        result = program.run(*ask, "hello")
    assert result.status == 0
    assert f"usage: {told}; " in result.stderr.decode()


def test_a_file_appears_only_when_the_answer_is_whole(program: Program, tmp_path: Path) -> None:
    target = tmp_path / "answer.txt"
    target.write_text("before")
    target.chmod(0o640)
    begun, seen = threading.Event(), threading.Event()
    reply = stream_reply(chunk("new"), Mark(begun), WaitFor(seen), chunk(finish_reason="stop"))
    with ChatServer([reply, stream_reply(chunk("cut"))]) as server:
        ask = ("ask", "--base-url", server.url, "-o", target, "hello")
        process = program.start(*ask, stdin=subprocess.DEVNULL)
        assert begun.wait(30)
        assert target.read_text() == "before"
        seen.set()
        result = program.finish(process)
        assert (result.status, result.stdout) == (0, b"")
        assert target.read_text() == "new\n"
        assert target.stat().st_mode & 0o777 == 0o640
        cut = program.run(*ask)
    assert (cut.status, cut.stdout, target.read_text()) == (6, b"", "new\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.txt", "home"]


def test_a_file_that_cannot_be_written_exits_11_before_anything_is_sent(
    program: Program, tmp_path: Path
) -> None:
    with ChatServer(answer("no")) as server:
        for path in (tmp_path, tmp_path / "missing" / "x"):
            result = program.run("ask", "--base-url", server.url, "-o", path, "hello")
            assert (result.status, result.code) == (11, "output_failed")
        assert server.requests == []
    assert program.run(*OFFLINE, "-o", "/dev/null", "hello").status == 0


def test_a_turn_that_cannot_begin_leaves_no_file_behind(program: Program, tmp_path: Path) -> None:
    folder = program.home / "sessions"
    (folder / "s.jsonl").mkdir(parents=True)
    target = tmp_path / "answer.txt"
    result = program.run(*OFFLINE, "--session", "s", "-o", target, "hello")
    assert result.status == 9
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_format_of_the_config_file_holds_for_failures_too(program: Program) -> None:
    (program.home / "config.toml").write_text('output_format = "json"\n')
    result = program.run("ask", "hello", env={"OPENAI_API_KEY": None})
    assert [event["code"] for event in result.events] == ["no_key"]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["--bogus"], 2, "usage"),
        (["--timeout", "soon"], 2, "bad_option"),
        (["--timeout", "-1"], 2, "bad_option"),
        (["--retries", "-1"], 2, "bad_option"),
        (["--temperature", "nan"], 2, "bad_option"),
        (["--output-format", "xml"], 2, "bad_option"),
        (["--if-busy", "panic", "--session", "s"], 2, "bad_option"),
        (["--if-busy", "wait"], 2, "bad_option"),
        (["-O", "novalue"], 2, "bad_option"),
        (["-O", "stream=false"], 2, "bad_option"),
        (["--system", "@/does/not/exist"], 2, "unreadable_input"),
        (["--session", "../up"], 2, "bad_session_name"),
        (["--base-url", "ftp://host/v1"], 2, "bad_option"),
        (["--base-url", "http://user:pass@host/v1"], 2, "bad_option"),
        (["--proxy", "host:1080"], 2, "bad_option"),
        (["--model", " "], 2, "bad_option"),
    ],
)
def test_a_wrong_option_is_one_line_and_its_exit_code(
    program: Program, arguments: list[str], status: int, code: str
) -> None:
    result = program.run("ask", *arguments, "hello", env={"OPENAI_API_KEY": None})
    assert (result.status, result.code, result.stdout) == (status, code, b"")
    assert result.stderr.count(b"\n") == 1


def test_a_command_line_that_says_too_little_is_told_where_help_is(program: Program) -> None:
    for arguments, where in (((), b"pipechat --help"), (("history",), b"pipechat history --help")):
        result = program.run(*arguments)
        assert (result.status, result.code, result.stdout) == (2, "usage", b"")
        assert where in result.stderr.splitlines()[-1]


def test_without_a_key_the_line_says_all_that_can_be_done(program: Program) -> None:
    result = program.run("ask", "hello", env={"OPENAI_API_KEY": None})
    assert (result.status, result.code) == (3, "no_key")
    for hint in (b"OPENAI_API_KEY", b"api_key_command", b"--base-url", b"--offline"):
        assert hint in result.stderr


def test_a_server_of_ones_own_needs_no_key_and_gets_none(program: Program) -> None:
    with ChatServer(answer("ok")) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        assert program.run(*ask, env={"OPENAI_API_KEY": None}).status == 0
        assert "authorization" not in server.requests[0].headers


def test_the_key_may_come_from_a_command_or_the_config_file(program: Program) -> None:
    config = program.home / "config.toml"
    with ChatServer(answer("ok")) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        for line in ('api_key_command = "echo from-command"', 'api_key = "from-file"'):
            config.write_text(line)
            config.chmod(0o600)
            assert program.run(*ask, env={"OPENAI_API_KEY": None}).status == 0
        keys = [request.headers["authorization"] for request in server.requests]
        assert keys == ["Bearer from-command", "Bearer from-file"]
        config.chmod(0o644)
        assert program.run(*ask).code == "bad_config"


def test_retries_come_before_the_first_text_and_are_told(program: Program) -> None:
    slow_down = error_reply(429, "slow", headers={"retry-after": "0.05"})
    with ChatServer([error_reply(500, "oops"), slow_down, answer("ok")]) as server:
        ask = ("ask", "--base-url", server.url, "-v", "--output-format", "ndjson", "hello")
        result = program.run(*ask)
        assert len(server.requests) == 3
    assert [event["type"] for event in result.events[:3]] == ["start", "retry", "retry"]
    first, second = result.events[1:3]
    assert (first["attempt"], first["status"], first["code"]) == (1, 500, "server_error")
    assert (second["status"], second["wait_s"]) == (429, 0.05)
    assert result.events[-1]["answer"] == "ok"
    assert result.stderr.count(b"trying again in") == 2


def test_an_error_in_the_stream_before_any_text_is_retried(program: Program) -> None:
    overloaded = stream_reply(event({"error": {"code": "overloaded_error"}}), Stall())
    with ChatServer([overloaded, overloaded, answer("ok")]) as server:
        result = program.run("ask", "--base-url", server.url, "--output-format", "ndjson", "hi")
    assert [each["type"] for each in result.events[:3]] == ["start", "retry", "retry"]
    assert (result.status, result.events[-1]["answer"]) == (0, "ok")


def test_quiet_says_nothing_but_errors(program: Program) -> None:
    assert program.run("ask", "--offline", "-q", "hi").stderr == b""
    assert program.run("ask", "--offline", "hi").stderr.startswith(b"pipechat: offline")


def test_offline_is_the_same_every_time_and_tells_the_turns_that_went_along(
    program: Program,
) -> None:
    ask = ("ask", "--offline", "--session", "s", "-q", "hello there")
    first, second = program.run(*ask), program.run(*ask)
    assert first.stdout == b"offline, with no earlier turn: you asked: hello there\n"
    assert second.stdout == b"offline, with 1 earlier turn: you asked: hello there\n"
    events = program.run(*OFFLINE, "--output-format", "stream-json", "hello there").events
    assert [event["type"] for event in events].count("chunk") > 3
    assert events[0]["model"] == "offline"
    assert events[-1]["usage"]["total_tokens"] > 0
    whole = program.run(*OFFLINE, "--no-stream", "hello there")
    assert whole.stdout == first.stdout


def test_what_never_started_still_ends_in_one_terminal_event(program: Program) -> None:
    result = program.run("ask", "--output-format", "ndjson", env={"OPENAI_API_KEY": None})
    assert [event["type"] for event in result.events] == ["error"]
    assert result.events[0]["exit_code"] == result.status == 2


def test_help_names_every_option(program: Program) -> None:
    text = program.run("ask", "--help").stdout.decode()
    for name in ("--session", "--if-busy", "--proxy", "-O", "--lossy"):
        assert name in text
    assert program.run("--version").stdout.startswith(b"pipechat ")
