"""A batch as the provider tells of it, and what follows from that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipechat.wire.provider_id import is_id

ENDED = ("completed", "failed", "expired", "cancelled")
_SPELT = {"canceled": "cancelled", "canceling": "cancelling"}

Next = Literal["wait", "late", "read"]


@dataclass(frozen=True, slots=True)
class BatchError:
    """Why a batch failed as a whole, or one line (from 1) of its file did."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch at one moment. `expires_at` in seconds since the epoch; ids are None where there
    is no file, in whatever way that was said."""

    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    expires_at: float | None = None
    errors: Sequence[BatchError] = ()

    @classmethod
    def of(cls, batch: Mapping[str, Any]) -> Seen:
        """Read the API's own object; what has another type than documented is not there."""
        counts = batch.get("request_counts")
        counts = counts if isinstance(counts, Mapping) else {}
        status, expires = batch.get("status"), batch.get("expires_at")
        return cls(
            status=_status(status),
            output_file_id=_file_id(batch.get("output_file_id")),
            error_file_id=_file_id(batch.get("error_file_id")),
            total=_count(counts.get("total")),
            completed=_count(counts.get("completed")),
            failed=_count(counts.get("failed")),
            expires_at=expires if isinstance(expires, int | float) and expires else None,
            errors=tuple(_errors(batch.get("errors"))),
        )

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def may_be_cancelled(self) -> bool:
        return not self.has_ended and self.status != "cancelling"

    def next(self) -> Next:
        """`wait`: it is not at its end. `late`: it is, but a file that must be there is not yet.
        `read`: its files hold what there is."""
        if not self.has_ended:
            return "wait"
        is_late = self.completed and self.output_file_id is None and self.error_file_id is None
        return "late" if is_late else "read"

    def why_no_result(self, line: int) -> BatchError:
        """Why the request on `line` (from 1) of the batch's file has no result."""
        own = next((error for error in self.errors if error.line == line), None)
        if own is not None:
            return own
        if self.status in ("expired", "cancelled"):
            ended = {"expired": "expired before it was asked", "cancelled": "was cancelled"}
            return BatchError(self.status, f"the batch {ended[self.status]}")
        general = next((error for error in self.errors if error.line is None), None)
        if general is not None:
            return general
        if self.errors:
            first = self.errors[0]
            return BatchError("batch_failed", f"line {first.line} of the file: {first.message}")
        if self.status == "failed":
            return BatchError("batch_failed", "the provider refused the file, and does not say why")
        return BatchError("no_result", "the batch ended without a result for this item")


def _status(value: object) -> str:
    """The API's own word: some spell it in capitals, or in American."""
    word = value.lower() if isinstance(value, str) else "unknown"
    return _SPELT.get(word, word)


def _file_id(value: object) -> str | None:
    return str(value) if is_id(value) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _errors(errors: object) -> list[BatchError]:
    listed = errors.get("data") if isinstance(errors, Mapping) else errors
    found = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, Mapping):
            continue
        code, line = each.get("code"), each.get("line")
        found.append(
            BatchError(
                code=code if isinstance(code, str) and code else "batch_failed",
                message=str(each.get("message") or "the provider refused it"),
                line=line if isinstance(line, int) and not isinstance(line, bool) else None,
            )
        )
    return found
