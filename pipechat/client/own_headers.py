"""Which headers go out beside what the SDK writes by itself: who asks, and what a gateway wants."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pipechat.errors import SetupError
from pipechat.settings.headers import check_lines
from pipechat.settings.key import check_key
from pipechat.settings.resolve import Settings
from pipechat.settings.secrets import header_names

_ACCOUNT_HEADERS = ("OpenAI-Organization", "OpenAI-Project")
_CUSTOM = "OPENAI_CUSTOM_HEADERS"


def headers_of_ours(
    settings: Settings, environ: Mapping[str, str], openai: ModuleType
) -> dict[str, Any]:
    """The headers of each request that differ from what the SDK would send by itself."""
    # What is encoded may be large beyond measure once it is decoded.
    headers: dict[str, Any] = {"Accept-Encoding": "identity"}
    if not settings.tells_account:
        custom = header_names(environ.get(_CUSTOM, ""))
        headers |= dict.fromkeys((*_ACCOUNT_HEADERS, *custom), openai.Omit())
    if not settings.api_key or settings.auth == "api-key":
        headers["Authorization"] = openai.Omit()
    elif not settings.tells_account:
        headers["Authorization"] = f"Bearer {settings.api_key.reveal()}"
    return headers


def own_headers(settings: Settings) -> dict[str, str]:
    """The headers of each request that the SDK knows nothing of, which stand in place of any
    other of their names."""
    given = {header.name: header.value for header in settings.headers}
    if settings.api_key and settings.auth == "api-key":
        given["api-key"] = settings.api_key.reveal()
    return given


def check_account(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises SetupError where a header that the SDK makes of a variable cannot be one."""
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        check_key(environ.get(name, ""), name)
    if settings.tells_account:
        try:
            check_lines(environ.get(_CUSTOM, ""))
        except ValueError as error:
            raise SetupError("bad_config", f"{_CUSTOM}: {error}") from error
