"""What was learned of an endpoint and a model: a small file for each that can be deleted.

What lies there is a hint, never a rule: what cannot be read, or is of something else, is not there,
and a note that cannot be written is none.
"""

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from pipechat.settings.named_file import read_named

_LONGEST_NAME = 200
_MOST_BYTES = 4096
_MOST_OF_A_LIST = 65_536
_LONGEST_S = 0.2  # for what is no plain file
_MOST_NOTES = 500  # then those that were written first go
# How a note's name begins: the folder may be one in which others keep theirs.
_OURS = tuple(f"{kind}-{scheme}" for kind in ("api", "end", "ends") for scheme in ("http", "unix"))


class CachedNote:
    """A text of one kind about `model` at the endpoint `url`, kept in `folder`."""

    def __init__(
        self, folder: str, kind: str, url: str, model: str, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._most_bytes = most_bytes
        self._key = f"{url}\n{model}\n"
        self._folder = folder
        self._path = os.path.join(folder, f"{kind}-" + quote(f"{url} {model}", "")[:_LONGEST_NAME])

    def read(self, longest_s: float = math.inf) -> str | None:
        """What was noted, no longer than `longest_s` ago; None where nothing was."""
        try:
            data = read_named(self._path, self._most_bytes, time.monotonic() + _LONGEST_S)
            if longest_s < math.inf and time.time() - os.stat(self._path).st_mtime > longest_s:
                return None
        except OSError:
            return None
        said = data.decode("utf-8", "replace")
        key, word = said[: len(self._key)], said[len(self._key) :].strip()
        return word if key == self._key else None

    def room(self) -> int:
        """How many bytes may be noted."""
        return self._most_bytes - len(self._key.encode()) - 1

    def write(self, word: str) -> None:
        """Keep what was found."""
        beside = f"{self._path}.{os.urandom(6).hex()}"
        with suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._make_room()
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(f"{self._key}{word}\n".encode())
                os.replace(beside, self._path)
            except OSError:
                os.unlink(beside)

    def _make_room(self) -> None:
        with os.scandir(self._folder) as entries:
            found = [entry.path for entry in entries if entry.name.startswith(_OURS)]
        if len(found) < _MOST_NOTES:
            return
        for path in sorted(found, key=_written)[: len(found) - _MOST_NOTES + 1]:
            with suppress(OSError):  # another process may have been quicker
                os.unlink(path)


def _written(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


class ListedEnds:
    """On which day each model of the endpoint `url` is gone, where its list told, kept in
    `folder`."""

    def __init__(self, folder: str, url: str) -> None:
        self._note = CachedNote(folder, "ends", url, "", _MOST_OF_A_LIST)

    def of(self, model: str) -> str | None:
        """The day as YYYY-MM-DD; None where none was told."""
        said = f"\n{self._note.read() or ''}\n"
        day = said.partition(f"\n{model}\t")[2].partition("\n")[0]
        return day if len(day) == 10 and day.replace("-", "").isdigit() else None

    def write(self, ends: Mapping[str, str]) -> None:
        """Keep the days of the newest list; where they are too many, those that come first."""
        if not ends and self._note.read() is None:
            return
        left = self._note.room()
        lines = []
        for day, model in sorted((day, model) for model, day in ends.items()):
            line = f"{model}\t{day}"
            left -= len(line.encode()) + 1
            if left < 0:
                break
            lines.append(line)
        self._note.write("\n".join(lines))
