"""The way to the endpoint: which proxy stands on it, and who named it. Pure.

The variables are curl's: `https_proxy` for https, `http_proxy` for http, `all_proxy` for both,
in either case, the lower one first; `no_proxy` rules them out. For this machine they do not
count, as in browsers: nobody means a proxy elsewhere to reach it. A proxy that was asked for by
option always counts.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pipechat.errors import SetupError
from pipechat.settings.endpoint import (
    Endpoint,
    default_port,
    is_loopback,
    looks_like_a_host,
    shown_host,
    split_url,
)
from pipechat.settings.secrets import Secret

_SCHEMES = ("http", "https", "socks5", "socks5h")


class Proxy(NamedTuple):
    """A proxy. `url` may hold a password, and is for the transport alone; `named_by` is the
    option, the variable or the place in a file that named it. `has_login`: a user, and perhaps a
    password, goes to it."""

    scheme: str
    hostname: str
    port: int
    url: Secret
    named_by: str = "--proxy"
    has_login: bool = False

    @property
    def shown(self) -> str:
        """For messages: `SCHEME://HOST:PORT`."""
        return f"{self.scheme}://{shown_host('', self.hostname, self.port)}"

    @property
    def told(self) -> str:
        """In a message: which proxy, and who named it."""
        return f"the proxy {self.shown} ({self.named_by})"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.hostname)


def read_proxy(value: object) -> str:
    """The URL of a proxy that an option or a file gives. Raises ValueError where it is none."""
    if isinstance(value, str) and "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError("a user or password in the URL is refused; the *_PROXY variables take it")
    if isinstance(value, str) and "://" not in value and looks_like_a_host(value):
        raise ValueError(f"not a URL; did you mean http://{value} or socks5h://{value}?")
    _parse(value, "")
    assert isinstance(value, str)
    return value


def find_proxy(
    endpoint: Endpoint, asked_for: str | None, named_by: str, environ: Mapping[str, str]
) -> Proxy | None:
    """The proxy on the way to `endpoint`: the one asked for, else that of the environment.

    Raises:
        SetupError: `bad_proxy`: the variable that counts here holds none.
    """
    if endpoint.socket:
        return None
    if asked_for is not None:
        return _parse(asked_for, named_by)
    if endpoint.is_loopback or _is_ruled_out(endpoint, environ):
        return None
    for name in (f"{endpoint.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            value = environ.get(variable)
            if value:
                url = value if "://" in value else f"http://{value}"  # as curl reads it
                try:
                    return _parse(url, variable)
                except ValueError as error:
                    hint = "Correct it, unset it, or name the host in NO_PROXY."
                    raise SetupError("bad_proxy", f"{variable}: {error}", hint) from error
    return None


def _parse(value: object, named_by: str) -> Proxy:
    parts = split_url(value)
    # GNOME and Clash write socks://, and mean version 5 with names resolved at the proxy.
    scheme = "socks5h" if parts.scheme == "socks" else parts.scheme
    if scheme not in _SCHEMES:
        schemes = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ValueError(f"{parts.scheme}:// is not one of {schemes}")
    url = parts._replace(scheme=scheme).geturl()
    port = parts.port or (default_port(scheme) if scheme != "http" else 80)
    return Proxy(scheme, parts.hostname or "", port, Secret(url), named_by, "@" in url)


def _is_ruled_out(endpoint: Endpoint, environ: Mapping[str, str]) -> bool:
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_covers(entry, endpoint) for entry in listed.replace(",", " ").lower().split())


def _covers(entry: str, endpoint: Endpoint) -> bool:
    """Whether an entry of NO_PROXY means the endpoint: `*`, a name and all below it, an address,
    a network; each also with a port."""
    if entry == "*":
        return True
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        if int(port) != endpoint.port:
            return False
        entry = name
    entry = entry.replace("[", "").replace("]", "").lstrip("*").strip(".")
    host = endpoint.hostname.rstrip(".")
    if entry and (host == entry or host.endswith(f".{entry}")):
        return True
    return ("/" in entry or ":" in entry) and _is_in_network(host, entry)


def _is_in_network(host: str, network: str) -> bool:
    import ipaddress  # only where a network is listed

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
