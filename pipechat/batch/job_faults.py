"""What it means that a file of a job at the provider cannot be read. Pure.

Damaged or gone, it never will be, and may be let go of. Where the system only did not let it be
read, it may be whole: what it stands for is paid, and is not to be thrown away for that.
"""

from __future__ import annotations

import errno

from pipechat.errors import SessionError

# What is so is no file of ours.
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.EINVAL)


class UnseenError(SessionError):
    """A file of a job is there and may be whole: it is only that it could not be read now."""


def unreadable(path: str, why: str | Exception) -> SessionError:
    """The error for a file of a job that is damaged, or cannot be read."""
    what = (isinstance(why, OSError) and why.strerror) or str(why)
    message = f"{path} cannot be read: {what}"
    if isinstance(why, OSError) and why.errno not in _NO_FILE:
        hint = "Look at its owner and mode, and its folder's; what was submitted is not lost."
        return UnseenError("unreadable_batch", message, hint)
    hint = "`batch cancel --forget` lets go of all that was submitted; OUT stays as it is."
    return SessionError("unreadable_batch", message, hint)
