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
    PipechatError,
    ReaderLeft,
    SetupError,
)
from pipechat.events import Error, Event, Retry, Sink, TerminalEvent
from pipechat.settings.config import find_cache
from pipechat.settings.key import check_key, check_key_is_safe, run_key_command
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
        said = Secret(run_key_command(settings.api_key_command, left))
        settings = settings._replace(api_key=said)
    env.stderr.hide(*settings.secrets)
    if settings.api_key and not settings.offline:
        if not settings.only_replays:
            check_key(settings.api_key.reveal(), settings.origins["api_key"])
    elif settings.needs_key:
        if env.environ.get("AZURE_OPENAI_API_KEY"):
            message = f"AZURE_OPENAI_API_KEY is no key of {settings.host}"
            raise SetupError("no_key", message, "Set AZURE_OPENAI_ENDPOINT, or --base-url.")
        raise SetupError(
            "no_key",
            "there is no API key",
            "Set OPENAI_API_KEY, or api_key_command in config.toml; "
            "use --base-url for a local server, or --offline to try without one.",
        )
    check_key_is_safe(settings)
    if env.verbose and not (settings.offline or settings.only_replays):
        origin = settings.origins["api_key"]
        key = f"the key of {origin}" if settings.api_key and origin else "no key"
        env.stderr.note(f"asking {settings.host} for {settings.model}, with {key}")
    if settings.offline and not settings.only_replays:
        env.warn("offline: no model is asked")
    return settings


def make_client(
    env: Environment,
    settings: Settings,
    spent_s: float = 0.0,
    ahead: ConnectionAhead | None = None,
) -> ChatClient:
    """The client of one turn, or of one after the other. `spent_s`, and what is raised: as
    `with_key`. `ahead`: connects while the client is made, for a request that follows at once."""
    began = time.monotonic()
    settings = with_key(env, settings, spent_s)
    spent_s += time.monotonic() - began
    sender = _make_sender(env, settings, ahead)
    client = _client_of(env, settings, sender, spent_s)
    if settings.fallback:
        from pipechat.commands.fallbacks import alternatives_of

        def make(other: Settings, shared: Sender | None) -> ChatClient:
            if shared is None:
                other = with_key(env, other)
            return _client_of(env, other, shared or _make_sender(env, other))

        client.alternatives = alternatives_of(env, settings, sender, make)
    return client


def _client_of(
    env: Environment, settings: Settings, sender: Sender, spent_s: float = 0.0
) -> ChatClient:
    from pipechat.client.chat_client import ChatClient

    def tell(what: str) -> None:
        if env.verbose:
            env.stderr.note(what)

    def heard(headers: Mapping[str, str]) -> None:
        if ("deprecation" in headers or "sunset" in headers) and not settings.replay:
            from pipechat.commands.deprecation import warn_of_end

            warn_of_end(env, settings, headers)

    memory = learned_api(env, settings)
    return ChatClient(settings, sender, env.waits, spent_s, tell, memory, heard)


def learned_api(env: Environment, settings: Settings) -> Callable[[str], LearnedApi] | None:
    """What was found of the endpoint before, for a model; nothing where no server is asked."""
    # A recording has all of what a replay needs, elsewhere and later: how it was learned too.
    if settings.api != "auto" or settings.offline or settings.replay or settings.record:
        return None
    from pipechat.settings.learned_api import LearnedApi

    try:
        folder = find_cache(env.environ)
    except SetupError:  # who has no home learns nothing
        return None
    return partial(LearnedApi, folder, settings.endpoint.url)


def make_async_sender(env: Environment, settings: Settings) -> AsyncSender:
    """Who carries many requests at once, on the event loop that runs."""
    if settings.offline or settings.record or settings.replay:
        from pipechat.client.async_exchange import ThreadedSender

        return ThreadedSender(_make_sender(env, settings))
    from pipechat.client.async_senders import network_sender

    return network_sender(settings, env.environ, settings.jobs)


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
    env.stderr.hurry(_LAST_WORDS_S)
    if not run.concluding:
        run.interrupt(cause)
        report(env, cause)
        return
    # The turn is kept, and its last event waits for a reader.
    with suppress(OutputError, ReaderLeft):
        env.stdout.write(b"")


class TellingSink:
    """Tells on stderr, with -v, of each retry as it happens; all goes on to the sink."""

    def __init__(self, env: Environment, sink: Sink) -> None:
        self._env = env
        self._sink = sink

    def emit(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, Retry):
                self._env.stderr.note(
                    f"{event.code}: trying again in {event.wait_s:g} s (retry {event.attempt})"
                )
        self._sink.emit(*events)


def usage_line(terminal: TerminalEvent) -> str:
    """`usage: 12 prompt + 34 completion = 46 tokens; first text 0.31 s, total 1.20 s`"""
    usage = terminal.usage
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    prompt, completion, both = (_tokens(usage.get(name)) if usage else "?" for name in names)
    tokens = f"{prompt} prompt + {completion} completion = {both} tokens"
    first, total = terminal.first_token_s, f"total {terminal.total_s:.2f} s"
    times = total if first is None else f"first text {first:.2f} s, {total}"
    return f"usage: {tokens if usage else 'not reported'}; {times}"


def _tokens(count: object) -> str:
    return str(count) if isinstance(count, int) and not isinstance(count, bool) else "?"


def failed_before_start(error: PipechatError) -> Error:
    """The terminal event of a turn that never started."""
    return Error(
        status="failed",
        code=error.code,
        exit_code=int(error.exit_code),
        retryable=error.retryable,
        message=error.message,
        answer="",
        usage=None,
        finish_reason=None,
        first_token_s=None,
        total_s=0.0,
        request_id=None,
    )
