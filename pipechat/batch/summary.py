"""What became of a batch: counts by outcome, tokens, seconds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipechat.batch.failures import FirstFailures
from pipechat.errors import ExitCode, PipechatError
from pipechat.messages import Turn

_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass
class Summary:
    """Counts of one run, while it runs and at its end.

    `skipped`: by why (`complete`, `double`, `failed`). `codes`: the failed ones by the code of
    their error. `stopped`: why the run ended before its input did.
    """

    complete: int = 0
    failed: int = 0
    in_flight: int = 0
    requests: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    usage: Counter[str] = field(default_factory=Counter)
    first_failures: FirstFailures = field(default_factory=FirstFailures)
    stopped: PipechatError | None = None

    @property
    def ended(self) -> int:
        return self.complete + self.failed

    def count(self, turn: Turn, hint: str = "", number: int | None = None) -> None:
        """An item ended. `hint`: what to try, where it failed. `number`: of its line."""
        if turn.status == "complete":
            self.complete += 1
        else:
            self.failed += 1
            error = turn.error or {"code": "unknown", "message": "nobody knows why"}
            self.codes[error["code"]] += 1
            code, message = error["code"], error["message"]
            self.first_failures.note(code, turn.item, message, hint, number)
        for name in _TOKENS:
            value = (turn.usage or {}).get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                self.usage[name] += value

    @property
    def exit_code(self) -> int:
        """0 where every item of the input is complete; the cause's code where the run stopped."""
        if self.stopped is not None:
            return int(self.stopped.exit_code)
        some_failed = self.failed or self.skipped["failed"]
        return int(ExitCode.SOME_FAILED if some_failed else ExitCode.COMPLETE)

    def record(self, seconds: float) -> dict[str, Any]:
        """As JSON: `--output-format json`."""
        return {
            "type": "summary",
            "v": 1,
            "complete": self.complete,
            "failed": self.failed,
            "skipped": {why: self.skipped[why] for why in ("complete", "double", "failed")},
            "codes": dict(sorted(self.codes.items())),
            "requests": self.requests,
            "usage": {name: self.usage[name] for name in _TOKENS},
            "total_s": round(seconds, 3),
            "stopped": self.stopped.code if self.stopped is not None else None,
            "exit_code": self.exit_code,
        }

    def line(self, seconds: float) -> str:
        """In one line, for people."""
        parts = [f"{self.complete} complete", f"{self.failed} failed{_by(self.codes)}"]
        names = {"complete": "complete before", "double": "doubles", "failed": "failed before"}
        parts += [f"{self.skipped[why]} {names[why]}" for why in names if self.skipped[why]]
        parts.append(f"{self.usage['total_tokens']} tokens")
        return f"{', '.join(parts)}; {seconds:.1f} s"


def _by(codes: Mapping[str, int]) -> str:
    each = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    return f" ({each})" if each else ""
