"""How an answer is shown on stdout, and on stderr that it is waited for: what a person at a
terminal gets is imported there alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pipechat.environment import Environment
from pipechat.events import Sink
from pipechat.settings.resolve import Settings
from pipechat.show.sinks import make_sink


def answer_sink(
    env: Environment,
    settings: Settings,
    output_format: str,
    *,
    extract: bool = False,
    column: int = 0,
) -> Sink:
    """The sink for stdout; as text on a terminal, with --render, a formatted one.

    Args:
        extract: only what is extracted is shown.
        column: how many columns of the first line a prompt takes.
    """
    if output_format == "text" and not extract and _renders(env, settings):
        from pipechat.show.render import RenderSink

        return RenderSink(env.stdout, color=env.has_color, column=column)
    return make_sink(env.stdout, output_format, raw=settings.raw, extract=extract)


def _renders(env: Environment, settings: Settings) -> bool:
    # --raw stands above a `render = true` of the config file.
    return settings.render and env.stdout.is_terminal and not settings.raw


def telling_waits(
    env: Environment, settings: Settings, sink: Sink, *, shows_texts: bool = True
) -> Sink:
    """`sink`; at a terminal, one that also tells on stderr what is waited for, until it comes.
    `shows_texts`: as `WaitingSink`, --render aside."""
    if not env.has_live_line:
        return sink
    from pipechat.commands.waiting import telling

    return telling(env, sink, shows_texts=shows_texts and not _renders(env, settings))


def reading_told(env: Environment) -> AbstractContextManager[Callable[[int], None] | None]:
    """Gives, at a terminal, who tells on stderr how much of stdin has come."""
    if not env.has_live_line:
        return nullcontext()
    from pipechat.commands.waiting import reading_told

    return reading_told(env)
