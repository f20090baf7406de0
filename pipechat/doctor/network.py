"""The way to the endpoint, step by step: its name, a connection, TLS. Looks; `judging` judges."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipechat.client.certificates import check_tls_files
from pipechat.client.unix_socket import socket_error
from pipechat.doctor import judging
from pipechat.doctor.finding import Finding, failed
from pipechat.doctor.time_left import TimeLeft
from pipechat.errors import PipechatError

_STEP_S = 3.0  # of the name, the connection and TLS each


class Peer(NamedTuple):
    """Who is connected to first: the endpoint, or the proxy on the way. `told`: in a message.
    `tls`: makes the context to shake hands with, and raises SetupError; None where TLS is not
    spoken. `socket`: the path of a Unix socket, which has no name and no port."""

    hostname: str
    port: int
    told: str
    tls: Callable[[], ssl.SSLContext] | None
    socket: str = ""


def look_at_way(
    peer: Peer, environ: Mapping[str, str], time_left: TimeLeft, found: Callable[[Finding], None]
) -> bool:
    """Tell `found` of each step; whether all of them can be gone."""
    if peer.socket:
        return _socket(peer, time_left, found)
    try:
        addresses = time_left.bounded(lambda: _addresses(peer), _STEP_S)
    except (OSError, UnicodeError) as error:
        found(judging.name(peer.told, peer.hostname, (), error))
        return False
    found(judging.name(peer.told, peer.hostname, addresses, None))
    try:
        connected = time_left.bounded(lambda: _connected(peer), _STEP_S, socket.socket.close)
    except OSError as error:
        found(judging.connection(peer.told, error))
        return False
    with connected:
        found(judging.connection(peer.told, None))
        if peer.tls is None:
            return True
        finding = _tls(connected, peer, peer.tls, environ, time_left)
    found(finding)
    return finding.verdict != "fail"


def _connected(peer: Peer) -> socket.socket:
    return socket.create_connection((peer.hostname, peer.port), timeout=_STEP_S)


def _addresses(peer: Peer) -> tuple[str, ...]:
    known = socket.getaddrinfo(peer.hostname, peer.port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in known))


def _socket(peer: Peer, time_left: TimeLeft, found: Callable[[Finding], None]) -> bool:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(_STEP_S)
            connected.connect(peer.socket)

    try:
        time_left.bounded(connect, _STEP_S)
    except OSError as error:
        known = socket_error(error, peer.socket)
        found(failed("tcp", known) if known else judging.connection(peer.told, error))
        return False
    found(judging.connection(peer.told, None))
    return True


def _tls(
    connected: socket.socket,
    peer: Peer,
    context_of: Callable[[], ssl.SSLContext],
    environ: Mapping[str, str],
    time_left: TimeLeft,
) -> Finding:
    try:
        check_tls_files(environ)
        context = context_of()

        def shown() -> Mapping[str, Any]:
            with context.wrap_socket(connected, server_hostname=peer.hostname) as secured:
                return secured.getpeercert() or {}

        certificate = time_left.bounded(shown, _STEP_S)
    except PipechatError as error:
        return failed("tls", error)
    except ssl.SSLCertVerificationError as error:
        return judging.distrusted(peer.told, error.verify_code, error.verify_message)
    except OSError as error:
        return judging.no_tls(peer.told, error)
    return judging.certificate(peer.told, certificate, time.time())
