"""--proxy: the request goes through it, and names resolve where they should."""

from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Close,
    HttpProxy,
    RawServer,
    Reset,
    SocksProxy,
    Stall,
    answer,
    raw_reply,
    self_signed,
    stream_reply,
)

pytestmark = pytest.mark.in_process

NAME = "only-the-proxy-knows.test"


def test_socks5h_reaches_a_server_by_a_name_that_only_the_proxy_can_resolve(
    program: Program,
) -> None:
    with (
        ChatServer(answer("Through.")) as server,
        SocksProxy(names={NAME: ("127.0.0.1", server.port)}) as proxy,
    ):
        url = f"http://{NAME}:{server.port}/v1"
        where = ("ask", "--base-url", url, "--insecure-http", "--retries", "0", "hello")
        for scheme in ("socks5h", "socks5"):  # both resolve at the proxy
            through = ("--proxy", proxy.url.replace("socks5h", scheme))
            result = program.run(*where, *through, env=program.without_names())
            assert (result.status, result.stdout) == (0, b"Through.\n")
        assert proxy.hosts == [NAME, NAME]
        without = program.run(*where, env=program.without_names())
        assert (without.status, without.code) == (5, "unknown_host")


def test_an_http_proxy_is_taken_from_the_flag_or_the_environment(program: Program) -> None:
    with (
        ChatServer(answer("Through.")) as server,
        HttpProxy(names={"elsewhere.test": ("127.0.0.1", server.port)}) as proxy,
    ):
        where = ("ask", "--base-url", server.url, "hello")
        assert program.run(*where, "--proxy", proxy.url).stdout == b"Through.\n"
        # For this machine the environment's does not count, as in browsers.
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            assert program.run(*where, env={name: proxy.url}).status == 0
        assert len(proxy.requests) == 1
        elsewhere = ("ask", "--base-url", "http://elsewhere.test/v1", "--insecure-http", "hello")
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            result = program.run(*elsewhere, "--retries", "0", env={name: proxy.url})
            assert result.stdout == b"Through.\n"
        assert [request.host for request in proxy.requests[1:]] == ["elsewhere.test"] * 3


def test_a_proxy_with_a_password_in_its_url_is_refused(program: Program) -> None:
    result = program.run("ask", "--proxy", "http://me:secret@127.0.0.1:1", "hello")
    assert (result.status, result.code) == (2, "bad_option")
    assert b"secret" not in result.stderr


@pytest.mark.parametrize("login", ["me:[secret]", "me:sec[ret", "me:secret\u2100", "[secret]"])
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_a_login_that_makes_no_url_is_not_repeated(
    program: Program, login: str, output_format: str
) -> None:
    for variable in ("HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL"):
        env = {"OPENAI_BASE_URL": SECURE, variable: f"https://{login}@127.0.0.1:1"}
        result = program.run("ask", "hello", "--output-format", output_format, env=env)
        assert result.status == 3
        assert variable in result.stderr.decode()
        assert b"secret" not in result.stdout + result.stderr


@pytest.mark.parametrize("host", ["\u2603.test", "\uff41.test", "\xfc" * 62 + ".test"])
@pytest.mark.parametrize("command", ["ask", "ndjson", "batch", "models", "proxy", "socks"])
def test_a_host_that_no_name_server_takes_is_a_wrong_setting(
    program: Program, host: str, command: str
) -> None:
    here, env = f"https://{host}/v1", {}
    if command in ("proxy", "socks"):
        scheme = "http" if command == "proxy" else "socks5h"
        here, env = SECURE, {"HTTPS_PROXY": f"{scheme}://{host}:1"}
    given = {
        "ndjson": ("ask", "hello", "--output-format", "ndjson"),
        "batch": ("batch", "run", "--input-format", "lines"),
        "models": ("models",),
    }.get(command, ("ask", "hello"))
    result = program.run(*given, "--base-url", here, "--retries", "0", input=b"hello\n", env=env)
    assert (result.status, result.code) == (3, "bad_request_parts"), result.stderr


PLAIN, SECURE = "http://elsewhere.test/v1", "https://elsewhere.test/v1"
HUNG_UP = ChatServer, raw_reply(Close())
RESET = ChatServer, raw_reply(Reset())
AT_ONCE = RawServer, Close()
GREETING = RawServer, b"SSH-2.0-OpenSSH_9.9\r\n", Close()
WEB_SERVER = RawServer, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Close()
SILENT = RawServer, Stall()
BAD_GATEWAY = ChatServer, raw_reply(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
FORBIDDEN = ChatServer, raw_reply(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
TROUBLES: dict[str, tuple[Any, ...]] = {
    "hangs up": (*HUNG_UP, "http", SECURE, 5, "proxy_failed"),
    "resets": (*RESET, "http", SECURE, 5, "proxy_failed"),
    "hangs up, forwarding": (*HUNG_UP, "http", PLAIN, 5, "connection_lost"),
    "hangs up, socks": (*AT_ONCE, "socks5h", SECURE, 5, "proxy_failed"),
    "speaks SSH": (*GREETING, "http", SECURE, 5, "proxy_failed"),
    "speaks SSH, socks": (*GREETING, "socks5h", SECURE, 5, "proxy_failed"),
    "speaks SSH, TLS": (*GREETING, "https", SECURE, 5, "proxy_failed"),
    "speaks HTTP, TLS": (*WEB_SERVER, "https", SECURE, 5, "proxy_failed"),
    "says 502": (*BAD_GATEWAY, "http", SECURE, 5, "proxy_failed"),
    "says 502, forwarding": (*BAD_GATEWAY, "http", PLAIN, 5, "server_error"),
    "says 403": (*FORBIDDEN, "http", SECURE, 3, "proxy_refused"),
    "says 403, forwarding": (*FORBIDDEN, "http", PLAIN, 3, "forbidden"),
    "is silent": (*SILENT, "http", SECURE, 5, "timeout"),
    "is silent, forwarding": (*SILENT, "http", PLAIN, 5, "timeout"),
    "is silent, TLS": (*SILENT, "https", SECURE, 5, "timeout"),
    "is silent, socks": (*SILENT, "socks5h", PLAIN, 5, "timeout"),
}


@pytest.mark.in_process(False)  # the HTTP library leaves such a proxy's socket to the collector
@pytest.mark.parametrize(
    ("named_by", "output_format"), [("--proxy", "text"), ("ALL_PROXY", "ndjson")]
)
@pytest.mark.parametrize("kind", TROUBLES)
def test_a_proxy_that_fails_is_named_with_who_named_it(
    program: Program, kind: str, named_by: str, output_format: str
) -> None:
    serve, *parts, scheme, endpoint, status, code = TROUBLES[kind]
    limit = "1" if code == "timeout" else "20"
    with serve(*parts) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        by_flag = named_by == "--proxy"
        result = program.run(
            "ask", "--base-url", endpoint, "--insecure-http", "--retries", "0", "--timeout", limit,
            *(("--proxy", url) if by_flag else ()), "--output-format", output_format, "hello",
            env={} if by_flag else {named_by: url},
        )  # fmt: skip
    assert (result.status, result.code) == (status, code)
    told = result.stderr.decode()
    assert f"the proxy {url} ({named_by})" in told


@pytest.mark.in_process(False)
@pytest.mark.parametrize(("endpoint", "output_format"), [(PLAIN, "text"), (SECURE, "ndjson")])
@pytest.mark.parametrize("proxy", [HttpProxy, SocksProxy])
@pytest.mark.parametrize("login", ["", "me:wrong-password@"])
def test_a_login_that_a_proxy_does_not_take_is_told_apart_from_one_that_it_lacks(
    program: Program, proxy: type[HttpProxy] | type[SocksProxy], endpoint: str, login: str,
    output_format: str,
) -> None:  # fmt: skip
    with proxy(auth=("me", "secret-of-mine")) as server:
        result = program.run(
            "ask", "--base-url", endpoint, "--insecure-http", "--timeout", "5",
            "--output-format", output_format, "hello",
            env={"ALL_PROXY": server.url.replace("://", f"://{login}")},
        )  # fmt: skip
    assert (result.status, result.code) == (3, "proxy_refused")
    said = "did not take the user and the password" if login else "asks for a user and a password"
    assert f"the proxy {server.url} (ALL_PROXY) {said}" in result.stderr.decode()
    assert b"wrong-password" not in result.stderr


@pytest.mark.in_process(False)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_a_server_behind_a_proxy_has_its_own_faults(program: Program, output_format: str) -> None:
    where = ("ask", "--insecure-http", "--retries", "0", "--output-format", output_format, "hello")
    with (
        ChatServer(stream_reply(Reset())) as server,
        SocksProxy(names={NAME: ("127.0.0.1", server.port)}) as proxy,
    ):
        result = program.run(*where, "--base-url", f"http://{NAME}/v1", "--proxy", proxy.url)
        assert (result.status, result.code) == (5, "connection_lost")
        assert b"the connection to only-the-proxy-knows.test" in result.stderr
    with (
        RawServer(tls=self_signed()) as secure,
        HttpProxy(names={NAME: ("127.0.0.1", secure.port)}) as http_proxy,
    ):
        result = program.run(*where, "--base-url", f"https://{NAME}/v1", "--proxy", http_proxy.url)
        assert (result.status, result.code) == (5, "bad_certificate")
        assert b"the certificate of only-the-proxy-knows.test is not trusted" in result.stderr


@pytest.mark.in_process(False)
def test_the_certificate_of_a_proxy_is_told_from_that_of_the_server(program: Program) -> None:
    with RawServer(tls=self_signed()) as server:
        url = f"https://127.0.0.1:{server.port}"
        result = program.run("ask", "--base-url", SECURE, "--proxy", url, "hello")
    assert (result.status, result.code) == (5, "bad_certificate")
    assert f"the certificate of the proxy {url} (--proxy) is not trusted" in result.stderr.decode()
