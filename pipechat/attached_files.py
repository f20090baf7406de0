"""Reading the files of `-f`: as much as is allowed, in the time that is allowed, and no folder.

Knows bytes and paths; what the bytes are, `turn.attachments` judges.
"""

import os
import re
import select
import shlex
import stat
import time

from pipechat.errors import UsageError
from pipechat.text import visible_line

_BLOCK = 1 << 20
_MIB = 1 << 20
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)


def read_attached_file(path: str, *, max_file_mib: float, timeout_s: float = 30.0) -> bytes:
    """The bytes of `path`: a file, or a pipe such as `<(command)`, which is read to its end.

    Args:
        max_file_mib: the most that is read, in MiB; a device without an end is cut off there.
        timeout_s: how long a pipe may take, its first writer waited for.

    Raises:
        UsageError: `bad_file`: missing, a folder, a URL, unreadable; `file_too_large`;
            `file_timeout`.
    """
    if _URL.match(path):
        raise _url_refused(path)
    name = visible_line(path)
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes never returns.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a NUL in its name"
        raise UsageError("bad_file", f"cannot read {name}: {reason}") from None
    try:
        return _read(fd, name, max_file_mib, time.monotonic() + timeout_s)
    except OSError as error:
        raise UsageError("bad_file", f"cannot read {name}: {error.strerror}") from None
    finally:
        os.close(fd)


def check_size(name: str, size: int, max_file_mib: float) -> None:
    """Raises UsageError, `file_too_large`, for what has more bytes than allowed."""
    if size > max_file_mib * _MIB:
        what = f"{visible_line(name)} is larger than max_file_mib allows: {max_file_mib:g} MiB"
        raise UsageError("file_too_large", what, "Send a part of it, or raise max_file_mib.")


def _read(fd: int, name: str, max_file_mib: float, deadline: float) -> bytes:
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        hint = "Name the files in it; the shell does: for f in FOLDER/*; do …; done"
        raise UsageError("bad_file", f"{name} is a folder", hint)
    if stat.S_ISREG(status.st_mode):
        check_size(name, status.st_size, max_file_mib)
    most = int(max_file_mib * _MIB)
    blocks: list[bytes] = []
    size = 0
    while size <= most:
        if not stat.S_ISREG(status.st_mode):
            _wait(fd, name, deadline)
        try:
            block = os.read(fd, min(_BLOCK, most + 1 - size))
        except BlockingIOError:
            continue  # another reader of the same pipe was quicker
        if not block:
            return b"".join(blocks)
        blocks.append(block)
        size += len(block)
    check_size(name, size, max_file_mib)
    return b"".join(blocks)


def _wait(fd: int, name: str, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if left_s <= 0 or not poll.poll(left_s * 1000):
        hint = "Whatever writes it must end; is it running?"
        raise UsageError("file_timeout", f"{name} did not end in time", hint)


def _url_refused(url: str) -> UsageError:
    what = f"{visible_line(url)} is a URL, and -f takes files"
    if url.lower().startswith("data:"):
        return UsageError("bad_file", what, "Decode it into a file (base64 -d) first.")
    line = f"curl -fsSL {shlex.quote(url)} | pipechat ask -f - …"
    return UsageError("bad_file", what, f"Fetch it yourself: {visible_line(line)}")
