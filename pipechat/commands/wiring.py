"""What several commands put together alike: the key, the client, signals, the last words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import TYPE_CHECKING

from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import (
    Interrupted,
    OutputError,
    ReaderLeft,
    SetupError,
)
from pipechat.settings.config import find_cache
from pipechat.settings.key import (
    KEY_BESIDE_URL,
    check_key,
    check_key_is_safe,
    run_key_command,
)
from pipechat.settings.resolve import Settings
from pipechat.settings.secrets import Secret
from pipechat.signals import TurnSignals
from pipechat.turn.run import TurnRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipechat.client.ahead import ConnectionAhead
    from pipechat.client.async_exchange import AsyncSender
    from pipechat.client.chat_client import ChatClient
    from pipechat.client.exchange import Sender
    from pipechat.ledger.account import Accounts
    from pipechat.settings.learned_api import LearnedApi

# How long the last words of a process that a signal ends may wait for a reader.
_LAST_WORDS_S = 0.5


def with_key(env: Environment, settings: Settings, spent_s: float = 0.0) -> Settings:
    """`settings` with the key found and checked.

    Args:
        spent_s: what of --timeout is gone already, in seconds.

    Raises:
        SetupError: no key, a key that cannot be one, or one that would go out in the clear.
    """
    if settings.api_key_command and not settings.only_replays:
        left = None if settings.timeout_s is None else max(settings.timeout_s - spent_s, 0.0)
        said = Secret(run_key_command(settings.api_key_command, left, env.waits))
        settings = settings._replace(api_key=said)
    env.stderr.hide(*settings.secrets)
    if settings.api_key and not settings.offline:
        if not settings.only_replays:
            check_key(settings.api_key.reveal(), settings.origins["api_key"])
    elif settings.needs_key:
        if settings.key_withheld:
            message = f"there is no key for {settings.host}: {settings.key_withheld}"
            lacks_url = "base_url" not in settings.origins  # so it is Azure's that stands alone
            hint = "Set AZURE_OPENAI_ENDPOINT, or --base-url." if lacks_url else KEY_BESIDE_URL
            raise SetupError("no_key", message, hint)
        raise SetupError(
            "no_key",
            "there is no API key",
            "Set OPENAI_API_KEY, or api_key_command in config.toml; "
            "use --base-url for a local server; `ask --offline` tries without one.",
        )
    check_key_is_safe(settings)
    if env.verbose and not (settings.offline or settings.only_replays):
        known_by = _known_by(settings)
        env.stderr.note(f"asking {settings.host} for {settings.model}, with {known_by}")
    if settings.offline and not settings.only_replays:
        env.warn("offline: no model is asked")
    return settings


def _known_by(settings: Settings) -> str:
    """By what the endpoint knows who asks: whose key it is, or the header in its place."""
    origin = settings.origins["api_key"]
    if settings.api_key and origin:
        return f"the key of {origin}"
    for header in settings.headers:
        if header.name.lower() in ("authorization", settings.auth):
            return f"the {header.name} header of {header.origin}"
    return f"no key ({settings.key_withheld})" if settings.key_withheld else "no key"


def make_client(
    env: Environment,
    settings: Settings,
    spent_s: float = 0.0,
    accounts: Accounts | None = None,
    ahead: ConnectionAhead | None = None,
) -> ChatClient:
    """The client of one turn, or of one after the other. `spent_s`, and what is raised: as
    `with_key`. `ahead`: connects while the client is made, for a request that follows at once."""
    began = time.monotonic()
    settings = with_key(env, settings, spent_s)
    spent_s += time.monotonic() - began
    sender = _make_sender(env, settings, ahead)
    client = _client_of(env, settings, sender, spent_s, accounts)
    if settings.fallback:
        from pipechat.commands.fallbacks import alternatives_of

        def make(other: Settings, shared: Sender | None, spent_s: float) -> ChatClient:
            if shared is None:
                other = with_key(env, other, spent_s)
            return _client_of(env, other, shared or _make_sender(env, other), 0.0, accounts)

        client.alternatives = alternatives_of(env, settings, sender, make)
    return client


def _client_of(
    env: Environment,
    settings: Settings,
    sender: Sender,
    spent_s: float,
    accounts: Accounts | None,
) -> ChatClient:
    from pipechat.client.chat_client import ChatClient

    def tell(what: str) -> None:
        if env.verbose:
            env.stderr.note(what)

    def heard(model: str, headers: Mapping[str, str]) -> None:
        if settings.replay or settings.offline or env.quiet:
            return
        asked = settings._replace(model=model)  # /model may have changed it
        listed = _listed_end(env, asked)
        if listed or "deprecation" in headers or "sunset" in headers:
            from pipechat.commands.deprecation import warn_of_end

            warn_of_end(env, asked, headers, listed, cache_of(env))

    memory = learned_api(env, settings)
    client = ChatClient(settings, sender, env.waits, spent_s, tell, memory, heard)
    client.accounts = accounts
    return client


def learned_api(env: Environment, settings: Settings) -> Callable[[str], LearnedApi] | None:
    """What was found of the endpoint before, for a model; nothing where no server is asked."""
    # A recording has all of what a replay needs, elsewhere and later: how it was learned too.
    if settings.offline or settings.replay or settings.record:
        return None
    from pipechat.settings.learned_api import LearnedApi

    folder = cache_of(env)
    return partial(LearnedApi, folder, settings.endpoint.url) if folder else None


def cache_of(env: Environment) -> str | None:
    """The folder of what was learned; None for who has no home, and learns nothing."""
    try:
        return find_cache(env.environ)
    except SetupError:
        return None


def _listed_end(env: Environment, settings: Settings) -> str | None:
    """The day on which the model is gone, where the endpoint's list told."""
    from pipechat.settings.cached_note import ListedEnds

    folder = cache_of(env)
    return ListedEnds(folder, settings.endpoint.url).of(settings.model) if folder else None


def make_async_sender(env: Environment, settings: Settings, *, rarely: bool = False) -> AsyncSender:
    """Who carries many requests at once, on the event loop that runs. `rarely`: as of
    `network_sender`."""
    if settings.offline or settings.record or settings.replay:
        from pipechat.client.async_exchange import ThreadedSender

        return ThreadedSender(_make_sender(env, settings))
    from pipechat.client.async_senders import network_sender

    return network_sender(settings, env.environ, settings.jobs, rarely=rarely)


def _make_sender(
    env: Environment, settings: Settings, ahead: ConnectionAhead | None = None
) -> Sender:
    if settings.record is None and settings.replay is None:
        return _real_sender(env, settings, ahead)
    from pipechat.commands.recordings import recorded_and_replayed

    # Whether anything is sent is known when it is asked for.
    return recorded_and_replayed(env, settings, lambda: _real_sender(env, settings, None))


def _real_sender(env: Environment, settings: Settings, ahead: ConnectionAhead | None) -> Sender:
    if settings.offline:
        from pipechat.client.offline import OfflineSender

        return OfflineSender()
    from pipechat.client.lazy_openai import load_openai
    from pipechat.client.sdk_sender import SdkSender

    if ahead is not None:
        ahead.begin(settings, env.environ)
    return SdkSender(settings, env.environ, load_openai(env.environ), ahead)


def guard_against_signals(env: Environment, run: TurnRun) -> AbstractContextManager[object]:
    """Until it is left, SIGINT, SIGTERM and SIGHUP end `run`, keep it, and kill the process."""
    return TurnSignals(env.waits, lambda cause: end_by_signal(env, run, cause))


def end_by_signal(env: Environment, run: TurnRun, cause: Interrupted) -> None:
    """Keep what came of `run`, and say so in time: the process is about to die."""
    env.stdout.hurry(_LAST_WORDS_S)
    env.stderr.output.hurry(_LAST_WORDS_S)
    if not run.concluding:
        run.interrupt(cause)
        report(env, cause)
        return
    # The turn is kept, and its last event waits for a reader.
    with suppress(OutputError, ReaderLeft):
        env.stdout.write(b"")
