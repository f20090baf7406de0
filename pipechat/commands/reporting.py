"""How a failure is told to people: one line on stderr."""

from __future__ import annotations

from pipechat.environment import Environment
from pipechat.errors import BugError, PipechatError, ReaderLeft


def report(env: Environment, error: PipechatError) -> None:
    """The one line for a failure; with -v its causes, and for a bug where it came from. A reader
    who has had enough is none to tell of: a filter dies silently."""
    if isinstance(error, ReaderLeft):
        return
    env.stderr.line(error.line())
    if not env.verbose:
        return
    if isinstance(error, BugError):
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            env.stderr.line(line)  # line by line, each as clean as any message
        return
    cause = error.__cause__
    while cause is not None:
        env.stderr.line(f"  caused by {type(cause).__name__}: {cause}")
        cause = cause.__cause__
