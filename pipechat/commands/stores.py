"""The session store of this user, and where a turn is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipechat.environment import Environment
from pipechat.errors import SessionError, UsageError
from pipechat.settings.config import find_folders

if TYPE_CHECKING:
    from pipechat.settings.resolve import Settings
    from pipechat.store.keeper import InSession
    from pipechat.store.sessions import SessionStore
    from pipechat.turn.conversation import IfBusy
    from pipechat.turn.in_memory import InMemory


def open_store(env: Environment) -> SessionStore:
    """The session store of this user."""
    from pipechat.store.sessions import SessionStore

    def on_busy(waiting: str) -> None:
        if env.has_live_line:
            from pipechat.commands.waiting import tell_busy

            tell_busy(env, waiting)

    return SessionStore(find_folders(env.environ).sessions, env.warn, on_busy)


def open_keeper(
    env: Environment,
    session: str | None,
    if_busy: IfBusy | None = None,
    wait_s: float | None = None,
) -> InMemory | InSession:
    """Where turns are kept: in `session`, or without one in memory.

    Raises:
        UsageError: `bad_session_name`.
    """
    from pipechat.turn.in_memory import InMemory

    if session is None:
        return InMemory()
    from pipechat.store.keeper import InSession

    store = open_store(env)
    store.path(session)  # a bad name is told before anything else is tried
    return InSession(store, session, if_busy, wait_s)


def in_session_that_is(env: Environment, settings: Settings) -> Settings:
    """The settings with the session that --continue means; one that --existing asks for is there.

    Raises:
        UsageError: `bad_option`: --continue beside --session; `bad_session_name`.
        SessionError: `session_missing`.
    """
    store, name = open_store(env), settings.session
    if settings.continue_last:
        if settings.origins.get("session") == "--session":
            message = "--continue goes on with the session used last, and --session names one"
            raise UsageError("bad_option", message, "Leave one of them out.")
        name = store.last_used()
        if name is None:
            hint = "--session NAME begins one."
            raise SessionError("session_missing", "there is no session to continue", hint)
    elif name is not None and not store.exists(name):
        from pipechat.store.faults import missing

        raise missing(name, store.path(name))
    return settings._replace(session=name)
