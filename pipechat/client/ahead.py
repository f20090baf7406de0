"""A connection to the endpoint, opened while the SDK is still being imported.

Owns when that may be, and the threads that do it. What comes of it, a socket or an error, is what
the transport would have had a moment later: the same addresses in the same order, the same
certificates, the same name. Knows no HTTP library, but whose context it shakes hands with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    import socket
    import ssl

T = TypeVar("T")

_SPARE_S = 5.0  # our time-outs strike first: they know why
# What stands idle is in the way of a server that serves one after the other, and another may close
# it: nobody takes it after this time.
_FRESH_S = 4.0
_LONGEST_LABEL = 64
_ALPN = ["http/1.1"]  # as the transport has it


def longest_wait_s(settings: Settings) -> float | None:
    """How long the transport waits for one thing, in seconds; None for as long as it takes."""
    return None if settings.timeout_s is None else settings.timeout_s + _SPARE_S


class ConnectionAhead:
    """At most one connection, for the first request. Until `begin` there is none to come; what
    nobody took is closed at the end of the `with` block."""

    def __init__(self) -> None:
        self._place: tuple[str, int] | None = None
        self._socket: _Later[socket.socket] = _Later()
        self._context: _Later[ssl.SSLContext | None] = _Later()
        self._lock = Lock()
        self._settled = Event()  # taken, or not wanted any more
        self._wanted = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._settled.set()
        if self._claim(self._place) is not None:
            self._drop()

    def begin(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Begin to connect where the endpoint is reached directly, and return.

        Raises:
            SetupError: as `check_tls_files`.
        """
        endpoint = settings.endpoint
        if settings.proxy is not None or endpoint.socket or not _is_plain(endpoint.hostname):
            return
        from pipechat.client.certificates import check_tls_files

        check_tls_files(environ)
        import_module("socket")  # in this thread, as below
        place, longest_s = (endpoint.hostname, endpoint.port), longest_wait_s(settings)
        self._place = place
        if not _in_thread("connect", lambda: self._connect(place, longest_s)):
            self._place = None
        elif endpoint.scheme == "http":
            self._context.find(lambda: None)
        else:
            self._find_context(settings, environ)

    def _find_context(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Reading the authorities takes 20 ms where they are one file, most of it without
        Python's lock."""
        from pipechat.client.put_off import parts_put_off
        from pipechat.client.trust import context_for_tls

        def find() -> None:
            self._context.find(lambda: context_for_tls(settings, environ))

        try:
            # In this thread: it is about to import them anyway, and no two wait for each other.
            with parts_put_off():
                import_module("httpx2")
                import_module("httpcore2")
        finally:
            if not _in_thread("certificates", find):
                find()

    @property
    def has_begun(self) -> bool:
        """Whether a connection is on its way."""
        return self._place is not None

    def context(self) -> ssl.SSLContext | None:
        """Whom the connection trusts, None where it speaks no TLS. Raises SetupError."""
        return self._context.get(None)

    def take(self, host: str, port: int, timeout_s: float | None) -> socket.socket | None:
        """The connection, once; TLS is spoken on it already. None where there is none to take, or
        the server has given it up.

        Raises:
            OSError: what connecting came to; TimeoutError: it took longer than `timeout_s`.
        """
        if self._claim((host, port)) is None:
            return None
        self._settled.set()
        try:
            found = self._socket.get(timeout_s)
        except TimeoutError:
            self._drop()
            raise
        if _is_silent(found):
            return found
        found.close()
        return None

    def _connect(self, place: tuple[str, int], longest_s: float | None) -> None:
        self._socket.find(lambda: self._connected(place, longest_s))
        self._settled.wait(_FRESH_S)
        if self._claim(place) is not None or not self._wanted:
            self._drop()

    def _connected(self, place: tuple[str, int], longest_s: float | None) -> socket.socket:
        import socket

        host, port = place
        name = host.encode()  # a str is read as an international name, by modules of their own
        place_of_bytes: Any = (name, port)  # getaddrinfo takes them, though its stub says not
        found = socket.create_connection(place_of_bytes, longest_s)
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._context.get(None)
            if context is not None:
                context.set_alpn_protocols(_ALPN)
                found.settimeout(longest_s)
                found = context.wrap_socket(found, server_hostname=name)
        except BaseException:
            found.close()
            raise
        return found

    def _claim(self, place: tuple[str, int] | None) -> tuple[str, int] | None:
        """`place`, for the one who asks first; else None."""
        with self._lock:
            if self._place != place:
                return None
            self._place = None
            return place

    def _drop(self) -> None:
        """Whoever claimed it does not want it: it is closed, here or once it is there."""
        self._wanted = False
        if self._socket.value is not None:
            self._socket.value.close()


class _Later(Generic[T]):
    """What somebody finds out in a thread, and others wait for: a value, or an error."""

    def __init__(self) -> None:
        self.value: T | None = None
        self._error: BaseException | None = None
        self._is_there = Event()

    def find(self, find: Callable[[], T]) -> None:
        """Find it out."""
        try:
            self.value = find()
        except BaseException as error:
            self._error = error
        self._is_there.set()

    def get(self, timeout_s: float | None) -> T:
        """It, or what finding it out raised. Raises TimeoutError after `timeout_s`."""
        if not self._is_there.wait(timeout_s):
            raise TimeoutError("timed out")
        if self._error is not None:
            raise self._error
        return self.value  # type: ignore[return-value]  # because it was found


def _is_silent(found: socket.socket) -> bool:
    """Whether the server still waits for a request: one that did not like to wait has left, or
    said so (408) as if to a question that it never saw."""
    import ssl

    timeout_s = found.gettimeout()
    found.setblocking(False)
    try:
        found.recv(1)  # of TLS, it reads the server's tickets as well, which are no word
    except (BlockingIOError, ssl.SSLWantReadError):
        found.settimeout(timeout_s)
        return True
    except OSError:
        return False
    return False


def _is_plain(host: str) -> bool:
    """Whether a name is looked up as it stands, and not refused before."""
    labels = host.removesuffix(".").split(".")
    return host.isascii() and all(0 < len(label) < _LONGEST_LABEL for label in labels)


def _in_thread(name: str, work: Callable[[], None]) -> bool:
    """Start `work`, which keeps no process from ending; False where there is no thread for it."""
    try:
        Thread(target=work, daemon=True, name=name).start()
    except RuntimeError:
        return False
    return True
