"""--fallback: another is asked where all tries failed for now, and nothing was shown yet."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipechat.errors import SetupError
from pipechat.settings.fallback import fallback_settings
from pipechat.settings.resolve import Settings, resolve_settings
from pipechat.settings.secrets import Secret
from tests.program import PLANTED_KEY, Program, Result
from tests.pseudo_terminal import AtTerminal
from tests.servers import (
    ChatServer,
    RefusedPort,
    Reply,
    Request,
    Reset,
    Script,
    Wait,
    answer,
    chunk,
    error_reply,
    http_reply,
    raw_reply,
    stream_reply,
)

pytestmark = pytest.mark.in_process

FORMATS = ("text", "json", "ndjson")


def busy_but_for(*models: str, refusal: Reply | None = None) -> Script:
    """Answers as these models; the others are busy."""

    def script(request: Request) -> Reply:
        model = request.body["model"]
        return answer(f"I am {model}") if model in models else refusal or error_reply(503, "Busy.")

    return script


def ask(program: Program, url: str, *more: str, **env: str | None) -> Result:
    words = ("ask", "--retries", "0", "-m", "first", *more, "hi")
    return program.run(*words, env={"OPENAI_BASE_URL": url, **env})


def config(program: Program, text: str) -> None:
    path = program.home / "config.toml"
    path.write_text(text)
    path.chmod(0o600)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_model_at_the_same_endpoint_is_asked_and_the_record_names_it(
    program: Program, output_format: str
) -> None:
    more = ("--fallback", "second", "--session", "s", "--output-format", output_format)
    with ChatServer(busy_but_for("second")) as server:
        result = ask(program, server.url, *more)
        assert [request.body["model"] for request in server.requests] == ["first", "second"]
    assert result.status == 0
    assert b"I am second" in result.stdout
    assert b"; asking the model second instead" in result.stderr
    assert b".;" not in result.stderr
    (record,) = program.records("s")
    assert (record["model"], record["answer"]) == ("second", "I am second")
    if output_format == "ndjson":
        assert [each["type"] for each in result.events[:2]] == ["start", "fallback"]
        assert result.events[1] == {"type": "fallback", "to": "second", "code": "server_error"}


def test_they_are_asked_in_their_order_each_after_its_retries(program: Program) -> None:
    with ChatServer(busy_but_for("third")) as server:
        more = ("--retries", "1", "--fallback", "second", "--fallback", "third")
        result = ask(program, server.url, *more, "--output-format", "ndjson")
        asked = [request.body["model"] for request in server.requests]
    assert asked == ["first", "first", "second", "second", "third"]
    kinds = [each["type"] for each in result.events]
    assert kinds[:5] == ["start", "retry", "fallback", "retry", "fallback"]
    assert result.status == 0


@pytest.mark.parametrize("output_format", FORMATS)
def test_where_all_fail_the_last_failure_is_the_turns(program: Program, output_format: str) -> None:
    with ChatServer(busy_but_for()) as server:
        result = ask(program, server.url, "--fallback", "second", "--output-format", output_format)
    assert result.status == 5
    assert b"Busy" in result.stderr


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (error_reply(400, "No."), 4),
        (error_reply(404, "No such model."), 4),
        (error_reply(401, "Bad key."), 3),
        (stream_reply(chunk("a part of"), Reset()), 6),
        (stream_reply(chunk("all of it"), chunk(finish_reason="length")), 6),
    ],
)
def test_what_is_refused_and_what_was_shown_is_not_asked_again(
    program: Program, refusal: Reply, status: int, output_format: str
) -> None:
    with ChatServer(busy_but_for("second", refusal=refusal)) as server:
        result = ask(program, server.url, "--fallback", "second", "--output-format", output_format)
        assert len(server.requests) == 1
    assert result.status == status


@pytest.mark.parametrize("kind", ["reset", "refused"])
def test_a_profile_is_asked_at_its_endpoint_with_its_own_key(program: Program, kind: str) -> None:
    with (
        ChatServer(raw_reply(Reset())) as broken,
        RefusedPort() as port,
        ChatServer(busy_but_for("own")) as other,
    ):
        config(
            program,
            f'[profiles.spare]\nbase_url = "{other.url}"\nmodel = "own"\n'
            'api_key_command = "echo its-own-key"\n',
        )
        url = broken.url if kind == "reset" else port.url
        result = ask(program, url, "--fallback", "spare", "--max-tokens", "7")
        (request,) = other.requests
    assert (result.status, result.stdout) == (0, b"I am own\n")
    assert b"; asking the profile spare instead" in result.stderr
    assert request.headers["authorization"] == "Bearer its-own-key"
    assert request.body["max_tokens"] == 7
    assert b"its-own-key" not in result.stderr


@pytest.mark.parametrize("named", ["OPENAI_API_KEY", "PIPECHAT_API_KEY", "file"])
def test_no_endpoint_gets_the_key_of_another(program: Program, named: str) -> None:
    with ChatServer(busy_but_for()) as first, ChatServer(busy_but_for("own")) as other:
        text = f'[profiles.spare]\nbase_url = "{other.url}"\nmodel = "own"\n'
        config(program, f'api_key = "{PLANTED_KEY}"\n{text}' if named == "file" else text)
        env: dict[str, str | None] = {"OPENAI_API_KEY": None}
        if named != "file":
            env[named] = PLANTED_KEY
        result = ask(program, first.url, "--fallback", "spare", **env)
        assert first.requests[0].headers["authorization"] == f"Bearer {PLANTED_KEY}"
        assert "authorization" not in other.requests[0].headers
    assert result.status == 0


def test_a_session_goes_on_from_what_another_answered(program: Program) -> None:
    with ChatServer(busy_but_for("second")) as server:
        more = ("--fallback", "second", "--session", "s")
        assert ask(program, server.url, *more).status == 0
        assert ask(program, server.url, *more).status == 0
        contents = [message["content"] for message in server.requests[-1].messages]
    assert contents == ["hi", "I am second", "hi"]


def test_chat_takes_it_too_and_the_next_question_begins_with_the_first(program: Program) -> None:
    with ChatServer(busy_but_for("second")) as server:
        env = {"OPENAI_BASE_URL": server.url}
        words = ("chat", "--retries", "0", "-m", "first", "--fallback", "second")
        result = program.run(*words, input=b"one\ntwo\nQUIT\n", env=env)
        asked = [request.body["model"] for request in server.requests]
    assert result.status == 0
    assert result.stdout.count(b"I am second") == 2
    assert asked == ["first", "second"] * 2


def test_the_config_file_and_the_environment_name_them(program: Program) -> None:
    config(program, 'fallback = ["second"]\n')
    with ChatServer(busy_but_for("second", "third")) as server:
        assert ask(program, server.url).stdout == b"I am second\n"
        env = {"PIPECHAT_FALLBACK": "busy\nthird"}
        assert ask(program, server.url, **env).stdout == b"I am third\n"


def test_a_recording_is_replayed_with_its_fallback(program: Program, tmp_path: Path) -> None:
    file = str(tmp_path / "recording")
    more = ("--fallback", "second", "--output-format", "ndjson")
    with ChatServer(busy_but_for("second")) as server:
        first = ask(program, server.url, *more, "--record", file)
    again = ask(program, "http://127.0.0.1:1/v1", *more, "--replay", file)
    kinds = [[each["type"] for each in result.events] for result in (first, again)]
    assert kinds[0] == kinds[1]
    assert again.status == 0


def test_a_recording_of_two_servers_is_refused(program: Program, tmp_path: Path) -> None:
    config(program, '[profiles.spare]\nbase_url = "http://127.0.0.1:1/v1"\n')
    more = ("--fallback", "spare", "--record", str(tmp_path / "recording"))
    with ChatServer(busy_but_for()) as server:
        result = ask(program, server.url, *more)
        assert server.requests == []
    assert (result.status, result.code) == (2, "bad_option")


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_profile_that_is_wrong_is_told_before_anything_is_sent(
    program: Program, output_format: str
) -> None:
    config(program, '[profiles.spare]\nbase_url = "https://api.openai.com/v1"\n')
    with ChatServer(busy_but_for("first")) as server:
        result = ask(program, server.url, "--fallback", "spare", "--output-format", output_format)
        assert server.requests == []
    assert (result.status, result.code) == (3, "no_key")
    assert b"spare" in result.stderr


def resolved(environ: dict[str, str], file: dict[str, Any], name: str) -> Settings:
    flags = {"fallback": [name], "model": "m", "max_tokens": 5}
    asked = resolve_settings(flags, environ, file)
    return fallback_settings(asked, name, environ, file, "config.toml")


def test_what_a_profile_does_not_name_stays_as_it_was_asked() -> None:
    environ = {"OPENAI_API_KEY": "k" * 20, "HTTPS_PROXY": "http://p:1"}
    found = resolved(environ, {"profiles": {"spare": {"model": "n"}}}, "spare")
    assert (found.model, found.endpoint.host) == ("n", "api.openai.com")
    assert found.api_key == Secret("k" * 20)
    assert found.options == {"max_completion_tokens": 5}
    assert found.proxy is not None


def test_the_bound_of_an_answer_is_named_as_the_other_endpoint_has_it() -> None:
    spare = {"base_url": "http://localhost:1/v1"}
    found = resolved({"OPENAI_API_KEY": "k" * 20}, {"profiles": {"spare": spare}}, "spare")
    assert found.options == {"max_tokens": 5}
    assert (found.api_key, found.proxy) == (None, None)


def test_the_vendor_is_not_asked_without_a_key() -> None:
    environ = {"OPENAI_API_KEY": "k" * 20, "OPENAI_BASE_URL": "http://localhost:1/v1"}
    spare = {"base_url": "https://api.openai.com/v1"}
    with pytest.raises(SetupError, match="names no key"):
        resolved(environ, {"profiles": {"spare": spare}}, "spare")


OWN_WAY = {"headers": {"X-Team": "blue"}, "client_cert": "/c.pem", "client_key": "/k.pem"}
ANOTHER = "http://localhost:2/v1"


def of_gateway(spare: dict[str, Any], file: dict[str, Any] | None = None) -> Settings:
    """The profile `spare`, in place of a gateway's that wants a header and a certificate."""
    asked = {
        "base_url": "http://localhost:1/v1?sig=s1",
        "headers": ["X-Team: red", "X-Ours: 1"],
        "client_cert": "/asked.pem",
        "client_key": "/asked.key",
        "cacert": "/asked-ca.pem",
        "fallback": ["spare"],
    }
    config = {**(file or {}), "profiles": {"spare": spare}}
    environ = {"AZURE_OPENAI_ENDPOINT": "http://localhost:1/v1", "AZURE_OPENAI_API_KEY": "k" * 20}
    settings = resolve_settings(asked, environ, config)
    assert settings.auth == "api-key"
    return fallback_settings(settings, "spare", environ, config, "config.toml")


def said(settings: Settings) -> dict[str, str]:
    return {header.name: header.value for header in settings.headers}


@pytest.mark.parametrize("spare", [{"base_url": ANOTHER}, {"base_url": ANOTHER, "api_key": "own"}])
@pytest.mark.parametrize("file", [{}, OWN_WAY])
def test_another_endpoint_gets_no_header_certificate_or_query_of_the_first(
    spare: dict[str, str], file: dict[str, Any]
) -> None:
    found = of_gateway(spare, file)
    assert (found.headers, found.client_cert, found.client_key) == ((), None, None)
    assert (found.endpoint.query, found.cacert, found.auth) == ((), None, "bearer")
    assert found.api_key == (Secret("own") if "api_key" in spare else None)
    assert {"s1", "red"} <= set(found.secrets)


def test_another_endpoint_gets_the_profiles_own_ones() -> None:
    own = {"cacert": "/ca.pem", "auth": "api-key", "api_version": "v9", "api_key": "own"}
    found = of_gateway({"base_url": f"{ANOTHER}?sig=s2", **OWN_WAY, **own})
    assert (said(found), found.auth) == ({"X-Team": "blue"}, "api-key")
    assert (found.client_cert, found.client_key, found.cacert) == ("/c.pem", "/k.pem", "/ca.pem")
    assert dict(found.endpoint.query) == {"sig": "s2", "api-version": "v9"}
    assert {"s2", "blue"} <= set(found.secrets)
    assert found.origins["client_cert"] == "config.toml: profiles.spare.client_cert"


def test_the_same_endpoint_gets_what_the_profile_does_not_replace() -> None:
    found = of_gateway({"model": "n", "api_version": "v9"})
    assert said(found) == {"X-Team": "red", "X-Ours": "1"}
    assert (found.client_cert, found.cacert, found.auth) == (
        "/asked.pem", "/asked-ca.pem", "api-key",
    )  # fmt: skip
    assert dict(found.endpoint.query) == {"sig": "s1", "api-version": "v9"}
    found = of_gateway({"base_url": "http://localhost:1/v1", **OWN_WAY})
    assert said(found) == {"X-Team": "blue", "X-Ours": "1"}
    assert (found.client_cert, found.client_key, found.cacert) == (
        "/c.pem", "/k.pem", "/asked-ca.pem",
    )  # fmt: skip


def test_a_header_or_a_key_of_the_profile_is_how_it_is_known_and_not_that_of_the_question() -> None:
    same = {"base_url": "http://localhost:1/v1"}
    found = of_gateway({**same, "headers": {"Authorization": "Bearer own"}}, {"api_key": "file"})
    assert (found.api_key, found.api_key_command) == (None, None)
    flags = {"base_url": same["base_url"], "headers": ["Authorization: Bearer asked"]}
    config = {"profiles": {"spare": {**same, "api_key": "own"}}}
    asked = resolve_settings({**flags, "fallback": ["spare"]}, {}, config)
    found = fallback_settings(asked, "spare", {}, config, "config.toml")
    assert (found.api_key, found.headers) == (Secret("own"), ())


def test_no_socket_is_asked_by_way_of_a_proxy() -> None:
    config = {"profiles": {"spare": {"base_url": "unix:///tmp/s.sock"}}}
    flags = {"base_url": "http://far.test/v1", "proxy": "http://p.test:1", "fallback": ["spare"]}
    asked = resolve_settings(flags, {}, config)
    assert asked.proxy is not None
    assert fallback_settings(asked, "spare", {}, config, "config.toml").proxy is None


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_profiles_header_is_read_from_where_it_is_and_those_of_the_question_stay_at_home(
    program: Program, output_format: str
) -> None:
    with ChatServer(busy_but_for()) as first, ChatServer(busy_but_for("own")) as other:
        config(
            program,
            f'[profiles.spare]\nbase_url = "{other.url}"\nmodel = "own"\n'
            'headers = {X-Own = "@env:OWN_VALUE"}\n',
        )
        more = ("--fallback", "spare", "-H", "X-First: 1-st", "--output-format", output_format)
        result = ask(program, first.url, *more, OWN_VALUE="own-value")
        (here,), (there,) = first.requests, other.requests
    assert result.status == 0
    assert (here.headers["x-first"], there.headers["x-own"]) == ("1-st", "own-value")
    assert "x-first" not in there.headers
    assert "x-own" not in here.headers
    result = ask(program, "http://localhost:1/v1", *more, OWN_VALUE=None)
    assert (result.status, result.code) == (3, "bad_config")
    assert b"profiles.spare.headers" in result.stderr


@pytest.mark.parametrize(
    "command", ["exec tail -f /dev/null", "echo k; exec tail -f /dev/null >&2"]
)
@pytest.mark.parametrize("output_format", FORMATS)
def test_the_command_for_anothers_key_has_what_is_left_of_the_turn(
    program: Program, output_format: str, command: str
) -> None:
    config(
        program, f'[profiles.p]\nbase_url = "http://127.0.0.1:9"\napi_key_command = "{command}"\n'
    )
    late = Reply((Wait(0.5), *http_reply(503).steps))
    with ChatServer(late) as server:
        more = ("--fallback", "p", "--timeout", "0.8", "--output-format", output_format)
        result = ask(program, server.url, *more)
    assert result.status == 5
    told = re.search(r"p cannot be asked: .* took longer than ([0-9.]+) s", result.stderr.decode())
    assert told is not None
    assert float(told[1]) < 0.4


@pytest.mark.in_process(False)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_turn_that_waits_for_anothers_key(
    program: Program, tmp_path: Path, signum: signal.Signals
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = f"echo begun >&2; cat {gate} >&2"
    config(
        program, f'[profiles.p]\nbase_url = "http://127.0.0.1:9"\napi_key_command = "{command}"\n'
    )
    with ChatServer(error_reply(503)) as server:
        given = ("--base-url", server.url, "--retries", "0", "--fallback", "p", "--session", "s")
        process = program.start("ask", *given, "hi", stdin=subprocess.DEVNULL)
        assert process.stderr is not None
        assert any(line == b"begun\n" for line in process.stderr)
        process.send_signal(signum)
        try:
            assert process.wait(20) == -signum
        finally:
            os.close(os.open(gate, os.O_RDWR))  # what runs on behind it reads its end
    assert program.records("s")[0]["error"]["code"] == "interrupted"


@pytest.mark.in_process(False)
@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_in_chat_an_answer_of_the_other_stands_behind_its_prompt(
    program: Program, quiet: tuple[str, ...]
) -> None:
    with ChatServer(busy_but_for("second")) as server:
        words = ("chat", "--retries", "0", "-m", "first", "--fallback", "second", *quiet)
        with AtTerminal(program, *words, env={"OPENAI_BASE_URL": server.url}) as terminal:
            terminal.wait_for("You: ")
            terminal.type("hi\r")
            screen = terminal.wait_for("I am second")
            terminal.type("QUIT\r")
            assert terminal.leave() == 0
    assert screen.splitlines()[-1] == "AI: I am second"
    assert ("asking the model second instead" in screen) == (not quiet)


def test_in_chat_a_profile_that_names_no_model_is_asked_for_the_one_that_was_changed_to(
    program: Program,
) -> None:
    models: dict[str, list[str]] = {}
    with ChatServer(busy_but_for()) as near, ChatServer(busy_but_for("own")) as far:
        there = f'base_url = "{far.url}"\napi_key = "none"\n'
        of_its_own = f'[profiles.named]\n{there}model = "own"\n'
        config(program, f"[profiles.bare]\n{there}{of_its_own}")
        words = ["chat", "--base-url", near.url, "--retries", "0", "-m", "first"]
        for name in ("bare", "second", "named"):
            words += ["--fallback", name]
        with AtTerminal(program, *words, env={}) as at:
            at.wait_for("You: ")
            for model in ("first", "changed", "first"):
                before = len(near.requests), len(far.requests)
                at.type(f"/model {model}\r")
                at.wait_for("The model is")
                at.type("q\r")
                at.wait_for("I am own")
                at.wait_for("-----")
                sent = (*near.requests[before[0] :], *far.requests[before[1] :])
                models[model] = [each.body["model"] for each in sent]
    assert models == {
        "first": ["first", "second", "first", "own"],
        "changed": ["changed", "second", "changed", "own"],
    }
