"""How an endpoint was found to want to be asked for a model."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pipechat.settings.cached_note import CachedNote

_APIS = ("chat", "responses")
_LONGEST_S = 30 * 86_400.0  # then it is found out anew, since servers learn too


class Learned(NamedTuple):
    """`api`: the API that is wanted, `chat` or `responses`, or None. `refused`: the fields of the
    request that are not, each as `API:FIELD`."""

    api: str | None = None
    refused: frozenset[str] = frozenset()

    def refused_by(self, api: str) -> frozenset[str]:
        """The fields that are refused by this API."""
        each = (field.partition(":") for field in self.refused)
        return frozenset(field for name, _, field in each if name == api)

    def with_refused(self, api: str, fields: Collection[str]) -> Learned:
        """The same, with those fields for that API."""
        others = {field for field in self.refused if not field.startswith(f"{api}:")}
        return self._replace(refused=frozenset({*others, *(f"{api}:{each}" for each in fields)}))


NOTHING = Learned()


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
