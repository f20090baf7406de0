"""Which API an endpoint was found to want for a model."""

from pipechat.settings.cached_note import CachedNote

_APIS = ("chat", "responses")


class LearnedApi:
    """The API that the endpoint `url` wants for `model`, kept in `folder`."""

    def __init__(self, folder: str, url: str, model: str) -> None:
        self._note = CachedNote(folder, "api", url, model)

    @property
    def api(self) -> str | None:
        """`chat` or `responses`, as it was noted; None where nothing was."""
        api = self._note.read()
        return api if api in _APIS else None

    def note(self, api: str) -> None:
        """Keep what was found."""
        self._note.write(api)
