"""What to try, said with the settings that a request was made with. Pure.

What a server's error means, `wire.api_errors` knows; where it was asked and who named the key,
the settings know.
"""

from collections.abc import Mapping
from typing import Any

from pipechat.errors import PipechatError, RefusedError
from pipechat.settings.key import KEY_BESIDE_URL
from pipechat.settings.resolve import OF_FIELD, TOKEN_FIELDS, Settings
from pipechat.text import redacted

# What a base URL ends in where all of an address was copied.
_PATHS = ("/chat/completions", "/responses", "/models")
_NOTHING: Mapping[str, Any] = {}
# Fields that settings know by another name: the API's own one comes first.
_ALSO = (("reasoning", "reasoning_effort"), ("max_output_tokens", *TOKEN_FIELDS))
_URL = "--base-url"


def advise(
    error: PipechatError,
    settings: Settings,
    path: str,
    body: Mapping[str, Any] = _NOTHING,
    other: str = "the item",
) -> None:
    """Let `error` say who named the key, or a field of the request, that is refused, and where it
    was that nothing is.

    Args:
        path: of the request, below the base URL.
        body: of the request.
        other: who named its model where that is not the one of `settings`.
    """
    advise_of_key(error, settings)
    error.hint = error.hint.replace("Check the base URL", f"Check {_base_url(settings)}")
    if (origin := settings.origins.get("base_url", _URL)) != _URL:
        error.hint = error.hint.replace(_URL, f"the base URL ({origin})")
    if isinstance(error, RefusedError) and error.asked_for:
        _advise_of_fields(error, settings, body)
    if error.code == "not_found" and not settings.offline:
        url = redacted(settings.endpoint.url, settings.secrets).rstrip("/")
        error.message += f" (asked: {url}{path})"
        of_api = next((each for each in (path, *_PATHS) if url.endswith(each)), "")
        if of_api:
            error.hint = f"Leave {of_api} out of the base URL."
        elif not settings.endpoint.path and "model" not in error.message.lower():
            lacking = "/openai/v1" if settings.endpoint.is_azure else "/v1"
            error.hint = f"Does the base URL lack {lacking}, as in {url}{lacking}?"
        else:
            error.hint = (
                f"Check the model ({_who_named_model(settings, body, other)}) and the base URL."
            )


def _base_url(settings: Settings) -> str:
    origin = settings.origins.get("base_url")
    return f"the base URL ({origin})" if origin else "the base URL"


def _who_named_model(settings: Settings, body: Mapping[str, Any], other: str) -> str:
    """Who gave the name, or the option that gives another where nobody did."""
    is_other = body.get("model", settings.model) != settings.model
    return other if is_other else settings.origins.get("model", "-m")


def _advise_of_fields(error: RefusedError, settings: Settings, body: Mapping[str, Any]) -> None:
    told = [f"{name} comes from {_who_set(name, settings, body)}" for name in error.asked_for]
    error.message += f" ({', '.join(told)})"
    error.hint = error.hint or "Leave it out, or give another value."


def _who_set(name: str, settings: Settings, body: Mapping[str, Any]) -> str:
    """Who gave a field of the request: a setting, or the item itself."""
    said = body[name]
    values = (said, said.get("effort")) if isinstance(said, Mapping) else (said,)
    for each in next((also for also in _ALSO if name in also), (name,)):
        if each in settings.options and settings.options[each] in values:
            return settings.origins[OF_FIELD + each]
    of_stream = ("batch_stream", "stream") if name == "stream" else ()
    found = (settings.origins[each] for each in of_stream if each in settings.origins)
    return next(found, "the item")


def advise_of_key(error: PipechatError, settings: Settings) -> None:
    """Let `error` say who named the key, where that is what is refused."""
    if error.code not in ("unauthorized", "forbidden"):
        return
    if origin := settings.origins["api_key"]:
        error.hint = f"Check the key ({origin}) and the base URL."
    elif settings.key_withheld:
        error.hint = f"No key was sent: {settings.key_withheld}. {KEY_BESIDE_URL}"
    elif not settings.only_replays:
        name = "AZURE_OPENAI_API_KEY" if settings.endpoint.is_azure else "OPENAI_API_KEY"
        error.hint = f"No key was sent: set {name}, or check the base URL."
