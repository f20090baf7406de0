"""What an OSError of the store means, in plain words, and the errors that are made of it."""

import errno
import os

from pipechat.errors import SessionError
from pipechat.store.layout import session_of_file
from pipechat.store.names import called, is_name, is_path
from pipechat.text import did_you_mean, nearest

_LOOK = "Look at the folder of the sessions (`pipechat history path`)."
_MODE = "Look at its owner and mode, and its folder's."

NOT_REGULAR = "it is not a regular file"

_WORDS = {
    errno.ENOSPC: ("the disk is full", "Free some space and ask again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and ask again."),
    errno.EFBIG: ("the file may not grow any more", "Look at `ulimit -f`."),
    errno.EROFS: ("the file system is read-only", "Set PIPECHAT_HOME to a folder elsewhere."),
    errno.EACCES: ("permission denied", _MODE),
    errno.EPERM: ("it is not permitted", _MODE),
    errno.ELOOP: ("it is a symbolic link", "Put the file itself in its place."),
    errno.EMLINK: ("it is a symbolic link", "Put the file itself in its place."),
    errno.EISDIR: ("it is a folder", "Move it away."),
    errno.EINVAL: (NOT_REGULAR, "Move it away."),
    errno.ENOENT: ("its folder is gone", _LOOK),
    errno.ENXIO: (NOT_REGULAR, "Move it away."),
    errno.ENOTDIR: (
        "what should be its folder is a file",
        "Move it away, or set PIPECHAT_HOME to a folder.",
    ),
    errno.ENOLCK: ("the file system has no locks", "Keep sessions on a local disk."),
    errno.ENOTSUP: ("the file system has no locks", "Keep sessions on a local disk."),
    errno.EMFILE: ("too many files are open", "Look at `ulimit -n`."),
    errno.EIO: ("the disk failed to read or write", "Look at the disk."),
}

# The same where the user gave the path: the file is not ours, and it is only read.
_FILE_WORDS = {
    errno.EACCES: ("permission denied", "Look at the owner and the mode of the file."),
    errno.EISDIR: ("it is a folder", "Name a file in it."),
    errno.EINVAL: (NOT_REGULAR, "Write what comes from it to a file first."),
    errno.ENOTDIR: ("a part of the path is no folder", "Look at the path."),
    errno.ELOOP: ("its symbolic links lead in a circle", "Look at where they lead."),
}


def words_for(error: OSError) -> tuple[str, str]:
    """What `error` means and what to try, in plain words."""
    return _WORDS.get(error.errno or 0, (error.strerror or str(error), _LOOK))


def words_for_named(path: str, error: OSError) -> tuple[str, str]:
    """The same of a file that the user names to be added to, at `path`; "" for no hint."""
    if os.path.exists(path) and not _is_file_or_folder(os.path.realpath(path)):
        return NOT_REGULAR, ""  # such as /dev/stdout, whatever the system said of what is beside it
    if error.errno not in (errno.ELOOP, errno.EMLINK):
        return words_for(error)[0], ""
    target = os.path.realpath(path)
    if os.path.islink(target):
        return _FILE_WORDS[errno.ELOOP]
    return "it is a symbolic link, and only the file itself is added to", f"Name it: {target}"


def _is_file_or_folder(target: str) -> bool:
    return os.path.isfile(target) or os.path.isdir(target)


def _words_for_file(error: OSError) -> tuple[str, str]:
    known = _FILE_WORDS.get(error.errno or 0) or _WORDS.get(error.errno or 0)
    return known or (error.strerror or str(error), "Look at the path.")


def missing(name: str, path: str) -> SessionError:
    """There is no session of this name, or no file by it, where one would be at `path`."""
    folder, wanted = os.path.split(path)
    try:
        beside = os.listdir(folder or ".")
    except OSError:
        beside = []
    if is_path(name):
        near = nearest(wanted, beside)
        hint = f"Did you mean {os.path.join(os.path.dirname(name), near)!r}?" if near else ""
        message = f"{name}: there is no such file"
        return SessionError("session_missing", message, hint or "Look at the path.")
    sessions = (found for entry in beside if is_name(found := session_of_file(entry) or ""))
    hint = f"{did_you_mean(name, sessions)} `pipechat history list` shows what there is.".lstrip()
    if os.path.isfile(name):  # in the folder where the user stands
        hint = f"A path has a /: ./{name} is the file here."
    return SessionError("session_missing", f"there is no session {name!r}", hint)


def busy(name: str) -> SessionError:
    """Another program holds the lock."""
    message = f"{called(name)}: another program holds its lock"
    hint = "Try again when it has let go; `fuser` on the file names it."
    return SessionError("session_busy", message, hint, retryable=True)


def unwritable(name: str, error: OSError) -> SessionError:
    if isinstance(error, BlockingIOError):
        return busy(name)
    what, hint = words_for(error)
    message = f"session {name!r}: {place(name, error)}{what}"
    return SessionError("session_unwritable", message, hint)


def place(name: str, error: OSError) -> str:
    """`PATH: ` of what could not be opened or made, where the session's name does not tell it."""
    path = os.fsdecode(error.filename or "")
    return f"{path}: " if path and not is_path(name) else ""


def unreadable(name: str, error: OSError) -> SessionError:
    if isinstance(error, BlockingIOError):
        return busy(name)
    what, hint = _words_for_file(error) if is_path(name) else words_for(error)
    message = f"{called(name)}: {place(name, error)}{what}"
    return SessionError("session_unreadable", message, hint)
