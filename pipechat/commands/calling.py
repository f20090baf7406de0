"""Calls to the endpoint that are no questions, put together: batches at the provider, models."""

from __future__ import annotations

from collections.abc import Callable

from pipechat.client.api_calls import ApiCalls
from pipechat.environment import Environment
from pipechat.errors import PipechatError, UsageError
from pipechat.settings.resolve import Settings


def make_calls(
    env: Environment,
    settings: Settings,
    ends_at: float | None,
    advise: Callable[[PipechatError], None],
) -> ApiCalls:
    """Who makes the calls, with `settings` whose key is found. `ends_at`, `advise`: as ApiCalls.

    Raises:
        SetupError
    """
    from pipechat.client.lazy_openai import load_openai
    from pipechat.client.sdk_sender import SdkSender

    # What is large takes long: no single wait for the server is longer than this.
    each = settings._replace(timeout_s=settings.idle_timeout_s)
    return ApiCalls(
        SdkSender(each, env.environ, load_openai(env.environ)),
        host=settings.host,
        secrets=settings.secrets,
        ends_at=ends_at,
        waits=env.waits,
        advise=advise,
    )


def check_online(settings: Settings, what: str) -> None:
    """Raises UsageError where no server is to be asked; `what` needs one, in the message."""
    for name in ("offline", "record", "replay"):
        if getattr(settings, name):
            raise UsageError("bad_option", f"{settings.origins[name]}: {what}", "Leave it out.")
