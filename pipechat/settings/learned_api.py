"""Which API an endpoint was found to want for a model: a small file for each that can be deleted.

What lies there is a hint, never a rule: what cannot be read, or says something else, is not there,
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
_APIS = ("chat", "responses")


class LearnedApi:
    """The API that the endpoint `url` wants for `model`, kept in `folder`."""

    def __init__(self, folder: str, url: str, model: str) -> None:
        self._key = f"{url}\n{model}\n"
        self._path = os.path.join(folder, "api-" + quote(f"{url} {model}", "")[:_LONGEST_NAME])

    @property
    def api(self) -> str | None:
        """`chat` or `responses`, as it was noted; None where nothing was."""
        try:
            data = read_named(self._path, _MOST_BYTES, time.monotonic() + _LONGEST_S)
        except OSError:
            return None
        said = data.decode("utf-8", "replace")
        key, api = said[: len(self._key)], said[len(self._key) :].strip()
        return api if key == self._key and api in _APIS else None

    def note(self, api: str) -> None:
        """Keep what was found."""
        beside = f"{self._path}.{os.getpid()}"
        with suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(f"{self._key}{api}\n".encode())
                os.replace(beside, self._path)
            except OSError:
                os.unlink(beside)
