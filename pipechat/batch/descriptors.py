"""How many jobs there are descriptors for, which a process may have so many of (`ulimit -n`)."""

from __future__ import annotations

import resource
from contextlib import suppress

# Of the program itself: streams, input, output, locks, the event loop, libraries.
_OWN = 32


def jobs_that_fit(jobs: int, *, connect: bool) -> int:
    """How many of `jobs` may be asked at once; the limit is raised first as far as it goes. At
    least one: that may yet do.

    Args:
        connect: each has a connection of this process, beside the spool of its session's turn.
    """
    of_a_job = 2 if connect else 1
    needed = _OWN + of_a_job * jobs
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return jobs
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # where the system has a limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, soft), hard))
        soft = max(wanted, soft)
    return max(min(jobs, (soft - _OWN) // of_a_job), 1)
