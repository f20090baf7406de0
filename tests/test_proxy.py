"""--proxy: the request goes through it, and names resolve where they should."""

import pytest

from tests.program import Program
from tests.servers import ChatServer, HttpProxy, SocksProxy, answer

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
