"""What was learned of an endpoint and a model: a small file for each that can be deleted.

What lies there is a hint, never a rule: what cannot be read, or is of something else, is not there,
and a note that cannot be written is none.
"""

import os
import time
from contextlib import suppress
from urllib.parse import quote

from pipechat.settings.named_file import read_named

_LONGEST_NAME = 200
_MOST_BYTES = 4096
_LONGEST_S = 0.2  # for what is no plain file


class CachedNote:
    """A word of one kind about `model` at the endpoint `url`, kept in `folder`."""

    def __init__(self, folder: str, kind: str, url: str, model: str) -> None:
        self._key = f"{url}\n{model}\n"
        self._path = os.path.join(folder, f"{kind}-" + quote(f"{url} {model}", "")[:_LONGEST_NAME])

    def read(self) -> str | None:
        """What was noted; None where nothing was."""
        try:
            data = read_named(self._path, _MOST_BYTES, time.monotonic() + _LONGEST_S)
        except OSError:
            return None
        said = data.decode("utf-8", "replace")
        key, word = said[: len(self._key)], said[len(self._key) :].strip()
        return word if key == self._key else None

    def write(self, word: str) -> None:
        """Keep what was found."""
        beside = f"{self._path}.{os.getpid()}"
        with suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(f"{self._key}{word}\n".encode())
                os.replace(beside, self._path)
            except OSError:
                os.unlink(beside)
