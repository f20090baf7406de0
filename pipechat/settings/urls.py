"""URLs of endpoints and proxies: which are taken, and what they say. Pure.

urllib.parse rather than a URL class of the HTTP library, since it is already loaded by typer.
"""

from urllib.parse import SplitResult, urlsplit

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def check_base_url(url: object) -> str:
    """`url` without a trailing slash. Raises ValueError where it cannot be an endpoint."""
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("not an http:// or https:// URL")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has no ? and no #")
    return parts.geturl().rstrip("/")


def check_proxy_url(url: object) -> str:
    """`url` as it is. Raises ValueError where it cannot be a proxy."""
    parts = _split(url)
    if parts.scheme not in _PROXY_SCHEMES:
        raise ValueError(f"not one of {', '.join(f'{scheme}://' for scheme in _PROXY_SCHEMES)}")
    return parts.geturl()


def host_of(url: str) -> str:
    """`HOST` or `HOST:PORT` of a checked URL."""
    return urlsplit(url).netloc


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine by a name that cannot mean another."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or (
        host.startswith("127.") and host.isascii() and host.replace(".", "").isdigit()
    )


def _split(url: object) -> SplitResult:
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # A password in a URL ends up in logs, in `ps` and in error messages.
        raise ValueError("a user or password in the URL is refused")
    if not parts.hostname:
        raise ValueError("the URL names no host")
    _ = parts.port  # raises ValueError where it is no number up to 65535
    return parts
