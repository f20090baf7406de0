"""Reading a file that a user names: as much as is allowed, in the time that is allowed, whatever
it is. A FIFO that nobody writes to holds nobody up, and a device without an end fills no memory.
"""

import errno
import os
import select
import time

_READ_BYTES = 1 << 16


def open_named(path: str) -> int:
    """A descriptor of `path`, for reading, at once. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def read_named(path: str, limit: int, ends_at: float | None) -> bytes:
    """All of the file, or of a FIFO once somebody writes to it. Raises OSError as `read_open`."""
    fd = open_named(path)
    try:
        return read_open(fd, limit, ends_at)
    finally:
        os.close(fd)


def read_open(fd: int, limit: int, ends_at: float | None) -> bytes:
    """What `fd` has to give, to its end.

    Args:
        ends_at: by the monotonic clock, None for no limit.

    Raises:
        TimeoutError: it does not end in time.
        OSError: it cannot be read; EFBIG: it holds more than `limit` bytes.
    """
    parts: list[bytes] = []
    size = 0
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    while True:
        left = None if ends_at is None else max(ends_at - time.monotonic(), 0.0) * 1000
        if not ready.poll(left):
            raise TimeoutError("it did not end in time")
        part = os.read(fd, _READ_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > limit:
            raise OSError(errno.EFBIG, f"it holds more than {limit} bytes")
