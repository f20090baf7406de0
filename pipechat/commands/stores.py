"""The session store of this user, and where a turn is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipechat.environment import Environment
from pipechat.settings.config import find_folders

if TYPE_CHECKING:
    from pipechat.store.sessions import SessionStore
    from pipechat.turn.conversation import IfBusy, Keeper


def open_store(env: Environment) -> SessionStore:
    """The session store of this user."""
    from pipechat.store.sessions import SessionStore

    return SessionStore(find_folders(env.environ).sessions, env.warn)


def open_keeper(
    env: Environment,
    session: str | None,
    if_busy: IfBusy | None = None,
    wait_s: float | None = None,
) -> Keeper:
    """Where turns are kept: in `session`, or without one in memory.

    Raises:
        UsageError: `bad_session_name`.
    """
    from pipechat.turn.conversation import InMemory

    if session is None:
        return InMemory()
    from pipechat.store.keeper import InSession

    store = open_store(env)
    store.path(session)  # a bad name is told before anything else is tried
    return InSession(store, session, if_busy, wait_s)
