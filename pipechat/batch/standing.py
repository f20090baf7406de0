"""How the parts of a job stand, for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipechat.batch.job import Part
from pipechat.batch.seen import Seen
from pipechat.errors import PipechatError, TryLaterError
from pipechat.text import counted

OpenParts = list[tuple[Part, Seen | None]]
"""Parts whose answers are not fetched, and their batches as they were seen."""


class Standing(NamedTuple):
    """A part, and its batch where the provider was asked for it, or why that was in vain."""

    part: Part
    seen: Seen | None = None
    error: PipechatError | None = None

    def record(self) -> dict[str, Any]:
        """`state` is that of the batch; where there is none yet, or no more, of the part."""
        part, seen, error = self
        told = [error.message] if error is not None else []
        return {
            "part": part.number,
            "state": seen.status if seen is not None else part.step,
            "model": part.model,
            "items": part.items,
            "completed": seen.completed if seen is not None else part.complete,
            "failed": seen.failed if seen is not None else part.failed,
            "expires": _time(seen.expires_at) if seen is not None else None,
            "batch": part.batch_id,
            "errors": told + [each.message for each in (seen.errors if seen is not None else ())],
        }

    def line(self) -> str:
        """`part 1: in_progress, 120 of 500 done, 3 failed; gpt-5.4-mini; expires …; batch_…`"""
        record = self.record()
        what = f"part {record['part']}: {record['state']}"
        done = f"{record['completed'] + record['failed']} of {record['items']} done"
        failed = f", {record['failed']} failed" if record["failed"] else ""
        ends = f"; expires {record['expires']}" if record["expires"] else ""
        batch = f"; {record['batch']}" if record["batch"] else ""
        errors = "".join(f"; {message}" for message in record["errors"][:1])
        return f"{what}, {done}{failed}; {record['model']}{ends}{batch}{errors}"


def status_record(standings: Sequence[Standing]) -> dict[str, Any]:
    """As JSON: `--output-format json`."""
    return {"type": "status", "v": 1, "parts": [each.record() for each in standings]}


def not_ready(parts: OpenParts) -> TryLaterError:
    """The error for parts that have no answers yet."""
    items = sum(part.items for part, _ in parts)
    each = ", ".join(f"part {part.number} {_where(part, seen)}" for part, seen in parts[:3])
    more = f", and {len(parts) - 3} more" if len(parts) > 3 else ""
    hint = "Fetch again later, or with --wait."
    if all(seen is None for _, seen in parts):
        hint = "Run `batch submit` again, or let go of them with `batch cancel`."
    elif all(seen is not None and seen.has_ended for _, seen in parts):
        hint = "Fetch again later; what never comes, `batch cancel --forget` lets go of."
    have = "has" if items == 1 else "have"
    message = f"{counted(items, 'item')} {have} no answer yet: {each}{more}"
    return TryLaterError("not_ready", message, hint, again=False)


def _where(part: Part, seen: Seen | None) -> str:
    if seen is None:
        return f"is not submitted ({part.step})"
    if seen.has_ended:
        return f"is {seen.status}, and its file is late"
    return f"is {seen.status} ({seen.completed + seen.failed} of {seen.total or part.items})"


def _time(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339."""
    try:
        at = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    except (OverflowError, ValueError, OSError):
        return None
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else None
