"""Why a batch ends before its input does. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pipechat.batch.summary import Summary
from pipechat.errors import ExitCode, PipechatError


@dataclass(frozen=True, slots=True)
class Limit:
    """How many items may fail: `count` of them, or this `share` of those that ended (0 to 1)."""

    count: int | None = None
    share: float | None = None

    def is_passed(self, summary: Summary) -> bool:
        if self.count is not None:
            return summary.failed > self.count
        enough = summary.ended >= 20  # a share of a few says nothing
        return self.share is not None and enough and summary.failed > self.share * summary.ended

    def __str__(self) -> str:
        return f"{100 * self.share:g}%" if self.share is not None else str(self.count)


class GivenUpError(Exception):
    """The run is to stop, and the item was not sent, or is not sent again: the next run asks."""


class TooManyFailedError(PipechatError):
    """More items failed than --max-failures allows."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, limit: Limit) -> None:
        hint = "See why before they are asked again."
        super().__init__("max_failures", f"--max-failures allows {limit}", hint)

    def count(self, summary: Summary) -> None:
        """Say how many failed, now that what was in flight has ended as well."""
        self.message = f"{summary.failed} of {summary.ended} items failed, and {self.message}"
