"""What goes out beside the key and must be shown and kept nowhere, in each form that a server or
a proxy could say it back. Pure: the one list of secrets is made here, `Settings.secrets`."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pipechat.settings.endpoint import Endpoint, read_endpoint
from pipechat.settings.headers import Header

# The variables that hold keys.
KEYS = ("OPENAI_API_KEY", "PIPECHAT_API_KEY", "AZURE_OPENAI_API_KEY")


class Secret:
    """A text that is shown nowhere by accident: only `reveal` gives it. An empty one is false."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for whoever sends it, or takes it out of what is shown."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"  # which `str` and `format` say as well

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def secrets_beside_the_key(
    endpoint: Endpoint, proxy_url: Secret | None, environ: Mapping[str, str]
) -> tuple[Secret, ...]:
    """The other keys of the environment, the values of OPENAI_CUSTOM_HEADERS, of the endpoint's
    query, and the proxy's login; the longest first, since a short one may be a part of another."""
    found = {environ.get(name, "") for name in KEYS}
    for line in environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n"):
        found.update(_value_forms(line.partition(":")[2]))
    for value in endpoint.query_secrets:
        found |= {value, quote(value, safe=""), quote_plus(value), quote(value)}
    if proxy_url is not None:
        found.update(_login_forms(proxy_url.reveal()))
    return tuple(map(Secret, _longest_first(found)))


def secrets_of_headers(headers: Iterable[Header]) -> tuple[str, ...]:
    """The values of headers, once they are settled; with quotes also as JSON has them."""
    found = {form for each in headers for form in _value_forms(each.value)}
    found |= {form.replace("\\", "\\\\").replace('"', '\\"') for form in found}
    return _longest_first(found)


def _longest_first(found: set[str]) -> tuple[str, ...]:
    return tuple(sorted(found - {""}, key=lambda secret: (-len(secret), secret)))


def account_may_go_to(endpoint: Endpoint, environ: Mapping[str, str]) -> bool:
    """Whether the account that OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS name
    may be told to `endpoint`: as a key, to that of OPENAI_BASE_URL, else to the vendor's."""
    named = environ.get("OPENAI_BASE_URL")
    try:
        return read_endpoint(named).is_at(endpoint) if named else endpoint.is_vendor
    except ValueError:  # a stronger source names the endpoint
        return False


def header_names(headers: str) -> list[str]:
    """The names in OPENAI_CUSTOM_HEADERS, a `NAME: VALUE` a line."""
    return [line.partition(":")[0].strip() for line in headers.split("\n") if ":" in line]


def _value_forms(value: str) -> Iterator[str]:
    """A header's value, of `Bearer TOKEN` the token alone, and of `Basic LOGIN` what it says."""
    value = value.strip()
    scheme, _, token = value.rpartition(" ")
    yield from (value, token)
    if scheme.strip().lower() != "basic":
        return
    from base64 import b64decode

    token = token.rstrip("=")
    yield token  # without the padding, which an echo may leave out
    try:
        login = b64decode(token + "=" * (-len(token) % 4)).decode("utf-8", "replace")
    except ValueError:  # it is none
        return
    user, _, password = login.partition(":")
    yield login
    yield from _password_forms(password or user, login)


def _login_forms(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.username is None:
        return
    from base64 import b64encode  # only where a proxy wants a login

    user, password = parts.username, parts.password or ""
    plain = f"{unquote(user)}:{unquote(password)}"
    # RFC 7617; without the padding, which an echo may leave out.
    yield b64encode(plain.encode()).decode().rstrip("=")
    # A token may stand alone, as the user.
    yield from _password_forms(password or user, f"{user}:{password}")


def _password_forms(*secrets: str) -> Iterator[str]:
    for secret in secrets:
        yield from (secret, unquote(secret), quote(unquote(secret), safe=""))
