"""A server on a Unix socket: asked as any other, in text and ndjson, one question and many."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from pipechat.client.unix_socket import socket_error
from pipechat.settings.endpoint import read_endpoint
from tests.program import PLANTED_HEADER, PLANTED_KEY, Program
from tests.servers import ChatServer, answer, error_reply
from tests.test_gateways import HEADER, WAYS, failed, run

pytestmark = pytest.mark.in_process


@pytest.fixture
def place() -> Iterator[str]:
    """A path for a socket, which must be short."""
    with tempfile.TemporaryDirectory(prefix="pc") as folder:
        yield os.path.join(folder, "s.sock")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("", "/v1/chat/completions"),
        (":/", "/chat/completions"),
        (":/api/v3/", "/api/v3/chat/completions"),
        ("?a=b", "/v1/chat/completions?a=b"),
    ],
)
def test_a_server_on_a_socket_is_asked_with_the_key_and_headers_and_by_no_proxy(
    program: Program, place: str, way: str, rest: str, path: str
) -> None:
    env = {"ALL_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with ChatServer(answer("Hi"), socket_path=place) as server:
        result = run(program, way, "--base-url", server.url + rest, "-H", HEADER, env=env)
        assert result.status == 0, result.stderr
        request = server.requests[0]
    assert request.path == path
    assert request.headers["authorization"] == f"Bearer {PLANTED_KEY}"
    assert request.headers["x-gateway"] == PLANTED_HEADER
    assert request.headers["host"] == "localhost"


@pytest.mark.parametrize("way", WAYS)
def test_messages_call_the_server_by_the_path_of_its_socket(
    program: Program, place: str, way: str
) -> None:
    with ChatServer(error_reply(404, "nothing here"), socket_path=place) as server:
        result = run(program, way, "--base-url", server.url)
    code, message = failed(result, way)
    assert code == "not_found"
    assert f"unix://{place}:/v1/chat/completions" in message


@pytest.mark.in_process(False)  # because httpcore2 leaves such a socket to the collector
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["missing", "file", "folder", "deserted", "too long"])
def test_what_is_no_socket_of_a_server_is_told_with_its_path(
    program: Program, place: str, way: str, kind: str
) -> None:
    path = Path(place)
    wanted, says = ("bad_base_url", f"{place} is no socket")
    match kind:
        case "missing":
            wanted, says = "connection_refused", f"there is no socket {place}"
        case "file":
            path.write_text("")
        case "folder":
            path.mkdir()
        case "deserted":
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(place)
            wanted, says = "connection_refused", f"{place} refused the connection"
        case "too long":
            place = place + "x" * 120
            says = "longer than a socket's path may be"
    result = run(program, way, "--base-url", f"unix://{place}")
    code, message = failed(result, way)
    assert code == wanted, message
    assert says in message


def test_a_socket_that_one_may_not_open_is_told(place: str) -> None:
    # Root may open everything: the cause is made here.
    error = httpx2.ConnectError("no")
    error.__cause__ = PermissionError(13, "Permission denied")
    told = socket_error(error, place)
    assert told is not None
    assert (told.code, told.exit_code) == ("bad_base_url", 3)
    assert f"{place} may not be opened: permission denied" in told.message


@pytest.mark.parametrize(
    ("url", "path", "prefix"),
    [
        ("unix:///run/s.sock", "/run/s.sock", "/v1"),
        ("unix:///run/s.sock:/v1", "/run/s.sock", "/v1"),
        ("unix:///run/s.sock:/v1/", "/run/s.sock", "/v1"),
        ("unix:///run/s.sock:/", "/run/s.sock", ""),
        ("unix:///run/s.sock:/a/b?c=d", "/run/s.sock", "/a/b"),
    ],
)
def test_a_socket_is_named_by_its_path_and_what_stands_before_requests(
    url: str, path: str, prefix: str
) -> None:
    endpoint = read_endpoint(url)
    assert (endpoint.host, endpoint.path, endpoint.is_loopback) == (path, prefix, True)
    assert read_endpoint(endpoint.url).is_at(endpoint)


@pytest.mark.parametrize(
    "url", ["unix://", "unix:/run/s", "unix:s.sock", "unix://s.sock", "unix:///", "unix:///a\n",
            "unix:///run/", "unix:///s#x"],
)  # fmt: skip
def test_what_names_no_socket_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"unix://"):
        read_endpoint(url)
