"""How an endpoint was found to want to be asked for a model, kept between runs."""

from __future__ import annotations

from pipechat.settings.cached_note import CachedNote
from pipechat.settings.learned import Learned

_APIS = ("chat", "responses")
_LONGEST_S = 30 * 86_400.0  # then it is found out anew, since servers learn too


class LearnedApi:
    """What the endpoint `url` wants for `model`, kept in `folder` for a month."""

    def __init__(self, folder: str, url: str, model: str) -> None:
        self._note = CachedNote(folder, "api", url, model)

    def read(self) -> Learned:
        """What was noted."""
        words = (self._note.read(_LONGEST_S) or "").split(" ")
        api = words[0] if words[0] in _APIS else None
        known = (word for word in words[1:] if word.partition(":")[0] in _APIS)
        return Learned(api, frozenset(known))

    def note(self, learned: Learned) -> None:
        """Keep what was found."""
        self._note.write(" ".join([learned.api or "-", *sorted(learned.refused)]))
