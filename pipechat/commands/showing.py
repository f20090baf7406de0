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
    env: Environment, settings: Settings, output_format: str, *, extract: bool = False
) -> Sink:
    """The sink for stdout; as text on a terminal, with --render, a formatted one. `extract`: only
    what is extracted is shown."""
    out = env.stdout
    is_text = output_format == "text" and not extract
    # --raw stands above a `render = true` of the config file.
    if settings.render and is_text and out.is_terminal and not settings.raw:
        from pipechat.show.render import RenderSink

        return RenderSink(out, color=env.has_color)
    return make_sink(out, output_format, raw=settings.raw, extract=extract)


def telling_waits(env: Environment, sink: Sink) -> Sink:
    """`sink`; at a terminal, one that also tells on stderr what is waited for, until it comes."""
    if not env.has_live_line:
        return sink
    from pipechat.commands.waiting import telling

    return telling(env, sink)


def reading_told(env: Environment) -> AbstractContextManager[Callable[[int], None] | None]:
    """Gives, at a terminal, who tells on stderr how much of stdin has come."""
    if not env.has_live_line:
        return nullcontext()
    from pipechat.commands.waiting import reading_told

    return reading_told(env)
