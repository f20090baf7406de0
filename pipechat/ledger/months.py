"""The files of the ledger, `YYYY-MM.jsonl` by the months of UTC, read line by line.

Owns which of them hold what a period asks for: the others are not opened. Nothing of a file is
held but a block, whatever its size.
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pipechat import jsonl
from pipechat.store.locked_file import open_to_read, settled_size

_MONTH = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2]))\.jsonl")
_BLOCK = 1 << 18

OnBytes = Callable[[int, int], None]
"""Told how many bytes of a file are read, and how many it has."""
Line = tuple[int, dict[str, Any]]


class Period(NamedTuple):
    """From a time on, and before another: RFC 3339 in UTC, as the lines have them; None: no
    limit."""

    since: str | None = None
    until: str | None = None

    def holds(self, at: str) -> bool:
        """Whether a time of the same form is in it."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def touches(self, month: str) -> bool:
        """Whether a day of the month `YYYY-MM` may be in it."""
        after = self.until is not None and month > self.until[:7]
        return not after and (self.since is None or month >= self.since[:7])


def month_files(folder: str, period: Period) -> list[str]:
    """The files that may hold lines of `period`, the oldest first; none without a folder.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        entries = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    found = ((entry, _MONTH.fullmatch(entry)) for entry in entries)
    return [
        os.path.join(folder, entry) for entry, month in found if month and period.touches(month[1])
    ]


def lines_of(
    path: str, on_bytes: OnBytes, on_foreign: Callable[[int], None], *, follow: bool = False
) -> Iterator[Line]:
    """The objects of a file, each with the number of its line, as they stood there when it was
    opened.

    Args:
        on_foreign: told the number of a line that is no object, as what is left of a write that
            was cut off; the others are read all the same.
        follow: somebody gave that path, which may be a link.

    Raises:
        OSError
    """
    fd = open_to_read(path, follow=follow)
    try:
        size = settled_size(fd)
        number = position = 0
        begun: list[bytes] = []
        while position < size and (data := os.pread(fd, min(_BLOCK, size - position), position)):
            position += len(data)
            on_bytes(position, size)
            first, *others = data.split(b"\n")
            begun.append(first)
            if others:
                lines = [b"".join(begun), *others[:-1]]
                begun = [others[-1]]
                yield from _objects(lines, number, on_foreign)
                number += len(lines)
        yield from _objects([b"".join(begun)], number, on_foreign)
    finally:
        os.close(fd)


def _objects(lines: list[bytes], before: int, on_foreign: Callable[[int], None]) -> Iterator[Line]:
    for number, line in enumerate(lines, before + 1):
        try:
            found = jsonl.loads_line(line)
        except ValueError:
            found = None
        if type(found) is dict:
            yield number, found
        elif line.strip():
            on_foreign(number)
