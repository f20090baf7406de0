"""TurnReducer: chunks in, events out. Pure: no clock but the one handed in, no I/O.

It alone decides whether an answer is whole. The rule (WIRE.md "End", FAULTS §1): an answer is
whole when a finish reason of a whole answer was seen, or when the server said `[DONE]` after a
stated `finish_reason: null`. All else is cut, however politely the connection was closed.
"""

import re
from collections.abc import Callable, Sequence

from pipechat.errors import (
    BugError,
    ExitCode,
    IncompleteError,
    Interrupted,
    NetworkError,
    OutputError,
    PipechatError,
    SessionError,
    TryLaterError,
)
from pipechat.events import Chunk, End, Error, Event, Reasoning, Retry, TextChunk
from pipechat.messages import Usage

_SURROGATES = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Reasons that are no whole answer, in the words of several vendors. Any other is one.
_CUT_REASONS = {
    "length": ("truncated", "the answer reached the token limit"),
    "max_tokens": ("truncated", "the answer reached the token limit"),
    "model_length": ("truncated", "the answer reached the token limit"),
    "content_filter": ("filtered", "the answer was filtered by the provider"),
    "content_filtered": ("filtered", "the answer was filtered by the provider"),
    "safety": ("filtered", "the answer was filtered by the provider"),
    "sensitive": ("filtered", "the answer was filtered by the provider"),
    "refusal": ("refused", "the model refused to answer"),
    "tool_calls": ("tool_calls", "the model asked for a tool, which pipechat does not run"),
    "function_call": ("tool_calls", "the model asked for a tool, which pipechat does not run"),
}
_BROKEN_REASONS = ("error", "abort", "aborted", "cancelled", "canceled", "network_error")


class TurnReducer:
    """One turn's answer as it grows.

    Args:
        clock: seconds, monotonic; read at the start, at the first text and at the end.
        allow_truncated: an answer cut by the token limit counts as whole.
    """

    def __init__(self, clock: Callable[[], float], *, allow_truncated: bool = False) -> None:
        self._clock = clock
        self._started = clock()
        self._allow_truncated = allow_truncated
        self._texts: list[str] = []
        self._high_surrogate = ""
        self._first_token_s: float | None = None
        self._finish_reason: str | None = None
        self._finish_null = False
        self._done = False
        self._refusal = False
        self._tool_calls = False
        self.cause: PipechatError | None = None
        self._usage: Usage | None = None
        self._request_id: str | None = None

    @property
    def answer(self) -> str:
        """The text so far, without a high surrogate that still waits for its other half."""
        return "".join(self._texts)

    def texts_from(self, index: int) -> list[Event]:
        """The text events from number `index` on, again: for a turn that was interrupted between
        making them and showing them."""
        texts = enumerate(self._texts[index:], index)
        return [TextChunk(number, text) for number, text in texts]

    def feed(self, chunk: Chunk | Retry) -> Sequence[Event]:
        """The events that `chunk` makes: at most one of reasoning, and one of text."""
        if isinstance(chunk, Retry):
            return (chunk,)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.finish_reason is not None:
            self._finish_reason = chunk.finish_reason
        self._finish_null = chunk.finish_null or (self._finish_null and not chunk.text)
        self._done = self._done or chunk.done
        self._request_id = self._request_id or chunk.request_id
        self._refusal = self._refusal or chunk.refusal
        self._tool_calls = self._tool_calls or chunk.tool_calls
        if chunk.reasoning:
            reasoning = Reasoning(_without_surrogates(chunk.reasoning))
            return (reasoning, *self._text_events(chunk.text))
        return self._text_events(chunk.text) if chunk.text else ()

    def close(self) -> Sequence[Event]:
        """The stream ended by itself: what was held back, and the terminal event."""
        held = self._flush()
        cause = self._why_not_whole()
        if cause is not None:
            return (*held, self._error(cause))
        return (*held, self._end())

    def fail(self, cause: PipechatError) -> Sequence[Event]:
        """The stream broke: what was held back, and the terminal event. A connection that
        breaks after the finish reason has cut nothing."""
        held = self._flush()
        if isinstance(cause, NetworkError) and self._finish_reason is not None:
            return (*held, *self.close())
        return (*held, self._error(cause))

    def _text_events(self, text: str) -> Sequence[Event]:
        if self._high_surrogate or not text.isascii():
            text = self._join_surrogates(text)
        if not text:
            return ()
        if self._first_token_s is None:
            self._first_token_s = self._elapsed()
        event = TextChunk(len(self._texts), text)
        self._texts.append(text)
        return (event,)

    def _join_surrogates(self, text: str) -> str:
        """A pair cut in two is joined; a high one at the end waits; a lone one is replaced."""
        text = self._high_surrogate + text
        self._high_surrogate = ""
        if not _SURROGATES.search(text):
            return text
        text = _joined_pairs(text)
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high_surrogate = text[-1]
            text = text[:-1]
        return _SURROGATES.sub(_REPLACEMENT, text)

    def _flush(self) -> Sequence[Event]:
        if not self._high_surrogate:
            return ()
        self._high_surrogate = ""
        return self._text_events(_REPLACEMENT)

    def _why_not_whole(self) -> PipechatError | None:
        reason = (self._finish_reason or "").lower()
        if reason in _BROKEN_REASONS:
            return TryLaterError("stream_error", f"the server ended the answer with {reason!r}")
        if reason in _CUT_REASONS:
            code, message = _CUT_REASONS[reason]
            if code != "truncated":
                return IncompleteError(code, message)
            if not self._allow_truncated:
                hint = "Raise --max-tokens, or accept it with --allow-truncated."
                return IncompleteError(code, message, hint)
        if self._refusal:
            return IncompleteError("refused", "the model refused to answer")
        if self._tool_calls:
            return IncompleteError(*_CUT_REASONS["tool_calls"])
        if reason or (self._done and self._finish_null and self._texts):
            return None
        if self._texts:
            message = "the answer was cut: the stream ended without a finish reason"
            return IncompleteError("cut", message, "Ask again.", retryable=True)
        hint = "Check the base URL; some servers answer so when the context is too long."
        return TryLaterError("no_answer", "the server sent no answer", hint, again=False)

    def _end(self) -> End:
        return End(
            status="complete",
            finish_reason=self._finish_reason,
            answer=self.answer,
            usage=self._usage,
            first_token_s=self._first_token_s,
            total_s=self._elapsed(),
            request_id=self._request_id,
        )

    def _error(self, cause: PipechatError) -> Error:
        ours = isinstance(cause, SessionError | OutputError | Interrupted | BugError)
        self.cause = cause
        exit_code = cause.exit_code if ours or not self._texts else ExitCode.INCOMPLETE
        return Error(
            status="partial" if self._texts or ours else "failed",
            code=cause.code,
            exit_code=int(exit_code),
            retryable=cause.retryable,
            message=cause.message,
            answer=self.answer,
            usage=self._usage,
            finish_reason=self._finish_reason,
            first_token_s=self._first_token_s,
            total_s=self._elapsed(),
            request_id=self._request_id,
        )

    def _elapsed(self) -> float:
        return round(self._clock() - self._started, 6)


def _joined_pairs(text: str) -> str:
    return _PAIR.sub(lambda pair: _join(pair[1], pair[2]), text)


def _join(high: str, low: str) -> str:
    return chr(0x10000 + ((ord(high) - 0xD800) << 10) + (ord(low) - 0xDC00))


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATES.sub(_REPLACEMENT, _joined_pairs(text))
