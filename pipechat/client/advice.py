"""What to try, said with the settings that a request was made with. Pure.

What a server's error means, `wire.api_errors` knows; where it was asked and who named the key,
the settings know.
"""

from pipechat.errors import PipechatError
from pipechat.settings.resolve import Settings
from pipechat.text import redacted


def advise(error: PipechatError, settings: Settings, path: str) -> None:
    """Let `error` say who named the key that is refused, and where it was that nothing is.

    Args:
        path: of the request, below the base URL.
    """
    advise_of_key(error, settings)
    if error.code == "not_found" and not settings.offline:
        url = redacted(settings.endpoint.url, settings.secrets).rstrip("/")
        error.message += f" (asked: {url}{path})"
        if url.endswith(path):
            error.hint = f"Leave {path} out of the base URL."
        elif not settings.endpoint.path and "model" not in error.message.lower():
            lacking = "/openai/v1" if settings.endpoint.is_azure else "/v1"
            error.hint = f"Does the base URL lack {lacking}, as in {url}{lacking}?"
        else:
            error.hint = "Check the model (-m) and the base URL."


def advise_of_key(error: PipechatError, settings: Settings) -> None:
    """Let `error` say who named the key, where that is what is refused."""
    if error.code not in ("unauthorized", "forbidden"):
        return
    if origin := settings.origins["api_key"]:
        error.hint = f"Check the key ({origin}) and the base URL."
    elif not settings.only_replays:
        error.hint = "No key was sent: set OPENAI_API_KEY, or check the base URL."
