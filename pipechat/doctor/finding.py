"""What a check found: a verdict, what it is about, and what to try. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from pipechat.errors import PipechatError
from pipechat.text import redacted, visible_line

_LOOK = "`pipechat config show` tells what holds, and who set it."
_MEND = "Mend it there, and look again."

Verdict = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One line: the check, how it went, what was found, and what to try."""

    check: str
    verdict: Verdict
    message: str
    hint: str = ""

    def without(self, secrets: Iterable[str]) -> Finding:
        """The same fit for one line, with no secret in it, whoever said it."""
        secrets = list(secrets)
        message, hint = (
            visible_line(redacted(each, secrets)) for each in (self.message, self.hint)
        )
        return self._replace(message=message, hint=hint)


def failed(check: str, error: PipechatError, verdict: Verdict = "fail") -> Finding:
    """The finding of a check that came to an error."""
    look = _MEND if error.code == "bad_config" else _LOOK  # which shows nothing of a bad file
    return Finding(check, verdict, f"{error.code}: {error.message}", error.hint or look)


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict of all together."""
    verdicts = {finding.verdict for finding in findings}
    return "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "ok"
