"""--once: the answer that the session has, or the right to ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from pipechat.commands.stores import open_store
from pipechat.environment import Environment
from pipechat.errors import PipechatError
from pipechat.events import End, Error, Sink, TerminalEvent
from pipechat.messages import Turn
from pipechat.settings.resolve import Settings
from pipechat.store.once import OnceTurns
from pipechat.turn.conversation import Wanted
from pipechat.turn.once import once_asked, told_again
from pipechat.turn.prompt import Question
from pipechat.wire.dialect import dialect_of

Shown = tuple[TerminalEvent, PipechatError | None]


class Found(NamedTuple):
    """What a session has of a key. `mark`: what the record of a new turn says of it; `show`
    tells the answer again; None: there is none, and this process alone asks for it."""

    mark: Mapping[str, str]
    show: Callable[[Sink], Shown] | None


@contextmanager
def recorded_or_taken(
    env: Environment,
    settings: Settings,
    question: Question,
    wanted: Wanted | None,
    began: float,
) -> Iterator[Found]:
    """The answer of the session to the key of --once, or the right to ask, until this is left.

    Args:
        began: when the time of --timeout began.

    Raises:
        UsageError: `once_differs`: the key answered another request; `bad_session_name`.
        SessionError: `session_busy`: another process asks for longer than --timeout, or
            `--if-busy fail` was given; the session cannot be read or written.
    """
    assert settings.session is not None
    once = once_asked(settings, dialect_of(settings.api).name, question, wanted)
    turns = OnceTurns(open_store(env), settings.session)
    with turns.found_or_taken(once.key, _left_s(settings, began)) as turn:
        if turn is None:
            yield Found(once.mark, None)
            return
        found = turn
        if not settings.once_any:
            once.check_same(found)
        if env.verbose:
            env.stderr.note(f"answered from turn {found.id} of {found.time}; nothing is sent")
        yield Found(once.mark, lambda sink: _show(found, settings, wanted, sink))


def _left_s(settings: Settings, began: float) -> float | None:
    if settings.if_busy == "fail":
        return 0.0
    if settings.timeout_s is None:
        return None
    return max(settings.timeout_s - (time.monotonic() - began), 0.0)


def _show(turn: Turn, settings: Settings, wanted: Wanted | None, sink: Sink) -> Shown:
    events, cause = told_again(turn, settings.session, settings, wanted)
    terminal = events[-1]
    assert isinstance(terminal, End | Error)
    for event in events:
        sink.emit(event)
    return terminal, cause
