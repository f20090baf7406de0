"""What may be read: a session by its name, or by its path a file of turns as others wrote it.

Owns what differs for such a file, which is the user's own: nothing is added to it, links are
followed, and its mode is the user's business. Read it is like any session. What writes takes
names alone, and so knows nothing of this.
"""

from contextlib import AbstractContextManager

from pipechat.store.names import is_path
from pipechat.store.opening import open_session
from pipechat.store.reading import Session
from pipechat.store.sessions import SessionStore


def adopt(store: SessionStore, source: str) -> None:
    """Add to a session the turns of processes that died; a file is left as it is.

    Raises:
        UsageError: `bad_session_name`: neither a name nor a path.
    """
    if not is_path(source):
        store.adopt(source)


def reading(
    store: SessionStore, source: str, *, tell_mode: bool = True
) -> AbstractContextManager[Session]:
    """The session or the file, open, named as it was given.

    Args:
        tell_mode: warn where a session is open to others.

    Raises (entering):
        SessionError: `session_missing`, `session_unreadable`, `session_busy`.
    """
    if is_path(source):
        return open_session(source, source, store.warn, follow=True)
    return store.reading(source, tell_mode=tell_mode)
