"""How a failure, and what an answer took, are told to people: one line on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipechat.environment import Environment
from pipechat.errors import BugError, PipechatError, ReaderLeft

if TYPE_CHECKING:  # a start without a turn is spared both, 4 ms
    from pipechat.events import TerminalEvent


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


def usage_line(terminal: TerminalEvent) -> str:
    """`usage: 12 prompt + 34 completion = 46 tokens; first text 0.31 s, total 1.20 s`"""
    usage = terminal.usage
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    prompt, completion, both = (_tokens(usage.get(name)) if usage else "?" for name in names)
    tokens = f"{prompt} prompt + {completion} completion = {both} tokens"
    first, total = terminal.first_token_s, f"total {terminal.total_s:.2f} s"
    times = total if first is None else f"first text {first:.2f} s, {total}"
    return f"usage: {tokens if usage else 'not reported'}; {times}"


def _tokens(count: object) -> str:
    return str(count) if isinstance(count, int) and not isinstance(count, bool) else "?"
