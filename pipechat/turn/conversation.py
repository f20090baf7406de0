"""A conversation: questions asked one after the other, each knowing the turns before it.

Puts a turn together: what goes along, where it is kept, what is sent. `ask` asks one question
of it, `chat` many. Knows no terminal and no SDK.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

from pipechat.errors import ExitCode, PipechatError
from pipechat.events import Error, Judge, Judged, Sink, Start, Step, TerminalEvent
from pipechat.messages import AnswerFormat, ChatRequest, Turn, TurnError, now
from pipechat.settings.resolve import Settings
from pipechat.turn.context import Context, own_tokens, select_context
from pipechat.turn.prompt import Question, compose_messages
from pipechat.turn.reducer import TurnReducer
from pipechat.turn.request_hash import request_hash
from pipechat.turn.run import TurnRun, TurnWriter

IfBusy = Literal["wait", "fail"]


class Answer(Protocol):
    """An answer on its way: its steps, once. `cancel` makes the iteration raise `cause`, and
    may be called from a signal handler. `api`, `model`: those that are asked."""

    @property
    def api(self) -> str: ...
    @property
    def model(self) -> str: ...
    def __iter__(self) -> Iterator[Step]: ...
    def cancel(self, cause: PipechatError) -> None: ...


class Answers(Protocol):
    """Whoever answers a request: the client. `judge` is asked before each attempt
    after the first; `dialect_name` is that of the API it begins with."""

    @property
    def dialect_name(self) -> str: ...
    def answer(self, request: ChatRequest, judge: Judge) -> Answer: ...


Guard = Callable[[TurnRun, Answer], AbstractContextManager[object]]


class Keeper(Protocol):
    """Where the turns of a conversation are kept. `name` is the session's, or None."""

    @property
    def name(self) -> str | None: ...
    def begin(self) -> TurnWriter: ...
    def earlier(self, last_turns: int) -> tuple[list[Turn], str | None]: ...


class Wanted(Protocol):
    """What an answer has to be, beyond text: asked for by `formats`, told by `judge`.
    `schema_hash`: of its schema, or None where it has none."""

    @property
    def formats(self) -> Sequence[AnswerFormat]: ...
    @property
    def schema_hash(self) -> str | None: ...
    def judge(self, answer: str) -> Judged: ...


class Prepared(NamedTuple):
    """A turn ready to be sent. `exact`: whether the server's count of its tokens is what it adds
    to later ones."""

    head: Turn
    context: Context
    request: ChatRequest
    exact: bool = True

    def hashed(self, dialect: str, once: Mapping[str, str] | None = None) -> Prepared:
        """The same, with the hash of its request in what is kept, and the mark of --once."""
        hashed = request_hash(dialect, self.request)
        return self._replace(head=replace(self.head, request=hashed, once=once))

    def turn(
        self,
        terminal: TerminalEvent,
        api: str | None = None,
        model: str = "",
        *,
        item: str | None = None,
        attempts: int | None = None,
    ) -> Turn:
        """The turn as it is kept, with what came of it, and the API and the model that were
        asked last. Of a batch: `item` and `attempts`, as in a Turn."""
        error: TurnError | None = None
        if isinstance(terminal, Error):
            error = {"code": terminal.code, "message": terminal.message}
        schema = self.head.schema
        if schema is not None and terminal.exit_code in (0, ExitCode.MISMATCH):
            schema = {**schema, "matched": terminal.exit_code == 0}
        return replace(
            self.head,
            status=terminal.status,
            error=error,
            schema=schema,
            api=api,
            model=model or self.head.model,
            turn_tokens=own_tokens(terminal.usage, self.context) if self.exact else None,
            item=item,
            attempts=attempts,
            **terminal.outcome(),
        )

    def start(self, session: str | None) -> Start:
        """The event that says what is about to be asked."""
        return Start(
            id=self.head.id,
            time=self.head.time,
            session=session,
            model=self.head.model,
            turns_sent=len(self.context.turns),
            turns_dropped=self.context.dropped,
        )


class Conversation:
    """Questions to one model, kept in one place.

    Args:
        guard: makes, of the turn in flight, what watches over it while it runs (signals).
        wanted: what every answer has to be.
        once: what every record says of --once.
        keeping: makes, of who keeps a turn of a session, who keeps account of it as well.
    """

    def __init__(
        self,
        settings: Settings,
        keeper: Keeper,
        answers: Answers,
        guard: Guard,
        wanted: Wanted | None = None,
        once: Mapping[str, str] | None = None,
        keeping: Callable[[TurnWriter, str | None], TurnWriter] | None = None,
    ) -> None:
        self._keeping = keeping
        self._wanted = wanted
        self._once = once
        self._settings = settings
        self._keeper = keeper
        self._answers = answers
        self._guard = guard

    def ask(self, question: Question, sink: Sink) -> tuple[TerminalEvent, PipechatError | None]:
        """One turn, from the question to its terminal event, and why it is not complete.

        Raises:
            SessionError: the turn cannot be kept; nothing was sent.
            PipechatError: it must not be sent.
        """
        writer = self._keeper.begin()
        if self._keeping is not None:
            writer = self._keeping(writer, self._keeper.name)
        reducer = make_reducer(self._settings, self._wanted)
        try:
            prepared = prepare_turn(self._settings, self._keeper, writer.id, question, self._wanted)
            prepared = prepared.hashed(self._answers.dialect_name, self._once)
            writer.head(prepared.head)
            answer = self._answers.answer(prepared.request, reducer)
        except BaseException:
            writer.abandon()
            raise

        def record(end: TerminalEvent) -> Turn:
            return prepared.turn(end, answer.api, answer.model)

        run = TurnRun(reducer, writer, record, sink)
        with self._guard(run, answer):
            terminal = run.run(prepared.start(self._keeper.name), answer)
        return terminal, run.cause


def make_reducer(settings: Settings, wanted: Wanted | None = None) -> TurnReducer:
    """The judge of one turn, by these settings."""
    return TurnReducer(
        time.monotonic,
        allow_truncated=settings.allow_truncated,
        also_whole=settings.whole_reasons,
        judge=wanted.judge if wanted is not None else None,
    )


def prepare_turn(
    settings: Settings,
    keeper: Keeper,
    turn_id: str,
    question: Question,
    wanted: Wanted | None = None,
) -> Prepared:
    """What `question` is sent with: the system message that holds, and the earlier turns."""
    turns, sticky = keeper.earlier(settings.last_turns)
    context = select_context(turns, settings.context_tokens)
    system = next(
        (text for text in (settings.system, sticky, settings.default_system) if text is not None),
        None,
    )
    request = ChatRequest(
        model=settings.model,
        messages=[
            *compose_messages(system, context.turns, question.content),
            *question.corrections,
        ],
        stream=settings.stream,
        options=settings.options,
        formats=wanted.formats if wanted is not None else (),
        system_role=settings.system_role,
    )
    head = Turn(
        id=turn_id,
        time=now(),
        status="partial",
        model=settings.model,
        system=system,
        question=question.kept,
        files=[each.record() for each in question.attachments] or None,
        answer="",
        schema={"sha256": wanted.schema_hash, "matched": None}
        if wanted is not None and wanted.schema_hash
        else None,
    )
    return Prepared(head, context, request, exact=not question.sends_more_than_is_kept)
