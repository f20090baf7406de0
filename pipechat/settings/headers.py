"""Headers that go out with every request, as they are given: `NAME: VALUE`, or a table. Pure.

Their values are secrets, whatever they are: no message has one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn

from pipechat.errors import SetupError, UsageError

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # a token (RFC 9110 §5.6.2)
_VARIABLE, _FILE = "@env:", "@file:"
_LONGEST = 16 * 1024
# What HTTP or pipechat sets itself; another value would break the request, or make answers lie.
_OWN = (
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type",
    "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
)  # fmt: skip


class Header(NamedTuple):
    """One header. `origin`: who gave it. `value`: until `settled`, it may say where it is."""

    name: str
    value: str
    origin: str

    def __repr__(self) -> str:
        return f"Header({self.name}, from {self.origin})"  # the value is a secret


def read_headers(value: object) -> dict[str, str]:
    """Headers by name: a table, or a list of `NAME: VALUE`. Raises ValueError."""
    if isinstance(value, list):
        pairs = [_pair(each) for each in value]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise ValueError("not a table of headers")
    found: dict[str, str] = {}
    for name, said in pairs:
        _check_name(name)
        if not isinstance(said, str):
            raise ValueError(f"{name}: not a text")
        if name.lower() in map(str.lower, found):
            raise ValueError(f"{name} is said twice")
        _check(name, said)
        found[name] = said.strip(" \t")
    return found


def check_lines(lines: str) -> None:
    """Whether headers, a `NAME: VALUE` a line, can be sent, as the SDK reads them. Raises
    ValueError."""
    for line in lines.split("\n"):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if colon:
            _check_name(name)
        if colon and value:
            _check(name, value)


def stands_for_a_key(value: str) -> bool:
    """Whether a value is the secret itself, and not where it is."""
    return not value.startswith((_VARIABLE, _FILE))


def settled(
    headers: Iterable[Header], environ: Mapping[str, str], read_file: Callable[[str], bytes]
) -> tuple[Header, ...]:
    """The headers with their values, from variables and files where they say so.

    Args:
        read_file: what a file holds; raises OSError.

    Raises:
        UsageError, SetupError: there is none, or it cannot be a header's.
    """
    return tuple(each._replace(value=_settled(each, environ, read_file)) for each in headers)


def _settled(header: Header, environ: Mapping[str, str], read_file: Callable[[str], bytes]) -> str:
    said = header.value
    if stands_for_a_key(said):
        return said
    place = said.partition(":")[2]
    if said.startswith(_VARIABLE):
        if not (value := environ.get(place, "")):
            _complain(header, f"@env:{place}: the variable is not set")
    else:
        try:
            value = read_file(place).decode("utf-8", "replace")
        except OSError as error:
            _complain(header, f"@file:{place}: {error.strerror or error}", error)
    value = value.strip()
    try:
        _check(said, value)
    except ValueError as error:
        _complain(header, str(error), error)
    return value


def _check_name(name: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise ValueError("not the name of a header in front of the colon")
    if name.lower() in _OWN:
        raise ValueError(f"{name}: pipechat sets this itself")


def _check(where: str, value: str) -> None:
    """Printable ASCII goes into a header, in one line."""
    inner = value.strip(" \t")
    if not inner:
        raise ValueError(f"{where}: it has no value")
    if not (inner.isascii() and inner.replace("\t", " ").isprintable()):
        raise ValueError(f"{where}: its value holds what no header has (a newline, an accent)")
    if len(inner) > _LONGEST:
        raise ValueError(f"{where}: its value has more than {_LONGEST} characters")


def _complain(header: Header, what: str, cause: Exception | None = None) -> NoReturn:
    message = f"{header.origin}: {header.name}: {what}"
    if header.origin.startswith(("--", "PIPECHAT_")):
        raise UsageError("bad_option", message) from cause
    raise SetupError("bad_config", message) from cause


def _pair(pair: object) -> tuple[str, str]:
    # Nothing of it is said again: who forgot the colon may have given the secret alone.
    name, colon, value = str(pair).partition(":")
    if not colon:
        raise ValueError("not NAME: VALUE")
    return name.strip(), value
