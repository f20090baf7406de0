"""A conversation: questions asked one after the other, each knowing the turns before it.

Puts a turn together: what goes along, where it is kept, what is sent. `ask` asks one question
of it, `chat` many. Knows no terminal and no SDK.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pipechat.errors import PipechatError
from pipechat.events import Chunk, Error, Retry, Sink, Start, Terminal
from pipechat.messages import ChatRequest, Turn, new_turn_id, now
from pipechat.settings.resolve import Settings
from pipechat.turn.context import Context, own_tokens, select_context
from pipechat.turn.prompt import compose_messages
from pipechat.turn.reducer import TurnReducer
from pipechat.turn.run import TurnRun

IfBusy = Literal["wait", "fail"]


class Answers(Protocol):
    """Whoever answers a request: the client."""

    def answer(self, request: ChatRequest) -> Iterator[Chunk | Retry]: ...


class TurnWriter(Protocol):
    """Keeps one turn in flight; the store's writes a spool and then the record."""

    @property
    def id(self) -> str: ...
    def head(self, turn: Turn) -> None: ...
    def text(self, text: str) -> None: ...
    def finish(self, turn: Turn) -> None: ...
    def abandon(self) -> None: ...


class Keeper(Protocol):
    """Where the turns of a conversation are kept. `name` is the session's, or None."""

    @property
    def name(self) -> str | None: ...
    def begin(self) -> TurnWriter: ...
    def earlier(self, last_turns: int) -> tuple[list[Turn], str | None]: ...


class InMemory:
    """Turns for as long as the process lives, as in the tutorial."""

    name: str | None = None

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def begin(self) -> TurnWriter:
        return _MemoryWriter(self._turns)

    def earlier(self, last_turns: int) -> tuple[list[Turn], str | None]:
        complete = [turn for turn in self._turns if turn.status == "complete"]
        return complete[-last_turns:] if last_turns else [], None


class _MemoryWriter:
    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns
        self.id = new_turn_id()

    def head(self, turn: Turn) -> None:
        """Nothing to prepare."""

    def text(self, text: str) -> None:
        """The reducer has it."""

    def finish(self, turn: Turn) -> None:
        self._turns.append(turn)

    def abandon(self) -> None:
        """Nothing to undo."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A turn ready to be sent."""

    head: Turn
    context: Context
    request: ChatRequest


class TurnRecorder:
    """Turns a terminal event into the record."""

    def __init__(self, writer: TurnWriter, prepared: Prepared) -> None:
        self._writer = writer
        self._prepared = prepared
        self.text = writer.text  # once a chunk: no call in between

    def finish(self, terminal: Terminal) -> None:
        """Append the record. Raises SessionError."""
        turn = replace(
            self._prepared.head,
            status=terminal.status,
            answer=terminal.answer,
            finish_reason=terminal.finish_reason,
            usage=terminal.usage,
            first_token_s=terminal.first_token_s,
            total_s=terminal.total_s,
            request_id=terminal.request_id,
            turn_tokens=own_tokens(terminal.usage, self._prepared.context),
        )
        if isinstance(terminal, Error):
            turn = replace(turn, error={"code": terminal.code, "message": terminal.message})
        self._writer.finish(turn)


class Conversation:
    """Questions to one model, kept in one place.

    Args:
        guard: makes, of the turn in flight, what watches over it while it runs (signals).
    """

    def __init__(
        self,
        settings: Settings,
        keeper: Keeper,
        answers: Answers,
        guard: Callable[[TurnRun], AbstractContextManager[object]],
    ) -> None:
        self._settings = settings
        self._keeper = keeper
        self._answers = answers
        self._guard = guard

    def ask(self, question: str, sink: Sink) -> tuple[Terminal, PipechatError | None]:
        """One turn, from the question to its terminal event, and why it is not complete.

        Raises:
            SessionError: the turn cannot be kept; nothing was sent.
        """
        writer = self._keeper.begin()
        try:
            prepared = prepare_turn(self._settings, self._keeper, writer.id, question)
            writer.head(prepared.head)
        except BaseException:
            writer.abandon()
            raise
        head, context = prepared.head, prepared.context
        start = Start(
            id=head.id,
            time=head.time,
            session=self._keeper.name,
            model=head.model,
            turns_sent=len(context.turns),
            turns_dropped=context.dropped,
        )
        reducer = TurnReducer(time.monotonic, allow_truncated=self._settings.allow_truncated)
        run = TurnRun(reducer, TurnRecorder(writer, prepared), sink)
        with self._guard(run):
            terminal = run.run(start, self._answers.answer(prepared.request))
        return terminal, run.cause


def prepare_turn(settings: Settings, keeper: Keeper, turn_id: str, question: str) -> Prepared:
    """What `question` is sent with: the system message that holds, and the earlier turns."""
    turns, sticky = keeper.earlier(settings.last_turns)
    context = select_context(turns, settings.context_tokens)
    system = next(
        (text for text in (settings.system, sticky, settings.default_system) if text is not None),
        None,
    )
    request = ChatRequest(
        model=settings.model,
        messages=compose_messages(system, context.turns, question),
        stream=settings.stream,
        options=settings.options,
    )
    head = Turn(
        id=turn_id,
        time=now(),
        status="partial",
        model=settings.model,
        system=system,
        question=question,
        answer="",
    )
    return Prepared(head, context, request)
