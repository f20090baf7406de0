"""What was typed in `chat`, from one run to the next: a file of lines, a JSON string each.

Owns its bounds and how several chats share it. Knows no terminal and no session.
"""

import os
import re
from collections.abc import Iterator

from pipechat import jsonl
from pipechat.store.locked_file import LockedFile, make_folder, open_to_read, sync_folder
from pipechat.store.replacing import temporary, write_lines

MOST_ENTRIES = 1000
# A full file loses so many at once, or each further line would write it anew.
_DROPPED = 200
LONGEST_BYTES = 1 << 16
_LONGEST_FILE = 1 << 24
_LINE = re.compile(rb"[^\n]+")


class QuestionHistory:
    """The lines at `path`, oldest first, at most 1,000; one of more than 64 KiB is not kept.

    A line is added under the file's lock, so that of two chats at once neither loses any.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def entries(self) -> list[str]:
        """What was typed, oldest first; what is no such line is passed over.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            fd = open_to_read(self._path)
        except FileNotFoundError:
            return []
        try:
            return [text for _, text in _texts(fd)][-MOST_ENTRIES:]
        finally:
            os.close(fd)

    def add(self, text: str) -> None:
        """Keep `text` as the newest entry.

        Raises:
            OSError: it could not be kept.
        """
        line = jsonl.dumps(text)
        if len(line) > LONGEST_BYTES:
            return
        make_folder(os.path.dirname(self._path))
        with LockedFile(self._path, create=True, wait_s=1.0) as file:
            os.fchmod(file.fd, 0o600)
            kept = [line for line, _ in _texts(file.fd)]
            is_full = len(kept) >= MOST_ENTRIES
            too_large = os.fstat(file.fd).st_size > _LONGEST_FILE
            if not (is_full or too_large):
                file.append(line)
                return
            if is_full:
                kept = kept[_DROPPED:]
            with temporary(self._path + ".new") as (fd, path):
                write_lines(fd, [*_newest(kept), line])
                os.fsync(fd)
                os.rename(path, self._path)
                sync_folder(os.path.dirname(self._path))


def _newest(lines: list[bytes]) -> list[bytes]:
    """The last of `lines` that fill half of the largest file at most."""
    size = 0
    for place in range(len(lines) - 1, -1, -1):
        size += len(lines[place])
        if size > _LONGEST_FILE // 2:
            return lines[place + 1 :]
    return lines


def _texts(fd: int) -> Iterator[tuple[bytes, str]]:
    """The entries in what may be the file's: of one that is larger, somebody else wrote more."""
    begin = max(os.fstat(fd).st_size - _LONGEST_FILE - LONGEST_BYTES, 0)
    data = os.pread(fd, _LONGEST_FILE + LONGEST_BYTES, begin)
    for match in _LINE.finditer(data, data.find(b"\n") if begin else 0):
        line = match[0]
        try:
            text = jsonl.loads_line(line)
        except ValueError:
            continue
        if isinstance(text, str) and "\0" not in text:  # which no line editor takes
            yield line, text
