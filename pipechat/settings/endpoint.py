"""Where requests go: an endpoint, parsed once, and what its address tells of it. Pure.

urllib.parse rather than a URL class of the HTTP library, since it is already loaded by typer.
"""

from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_VENDOR = "openai.com"
_AZURE = ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")


class Endpoint(NamedTuple):
    """A base URL in its parts: `hostname` in lower case and without brackets, `port` as a number
    in any case, `path` without a closing slash."""

    scheme: str
    hostname: str
    port: int
    path: str

    @property
    def host(self) -> str:
        """`HOST`, or `HOST:PORT` where the port is not the scheme's own, for messages."""
        return shown_host(self.scheme, self.hostname, self.port)

    @property
    def url(self) -> str:
        """The base URL, in one form however it was written."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by a name that cannot mean another."""
        return is_loopback(self.hostname)

    @property
    def is_vendor(self) -> bool:
        """Whether it is the vendor's own, where a request without a key is pointless."""
        return self.scheme == "https" and _is_below(self.hostname, (_VENDOR,))

    @property
    def token_limit_field(self) -> str:
        """The field of the body that bounds an answer: newer models of the vendor refuse
        `max_tokens`, other servers know nothing else."""
        named = self.is_vendor or _is_below(self.hostname, _AZURE)
        return "max_completion_tokens" if named else "max_tokens"


def read_endpoint(value: object) -> Endpoint:
    """The endpoint that a base URL names. Raises ValueError where it cannot be one."""
    if isinstance(value, str) and "://" not in value and looks_like_a_host(value):
        raise ValueError(f"not a URL; did you mean http://{value} or https://{value}?")
    parts = split_url(value)
    if parts.scheme not in ("http", "https"):
        raise ValueError("not an http:// or https:// URL")
    if "@" in parts.netloc:
        # A password in a URL ends up in logs, in `ps` and in error messages.
        raise ValueError("a user or password in the URL is refused")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has no ? and no #")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return Endpoint(parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"))


def split_url(value: object) -> SplitResult:
    """The parts of a URL with a host. Raises ValueError where it is none."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("not a URL")
    parts = urlsplit(value)
    if not parts.hostname:
        raise ValueError("the URL names no host")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is no number up to 65535") from None
    return parts


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
