"""A connection that is opened while the SDK is imported: begun in time, used once, seen in nothing
but time, and left behind by nobody."""

import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from pipechat.client import ahead, lazy_openai
from pipechat.client.ahead import ConnectionAhead
from pipechat.settings.resolve import Settings, resolve_settings
from tests.program import Program, Result
from tests.servers import (
    ChatServer,
    Close,
    HttpProxy,
    RawServer,
    RefusedPort,
    Reset,
    UntilClientLeaves,
    answer,
    error_reply,
    raw_reply,
    self_signed,
    write_certificate,
)
from tests.servers.peer import Peer
from tests.servers.steps import flatten, play

pytestmark = pytest.mark.in_process

FORMATS = ("text", "ndjson")
_PATIENCE_S = 20.0


@pytest.fixture
def trusted(tmp_path: Path) -> Mapping[str, str | None]:
    """The environment in which the servers' certificate is trusted."""
    return {"SSL_CERT_FILE": str(write_certificate(tmp_path / "authority.pem"))}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted here does not hang on how busy the machine is."""
    monkeypatch.setattr(ahead, "_FRESH_S", 60.0)


@contextmanager
def the_plain_way() -> Iterator[None]:
    """Nothing is opened ahead."""
    with patch.object(ConnectionAhead, "begin", lambda *_: None):
        yield


def until(is_so: Callable[[], object]) -> None:
    """Wait until it is so; AssertionError after a while."""
    ends_at = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_at, "it did not come to be"
        time.sleep(0.002)


def settings(url: str, **flags: Any) -> Settings:
    return resolve_settings({"base_url": url, "timeout": 20.0, **flags}, {}, {})


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_connection_stands_before_the_sdk_is_imported_and_is_the_only_one(
    program: Program, trusted: Mapping[str, str | None], scheme: str, output_format: str
) -> None:
    shaken = threading.Event()
    tls = self_signed() if scheme == "https" else None
    if tls is not None:
        tls.sni_callback = lambda *_: shaken.set()
    seen: list[int] = []
    real = lazy_openai.load_openai

    def late(environ: Mapping[str, str]) -> ModuleType:
        until(lambda: server.connections and (tls is None or shaken.is_set()))
        seen.append(server.connections)
        return real(environ)

    with (
        ChatServer(answer("Hi"), tls=tls) as server,
        patch.object(lazy_openai, "load_openai", late),
    ):
        url = server.url_at("localhost")
        asked = ("ask", "hello", "--base-url", url, "--output-format", output_format)
        result = program.run(*asked, env=trusted)
    assert (result.status, seen, server.connections) == (0, [1], 1), result.stderr
    assert len(server.requests) == 1


def _moved(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Have a name of httpcore2's that is not public be another one, as in a later version."""
    monkeypatch.delitem(sys.modules, "pipechat.client.handed_over", raising=False)
    if what == "module":
        monkeypatch.setitem(sys.modules, "httpcore2._backends.sync", None)
    elif what == "backend":
        monkeypatch.delattr("httpcore2.SyncBackend")
    else:

        def missing(_: ConnectionAhead) -> None:
            raise AttributeError("'HTTPTransport' object has no attribute '_pool'")

        monkeypatch.setattr("pipechat.client.handed_over.transport_with", missing)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("what", ["module", "backend", "pool"])
def test_where_the_library_has_changed_inside_the_question_goes_the_plain_way(
    program: Program, monkeypatch: pytest.MonkeyPatch, what: str, output_format: str
) -> None:
    _moved(monkeypatch, what)
    with ChatServer(answer("Hi")) as server:
        result = program.run(
            "ask", "hello", "--base-url", server.url, "--output-format", output_format
        )
        assert len(server.requests) == 1
    assert result.status == 0, result.stderr


def _untrusted() -> ChatServer:
    return ChatServer(answer("Hi"), tls=self_signed())


def _old_tls() -> ChatServer:
    context = self_signed()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return ChatServer(answer("Hi"), tls=context)


# Whether a close is told as one or as a reset is the kernel's choice, from run to run.
CLOSED = (
    "closed at the door", "closed in the handshake", "TLS where none is spoken",
    "a certificate is asked for",
)  # fmt: skip
# These have left, or spoken, before they were asked: the plain way meets them once more.
GIVEN_UP = ("closed at the door", "no HTTP", "a certificate is asked for")
# What may come of connecting: a server; whether it is trusted, or its address another; the
# last code that stderr names.
KINDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "an answer": (lambda: ChatServer(answer("Hi")), "", ""),
    "an answer by TLS": (_untrusted, "trusted", ""),
    "an answer by TLS 1.2": (_old_tls, "trusted", ""),
    "an error, then an answer": (
        lambda: ChatServer([error_reply(503, "no"), answer("Hi")]),
        "",
        "server_error",
    ),
    "a reset, then an answer": (
        lambda: ChatServer([raw_reply(Reset()), answer("Hi")]),
        "",
        "connection_lost",
    ),
    "refused": (RefusedPort, "", "connection_refused"),
    "closed at the door": (lambda: RawServer(Close()), "", "connection_lost"),
    "closed in the handshake": (lambda: RawServer(Close()), "https", "connection_failed"),
    "no HTTP": (
        lambda: RawServer(b"SSH-2.0-x\r\n\r\n", UntilClientLeaves(threading.Event())),
        "",
        "connection_lost",
    ),
    "no TLS": (
        lambda: RawServer(b"SSH-2.0-x\r\n", UntilClientLeaves(threading.Event())),
        "https",
        "connection_failed",
    ),
    "TLS where none is spoken": (_untrusted, "http", "connection_lost"),
    "a certificate of nobody known": (_untrusted, "", "bad_certificate"),
    "a certificate of another name": (_untrusted, "127.1", "bad_certificate"),
    "an expired certificate": (
        lambda: ChatServer(answer("Hi"), tls=self_signed(expired=True)),
        "trusted",
        "bad_certificate",
    ),
    "a certificate is asked for": (
        lambda: ChatServer(answer("Hi"), tls=self_signed(asks=True)),
        "trusted",
        "connection_lost",
    ),
}


class _Seen(NamedTuple):
    """What is seen of an ask: here, and at the server."""

    status: int
    codes: list[str]
    words: list[str]
    events: list[str]
    connections: int
    requests: int


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_seen_in_nothing_but_time(
    program: Program, trusted: Mapping[str, str | None], kind: str, output_format: str
) -> None:
    with_it = _asked(program, kind, trusted, output_format)
    with the_plain_way():
        without = _asked(program, kind, trusted, output_format)
    one_more = with_it.connections - without.connections
    assert one_more in ((0, 1) if kind in GIVEN_UP else (0,))
    assert with_it == without._replace(connections=with_it.connections)
    assert with_it.codes[-1:] == ([KINDS[kind][2]] if KINDS[kind][2] else [])


def _asked(
    program: Program, kind: str, trusted: Mapping[str, str | None], output_format: str
) -> _Seen:
    make, how, _ = KINDS[kind]
    with make() as server:
        url = server.url
        if how in ("http", "https"):
            url = f"{how}://{url.partition('://')[2]}"
        elif how == "127.1":
            url = server.url_at(how)
        asked = ("ask", "hello", "--base-url", url, "--output-format", output_format, "-v")
        env = trusted if how else {}
        result = program.run(*asked, "--retries", "1", env=env)
    connections = getattr(server, "connections", 0)
    said = result.stderr.decode().replace(str(server.port), "PORT").splitlines()
    codes = [found[1] for line in said if (found := re.match(r"pipechat: (\w+): ", line))]
    words = [re.sub(r"again in \S+ s", "again", line) for line in said if kind not in CLOSED]
    events = [event["type"] for event in result.events] if output_format == "ndjson" else []
    requests = len(getattr(server, "requests", []))
    return _Seen(result.status, codes, words, events, connections, requests)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("options", "env", "status"),
    [
        (("--dry-run",), {}, 0),
        (("--offline",), {}, 0),
        (("--last-turns", "-1"), {}, 2),
        (("--session", "a/b"), {}, 2),
        (("--replay", "nowhere.ndjson"), {}, 2),
        (("-o", "/nowhere/at/all"), {"OPENAI_API_KEY": "ключ"}, 3),
        (("--cacert", "nowhere.pem"), {}, 3),
        (("--cert", "nowhere.pem"), {}, 3),
        (("-o", "/nowhere/at/all"), {}, 11),
    ],
)
def test_where_nothing_is_asked_no_connection_stays(
    program: Program,
    options: tuple[str, ...],
    env: Mapping[str, str | None],
    status: int,
    output_format: str,
) -> None:
    with ChatServer(answer("Hi"), tls=self_signed()) as server:
        given = ("ask", "hello", "--base-url", server.url, "--output-format", output_format)
        result = program.run(*given, *options, env=env, events=False)
        assert result.status == status, result.stderr
        until(lambda: not server.open_connections)
        assert server.requests == []
        # Certificates and the place of the answer are looked at while it connects.
        assert server.connections == 0 or options[0] in ("--cacert", "--cert", "-o")


def test_what_was_answered_once_is_told_without_a_connection(program: Program) -> None:
    with ChatServer(answer("Hi")) as server:
        given = ("ask", "hello", "--base-url", server.url, "--session", "s", "--once", "k")
        results = [program.run(*given) for _ in range(3)]
        assert [result.stdout for result in results] == [b"Hi\n"] * 3
        assert server.connections == 1


def test_what_is_replayed_is_told_without_a_connection(program: Program, tmp_path: Path) -> None:
    with ChatServer(answer("Hi")) as server:
        given = ("ask", "hello", "--base-url", server.url)
        file = str(tmp_path / "recording.ndjson")
        results = [
            program.run(*given, *more)
            for more in (
                ("--record", file),
                ("--replay", file),
                ("--replay", file, "--record", file),
            )
        ]
        assert [result.stdout for result in results] == [b"Hi\n"] * 3
        assert server.connections == 1


def test_behind_a_proxy_nothing_but_the_proxy_is_connected_to(program: Program) -> None:
    with ChatServer(answer("Hi")) as server, HttpProxy() as proxy:
        given = ("ask", "hello", "--base-url", server.url, "--proxy", proxy.url)
        assert program.run(*given).status == 0
        assert [server.connections, proxy.connections, len(proxy.requests)] == [1, 1, 1]


def test_it_knows_of_a_host_what_the_plain_way_knows(
    program: Program, trusted: Mapping[str, str | None]
) -> None:
    def shaken(host: str) -> tuple[Result, list[object]]:
        told: list[object] = []
        context = self_signed()
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda _sock, name, _context: told.append(name)
        with ChatServer(answer("Hi"), also=("localhost",), tls=context) as server:
            result = program.run("ask", "hello", "--base-url", server.url_at(host), env=trusted)
            assert server.connections == 1
        return result, told

    for host in ("localhost", "127.0.0.1", "LOCALHOST"):
        with_it = shaken(host)
        with the_plain_way():
            assert shaken(host) == with_it
        assert with_it[0].stdout == b"Hi\n"


@pytest.mark.parametrize("is_late", [False, True], ids=["connected", "connecting"])
def test_what_nobody_takes_is_closed(is_late: bool) -> None:
    may_connect = threading.Event()
    if not is_late:
        may_connect.set()
    real = socket.create_connection

    def connect(*arguments: Any) -> socket.socket:
        assert may_connect.wait(_PATIENCE_S)
        return real(*arguments)

    with RawServer(UntilClientLeaves(threading.Event())) as server:
        with patch.object(socket, "create_connection", connect), ConnectionAhead() as connection:
            connection.begin(settings(server.url), {})
            if not is_late:
                until(lambda: server.open_connections)
        may_connect.set()
        until(lambda: server.connections == 1 and not server.open_connections)


def test_it_is_taken_once_and_for_its_own_host_alone() -> None:
    with RawServer(UntilClientLeaves(threading.Event())) as server, ConnectionAhead() as connection:
        connection.begin(settings(server.url), {})
        assert connection.take("localhost", server.port, 5) is None
        assert connection.take(server.host, server.port + 1, 5) is None
        taken = connection.take(server.host, server.port, 5)
        assert taken is not None
        with taken:
            assert taken.getpeername() == (server.host, server.port)
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.take(server.host, server.port, 5) is None


def test_what_stood_idle_for_long_is_closed_and_another_made(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_FRESH_S", 0.0)
    real = lazy_openai.load_openai

    def late(environ: Mapping[str, str]) -> ModuleType:
        until(lambda: server.connections and not server.open_connections)
        return real(environ)

    waiting = patch.object(lazy_openai, "load_openai", late)
    with ChatServer(answer("Hi")) as server, waiting:
        assert program.run("ask", "hello", "--base-url", server.url).stdout == b"Hi\n"
        assert [each.connection for each in server.requests] == [2]


class _Impatient(ChatServer):
    """A server whose first connection is given up as `part` says, before any request."""

    def __init__(self, part: bytes, tls: ssl.SSLContext | None) -> None:
        super().__init__(answer("Hi"), tls=tls)
        self._steps = flatten([part, Close()])
        self.gave_up = threading.Event()

    async def serve(self, peer: Peer) -> None:
        if self.gave_up.is_set():
            await super().serve(peer)
            return
        try:
            await play(self._steps, peer)
        finally:
            self.gave_up.set()


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["closed", "400", "408"],
)
def test_what_the_server_gave_up_before_the_question_is_not_used(
    program: Program,
    trusted: Mapping[str, str | None],
    part: bytes,
    scheme: str,
    output_format: str,
) -> None:
    real = lazy_openai.load_openai

    def late(environ: Mapping[str, str]) -> ModuleType:
        until(lambda: server.gave_up.is_set() and not server.open_connections)
        return real(environ)

    tls = self_signed() if scheme == "https" else None
    with _Impatient(part, tls) as server, patch.object(lazy_openai, "load_openai", late):
        url = server.url_at("localhost")
        asked = ("ask", "hello", "--base-url", url, "--output-format", output_format)
        result = program.run(*asked, "--retries", "0", env=trusted)
        assert [each.connection for each in server.requests] == [2]
    assert (result.status, result.stderr) == (0, b"")


def test_who_waits_for_it_waits_no_longer_than_told_and_leaves_nothing() -> None:
    with RawServer(UntilClientLeaves(threading.Event())) as server, ConnectionAhead() as connection:
        url = f"https://{server.host}:{server.port}/v1"
        connection.begin(settings(url, timeout=0.1), {})
        with pytest.raises(TimeoutError, match="timed out"):
            connection.take(server.host, server.port, 0.05)
        server.stop()


def test_without_a_thread_to_spare_it_is_the_plain_way(program: Program) -> None:
    nowhere = patch.object(ahead, "_in_thread", lambda *_: False)
    with ChatServer(answer("Hi")) as server, nowhere:
        assert program.run("ask", "hello", "--base-url", server.url).stdout == b"Hi\n"
        assert server.connections == 1
