"""The checks of `pipechat doctor`, one after the other, each told as soon as it was made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pipechat import __version__
from pipechat.client.advice import advise
from pipechat.client.model_list import PATH, list_models
from pipechat.client.trust import context_for_tls
from pipechat.commands.accounts import open_accounts
from pipechat.commands.calling import make_calls
from pipechat.commands.loading import load_settings
from pipechat.commands.versions import installed
from pipechat.commands.wiring import guard_against_signals, make_client, with_key
from pipechat.doctor import judging
from pipechat.doctor.finding import Finding, failed
from pipechat.doctor.folder import look_at, look_at_ledger
from pipechat.doctor.judging_folder import judge_folder, judge_ledger
from pipechat.doctor.network import Peer, look_at_way
from pipechat.doctor.time_left import TimeLeft
from pipechat.environment import Environment
from pipechat.errors import PipechatError, SessionError, SetupError
from pipechat.events import Event
from pipechat.settings.config import find_folders
from pipechat.settings.endpoint import Endpoint
from pipechat.settings.proxy import Proxy
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Conversation
from pipechat.turn.in_memory import InMemory
from pipechat.turn.prompt import Question

_SETTINGS_S = 3.0
_KEY_S = 3.0
_LIST_S = 4.0
_ASK_S = 60.0
_FOLDER_S = 1.5
_QUESTION = "Say OK."


class Checks:
    """All of them.

    Args:
        found: is told of each finding, which holds no secret.
        asks: whether a question is asked.
    """

    def __init__(
        self,
        env: Environment,
        given: Mapping[str, Any],
        found: Callable[[Finding], None],
        time_left: TimeLeft,
        *,
        asks: bool,
    ) -> None:
        self._env = env
        self._given = given
        self._tell = found
        self._time_left = time_left
        self._for_network = time_left.less(_FOLDER_S)
        self._asks = asks
        self._secrets: tuple[str, ...] = ()

    def run(self) -> None:
        """Make them all. Raises UsageError where the command line is wrong."""
        settings = self._settings()
        if settings is not None:
            self._secrets = settings.secrets
            self._endpoint(settings)
        self._folder()
        self._found(Finding("versions", "ok", ", ".join([f"pipechat {__version__}", *installed()])))

    def _found(self, finding: Finding) -> None:
        self._tell(finding.without(self._secrets))

    def _settings(self) -> Settings | None:
        try:
            settings = load_settings(self._env, self._given, "doctor", _SETTINGS_S)
            path = find_folders(self._env.environ).config_file
        except (SetupError, SessionError) as error:
            self._found(failed("settings", error))
            return None
        there = path if os.path.exists(path) else f"{path} is not there, and need not be"
        self._found(Finding("settings", "ok", there))
        return settings

    def _endpoint(self, settings: Settings) -> None:
        for name in ("offline", "replay"):
            if getattr(settings, name):
                message = f"{settings.origins[name]}: no server is looked at"
                self._found(Finding("endpoint", "warn", message, "Unset it to look at one."))
                return
        keyed = self._key(settings)
        proxy = settings.proxy
        self._found(
            Finding("proxy", "ok", f"{proxy.shown}, from {proxy.named_by}" if proxy else "none")
        )
        peer = _first_peer(settings, self._env.environ)
        way = look_at_way(peer, self._env.environ, self._for_network, self._found)
        if way and keyed is not None:
            self._ask_endpoint(keyed)

    def _key(self, settings: Settings) -> Settings | None:
        """The settings with the key; None where it cannot be had, or cannot be one."""
        limited = settings._replace(timeout_s=self._for_network.seconds(_KEY_S))
        try:
            keyed = with_key(self._env, limited)
        except SetupError as error:
            self._found(failed("key", error))
            return None
        self._secrets = keyed.secrets
        said = f"none, and {settings.host} is asked without one"
        if keyed.api_key:
            said = f"set, from {settings.origins['api_key']}"
        elif settings.origins["api_key"]:
            said = f"a header's, from {settings.origins['api_key']}"
        elif settings.key_withheld:
            said = f"none for {settings.host}: {settings.key_withheld}"
        self._found(Finding("key", "ok", said))
        return keyed

    def _ask_endpoint(self, settings: Settings) -> None:
        seconds = self._for_network.seconds(_LIST_S)
        settings = settings._replace(
            timeout_s=seconds, idle_timeout_s=seconds, retries=0, record=None
        )
        ends_at = time.monotonic() + seconds

        def advise_of_list(error: PipechatError) -> None:
            advise(error, settings, PATH)

        models: list[str] | None = None
        refusal: PipechatError | None = None
        calls = None
        try:
            calls = make_calls(self._env, settings, ends_at, advise_of_list)
            models = [each.id for each in list_models(calls)]
        except PipechatError as error:
            refusal = error
        asked = self._ask(settings) if self._asks else None
        answered = None if asked is None else asked.verdict == "ok"
        self._found(judging.listing(settings.host, models, refusal, answered=answered))
        if models is not None:
            origin = settings.origins.get("model", "")
            self._found(judging.model(settings.model, origin, models, answered=answered))
        if asked is not None:
            self._found(asked)
        if calls is not None and calls.headers:
            self._found(judging.clock(calls.headers.get("date"), calls.came_at))

    def _ask(self, settings: Settings) -> Finding:
        """How one question is answered, in the time that is left."""
        limit = self._for_network.seconds(_ASK_S)
        env = self._env
        try:
            settings = settings._replace(timeout_s=max(limit, 0.1), fallback=())
            accounts = open_accounts(env, settings)
            client = make_client(env, settings, accounts=accounts)
            conversation = Conversation(
                settings,
                InMemory(),
                client,
                lambda run, _answer: guard_against_signals(env, run),
                keeping=accounts.keeping if accounts is not None else None,
            )
            terminal, cause = conversation.ask(Question(_QUESTION), _Nowhere())
        except PipechatError as error:
            return failed("ask", error)
        if cause is not None:
            return failed("ask", cause)
        return Finding("ask", "ok", f"{settings.model} answered in {terminal.total_s:.1f} s")

    def _folder(self) -> None:
        try:
            folders = find_folders(self._env.environ)
            path = folders.sessions
            facts, ledger = self._time_left.bounded(
                lambda: (look_at(path), look_at_ledger(folders.ledger)), _FOLDER_S
            )
        except TimeoutError:
            message = f"{path} could not be looked at in time"
            self._found(Finding("folder", "fail", message, "Is it on a dead network mount?"))
        except PipechatError as error:
            self._found(failed("folder", error))
        else:
            for finding in judge_folder(facts):
                self._found(finding)
            for finding in judge_ledger(ledger) if ledger.nearest != facts.nearest else ():
                self._found(finding)


class _Nowhere:
    """A sink for an answer that nobody wants to read."""

    def emit(self, *events: Event) -> None:
        """That it came is enough."""


def _first_peer(settings: Settings, environ: Mapping[str, str]) -> Peer:
    """Who is connected to: a proxy, else the endpoint."""
    first: Proxy | Endpoint = settings.proxy or settings.endpoint
    told = f"the proxy {settings.proxy.shown}" if settings.proxy else settings.host
    tls = partial(context_for_tls, settings, environ) if first.scheme == "https" else None
    socket = "" if settings.proxy else settings.endpoint.socket
    return Peer(first.hostname, first.port, told, tls, socket)
