"""One process measured as a whole: wall and CPU time, peak memory, and, for a paced answer,
how late each piece was. Knows no row."""

from __future__ import annotations

import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO

_STAMP = re.compile(rb"t=(\d+);")
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
_WORDS_OF_A_FAILURE = 300


class NotMeasuredError(Exception):
    """A party cannot be measured: the message says why."""


@dataclass(frozen=True)
class Sample:
    """One run. Seconds; MiB, of the largest process where there are several; latencies in ms,
    from the server's stamp to the reader's; `first_ms`: from the start to the first stamp."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    first_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


@contextmanager
def _killed_after(seconds: float, group: int) -> Iterator[None]:
    """Kills the process group `group` when time is over, or when anything goes wrong here."""

    def kill(_signum: int, _frame: FrameType | None) -> None:
        os.killpg(group, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except BaseException:
        os.killpg(group, signal.SIGKILL)
        os.waitpid(group, 0)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_once(
    command: tuple[str, ...], environ: Mapping[str, str], *, limit_s: float
) -> tuple[Sample, bytes]:
    """Run `command` with stdin on /dev/null, and what it wrote: into a file, since grep stops at
    the first match where stdout is /dev/null.

    Raises:
        NotMeasuredError: it failed, or took longer than `limit_s`.
    """
    with tempfile.TemporaryFile() as out:
        sample = _run(command, environ, out.fileno(), None, limit_s)
        out.seek(0)
        return sample, out.read()


def run_stamped(command: tuple[str, ...], environ: Mapping[str, str], *, limit_s: float) -> Sample:
    """The same into a pipe, which is read at once, for how late each stamp comes.

    Raises:
        NotMeasuredError
    """
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "wb") as writer:
        return _run(command, environ, writer.fileno(), (reader, writer), limit_s)


def _run(
    command: tuple[str, ...],
    environ: Mapping[str, str],
    out: int,
    pipe: tuple[BinaryIO, BinaryIO] | None,
    limit_s: float,
) -> Sample:
    with open(os.devnull, "rb") as null, tempfile.TemporaryFile() as words:
        files = [
            (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, words.fileno(), 2),
        ]
        started = time.perf_counter()
        try:
            # A group of its own, to be killed as one; by vfork, which copies nothing.
            child = os.posix_spawn(command[0], command, environ, file_actions=files, setpgroup=0)
        except OSError as error:
            raise NotMeasuredError(f"{command[0]}: {error.strerror}") from error
        with _killed_after(limit_s, child):
            late: list[float] = []
            first = started
            if pipe is not None:
                reader, writer = pipe
                writer.close()  # or the end would never come
                late, first = _latencies_ms(reader.fileno())
            _, status, usage = os.wait4(child, 0)
        wall_s = time.perf_counter() - started
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            words.seek(0)
            said = words.read().decode("utf-8", "replace").strip()[-_WORDS_OF_A_FAILURE:]
            over = " (its time was over)" if code == -signal.SIGKILL else ""
            raise NotMeasuredError(f"status {code}{over}: {said or 'nothing said'}")
    if pipe is not None and not late:
        raise NotMeasuredError("no stamp came out")
    points = statistics.quantiles(late, n=100, method="inclusive") if len(late) > 1 else None
    return Sample(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss * _MAXRSS_BYTES / 2**20,
        first_ms=(first - started) * 1000 if late else None,
        p50_ms=points[49] if points else None,
        p99_ms=points[98] if points else None,
    )


def _latencies_ms(reading: int) -> tuple[list[float], float]:
    """From each stamp to the moment it was read, and when the first was, as perf_counter."""
    late: list[float] = []
    first = 0.0
    rest = b""
    while part := os.read(reading, 1 << 16):
        now = time.monotonic_ns()
        rest += part
        end = 0
        for stamp in _STAMP.finditer(rest):
            first = first or time.perf_counter()
            late.append((now - int(stamp[1])) / 1e6)
            end = stamp.end()
        rest = rest[max(end, len(rest) - 64) :]
    return late, first
