"""The live line of this process, and who speaks on it. Imported only where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipechat.environment import Environment
from pipechat.events import Sink
from pipechat.show.live_line import LiveLine
from pipechat.show.waiting import ReadingLine, WaitingSink


def live_line(env: Environment) -> LiveLine:
    """The line, which is gone whenever stdout, as it is now, or stderr is written to."""
    terminal = env.stderr.output
    line = terminal.cover
    if not isinstance(line, LiveLine):
        line = LiveLine(terminal, env.stderr.cleaned, color=env.has_color)
    terminal.cover = env.stdout.cover = line
    return line


def telling(env: Environment, sink: Sink, *, shows_texts: bool) -> Sink:
    """`sink`, while a person is told what is waited for."""
    return WaitingSink(sink, live_line(env), env.waits, shows_texts=shows_texts)


@contextmanager
def reading_told(env: Environment) -> Iterator[Callable[[int], None]]:
    """Until it is left, what it gives is told how much of stdin has come."""
    line = live_line(env)
    try:
        yield ReadingLine(line).tick
    finally:
        line.erase()


def tell_busy(env: Environment, waiting: str) -> None:
    """Say what is waited for, once; with "", that it is over."""
    line = live_line(env)
    if waiting:
        line.show(waiting)
    else:
        line.erase()
