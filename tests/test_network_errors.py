"""A failed connection is told by its cause, however deep the libraries buried it."""

import errno
import socket
import ssl
from itertools import pairwise

import httpx2
import pytest

from pipechat.client.network_errors import network_error
from pipechat.errors import NetworkError


def wrapped(*chain: BaseException) -> BaseException:
    """The first error, raised from the second, raised from the third…"""
    for outer, inner in pairwise(chain):
        outer.__cause__ = inner
    return chain[0]


def certificate_error() -> ssl.SSLCertVerificationError:
    return ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")


class Socks(Exception):  # noqa: N818 — it stands for one of a library
    __module__ = "socksio.exceptions"


@pytest.mark.parametrize(
    ("causes", "code", "exit_code"),
    [
        ([httpx2.ConnectError("x"), ConnectionRefusedError(111, "refused")],
         "connection_refused", 5),
        ([httpx2.ConnectError("x"), socket.gaierror(-2, "Name or service not known")],
         "unknown_host", 5),
        ([httpx2.ConnectError("x"), OSError(errno.ENETUNREACH, "Network is unreachable")],
         "unreachable", 5),
        ([httpx2.ConnectError("x"), OSError(errno.EHOSTUNREACH, "No route")], "unreachable", 5),
        ([httpx2.ConnectError("x"), certificate_error()], "bad_certificate", 5),
        ([httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] x")], "bad_certificate", 5),
        ([httpx2.ConnectError("x"), ssl.SSLError(1, "[SSL] wrong version")],
         "connection_failed", 5),
        ([httpx2.ConnectError("")], "connection_failed", 5),
        ([httpx2.ConnectTimeout("")], "timeout", 5),
        ([httpx2.ReadTimeout("")], "timeout", 5),
        ([httpx2.PoolTimeout("")], "timeout", 5),
        ([TimeoutError("timed out")], "timeout", 5),
        ([httpx2.ProxyError("407 Proxy Authentication Required")], "proxy_failed", 5),
        ([Socks("general failure")], "proxy_failed", 5),
        ([httpx2.ReadError("x"), ConnectionResetError(104, "reset")], "connection_lost", 5),
        ([httpx2.RemoteProtocolError("peer closed")], "connection_lost", 5),
        ([httpx2.ReadError("")], "connection_lost", 5),
        ([httpx2.DecodingError("bad gzip")], "connection_lost", 5),
        ([BrokenPipeError(32, "Broken pipe")], "connection_lost", 5),
        ([httpx2.LocalProtocolError("Illegal header value")], "bad_request_parts", 3),
        ([httpx2.InvalidURL("no host")], "bad_request_parts", 3),
        ([httpx2.UnsupportedProtocol("no scheme")], "bad_base_url", 3),
    ],
)  # fmt: skip
def test_the_innermost_cause_decides(
    causes: list[BaseException], code: str, exit_code: int
) -> None:
    for error in (wrapped(*causes), wrapped(RuntimeError("Connection error."), *causes)):
        found = network_error(error, host="host:1")
        assert (found.code, int(found.exit_code)) == (code, exit_code)
        assert found.line().isprintable()
        if isinstance(found, NetworkError):
            assert found.again == (code != "bad_certificate")
            assert "host:1" in found.message or code == "proxy_failed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "no_descriptor"),
        (OSError(errno.ENFILE, "Too many open files in system"), "no_descriptor"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no_memory"),
    ],
)
def test_what_this_machine_has_too_little_of_is_no_fault_of_the_way(
    error: OSError, code: str
) -> None:
    for outer in (httpx2.ConnectError("x"), httpx2.ReadError("x"), httpx2.ProxyError("x")):
        found = network_error(wrapped(outer, error), host="host:1")
        assert (found.code, int(found.exit_code)) == (code, 5)
        assert "ulimit" in found.hint
        assert "host:1" not in found.line()


def test_a_context_counts_where_there_is_no_cause() -> None:
    error = RuntimeError("Connection error.")
    error.__context__ = ConnectionRefusedError(111, "refused")
    assert network_error(error, host="h").code == "connection_refused"


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = RuntimeError(""), RuntimeError("")
    first.__cause__, second.__cause__ = second, first
    assert network_error(first, host="h").message == "h hung up"
