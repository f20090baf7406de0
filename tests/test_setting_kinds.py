"""Where a setting comes from and what it may not do: kind by kind, in text and in ndjson.

Each failure is one line that names who set what is wrong, has the same exit code in every output
format, and reaches programs as a terminal event; nothing is sent.
"""

import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.program import PLANTED_KEY, Program
from tests.servers import ChatServer, HttpProxy, answer, chunk, done, raw_reply, stream_reply

FORMATS = ("text", "json", "ndjson")
ELSEWHERE = ("--base-url", "https://elsewhere.test/v1", "--retries", "0")


@dataclass(frozen=True)
class Wrong:
    """A wrong setting: what was given, in which place, and what is said of it."""

    says: str
    status: int = 2
    code: str = "bad_option"
    flags: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    config: str = ""


IN_CONFIG: dict[str, Any] = {"status": 3, "code": "bad_config"}
OWN_FIELDS = [
    *(Wrong(f"--option: {name}: pipechat sets this itself", flags=("-O", f"{name}=1"))
      for name in ("model", "messages", "stream", "stream_options")),
    *(Wrong(f"PIPECHAT_OPTION: {name}: pipechat", env={"PIPECHAT_OPTION": f"{name}=1"})
      for name in ("model", "messages", "stream")),
    *(Wrong(f"config.toml: options: {name}: pipechat", config=f"[options]\n{name} = 1", **IN_CONFIG)
      for name in ("model", "messages", "stream", "stream_options")),
    Wrong("profiles.p.options: model: pipechat", flags=("--profile", "p"),
          config='[profiles.p.options]\nmodel = "y"', **IN_CONFIG),
    *(Wrong(f"{name} is said twice", flags=("-O", f"{name}=5", flag, "1"))
      for name, flag in (("max_tokens", "--max-tokens"), ("temperature", "-t"),
                         ("max_completion_tokens", "--max-tokens"))),
    Wrong("temperature is said twice", config="temperature = 1\n[options]\ntemperature = 2",
          **IN_CONFIG),
]  # fmt: skip

BLAME = [
    Wrong("PIPECHAT_LAST_TURNS: -1 is not 0 or more", env={"PIPECHAT_LAST_TURNS": "-1"}),
    Wrong("--last-turns: -1 is not 0 or more", flags=("--last-turns", "-1")),
    Wrong("--timeout: inf is not a finite number", flags=("--timeout", "1e400")),
    Wrong("--temperature: nan is not a finite number", flags=("--temperature", "nan")),
    Wrong("config.toml: last_turns: -1 is not 0", config="last_turns = -1", **IN_CONFIG),
    Wrong("PIPECHAT_TIMEOUT: 'soon' is not a number of seconds", env={"PIPECHAT_TIMEOUT": "soon"}),
    Wrong("PIPECHAT_USAGE: 'maybe' is neither", env={"PIPECHAT_USAGE": "maybe"}),
    Wrong("PIPECHAT_BASE_URL: not an http://", env={"PIPECHAT_BASE_URL": "ftp://h/v1"}),
    Wrong("OPENAI_BASE_URL: not a URL; did you mean http://127.0.0.1:8000/v1", 3, "bad_config",
          env={"OPENAI_BASE_URL": "127.0.0.1:8000/v1"}),
    Wrong("config.toml: system: @/no/such: No such file", config='system = "@/no/such"',
          **IN_CONFIG),
    Wrong("PIPECHAT_SYSTEM: @/no/such: No such file", 2, "unreadable_input",
          env={"PIPECHAT_SYSTEM": "@/no/such"}),
    Wrong("--system: @/dev/zero: it holds more than", 2, "unreadable_input",
          flags=("--system", "@/dev/zero")),
    Wrong("there is no setting 'modle'. Did you mean 'model'?", config='modle = "m"',
          **IN_CONFIG),
    *(Wrong(f'config.toml: {name}: not a list of texts, which stands in brackets: ["…"]',
            config=f'{name} = "5usd/day"', **IN_CONFIG)
      for name in ("budget", "fallback", "whole_reasons")),
    Wrong("profile: not a name; a profile is a table [profiles.x]",
          config='[profile.x]\nmodel = "m"', **IN_CONFIG),
    Wrong("--profile: there is no profile 'lokal'. Did you mean 'local'?", 3, "unknown_profile",
          flags=("--profile", "lokal"), config='[profiles.local]\nmodel = "m"'),
    Wrong("--option: x: not a value that JSON can hold", flags=("-O", "x=1e999")),
    Wrong("--output-format: 'xml' is not one of text, json", flags=("--output-format", "xml")),
]  # fmt: skip

SET_UP = [
    *(Wrong(f"{name}: socks4:// is not one of", 3, "bad_proxy", ELSEWHERE, {name: "socks4://h:1"})
      for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")),
    Wrong("HTTPS_PROXY: the port is no number", 3, "bad_proxy", ELSEWHERE,
          {"HTTPS_PROXY": "http://h:99999"}),
    Wrong("SSL_CERT_FILE: /no/such: No such file", 3, "bad_certificates", ELSEWHERE,
          {"SSL_CERT_FILE": "/no/such"}),
    Wrong("SSL_CERT_FILE: /: Is a directory", 3, "bad_certificates", ELSEWHERE,
          {"SSL_CERT_FILE": "/"}),
    Wrong("SSL_CERT_FILE: /etc/passwd: it holds no certificates", 3, "bad_certificates", ELSEWHERE,
          {"SSL_CERT_FILE": "/etc/passwd"}),
    Wrong("SSL_CERT_DIR: /no/such: it is no folder", 3, "bad_certificates", ELSEWHERE,
          {"SSL_CERT_DIR": "/no/such"}),
    *(Wrong(f"{name} holds characters", 3, "bad_key", ELSEWHERE, {name: "café"})
      for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")),
]  # fmt: skip


@pytest.mark.in_process
@pytest.mark.parametrize(
    "row", [*OWN_FIELDS, *BLAME, *SET_UP], ids=lambda row: ascii(row.says[:60])
)
def test_what_is_wrong_is_told_in_one_line_that_names_who_set_it(
    program: Program, row: Wrong
) -> None:
    config = program.home / "config.toml"
    config.write_text(row.config)
    config.chmod(0o600)
    for output_format in FORMATS:
        flags = row.flags
        if "--output-format" not in flags and output_format != "text":
            flags = (*flags, "--output-format", output_format)
        result = program.run("ask", "hello", *flags, env={**row.env}, events=False)
        assert (result.status, result.code) == (row.status, row.code), result.stderr
        assert row.says in result.stderr.decode()
        assert result.stderr.count(b"\n") == 1
        if "--output-format" in flags and "xml" not in flags:
            assert [event["code"] for event in result.events] == [row.code]
        else:
            assert result.stdout == b""


def sent_key(server: ChatServer) -> str | None:
    return server.requests[-1].headers.get("authorization")


@pytest.mark.in_process
def test_a_key_stays_with_the_endpoint_that_it_was_given_for(program: Program) -> None:
    with ChatServer(answer("Yes.")) as server, ChatServer(answer("Yes.")) as other:
        config = program.home / "config.toml"
        config.write_text(
            f'[profiles.own]\nbase_url = "{server.url}"\napi_key = "sk-of-the-profile"\n'
            f'[profiles.bare]\nbase_url = "{server.url}"\n'
        )
        config.chmod(0o600)
        own, bare = ("ask", "--profile", "own", "hi"), ("ask", "--profile", "bare", "hi")
        assert program.run(*own).status == 0
        assert sent_key(server) == "Bearer sk-of-the-profile"  # and not OPENAI_API_KEY
        assert program.run(*bare).status == 0
        assert sent_key(server) == f"Bearer {PLANTED_KEY}"
        # Elsewhere the profile's key is not sent, whoever names the other endpoint.
        for flags, env in (
            (("--base-url", other.url), {"OPENAI_API_KEY": None}),
            ((), {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": other.url}),
            ((), {"OPENAI_API_KEY": None, "PIPECHAT_BASE_URL": other.url}),
        ):
            assert program.run(*own, *flags, env=env).status == 0
            assert sent_key(other) is None


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("mode", "owner", "says"),
    [
        (0o620, 0, "others may write it"),
        (0o602, 0, "others may write it"),
        (0o600, 12345, "is another user's"),
    ],
)
def test_a_config_that_others_may_write_runs_no_command(
    program: Program, mode: int, owner: int, says: str
) -> None:
    if os.geteuid() != 0:
        owner = os.geteuid()
    config = program.home / "config.toml"
    mark = program.home / "ran"
    config.write_text(f'api_key_command = "touch {mark}; echo sk-12345678"\n')
    config.chmod(mode)
    os.chown(config, owner, -1)
    if owner == os.geteuid() and mode == 0o600:
        return  # nothing to tell apart where a file cannot be given away
    for output_format in FORMATS:
        result = program.run(
            "ask", "hi", "--output-format", output_format, env={"OPENAI_API_KEY": None}
        )
        assert (result.status, result.code) == (3, "bad_config")
        assert says.encode() in result.stderr
    assert not mark.exists()


@pytest.mark.parametrize("command", ["sleep 30", "sleep 30 & sleep 30", "yes"])
def test_a_key_command_is_bounded_by_the_timeout(program: Program, command: str) -> None:
    config = program.home / "config.toml"
    config.write_text(f'api_key_command = "{command}"\n')
    config.chmod(0o600)
    began = time.monotonic()
    ask = ("ask", "hi", "--timeout", "0.5", "--output-format", "ndjson")
    result = program.run(*ask, env={"OPENAI_API_KEY": None})
    assert time.monotonic() - began < 15
    assert (result.status, result.code) == (3, "no_key")
    left = re.search(rb"took longer than ([0-9.]+) s", result.stderr)
    assert left is not None
    assert 0 < float(left[1]) <= 0.5  # what reading the input took is gone from the time-out


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("env", "flags"),
    [
        ({"HTTP_PROXY": "{proxy}"}, ("--base-url", "http://localhost:{port}/v1")),
        ({"http_proxy": "{proxy}"}, ("--base-url", "http://127.0.0.1:{port}/v1")),
        ({"ALL_PROXY": "{proxy}"}, ("--base-url", "http://127.0.0.1:{port}/v1")),
    ],
)
def test_for_this_machine_the_environments_proxies_do_not_count(
    program: Program, env: dict[str, str], flags: tuple[str, ...]
) -> None:
    with ChatServer(answer("Direct.")) as server, HttpProxy() as proxy:
        named = {name: value.format(proxy=proxy.url) for name, value in env.items()}
        words = [word.format(port=server.port) for word in flags]
        result = program.run("ask", *words, "hello", env=named)
        assert (result.status, result.stdout) == (0, b"Direct.\n")
        assert proxy.requests == []


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("proxy", "url"),
    [
        ("http://proxy.test:3128", "http://localhost:1/v1"),
        ("socks5h://proxy.test", "http://127.0.0.1:1/v1"),
        ("http://proxy.test:3128", "http://elsewhere.test/v1"),
    ],
)
def test_a_key_goes_in_the_clear_to_no_proxy_elsewhere(
    program: Program, proxy: str, url: str
) -> None:
    result = program.run("ask", "--base-url", url, "--proxy", proxy, "hi")
    assert (result.status, result.code) == (3, "insecure_http")
    assert b"proxy.test" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_dead_proxy_is_named_with_the_variable_that_named_it_and_without_its_password(
    program: Program, variable: str
) -> None:
    env = {variable: "http://me:secret-of-mine@127.0.0.1:1"}
    result = program.run("ask", *ELSEWHERE, "hi", env=env)
    assert (result.status, result.code) == (5, "proxy_failed")
    assert f"http://127.0.0.1:1 ({variable})".encode() in result.stderr
    assert b"secret-of-mine" not in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("url", ["http://elsewhere.test/v1", "https://elsewhere.test/v1"])
def test_a_proxy_that_asks_who_we_are_is_a_matter_of_setup_and_asked_once(
    program: Program, url: str
) -> None:
    refusal = raw_reply(b"HTTP/1.1 407 Who?\r\ncontent-length: 0\r\n\r\n")
    with ChatServer(refusal) as proxy:
        env = {"ALL_PROXY": proxy.origin()}
        flags = ("--base-url", url, "--insecure-http", "--output-format", "ndjson")
        result = program.run("ask", *flags, "hi", env=env)
        assert len(proxy.requests) <= 1
    assert (result.status, result.code) == (3, "proxy_refused")
    assert b"(ALL_PROXY)" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("no_proxy", ["*", "elsewhere.test", ".test", "a, elsewhere.test:443"])
def test_a_proxy_that_no_proxy_rules_out_is_not_even_looked_at(
    program: Program, no_proxy: str
) -> None:
    env = {"HTTPS_PROXY": "socks4://nonsense:0:0", "NO_PROXY": no_proxy}
    result = program.run("ask", *ELSEWHERE, "hi", "--timeout", "5", env=env)
    assert (result.status, result.code) == (5, "unknown_host")


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("90s", 90), ("1.5h", 5400), ("250ms", 0.25), ("2d", 172800)]
)
def test_seconds_may_be_said_with_a_unit_everywhere(
    program: Program, text: str, seconds: float
) -> None:
    config = program.home / "config.toml"
    with ChatServer(stream_reply(chunk("Hi"), chunk(finish_reason="stop"), done())) as server:
        ask = ("ask", "--base-url", server.url, "hi")
        assert program.run(*ask, "--timeout", text).status == 0
        assert program.run(*ask, env={"PIPECHAT_IDLE_TIMEOUT": text}).status == 0
        config.write_text(f'timeout = "{text}"\n')
        assert program.run(*ask).status == 0
    from pipechat.settings.values import seconds as read

    assert read(text) == seconds


@pytest.mark.in_process
def test_an_option_variable_takes_a_line_each_or_a_json_object(program: Program) -> None:
    for value in ("stop=a b c\nseed=7", '{"stop": "a b c", "seed": 7}'):
        result = program.run("ask", "--dry-run", "hi", env={"PIPECHAT_OPTION": value})
        assert b'"stop":"a b c","seed":7' in result.stdout


@pytest.mark.in_process
def test_a_byte_order_mark_in_the_config_is_no_fault(program: Program) -> None:
    (program.home / "config.toml").write_bytes(b'\xef\xbb\xbfmodel = "m"\n')
    assert b'"model":"m"' in program.run("ask", "--dry-run", "hi").stdout


@pytest.mark.in_process
def test_a_system_file_of_the_config_is_not_read_where_one_is_given(program: Program) -> None:
    (program.home / "config.toml").write_text('system = "@/no/such"\n')
    result = program.run("ask", "--dry-run", "--system", "Be kind.", "hi")
    assert (result.status, b"Be kind." in result.stdout) == (0, True)


def test_a_system_fifo_without_a_writer_is_bounded_by_the_timeout(program: Program) -> None:
    os.mkfifo(program.home / "fifo")
    ask = ("ask", "--offline", "--system", f"@{program.home}/fifo", "--timeout", "0.4", "hi")
    result = program.run(*ask, "--output-format", "ndjson")
    assert (result.status, result.code) == (2, "unreadable_input")
    assert b"did not end within --timeout" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("name", ["base_url", "proxy"])
def test_a_config_that_others_may_write_does_not_say_where_a_key_goes(
    program: Program, name: str
) -> None:
    with ChatServer(answer("no")) as server:
        config = program.home / "config.toml"
        config.write_text(f'{name} = "{server.origin()}/v1"\n')
        config.chmod(0o666)
        result = program.run("ask", "hi", "--output-format", "ndjson")
        assert server.requests == []
    assert (result.status, result.code) == (3, "bad_config")


@pytest.mark.in_process
@pytest.mark.parametrize("name", ["max_input_mib", "max_file_mib"])
def test_a_size_beyond_any_is_a_matter_of_setup(program: Program, name: str) -> None:
    (program.home / "config.toml").write_text(f"{name} = 1e308\n")
    result = program.run("ask", "hi", "--offline", "--output-format", "ndjson")
    assert (result.status, result.events[-1]["code"]) == (3, "bad_config")


BIG = 123456789012345678901234567890


@pytest.mark.in_process
@pytest.mark.parametrize("value", [str(BIG), f"[-{BIG}]", f'{{"b": {BIG}}}', str(2**64), "1e400"])
@pytest.mark.parametrize("by", ["flag", "variable", "object"])
def test_a_number_of_an_option_is_sent_as_it_was_said_or_not_at_all(
    program: Program, value: str, by: str
) -> None:
    given = {"variable": f"a={value}", "object": f'{{"a": {value}}}'}.get(by)
    flags = () if given else ("-O", f"a={value}")
    with ChatServer(answer("Hi")) as server:
        where = ("ask", "--base-url", server.url, "hello", *flags)
        result = program.run(*where, env={"PIPECHAT_OPTION": given})
        assert len(server.requests) == (0 if value == "1e400" else 1)
        if server.requests:
            assert server.requests[0].body["a"] == json.loads(value)
    assert result.status == (2 if value == "1e400" else 0)


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "[1, NaN]", '{"b": NaN}', "9" * 5000, "[" * 200 + "]" * 200],
    ids=lambda value: value[:20],
)
def test_what_json_cannot_hold_is_refused_and_not_sent_as_text(
    program: Program, value: str, output_format: str
) -> None:
    given = ("--offline", "--output-format", output_format, "-O", f"temperature={value}")
    result = program.run("ask", "hello", *given)
    assert (result.status, result.code) == (2, "bad_option")
    assert b"--option: temperature" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("value", ["NaN is no number", "nan", "{b", "Infinity War", "007"])
def test_what_is_no_json_is_sent_as_text(program: Program, value: str) -> None:
    with ChatServer(answer("Hi")) as server:
        where = ("ask", "--base-url", server.url, "hello", "-O", f"a={value}")
        assert program.run(*where).status == 0
        assert server.requests[0].body["a"] == value
