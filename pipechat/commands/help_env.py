"""The page that --help-env shows: the name of each option in the environment and config.toml."""

from __future__ import annotations

from collections.abc import Iterator

from pipechat.commands.columns import entry, table, wrapped
from pipechat.settings.table import OPTIONS, Option, taken_by

_HEADING = ("option", "variable", "config.toml")
OTHERS = (
    ("OPENAI_API_KEY", "The key; in config.toml api_key, or api_key_command."),
    ("OPENAI_BASE_URL", "The endpoint, as --base-url; the key of its own goes there alone."),
    ("AZURE_OPENAI_ENDPOINT", "The endpoint of an Azure resource, where no other is named."),
    ("AZURE_OPENAI_API_KEY", "The key of that endpoint, or of any at Azure, and of no other."),
    ("PIPECHAT_API_KEY", "The same as OPENAI_API_KEY, but stronger, and for pipechat alone."),
    ("PIPECHAT_HOME", "The folder of config.toml and of the sessions."),
    ("HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY", "Proxies, where there is no --proxy."),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE",
        "Whom to trust, the first that is set, where there is no --cacert.",
    ),
    ("NO_COLOR", "No colors."),
    ("PIPECHAT_PAGER, PAGER", "The pager of `history list`, `show` and `search`; empty: none."),
    ("PIPECHAT_PYTHON", "The Python that scripts/pipechat installs with."),
    ("PIPECHAT_PLAIN_IMPORT", "1: import the openai package as it is."),
)


def page_of_variables(path: str, width: int) -> str:
    """The page of a command, or of `pipechat` for all."""
    command = path.partition(" ")[2]
    return "\n".join(_page(path, taken_by(command) if command else list(OPTIONS), width))


def _page(path: str, options: list[Option], width: int) -> Iterator[str]:
    rows = [(_flag(each), each.variable or "-", _in_file(each)) for each in options]
    yield from table([_HEADING, *dict.fromkeys(rows)], width)
    yield "\nOther variables:"
    for name, what in OTHERS:
        yield from entry(name, what, width)
    yield ""
    yield from wrapped(
        "Strength: option, PIPECHAT_*, OPENAI_*, AZURE_OPENAI_*, profile, config.toml, default. "
        "A switch is on with 1, true, yes or on.",
        width,
    )
    if path == "pipechat":
        yield from wrapped("One command alone: pipechat COMMAND --help-env.", width)


def _flag(option: Option) -> str:
    return option.flags[0] if option.flags else "(no option)"


def _in_file(option: Option) -> str:
    return option.name if option.in_file else "-"
