"""--once: what a call asks by itself, and an answer of the session told again. Pure.

What is compared leaves earlier turns aside, and a system message that only the session keeps: the
same command asks the same, whatever was asked in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipechat.errors import PipechatError, UsageError
from pipechat.events import Chunk, End, Error, Event, Start
from pipechat.messages import Turn
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted, make_reducer, prepare_turn
from pipechat.turn.in_memory import InMemory
from pipechat.turn.prompt import Question

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class OnceAsked:
    """A question of a key. `alone`: the turn as it would be kept had nothing been asked before."""

    key: str
    alone: Turn

    @property
    def mark(self) -> Mapping[str, str]:
        """What the record says of it."""
        return {"key": self.key, "request": self.alone.request or ""}

    def check_same(self, turn: Turn) -> None:
        """Let `turn`, which answered this key, pass, or raise.

        Raises:
            UsageError: `once_differs`: something else was asked.
        """
        if turn.once is not None and turn.once.get("request") == self.alone.request:
            return
        message = f"the key {self.key!r} of --once answered another request, which differs in its"
        hint = "Take another key, or with --once-any the answer that is there."
        raise UsageError("once_differs", f"{message} {self._difference(turn)}", hint)

    def _difference(self, turn: Turn) -> str:
        """What differs, as far as records tell it; else what they do not tell."""
        alone = self.alone
        pairs = {
            "model": (turn.model, alone.model),
            "question": (turn.question, alone.question),
            "files": (turn.files, alone.files),
            "schema": (_sha256(turn), _sha256(alone)),
        }
        if alone.system is not None:
            pairs["system message"] = (turn.system, alone.system)
        differ = [name for name, (then, now) in pairs.items() if then != now]
        if not differ and alone.system is None and turn.system is not None:
            return "system message or options"
        return " and ".join(differ) or "options"


def _sha256(turn: Turn) -> object:
    return turn.schema.get("sha256") if turn.schema is not None else None


def once_asked(
    settings: Settings, dialect: str, question: Question, wanted: Wanted | None
) -> OnceAsked:
    """What is asked, with its key; that of `auto` is the hash of it."""
    alone = prepare_turn(settings, InMemory(), "", question, wanted).hashed(dialect).head
    key = settings.once or AUTO
    return OnceAsked((alone.request or "") if key == AUTO else key, alone)


def told_again(
    turn: Turn, session: str | None, settings: Settings, wanted: Wanted | None
) -> tuple[Sequence[Event], PipechatError | None]:
    """The events of a complete turn, as they were once but for the cut of its chunks; and why it
    is not what is wanted now, where it is not."""
    reducer = make_reducer(settings, wanted)
    start = Start(turn.id, turn.time, session, turn.model, 0, 0, replayed=True)
    last = Chunk(finish_reason=turn.finish_reason, done=True, whole=True)
    steps = (Chunk(text=turn.answer), last)
    events = [event for step in steps for event in reducer.feed(step)]
    *held, terminal = reducer.close()
    assert isinstance(terminal, End | Error)
    outcome = {**turn.outcome(), "answer": reducer.answer, "total_s": turn.total_s or 0.0}
    return (start, *events, *held, replace(terminal, **outcome)), reducer.cause
