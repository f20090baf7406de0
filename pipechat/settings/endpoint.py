"""Where requests go: an endpoint, parsed once, and what its address tells of it. Pure.

urllib.parse rather than a URL class of the HTTP library, since it is already loaded by typer.
"""

from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_VENDOR = "openai.com"
_AZURE = ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")
_UNIX = "unix://"
# The field of a query that says which version of an API is meant, and is no secret.
API_VERSION = "api-version"

_LONGEST_LABEL = 63

Query = tuple[tuple[str, str], ...]


class Endpoint(NamedTuple):
    """A base URL in its parts: `hostname` in lower case and without brackets, `port` as a number
    in any case, `path` without a closing slash. `query`: the fields that go with every request,
    decoded; they may hold a secret. `socket`: the path of the Unix socket on which the server
    listens, "" for one of a network; it has no host then."""

    scheme: str
    hostname: str
    port: int
    path: str
    query: Query = ()
    socket: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.url})"  # the query may hold a key

    @property
    def host(self) -> str:
        """`HOST`, or `HOST:PORT` where the port is not the scheme's own, for messages; of a
        socket its path."""
        return self.socket or shown_host(self.scheme, self.hostname, self.port)

    @property
    def url(self) -> str:
        """The base URL, in one form however it was written, without its query: where it is, which
        may be told to anybody."""
        if self.socket:
            return f"{_UNIX}{self.socket}:{self.path or '/'}"
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def request_url(self) -> str:
        """The base URL as HTTP has it: behind a socket every server is called localhost."""
        return f"http://localhost{self.path}" if self.socket else self.url

    @property
    def query_secrets(self) -> tuple[str, ...]:
        """The values of its query that may be keys."""
        return tuple(value for name, value in self.query if name.lower() != API_VERSION)

    @property
    def is_azure(self) -> bool:
        """Whether it is Azure's, by its name."""
        return _is_below(self.hostname, _AZURE)

    def with_api_version(self, version: str | None) -> "Endpoint":
        """The same with this version in its query, where that names none yet."""
        if version is None or any(name.lower() == API_VERSION for name, _ in self.query):
            return self
        return self._replace(query=(*self.query, (API_VERSION, version)))

    def is_at(self, other: "Endpoint") -> bool:
        """Whether both are one place, whatever their queries say."""
        return self.url == other.url

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by a name that cannot mean another."""
        return bool(self.socket) or is_loopback(self.hostname)

    @property
    def is_vendor(self) -> bool:
        """Whether it is the vendor's own, where a request without a key is pointless."""
        return self.scheme == "https" and _is_below(self.hostname, (_VENDOR,))

    @property
    def token_limit_field(self) -> str:
        """The field of the body that bounds an answer: newer models of the vendor refuse
        `max_tokens`, other servers know nothing else."""
        named = self.is_vendor or self.is_azure
        return "max_completion_tokens" if named else "max_tokens"


def read_endpoint(value: object) -> Endpoint:
    """The endpoint that a base URL names. Raises ValueError where it cannot be one."""
    if isinstance(value, str) and value.startswith("unix:"):
        return _read_socket(value)
    if isinstance(value, str) and "://" not in value and looks_like_a_host(value):
        bare = value.partition("?")[0]  # a query may hold a key
        raise ValueError(f"not a URL; did you mean http://{bare} or https://{bare}?")
    parts = split_url(value)
    if parts.scheme not in ("http", "https"):
        raise ValueError("not an http://, https:// or unix:// URL")
    if "@" in parts.netloc:
        # A password in a URL ends up in logs, in `ps` and in error messages.
        raise ValueError("a user or password in the URL is refused")
    if parts.fragment:
        raise ValueError("a base URL has no #")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    path, query = parts.path.rstrip("/"), _read_query(parts.query)
    return Endpoint(parts.scheme, parts.hostname or "", port, path, query)


def read_azure_endpoint(value: object) -> Endpoint:
    """The endpoint of an Azure resource, whose own address is named without a path. Raises
    ValueError."""
    endpoint = read_endpoint(value)
    return endpoint if endpoint.path or endpoint.socket else endpoint._replace(path="/openai/v1")


def _read_socket(value: str) -> Endpoint:
    """`unix:///PATH`, where requests go to /v1, or `unix:///PATH:/PREFIX`."""
    if not value.startswith(f"{_UNIX}/") or not value.isprintable() or "#" in value:
        raise ValueError("not unix:///PATH or unix:///PATH:/PREFIX, with a path from / on")
    place, _, query = value.removeprefix(_UNIX).partition("?")
    socket, colon, prefix = place.rpartition(":/")
    if not colon:
        socket, prefix = place, "v1"
    if socket.endswith("/"):
        raise ValueError("unix:// names a folder; a socket's path ends in its name")
    return Endpoint("unix", "", 0, f"/{prefix}".rstrip("/"), _read_query(query), socket)


def _read_query(query: str) -> Query:
    fields = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in fields]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"its query says {name[:40]!r} twice")
    return tuple(fields)


def split_url(value: object) -> SplitResult:
    """The parts of a URL with a host. Raises ValueError where it is none."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("not a URL")
    try:
        parts = urlsplit(value)
    except ValueError:  # whose words may repeat a password
        raise ValueError("not a URL; in a user or a password [ is %5B, and so on") from None
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if ":" not in parts.hostname and not _can_be_a_name(parts.hostname):
        raise ValueError("its host cannot be one: a part of it is empty, or too long")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is no number up to 65535") from None
    return parts


def _can_be_a_name(hostname: str) -> bool:
    """Whether it may be a name or an IPv4 address: parts of 1 to 63 bytes (RFC 1035 §2.3.4)."""
    labels = hostname.removesuffix(".").split(".")
    return all(0 < len(label) <= _LONGEST_LABEL for label in labels)


def shown_host(scheme: str, hostname: str, port: int) -> str:
    """`HOST` or `HOST:PORT`, an IPv6 address in brackets."""
    name = f"[{hostname}]" if ":" in hostname else hostname
    return name if port == _DEFAULT_PORTS.get(scheme) else f"{name}:{port}"


def is_loopback(hostname: str) -> bool:
    """Whether a name in lower case means this machine and cannot mean another."""
    return hostname in ("localhost", "::1") or (
        hostname.startswith("127.") and hostname.isascii() and hostname.replace(".", "").isdigit()
    )


def default_port(scheme: str) -> int:
    """The port that a scheme has where none is given."""
    return _DEFAULT_PORTS[scheme]


def looks_like_a_host(value: str) -> bool:
    """Whether what has no `://` may be a URL whose scheme was left out."""
    host = value.partition("/")[0]
    return host.isprintable() and host[-1:] not in ("", ":") and not set(host) & set(" @?#")


def _is_below(hostname: str, domains: tuple[str, ...]) -> bool:
    return any(hostname == domain or hostname.endswith(f".{domain}") for domain in domains)
