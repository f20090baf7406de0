"""--fallback: who else is asked, each with a client of its own. Imported only where it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipechat.client.chat_client import ChatClient
from pipechat.client.exchange import Sender
from pipechat.commands.loading import with_header_values
from pipechat.environment import Environment
from pipechat.errors import PipechatError, SetupError, UsageError
from pipechat.settings.config import find_folders, read_config
from pipechat.settings.fallback import fallback_settings
from pipechat.settings.layers import profiles_of
from pipechat.settings.resolve import Settings

# Where these are the same, one sender sends for both.
_OF_A_SENDER = (
    "endpoint", "api_key", "api_key_command", "auth", "headers", "cacert", "client_cert",
    "client_key", "proxy",
)  # fmt: skip
MakeClient = Callable[[Settings, Sender | None, float], ChatClient]
"""The client of settings whose key is to be found yet; through the sender, or one of its own; so
many seconds of the turn are gone."""


class Alternative(NamedTuple):
    """One of them, as the client's `alternatives` are."""

    name: str
    open: Callable[[PipechatError, float], ChatClient | None]


def alternatives_of(
    env: Environment, settings: Settings, sender: Sender, make_client: MakeClient
) -> list[Alternative]:
    """The alternatives, in their order. `sender` is that of `settings`, whose key is found.

    Raises:
        SetupError: a profile is wrong.
        UsageError: --record, which records one server.
    """
    path = find_folders(env.environ).config_file
    config = read_config(path)
    found = []
    for name in settings.fallback:
        other = fallback_settings(settings, name, env.environ, config, path)
        other = with_header_values(env, other, settings.headers)
        env.stderr.hide(*other.secrets)
        is_there = all(getattr(other, each) == getattr(settings, each) for each in _OF_A_SENDER)
        if settings.record and not is_there:
            message = f"{settings.origins['record']} records one server, and {name} is at another"
            raise UsageError("bad_option", message)
        shared = sender if is_there or settings.replay or settings.offline else None
        what = "profile" if name in profiles_of(config) else "model"
        found.append(_alternative(env, name, f"the {what} {name}", other, shared, make_client))
    return found


def _alternative(
    env: Environment,
    name: str,
    told: str,
    settings: Settings,
    shared: Sender | None,
    make: MakeClient,
) -> Alternative:
    def open_client(error: PipechatError, spent_s: float) -> ChatClient | None:
        # What prints the key may ask for something at the terminal: nothing is told meanwhile.
        tick, env.waits.tick = env.waits.tick, None
        try:
            client = make(settings, shared, spent_s)
        except SetupError as refusal:
            env.warn(f"{told} cannot be asked: {refusal.message}")
            return None
        finally:
            env.waits.tick = tick
        env.warn(f"{error.message.rstrip('.')}; asking {told} instead")
        return client

    return Alternative(name, open_client)
