"""How a batch is getting on: a live line on a terminal, else a line every half minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipechat.batch.summary import Summary
from pipechat.environment import Environment

_EVERY_S = 30.0
_LIVE_EVERY_S = 0.25


@contextmanager
def progress_shown(env: Environment, summary: Summary, began: float) -> Iterator[None]:
    """While it is entered, tell on stderr how far `summary` is; -q silences it."""
    if env.quiet:
        yield
        return
    live = env.stderr.is_terminal
    task = asyncio.ensure_future(_tell(env, summary, began, live=live))
    try:
        yield
    finally:
        task.cancel()
        if live:
            env.stderr.live("")


async def _tell(env: Environment, summary: Summary, began: float, *, live: bool) -> None:
    while True:
        await asyncio.sleep(_LIVE_EVERY_S if live else _EVERY_S)
        line = progress_line(summary, time.monotonic() - began)
        if live:
            env.stderr.live(line)
        else:
            env.stderr.note(line)


def progress_line(summary: Summary, seconds: float) -> str:
    """How far it is: `1,204 complete, 3 failed (2 cut, 1 server_error), 64 in flight; 41.2/s`"""
    rate = summary.ended / seconds if seconds else 0.0
    codes = ", ".join(f"{count} {code}" for code, count in summary.codes.most_common(3))
    failed = f", {summary.failed:,} failed ({codes})" if summary.failed else ""
    skipped = sum(summary.skipped.values())
    before = f", {skipped:,} skipped" if skipped else ""
    tokens = f", {summary.usage['total_tokens']:,} tokens" if summary.usage else ""
    return (
        f"{summary.complete:,} complete{failed}{before}, {summary.in_flight:,} in flight; "
        f"{rate:.1f}/s{tokens}"
    )
