"""TurnReducer: chunks in, events out. Pure: no clock but the one handed in, no I/O.

It alone judges: whether an answer is whole, and whether its request may be sent again. The rule
(WIRE.md): an answer is whole when its finish reason is known to be that of a whole one, and when
that reason was its end, or when the dialect calls it whole without one. All else is cut, however
politely the connection was closed. Nothing is sent again once anything was shown.

A reason beside text, or before any, ends nothing by itself: some servers put `stop` on every
chunk. It counts where the server says afterwards that nothing more comes, or where it is the
first reason, stands beside the last text, and the stream then closes by itself. A reason that
means a cut answer sticks, whatever follows.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from pipechat.errors import (
    BugError,
    ExitCode,
    IncompleteError,
    Interrupted,
    MismatchError,
    NetworkError,
    OutputError,
    PipechatError,
    SessionError,
    TryLaterError,
)
from pipechat.events import Again, Chunk, End, Error, Event, Judged, Reasoning, Single, TextChunk
from pipechat.messages import Usage
from pipechat.turn.endings import asked_for_tools, refused, why_not_whole
from pipechat.turn.surrogates import SurrogateJoiner, without_surrogates

# What says nothing of how much of the answer came: its own exit code stays.
_OURS = (SessionError, OutputError, Interrupted, BugError, MismatchError)


class _Ended(Enum):
    """How sure it is that the finish reason was the end."""

    NO = 0
    IF_CLOSED = 1
    SURELY = 2


class _Attempt:
    """What one attempt said of its end; the next attempt starts with another."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.unwhole: PipechatError | None = None
        self.ended = _Ended.NO
        self.plain_text = False
        self.loose = False
        self.whole = False
        self.refusal = False
        self.tool_calls = False
        self.usage: Usage | None = None
        self.request_id: str | None = None


class TurnReducer:
    """One turn's answer as it grows.

    Args:
        clock: seconds, monotonic; read at the start, at the first text and at the end.
        allow_truncated: an answer cut by the token limit counts as whole.
        also_whole: further finish reasons of whole answers, in lower case.
        judge: whether a whole answer is what was asked for, and what it is.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        allow_truncated: bool = False,
        also_whole: frozenset[str] = frozenset(),
        judge: Callable[[str], Judged] | None = None,
    ) -> None:
        self._clock = clock
        self._judge = judge
        self._started = clock()
        self._allow_truncated = allow_truncated
        self._also_whole = also_whole
        self._texts: list[str] = []
        self._shown = False
        self._surrogates = SurrogateJoiner()
        self._first_token_s: float | None = None
        self._attempt = _Attempt()
        self.cause: PipechatError | None = None

    def may_send_again(self) -> bool:
        """Whether another attempt could not double anything: nothing was shown yet, neither
        text nor reasoning."""
        return not self._shown

    def has_ended(self) -> bool:
        """Whether the answer has come to its sure end: only usage and a last word can follow."""
        return self._attempt.ended is _Ended.SURELY

    @property
    def answer(self) -> str:
        """The text so far, without a high surrogate that still waits for its other half."""
        return "".join(self._texts)

    @property
    def text_count(self) -> int:
        """How many texts there are so far."""
        return len(self._texts)

    def texts_from(self, index: int) -> list[Event]:
        """The text events from number `index` on, again: for a turn that was interrupted between
        making them and showing them."""
        texts = enumerate(self._texts[index:], index)
        return [TextChunk(number, text) for number, text in texts]

    def feed(self, step: Single) -> Sequence[Event]:
        """The events that `step` makes: at most one of reasoning, and one of text."""
        if not isinstance(step, Chunk):
            self._attempt = _Attempt()
            self._surrogates = SurrogateJoiner()
            return () if isinstance(step, Again) else (step,)
        text, reasoning = step.text, step.reasoning
        if step.finish_reason is not None or self._attempt.reason is not None or step.usage:
            self._note_end(step)
        elif text or reasoning:
            self._attempt.plain_text = True
        if step.done or step.refusal or step.tool_calls or step.request_id:
            self._note_marks(step)
        if reasoning:
            self._shown = True
            event = Reasoning(without_surrogates(reasoning))
            return (event, *self._text_events(text))
        return self._text_events(text) if text else ()

    def _note_marks(self, chunk: Chunk) -> None:
        attempt = self._attempt
        attempt.request_id = attempt.request_id or chunk.request_id
        attempt.refusal = attempt.refusal or chunk.refusal
        attempt.tool_calls = attempt.tool_calls or chunk.tool_calls
        if chunk.done:
            attempt.whole = chunk.whole
            if attempt.reason is not None:
                attempt.ended = _Ended.SURELY

    def _note_end(self, chunk: Chunk) -> None:
        attempt = self._attempt
        attempt.usage = chunk.usage or attempt.usage
        reason = chunk.finish_reason
        if reason is not None and attempt.unwhole is None:
            attempt.reason = reason
            attempt.unwhole = why_not_whole(
                reason, allow_truncated=self._allow_truncated, also_whole=self._also_whole
            )
        trusted = attempt.plain_text and not attempt.loose
        if not (chunk.text or chunk.reasoning):
            if reason is not None and trusted:
                attempt.ended = _Ended.SURELY
            # One that comes before any text, or again, is said of every chunk.
            attempt.loose = attempt.loose or (reason is not None and not attempt.plain_text)
        elif reason is None:
            attempt.loose = attempt.loose or attempt.reason is not None
            attempt.plain_text = True
            attempt.ended = _Ended.NO
        else:
            attempt.ended = _Ended.IF_CLOSED if trusted else _Ended.NO
            attempt.loose = True

    def close(self) -> Sequence[Event]:
        """The stream ended by itself: what was held back, and the terminal event."""
        held = self._flush()
        cause = self._why_not_whole()
        judged = Judged(cause)
        if cause is None and self._judge is not None:
            judged = self._judge(self.answer)
        if judged.cause is not None:
            return (*held, self._error(judged.cause))
        return (*held, End(**self._outcome(), extracted=judged.extracted, json=judged.json))

    def fail(self, cause: PipechatError) -> Sequence[Event]:
        """The stream broke: what was held back, and the terminal event. A connection that
        breaks after the end has cut nothing."""
        held = self._flush()
        if isinstance(cause, NetworkError) and self._attempt.ended is _Ended.SURELY:
            return (*held, *self.close())
        return (*held, self._error(cause))

    def _text_events(self, text: str) -> Sequence[Event]:
        text = self._surrogates.join(text)
        return self._told(text) if text else ()

    def _told(self, text: str) -> Sequence[Event]:
        if self._first_token_s is None:
            self._first_token_s = self._elapsed()
            self._shown = True
        event = TextChunk(len(self._texts), text)
        self._texts.append(text)
        return (event,)

    def _flush(self) -> Sequence[Event]:
        held = self._surrogates.flush()
        return self._told(held) if held else ()

    def _why_not_whole(self) -> PipechatError | None:
        attempt = self._attempt
        if attempt.unwhole is not None:
            return attempt.unwhole
        if attempt.refusal:
            return refused()
        if attempt.tool_calls:
            return asked_for_tools()
        if attempt.reason is not None and attempt.ended is not _Ended.NO:
            return None
        if attempt.reason is None and attempt.whole and self._texts:
            return None
        if self._texts:
            message = "the answer was cut: the stream ended without a finish reason"
            if attempt.reason is not None:
                message = (
                    f"the answer was cut: the stream ended in its text, at a {attempt.reason!r}"
                )
            return IncompleteError("cut", message, "Ask again.", retryable=True)
        hint = "Check the base URL; some servers answer so when the context is too long."
        return TryLaterError("no_answer", "the server sent no answer", hint, again=False)

    def _outcome(self) -> dict[str, Any]:
        attempt = self._attempt
        return {
            "answer": self.answer,
            "finish_reason": attempt.reason,
            "usage": attempt.usage,
            "first_token_s": self._first_token_s,
            "total_s": self._elapsed(),
            "request_id": attempt.request_id,
        }

    def _error(self, cause: PipechatError) -> Error:
        ours = isinstance(cause, _OURS)
        self.cause = cause
        exit_code = cause.exit_code if ours or not self._texts else ExitCode.INCOMPLETE
        return Error(
            status="partial" if self._texts or ours else "failed",
            code=cause.code,
            exit_code=int(exit_code),
            retryable=cause.retryable,
            message=cause.message,
            **self._outcome(),
        )

    def _elapsed(self) -> float:
        return round(self._clock() - self._started, 6)
