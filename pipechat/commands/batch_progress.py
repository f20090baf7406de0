"""How a batch is getting on: a live line on a terminal, else a line every half minute."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pipechat.batch.summary import Summary
from pipechat.commands.batch_ends import Source
from pipechat.environment import Environment
from pipechat.errors import Interrupted

_EVERY_S = 30.0
_LIVE_EVERY_S = 0.25


class Progress:
    """Tells on stderr how far a batch is; -q silences it. It began when this was made."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._began = time.monotonic()
        self._extent: Extent | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def measured(self, source: Source, name: str) -> Source:
        """`source`, whose size is looked at where a live line tells of it: not below items that
        are typed."""
        stdin = self._env.stdin
        if not self._env.has_live_line or (name == "-" and stdin.is_terminal):
            return source
        size = None
        if source.is_file:
            with suppress(OSError):  # gone since it was opened
                size = stdin.size_left() if name == "-" else os.stat(name).st_size
        self._extent = Extent(size)
        return source._replace(blocks=self._extent.of(source.blocks))

    @contextmanager
    def shown(self, summary: Summary) -> Iterator[None]:
        """While it is entered, tell how far `summary` is."""
        if self._env.quiet:
            yield
            return
        extent = self._extent
        if extent is None:
            note = self._env.stderr.note
            with _repeated(_EVERY_S, lambda: note(progress_line(summary, self.seconds))):
                yield
            return
        from pipechat.commands.waiting import live_line

        line = live_line(self._env)
        try:
            with _repeated(
                _LIVE_EVERY_S, lambda: line.show(live_text(summary, self.seconds, extent))
            ):
                yield
        finally:
            line.erase()


@contextmanager
def _repeated(every_s: float, tell: Callable[[], None]) -> Iterator[None]:
    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            tell()

    task = asyncio.ensure_future(repeat())
    try:
        yield
    finally:
        task.cancel()


class Extent:
    """How many items an input has, as far as what was read of it tells.

    Args:
        size: its bytes; None: nobody knows before its end.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._read = 0
        self._lines = 0
        self._ended = False

    def of(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The blocks of the input, looked at as they are taken."""
        last = b"\n"
        for block in blocks:
            self._read += len(block)
            self._lines += block.count(b"\n")
            last = block[-1:]
            yield block
        self._lines += last != b"\n"
        self._ended = True

    @property
    def items(self) -> tuple[int, bool] | None:
        """How many there are, and whether that is sure; None where nothing tells. A line is taken
        for an item: a header, or a newline within quotes, makes them one more."""
        if self._ended:
            return self._lines, True
        if not self._size or not self._lines:
            return None
        return round(self._lines * max(self._size / self._read, 1.0)), self._read >= self._size


def live_text(summary: Summary, seconds: float, extent: Extent) -> str:
    """What matters most comes first, since a narrow terminal cuts the rest:
    `1,204 of ~10,000, 41.2/s, 4 min left, 3 failed (2 cut, 1 server_error), 64 in flight, …`
    Once the run is stopped: what it still waits for."""
    if summary.stopped is not None:
        waiting = f"stopping, {summary.in_flight:,} in flight"
        by_hand = isinstance(summary.stopped, Interrupted)
        return f"{waiting}; Ctrl-C again: at once" if by_hand else waiting
    skipped = sum(summary.skipped.values())
    done = summary.ended + skipped
    rate = summary.ended / seconds if seconds else 0.0
    parts = [f"{done:,} done", f"{rate:.1f}/s"]
    if extent.items is not None:
        total, sure = extent.items
        total = max(total, done + summary.in_flight)
        parts[0] = f"{done:,} of {'' if sure else '~'}{total:,}"
        if rate and total > done:
            parts.append(f"{_duration((total - done) / rate)} left")
    if summary.failed:
        parts.append(_failed(summary))
    parts.append(f"{summary.in_flight:,} in flight")
    if summary.usage:
        parts.append(f"{summary.usage['total_tokens']:,} tokens")
    if skipped:
        parts.append(f"{skipped:,} skipped")
    return ", ".join(parts)


def progress_line(summary: Summary, seconds: float) -> str:
    """How far it is: `1,204 complete, 3 failed (2 cut, 1 server_error), 64 in flight; 41.2/s`"""
    rate = summary.ended / seconds if seconds else 0.0
    failed = f", {_failed(summary)}" if summary.failed else ""
    skipped = sum(summary.skipped.values())
    before = f", {skipped:,} skipped" if skipped else ""
    tokens = f", {summary.usage['total_tokens']:,} tokens" if summary.usage else ""
    return (
        f"{summary.complete:,} complete{failed}{before}, {summary.in_flight:,} in flight; "
        f"{rate:.1f}/s{tokens}"
    )


def _failed(summary: Summary) -> str:
    codes = ", ".join(f"{count} {code}" for code, count in summary.codes.most_common(3))
    return f"{summary.failed:,} failed ({codes})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
