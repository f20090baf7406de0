"""What an OSError of the store means, in plain words, and the errors that are made of it."""

import errno

from pipechat.errors import SessionError

_WORDS = {
    errno.ENOSPC: ("the disk is full", "Free some space and ask again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and ask again."),
    errno.EFBIG: ("the file may not grow any more", "Look at `ulimit -f`."),
    errno.EROFS: ("the file system is read-only", "Set PIPECHAT_HOME to a folder elsewhere."),
    errno.EACCES: ("permission denied", "Look at the owner and the mode of the folder."),
    errno.EPERM: ("it is not permitted", "Look at the owner and the mode of the folder."),
    errno.ELOOP: ("it is a symbolic link", "Put the file itself in its place."),
    errno.EMLINK: ("it is a symbolic link", "Put the file itself in its place."),
    errno.EISDIR: ("it is a folder", "Move it away."),
    errno.ENXIO: ("it is not a regular file", "Move it away."),
    errno.ENOTDIR: ("what should be its folder is a file", "Set PIPECHAT_HOME to a folder."),
    errno.ENOLCK: ("the file system has no locks", "Keep sessions on a local disk."),
    errno.ENOTSUP: ("the file system has no locks", "Keep sessions on a local disk."),
    errno.EMFILE: ("too many files are open", "Look at `ulimit -n`."),
    errno.EIO: ("the disk failed to read or write", "Look at the disk."),
}


def words_for(error: OSError) -> tuple[str, str]:
    """What `error` means and what to try, in plain words."""
    fallback = (
        error.strerror or str(error),
        "Look at the folder of the sessions (`pipechat history path`).",
    )
    return _WORDS.get(error.errno or 0, fallback)


def missing(name: str) -> SessionError:
    hint = "`pipechat history list` shows what there is."
    return SessionError("session_missing", f"there is no session {name!r}", hint)


def busy(name: str) -> SessionError:
    """Another program holds the session's lock."""
    message = f"session {name!r}: another program holds its lock"
    hint = "Try again when it has let go; `fuser` on the file names it."
    return SessionError("session_busy", message, hint, retryable=True)


def unwritable(name: str, error: OSError) -> SessionError:
    if isinstance(error, BlockingIOError):
        return busy(name)
    what, hint = words_for(error)
    return SessionError("session_unwritable", f"session {name!r}: {what}", hint)


def unreadable(name: str, error: OSError) -> SessionError:
    if isinstance(error, BlockingIOError):
        return busy(name)
    what, hint = words_for(error)
    return SessionError("session_unreadable", f"session {name!r}: {what}", hint)
