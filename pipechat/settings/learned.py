"""How an endpoint was found to want to be asked for a model."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


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
