"""A job at the provider: its parts, and how far each has come. Pure.

A part is one file of requests and the one batch made of it. Each step is noted before it is taken
and after it was: one that was begun and whose end was not noted may have had its effect, which is
then looked for by the part's mark before the step is taken again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from pipechat.wire.provider_id import is_id

Step = Literal["planned", "uploading", "uploaded", "creating", "created", "fetched"]
_STEPS: tuple[Step, ...] = get_args(Step)
_MOST_REQUESTS = 50_000
_MOST_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """Items of one model that go as one batch.

    `size` in bytes. `time`: when it was made (RFC 3339). `wanted`: what its answers have to be,
    None for nothing but text. `complete` and `failed`: of its items, once it is fetched.
    """

    number: int
    model: str
    items: int
    size: int
    time: str
    wanted: Mapping[str, Any] | None = None
    step: Step = "planned"
    file_id: str | None = None
    batch_id: str | None = None
    complete: int = 0
    failed: int = 0

    def begins(self, step: Step) -> Part:
        """The part with a step begun: from now on it may have had its effect."""
        return replace(self, step=step)

    def uploaded(self, file_id: str) -> Part:
        return replace(self, step="uploaded", file_id=file_id)

    def created(self, batch_id: str) -> Part:
        return replace(self, step="created", batch_id=batch_id)

    def fetched(self, complete: int, failed: int) -> Part:
        return replace(self, step="fetched", complete=complete, failed=failed)

    @property
    def is_uploaded(self) -> bool:
        return _STEPS.index(self.step) >= _STEPS.index("uploaded")

    @property
    def is_created(self) -> bool:
        return self.batch_id is not None

    @property
    def is_fetched(self) -> bool:
        return self.step == "fetched"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What was submitted for one output file.

    `id`: the mark by which its files and batches are found again. `endpoint`: where they are.
    `since`: when it was made, in seconds since the epoch. `last`: the highest number that a part
    has had, since a number that was used marks things at the provider for good.
    """

    id: str
    endpoint: str
    since: float
    last: int = 0
    parts: tuple[Part, ...] = ()

    def adding(self, parts: Sequence[Part]) -> BatchJob:
        """The same with new parts."""
        last = max((self.last, *(part.number for part in parts)))
        return replace(self, last=last, parts=(*self.parts, *parts))

    def with_part(self, part: Part) -> BatchJob:
        """The same, with `part` in the place of the one with its number."""
        parts = (part if each.number == part.number else each for each in self.parts)
        return replace(self, parts=tuple(parts))

    def without(self, *numbers: int) -> BatchJob:
        """The same without these parts."""
        return replace(self, parts=tuple(p for p in self.parts if p.number not in numbers))

    @property
    def held(self) -> tuple[Part, ...]:
        """The parts whose answers are not fetched yet."""
        return tuple(part for part in self.parts if not part.is_fetched)

    @property
    def held_items(self) -> int:
        return sum(part.items for part in self.held)

    def file_name(self, part: Part) -> str:
        """What the file of `part` is called at the provider."""
        return f"pipechat-{self.id}-{part.number}.jsonl"

    def metadata(self, part: Part) -> dict[str, str]:
        """The mark that the batch of `part` carries."""
        return {"pipechat_job": self.id, "pipechat_part": str(part.number)}

    def record(self) -> dict[str, Any]:
        """As it stands in its file."""
        parts = [asdict(part) for part in self.parts]
        return {"v": 1, "job": self.id, "endpoint": self.endpoint, "since": self.since,
                "last": self.last, "parts": parts}  # fmt: skip

    @classmethod
    def from_record(cls, record: object) -> BatchJob:
        """Read what `record` wrote. Raises ValueError where it is none."""
        if not isinstance(record, Mapping) or record.get("v") != 1:
            raise ValueError("no job of version 1")
        if not isinstance(record.get("parts"), list):
            raise ValueError("it is no job: it has no parts")
        try:
            known = {name: record[name] for name in ("endpoint", "since", "last")}
            parts = tuple(Part(**part) for part in record["parts"])
            job = cls(id=record["job"], parts=parts, **known)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no job: {error}") from error
        numbers = [part.number for part in job.parts]
        if not (_is_text(job.id) and _is_text(job.endpoint) and _is_count(job.last)):
            raise ValueError("it is no job")
        if not isinstance(job.since, int | float):
            raise ValueError("it was made at no time")
        if not all(_is_sound(part) for part in job.parts):
            raise ValueError("a part is none")
        if len(set(numbers)) < len(numbers) or job.last < max(numbers, default=0):
            raise ValueError("the numbers of its parts cannot be")
        return job


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_sound(part: Part) -> bool:
    """Whether a part that was read is one that could have been written."""
    counts = (part.number, part.items, part.size, part.complete, part.failed)
    if not all(map(_is_count, counts)) or part.step not in _STEPS:
        return False
    if not (_is_text(part.model) and isinstance(part.time, str)):
        return False
    if part.wanted is not None and not isinstance(part.wanted, Mapping):
        return False
    ids = {"file": part.file_id, "batch": part.batch_id}
    due = {"file": part.is_uploaded, "batch": part.step in ("created", "fetched")}
    return all(is_id(ids[kind]) if due[kind] else ids[kind] is None for kind in ids)


class Splitter:
    """Says which part takes the next request: those of one model, up to the API's limits.

    Args:
        first: the number of the first part.
    """

    def __init__(
        self, first: int, most_requests: int = _MOST_REQUESTS, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._next = first
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._open: dict[str, tuple[int, int, int]] = {}

    def fits(self, size: int) -> bool:
        """Whether a request of `size` bytes may stand in any file."""
        return size <= self._most_bytes

    def place(self, model: str, size: int) -> int:
        """The number of the part that takes a request for `model` of `size` bytes."""
        number, requests, total = self._open.get(model, (0, 0, 0))
        if not number or requests == self._most_requests or total + size > self._most_bytes:
            number, requests, total = self._next, 0, 0
            self._next += 1
        self._open[model] = (number, requests + 1, total + size)
        return number
