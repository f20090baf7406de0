"""The test servers keep their promises: told with plain sockets and urllib, without pipechat."""

import json
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.servers import (
    ENDINGS,
    FRAMINGS,
    ChatServer,
    Close,
    Ending,
    Framing,
    FullBacklog,
    HttpProxy,
    Mark,
    RawServer,
    RefusedPort,
    Reply,
    Request,
    Reset,
    SocksProxy,
    Stall,
    UntilClientLeaves,
    WaitFor,
    answer,
    by_hash,
    chunk,
    cut,
    done,
    error_reply,
    event,
    http_reply,
    keep_alives,
    mirror,
    raw_reply,
    redirect,
    resegment,
    self_signed,
    stream_reply,
    write_certificate,
)

LIMIT_S = 10.0
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str, question: str = "hello there", **body: Any) -> bytes:
    """POST a chat and read the whole answer."""
    body = {"stream": True, "messages": [{"role": "user", "content": question}]} | body
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode())
    with NO_PROXY.open(request, timeout=LIMIT_S) as response:
        return bytes(response.read())


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def send_request(connection: socket.socket, path: str = "/v1/chat/completions") -> None:
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())


def read_to_end(connection: socket.socket, stall_at: int | None = None) -> tuple[bytes, str]:
    """All bytes, and how they ended: `fin`, `rst`, or `stall` where none came after `stall_at`."""
    data = b""
    while True:
        connection.settimeout(0.05 if len(data) == stall_at else LIMIT_S)
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return data, "rst"
        except TimeoutError:
            return data, "stall"
        if not piece:
            return data, "fin"
        data += piece


def test_a_request_is_recorded_with_headers_and_body() -> None:
    with ChatServer(answer("fine")) as server:
        ask(server.url + "/case-7", "a", model="m")
        (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/case-7/chat/completions")
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.body["model"] == "m"
    assert request.question == "a"


def test_starting_and_stopping_is_quick() -> None:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        with ChatServer(answer("fine")):
            times.append(time.perf_counter() - start)
    assert min(times) < 0.02


@pytest.mark.parametrize("framing", FRAMINGS)
def test_each_framing_carries_the_same_body(framing: Framing) -> None:
    with ChatServer(answer("some text", framing=framing)) as server:
        body = ask(server.url)
    assert body.startswith(event(chunk("", role="assistant")))
    assert body.endswith(done())


def test_a_list_is_played_one_by_one_and_its_last_repeated() -> None:
    with ChatServer([error_reply(500), answer("fine")]) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(server.url)
        caught.value.close()
        assert ask(server.url) == ask(server.url)
    assert len(server.requests) == 3


def test_a_gate_holds_the_second_chunk_back() -> None:
    gate, reached = threading.Event(), threading.Event()
    script = raw_reply(b"one", Mark(reached), WaitFor(gate), b"two", Close())
    with ChatServer(script) as server, connect(server.port) as connection:
        send_request(connection)
        assert reached.wait(LIMIT_S)
        assert connection.recv(99) == b"one"
        gate.set()
        assert connection.recv(99) == b"two"


def send_and_leave_block(server: ChatServer) -> None:
    with server, connect(server.port) as connection:
        send_request(connection)
        assert connection.recv(99) == b""


def test_a_gate_that_stays_shut_is_told_to_the_test() -> None:
    server = ChatServer(raw_reply(WaitFor(threading.Event(), timeout=0.01)))
    with pytest.raises(AssertionError, match="gate"):
        send_and_leave_block(server)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("how", ENDINGS)
def test_a_reply_is_cut_at_the_byte_and_ends_as_told(framing: Framing, how: Ending) -> None:
    whole = answer("x" * 20_000, framing=framing)
    sizes = [0, 1, whole.head_size, whole.head_size + 5, len(whole.wire) - 1, len(whole.wire)]
    with ChatServer(whole) as server:
        for size in sizes:
            server.play(cut(whole, size, how))
            with connect(server.port) as connection:
                send_request(connection)
                stall_at = size if how == "stall" else None
                assert read_to_end(connection, stall_at) == (whole.wire[:size], how)
                assert how == "stall" or not server.requests[-1].left.is_set()


def test_resegmented_bytes_are_the_same() -> None:
    whole = answer("some text")
    again = resegment(whole, [1, 7, 3], pause=0)
    assert again.wire == whole.wire
    assert len(again.steps) > 100
    with ChatServer(again) as server, connect(server.port) as connection:
        for _ in range(2):  # the connection is kept, as with the whole reply
            send_request(connection)
            data = b""
            while len(data) < len(whole.wire):
                data += connection.recv(1 << 16)
            assert data == whole.wire


def test_requests_share_a_connection_that_the_framing_keeps() -> None:
    script = [answer("a"), raw_reply(b"bye", Close())]
    with ChatServer(script) as server, connect(server.port) as connection:
        send_request(connection)
        send_request(connection)
        assert read_to_end(connection) == (answer("a").wire + b"bye", "fin")
    assert [request.connection for request in server.requests] == [1, 1]


@pytest.mark.parametrize("rst", [False, True], ids=["fin", "rst"])
def test_a_client_that_leaves_is_noticed(rst: bool) -> None:
    left = threading.Event()
    with ChatServer(stream_reply(chunk("a"), UntilClientLeaves(left))) as server:
        with connect(server.port) as connection:
            send_request(connection)
            assert connection.recv(9)
            assert not left.is_set()
            if rst:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
        assert left.wait(LIMIT_S)
        (request,) = server.wait_for_requests(1)
        assert request.ended.wait(LIMIT_S)
        assert request.left.is_set()


def test_a_client_that_leaves_early_is_noticed_by_a_later_step() -> None:
    gate, left = threading.Event(), threading.Event()
    with ChatServer(stream_reply(WaitFor(gate), UntilClientLeaves(left))) as server:
        with connect(server.port) as connection:
            send_request(connection)
            assert connection.recv(9)
        assert left.wait(LIMIT_S)
        assert server.requests[0].left.wait(LIMIT_S)


def test_a_client_that_leaves_ends_the_keep_alives() -> None:
    with ChatServer(stream_reply(keep_alives(every=30, times=9))) as server:
        with connect(server.port) as connection:
            send_request(connection)
            assert connection.recv(9)
        assert server.requests[0].ended.wait(LIMIT_S)
        assert server.requests[0].left.is_set()


def test_an_exception_in_a_script_is_told_to_the_test() -> None:
    def script(request: Request) -> Reply:
        raise LookupError(request.path)

    server = ChatServer(script)
    with pytest.raises(AssertionError, match="LookupError: /v1/chat"):
        send_and_leave_block(server)


def test_the_lifetime_ends_a_connection_that_stalls() -> None:
    with ChatServer(raw_reply(Stall()), lifetime=0.05) as server, connect(server.port) as client:
        send_request(client)
        assert client.recv(99) == b""


def test_a_raw_server_does_not_wait_for_a_request() -> None:
    with RawServer(b"hello", Close()) as server, connect(server.port) as connection:
        assert read_to_end(connection) == (b"hello", "fin")
    with RawServer(Stall()) as server, connect(server.port) as connection:
        assert read_to_end(connection, 0) == (b"", "stall")


def test_a_refused_port_refuses_and_a_full_backlog_does_not_answer() -> None:
    with RefusedPort() as refused, pytest.raises(ConnectionRefusedError):
        connect(refused.port)
    with FullBacklog() as full, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", full.port), timeout=0.1)


def test_the_self_signed_certificate_is_good_only_where_it_is_trusted(tmp_path: Path) -> None:
    trusted = ssl.create_default_context(cafile=write_certificate(tmp_path / "ca.pem"))
    with ChatServer(raw_reply(b"hello", Close()), tls=self_signed()) as server:
        with connect(server.port) as plain, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
        with (
            connect(server.port) as plain,
            trusted.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            send_request(connection)
            assert connection.recv(9) == b"hello"
    assert server.url.startswith("https://")
    assert len(server.handshake_failures) == 1


def test_a_handshake_that_is_never_answered_holds_nothing_up() -> None:
    with ChatServer(raw_reply(Close()), tls=self_signed()) as server:
        held = connect(server.port)
    held.close()


def test_a_redirect_leads_to_another_server() -> None:
    with (
        ChatServer(http_reply(200, b"there")) as there,
        ChatServer(redirect(302, there.url + "/x")) as here,
        NO_PROXY.open(here.url, timeout=LIMIT_S) as response,
    ):
        assert response.read() == b"there"


def test_the_http_proxy_forwards_and_records() -> None:
    with ChatServer(mirror()) as server:
        names = {"only-the-proxy-knows.test": ("127.0.0.1", server.port)}
        with HttpProxy(names=names, auth=("u", "p")) as proxy:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({"http": proxy.url_with_login})
            )
            url = "http://only-the-proxy-knows.test/v1/models"
            with opener.open(url, timeout=LIMIT_S) as response:
                assert json.load(response)["data"][0]["id"] == "test-model"
            with connect(proxy.port) as client:
                client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % server.port)
                assert client.recv(99).startswith(b"HTTP/1.1 407 ")
        assert [request.method for request in proxy.requests] == ["GET", "CONNECT"]
        assert proxy.requests[0].target == url
        assert "proxy-authorization" not in server.requests[0].headers


def test_the_http_proxy_tunnels() -> None:
    with ChatServer(raw_reply(b"hello", Reset())) as server, HttpProxy() as proxy:
        with connect(proxy.port) as client:
            client.sendall(b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % server.port)
            assert client.recv(99) == b"HTTP/1.1 200 Connection established\r\n\r\n"
            send_request(client)
            assert read_to_end(client) == (b"hello", "rst")
        with connect(proxy.port) as client:
            client.sendall(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n")
            assert client.recv(99).startswith(b"HTTP/1.1 502 ")


def test_the_socks_proxy_resolves_names_that_only_it_knows() -> None:
    with ChatServer(raw_reply(b"hello", Close())) as server:
        names = {"only-the-proxy-knows.test": ("127.0.0.1", server.port)}
        with SocksProxy(names=names, auth=("u", "p")) as proxy, connect(proxy.port) as client:
            client.sendall(b"\5\2\0\2")
            assert client.recv(9) == b"\5\2"
            client.sendall(b"\1\1u\1p")
            assert client.recv(9) == b"\1\0"
            client.sendall(b"\5\1\0\3\x19only-the-proxy-knows.test\0\x50")
            assert client.recv(99)[:2] == b"\5\0"
            send_request(client)
            assert read_to_end(client) == (b"hello", "fin")
        assert proxy.hosts == ["only-the-proxy-knows.test"]
        assert (proxy.requests[0].port, proxy.requests[0].user) == (80, "u")


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        (lambda: SocksProxy(mode="silent"), b""),
        (lambda: SocksProxy(mode="refuse"), b"\5\0\5\5\0\1\0\0\0\0\0\0"),
    ],
    ids=["silent", "refuse"],
)
def test_the_socks_proxy_has_its_own_faults(proxy: Callable[[], SocksProxy], said: bytes) -> None:
    with proxy() as server, connect(server.port) as client:
        client.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1\0\x50")
        assert read_to_end(client, len(said)) == (said, "stall" if not said else "fin")


def test_the_mirror_answers_64_clients_at_once() -> None:
    with ChatServer(mirror(pieces=20, gap=0.001)) as server, ThreadPoolExecutor(64) as pool:
        questions = [f"question number {number}" for number in range(128)]
        answers = list(pool.map(lambda question: ask(server.url, question), questions))
    for question, body in zip(questions, answers, strict=True):
        deltas = [json.loads(line[6:]) for line in body.split(b"\n\n") if line[6:7] == b"{"]
        texts = [delta["choices"][0]["delta"].get("content", "") for delta in deltas]
        assert "".join(texts) == f"echo: {question}"


def test_the_mirror_counts_usage_and_keeps_to_its_faults() -> None:
    with ChatServer(mirror(fault=by_hash("none", "500"))) as server:
        whole, failed = 0, 0
        for number in range(16):
            try:
                record = json.loads(ask(server.url, f"word {number}", stream=False))
            except urllib.error.HTTPError as error:
                failed += 1
                error.close()
                continue
            whole += 1
            assert record["usage"] == {
                "prompt_tokens": 2,
                "completion_tokens": 3,
                "total_tokens": 5,
            }
    assert whole > 0
    assert failed > 0


def test_stopping_leaves_no_thread_and_no_connection() -> None:
    with ChatServer(raw_reply(Stall())) as server:
        connections = [connect(server.port) for _ in range(8)]
        for connection in connections:
            send_request(connection)
        server.wait_for_requests(8)
    for connection in connections:
        assert connection.recv(9) == b""
        connection.close()
    assert all(thread.name != "ChatServer" for thread in threading.enumerate())
