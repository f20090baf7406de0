"""Gateways: headers that they want, certificates that they show and ask for; in text and ndjson,
one question and many. What a header says goes where it was given for, and is found nowhere."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.program import PLANTED_HEADER, PLANTED_KEY, PLANTED_QUERY, Program, Result
from tests.servers import (
    ChatServer,
    Request,
    answer,
    error_reply,
    self_signed,
    write_certificate,
    write_key,
)

pytestmark = pytest.mark.in_process

WAYS = ("text", "ndjson", "batch", "threads")
HEADER = f"X-Gateway: {PLANTED_HEADER}"


def run(
    program: Program,
    way: str,
    *options: str | Path,
    env: Mapping[str, str | None] | None = None,
    events: bool = True,
) -> Result:
    """Ask "hello" in one of the WAYS: one question in a format, or a batch, with and without
    aiohttp's client."""
    if way in ("batch", "threads"):
        env, there = dict(env or {}), find_spec("aiohttp")
        if way == "threads":  # of this process, or of another
            env, there = env | program.without("aiohttp"), None
        given = ("batch", "run", "--input-format", "lines", "--retries", "0", *options)
        with patch("importlib.util.find_spec", return_value=there):
            return program.run(*given, input=b"hello\n", env=env)
    given = ("ask", "hello", "--output-format", way, "--retries", "0", *options)
    return program.run(*given, env=env, events=events)


def failed(result: Result, way: str) -> tuple[str, str]:
    """Code and message of what went wrong, of an item as of a question."""
    if result.stdout and way in ("batch", "threads"):
        error = json.loads(result.stdout)["error"]
        return error["code"], error["message"]
    return result.code, result.stderr.decode()


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[str]:
    """A server that takes no client, and says why; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    accepted.settimeout(5)
                    with suppress(OSError), context.wrap_socket(accepted, server_side=True) as one:
                        one.recv(1)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    write_certificate(folder / "ca.pem")
    for kind in ("", "encrypted", "other"):
        write_key(folder / f"{kind or 'own'}.key", kind)
    (folder / "both.pem").write_text(
        (folder / "ca.pem").read_text() + (folder / "own.key").read_text()
    )
    return folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", ["plain", "@env", "@file", "variable", "table", "profile"])
def test_a_header_goes_out_with_every_request(
    program: Program, tmp_path_factory: pytest.TempPathFactory, way: str, given: str
) -> None:
    file = tmp_path_factory.mktemp("secrets") / "header"
    file.write_text(f"{PLANTED_HEADER}\n")
    config = program.home / "config.toml"
    options: tuple[str, ...] = ()
    env: dict[str, str | None] = {}
    match given:
        case "plain":
            options = ("-H", HEADER, "-H", "X-Team:red")
        case "@env":
            options = ("-H", "X-Gateway: @env:GATEWAY", "--header", "X-Team: red")
            env = {"GATEWAY": PLANTED_HEADER}
        case "@file":
            options = ("-H", f"X-Gateway: @file:{file}", "-H", "X-Team: red")
        case "variable":
            env = {"PIPECHAT_HEADER": f"{HEADER}\nX-Team: red"}
        case "table":
            config.write_text(f'[headers]\nX-Gateway = "{PLANTED_HEADER}"\nX-Team = "red"\n')
        case "profile":
            options = ("--profile", "p", "-H", "x-team: red")
            table = 'X-Gateway = "@env:GATEWAY"\nX-Team = "blue"\n'
            config.write_text(f"[profiles.p.headers]\n{table}")
            env = {"GATEWAY": PLANTED_HEADER}
    if config.exists():
        config.chmod(0o600)
    with ChatServer(answer("Hi")) as server:
        result = run(program, way, "--base-url", server.url, *options, env=env)
        assert result.status == 0, result.stderr
        headers = server.requests[0].headers
    assert (headers["x-gateway"], headers["x-team"]) == (PLANTED_HEADER, "red")
    assert headers["authorization"] == f"Bearer {PLANTED_KEY}"


@pytest.mark.parametrize("way", WAYS)
def test_an_authorization_of_ones_own_stands_in_the_keys_place(program: Program, way: str) -> None:
    with ChatServer(error_reply(401, "no")) as server:
        options = ("--base-url", server.url, "-H", f"authorization: Basic {PLANTED_HEADER}")
        result = run(program, way, *options)
        headers = server.requests[0].headers
    assert headers["authorization"] == f"Basic {PLANTED_HEADER}"
    assert failed(result, way)[0] == "unauthorized"
    if way == "text":
        assert b"Check the key (--header)" in result.stderr


@pytest.mark.parametrize("way", WAYS)
def test_what_goes_out_is_found_nowhere_though_a_server_says_it_back(
    program: Program, way: str
) -> None:
    def echo(request: Request) -> Any:
        said = f"{request.path} {json.dumps(request.headers)} {PLANTED_QUERY}"
        return error_reply(400, said, code=PLANTED_HEADER, type=PLANTED_QUERY)

    with ChatServer(echo) as server:
        for more in ((), ("-v",), ("--record", program.home / "rec"), ("--api", "responses")):
            url = f"{server.url}?sig={PLANTED_QUERY.replace(' ', '%20').replace('+', '%2B')}"
            options = ("--base-url", url, "-H", HEADER, *more)
            result = run(program, way, *options)
            assert failed(result, way)[0] == "bad_request", result.stderr
        assert "planted" in server.requests[0].path
        assert all(request.headers["x-gateway"] == PLANTED_HEADER for request in server.requests)
    shown = program.run("ask", "--dry-run", "-H", HEADER, "--base-url", url, "hello")
    assert shown.status == 0


def test_config_show_tells_the_names_of_headers_alone(program: Program) -> None:
    config = program.home / "config.toml"
    config.write_text(
        f'base_url = "http://localhost/v1?key={PLANTED_HEADER}"\n'
        f'api_version = "2024-10-21"\n[headers]\nX-Gateway = "{PLANTED_HEADER}"\n'
    )
    config.chmod(0o600)
    for form in ("text", "json"):
        shown = program.run("config", "show", "--output-format", form)
        assert shown.status == 0, shown.stderr
        assert b"X-Gateway" in shown.stdout
        assert b"2024-10-21" in shown.stdout


WRONG = [
    *((f"{name}: x", f"{name}: pipechat sets this itself")
      for name in ("Host", "content-length", "Transfer-Encoding", "Connection", "Content-Type",
                   "Accept-Encoding")),
    ("no colon", "not NAME: VALUE"),
    ("a b: c", "not the name of a header"),
    (": c", "not the name of a header"),
    ("X-A: one\r\nX-B: two", "X-A: its value holds what no header has"),
    ("X-A: caf\u00e9", "X-A: its value holds what no header has"),
    ("X-A:  ", "X-A: it has no value"),
    ("X-A: @env:NOT_THERE", "X-A: @env:NOT_THERE: the variable is not set"),
    ("X-A: @file:/no/such", "X-A: @file:/no/such: No such file"),
    ("X-A: @file:/", "X-A: @file:/: Is a directory"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "says"), WRONG, ids=[ascii(row[0]) for row in WRONG])
@pytest.mark.parametrize("place", ["flag", "variable", "file"])
def test_a_header_that_cannot_be_one_is_told_with_who_gave_it(
    program: Program, header: str, says: str, place: str
) -> None:
    name, colon, value = header.partition(":")
    options: tuple[str, ...] = ("--base-url", "http://127.0.0.1:9/v1")
    env: dict[str, str | None] = {}
    origin = {"flag": "--header", "variable": "PIPECHAT_HEADER", "file": "config.toml: headers"}
    if place == "flag":
        options = (*options, "-H", header)
    elif place == "variable":
        if "\n" in header:
            return  # a variable has a header a line
        env = {"PIPECHAT_HEADER": header}
    else:
        if not colon:
            return  # a table has no colons
        config = program.home / "config.toml"
        table = f"{json.dumps(name)} = {json.dumps(value)}"
        config.write_text(f"[headers]\n{table}\n", encoding="utf-8")
        config.chmod(0o600)
    for form in ("text", "ndjson"):
        result = run(program, form, *options, env=env, events=False)
        wanted = (3, "bad_config") if place == "file" else (2, "bad_option")
        assert (result.status, result.code) == wanted, result.stderr
        assert origin[place] in result.stderr.decode()
        assert says in result.stderr.decode()


@pytest.mark.parametrize("way", ["text", "ndjson", "batch"])
@pytest.mark.parametrize("place", ["file", "profile", "variables"])
def test_a_header_goes_to_the_endpoint_beside_it_and_to_no_other(
    program: Program, place: str, way: str
) -> None:
    config = program.home / "config.toml"
    told = f'base_url = "{{}}"\n[{{}}headers]\nX-Gateway = "{PLANTED_HEADER}"\n'
    with ChatServer(answer("Hi")) as own, ChatServer(answer("Hi")) as other:
        env: dict[str, str | None] = {}
        options: tuple[str, ...] = ()
        if place == "file":
            config.write_text(told.format(own.url, ""))
        elif place == "profile":
            config.write_text("[profiles.p]\n" + told.format(own.url, "profiles.p."))
            options = ("--profile", "p")
        else:
            env = {"PIPECHAT_BASE_URL": own.url, "PIPECHAT_HEADER": HEADER}
        if config.exists():
            config.chmod(0o600)
        assert run(program, way, *options, env=env).status == 0
        assert run(program, way, *options, "--base-url", other.url, env=env).status == 0
        assert own.requests[0].headers["x-gateway"] == PLANTED_HEADER
        assert "x-gateway" not in other.requests[0].headers


@pytest.mark.parametrize("value", [PLANTED_HEADER, "@env:GATEWAY"])
def test_a_file_with_a_headers_value_is_for_nobody_elses_eyes(program: Program, value: str) -> None:
    config = program.home / "config.toml"
    config.write_text(f'[headers]\nX-Gateway = "{value}"\n')
    config.chmod(0o644)
    result = program.run("ask", "--offline", "hello", env={"GATEWAY": "x"})
    assert result.status == (3 if value == PLANTED_HEADER else 0)
    if result.status:
        assert b"holds a header's value and others may read it" in result.stderr


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("secret", ["header", "query", "key"])
def test_no_secret_goes_unencrypted_to_another_machine(
    program: Program, secret: str, output_format: str
) -> None:
    query = "?sig=abcdefghijk" if secret == "query" else "?api-version=2024-10-21"
    options = ("-H", HEADER) if secret == "header" else ()
    env: dict[str, str | None] = {} if secret == "key" else {"OPENAI_API_KEY": None}
    url = f"http://gateway.test/v1{query}"
    result = run(program, output_format, "--base-url", url, *options, env=env)
    assert (result.status, result.code) == (3, "insecure_http")
    assert secret.encode() in result.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by", ["options", "one file", "profile"])
def test_a_gateway_that_wants_a_header_and_a_certificate_gets_both(
    program: Program, pems: Path, way: str, by: str
) -> None:
    options: tuple[str | Path, ...] = ("-H", HEADER, "--cacert", pems / "ca.pem")
    if by == "options":
        options = (*options, "--cert", pems / "ca.pem", "--key", pems / "own.key")
    elif by == "one file":
        options = (*options, "--cert", pems / "both.pem")
    else:
        (program.home / "config.toml").write_text(
            f'[profiles.p]\ncacert = "{pems}/ca.pem"\nclient_cert = "{pems}/ca.pem"\n'
            f'client_key = "{pems}/own.key"\n[profiles.p.headers]\nX-Gateway = "@env:G"\n'
        )
        options = ("--profile", "p")
    with ChatServer(answer("Hi"), tls=self_signed(asks=True)) as server:
        result = run(program, way, "--base-url", server.url, *options, env={"G": PLANTED_HEADER})
        assert result.status == 0, result.stderr
        assert server.requests[0].headers["x-gateway"] == PLANTED_HEADER


@pytest.mark.parametrize("way", WAYS)
def test_a_gateway_that_asks_for_a_certificate_and_gets_none_is_told(
    program: Program, pems: Path, way: str
) -> None:
    with strict_server(self_signed(asks=True)) as url:
        result = run(program, way, "--base-url", url, "--cacert", pems / "ca.pem")
    code, message = failed(result, way)
    assert code == "client_cert_refused", message
    assert result.status in (3, 10)
    assert "was shown none" in message


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name", ["--cacert", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
def test_the_authorities_of_an_option_or_a_variable_are_trusted_the_strongest_first(
    program: Program, pems: Path, way: str, name: str
) -> None:
    order = ["--cacert", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
    weaker = order[order.index(name) + 1 :]
    env: dict[str, str | None] = dict.fromkeys(weaker, "/no/such")
    options: tuple[str | Path, ...] = ()
    if name == "--cacert":
        options = (name, pems / "ca.pem")
        del env["SSL_CERT_FILE"]  # of which OpenSSL itself makes use
    else:
        env[name] = str(pems / "ca.pem")
    with ChatServer(answer("Hi"), tls=self_signed()) as server:
        result = run(program, way, "--base-url", server.url, *options, env=env)
    assert result.status == 0, result.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["--cacert", "REQUESTS_CA_BUNDLE"])
def test_an_expired_certificate_is_told_with_whom_is_trusted(
    program: Program, pems: Path, way: str, name: str
) -> None:
    ca = write_certificate(pems / "expired.pem", expired=True)
    options = (name, ca) if name == "--cacert" else ()
    env: dict[str, str | None] = {} if options else {name: str(ca)}
    with ChatServer(answer("Hi"), tls=self_signed(expired=True)) as server:
        result = run(program, way, "--base-url", server.url, *options, env=env)
    code, message = failed(result, way)
    assert code == "bad_certificate"
    assert result.status in (5, 10)
    assert "expired" in message
    if way in ("text", "ndjson"):
        assert f"{name}: {ca}" in message


BAD_FILES = [
    (("--cacert", "/no/such"), "bad_certificates", "--cacert: /no/such: No such file"),
    (("--cacert", "{}/own.key"), "bad_certificates", "own.key: it holds no certificates (PEM)"),
    (("--cacert", "/dev/zero"), "bad_certificates", "--cacert: /dev/zero: it is not a regular"),
    (("--cert", "/no/such"), "bad_client_cert", "--cert: /no/such: No such file"),
    (("--cert", "/"), "bad_client_cert", "--cert: /: Is a directory"),
    (("--cert", "/etc/passwd"), "bad_client_cert", "it holds no certificate (PEM)"),
    (("--cert", "{}/ca.pem"), "bad_client_cert", "ca.pem: it holds no private key (PEM)"),
    (("--cert", "{}/ca.pem", "--key", "/no/such"), "bad_client_cert", "--key: /no/such: No such"),
    (("--cert", "{}/ca.pem", "--key", "/etc/passwd"), "bad_client_cert", "no private key (PEM)"),
    (("--cert", "{}/ca.pem", "--key", "{}/other.key"), "bad_client_cert",
     "is not that of the certificate"),
    (("--cert", "{}/ca.pem", "--key", "{}/encrypted.key"), "bad_client_cert",
     "encrypted.key: the key is encrypted"),
    (("--cert", "{}/ca.pem", "--key", PLANTED_KEY), "bad_client_cert", "--key: [key]: No such"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "code", "says"), BAD_FILES, ids=[row[2] for row in BAD_FILES])
def test_what_is_no_certificate_or_no_key_is_told_with_who_named_it(
    program: Program, pems: Path, given: tuple[str, ...], code: str, says: str
) -> None:
    options = [each.format(pems) for each in given]
    for way in WAYS:
        result = run(program, way, "--base-url", "https://127.0.0.1:9/v1", *options)
        assert (result.status, result.code) == (3, code), result.stderr
        assert says in result.stderr.decode()


def test_a_key_without_its_certificate_is_wrong_usage(program: Program) -> None:
    for command in (("ask", "hello"), ("chat",), ("models",), ("batch", "run", "/dev/null")):
        result = program.run(*command, "--key", PLANTED_KEY)
        assert (result.status, result.code) == (2, "bad_option")
        # It is what llm calls the key of the endpoint.
        hint = (
            "An API key is never an option: set OPENAI_API_KEY, or api_key_command in config.toml."
        )
        assert f"--key needs a --cert. {hint}" in result.stderr.decode()


@pytest.mark.in_process(False)
def test_the_processes_of_a_batch_and_a_chat_send_the_header_too(program: Program) -> None:
    with ChatServer(answer("Hi")) as server:
        given = ("--base-url", server.url, "-H", HEADER)
        many = program.run(
            "batch", "run", "--input-format", "lines", "--workers", "2", *given,
            input=b"".join(b"item %d\n" % number for number in range(40)),
        )  # fmt: skip
        talk = program.run("chat", "-q", *given, input=b"hello\nQUIT\n")
        assert (many.status, talk.status) == (0, 0), many.stderr + talk.stderr
        assert len(server.requests) == 41
        assert {request.headers["x-gateway"] for request in server.requests} == {PLANTED_HEADER}


def test_a_replay_needs_no_headers_value(program: Program) -> None:
    recording = program.home / "rec"
    with ChatServer(answer("Hi")) as server:
        given = ("--base-url", server.url, "-H", "X-Gateway: @env:GATEWAY")
        env = {"GATEWAY": PLANTED_HEADER}
        assert program.run("ask", "hello", *given, "--record", recording, env=env).status == 0
    result = program.run("ask", "hello", *given, "--replay", recording)
    assert (result.status, result.stdout) == (0, b"Hi\n")


def test_a_key_of_azures_is_none_of_the_vendors(program: Program) -> None:
    env = {"OPENAI_API_KEY": None, "AZURE_OPENAI_API_KEY": PLANTED_KEY}
    for form in ("text", "ndjson"):
        result = program.run("ask", "hello", "--output-format", form, env=env)
        assert (result.status, result.code) == (3, "no_key")
        assert b"Set AZURE_OPENAI_ENDPOINT" in result.stderr
