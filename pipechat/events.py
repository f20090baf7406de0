"""What happens in a turn: the chunks that come in and the events that go out.

The event schema (DESIGN §5) is these classes: `pipechat schema event` is made from them.
Knows no stream, no file and no SDK.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pipechat.errors import PipechatError
from pipechat.messages import Outcome, Usage

EVENTS_VERSION = 1


class Chunk(NamedTuple):
    """One step of a server's answer, whatever shape it had on the wire.

    `done`: the server said that nothing more comes. `whole`: and that, in this dialect, is a
    whole answer even without a finish reason. `model`, `tier`: who answered and how it was served,
    where the server says so beside the usage.
    """

    text: str = ""
    reasoning: str = ""
    refusal: bool = False
    tool_calls: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    done: bool = False
    whole: bool = False
    request_id: str | None = None
    model: str | None = None
    tier: str | None = None


class Told(NamedTuple):
    """What became known of the cost of one request. `model`, `tier`: as in Chunk. `sent`: it may
    have reached the server. `refused`: the server said by its status that there is no answer."""

    usage: Usage | None = None
    model: str | None = None
    tier: str | None = None
    sent: bool = True
    refused: bool = False


class Together(NamedTuple):
    """Chunks that came in one piece: what they make is kept and shown at once. Never none."""

    chunks: Sequence[Chunk]


class Judged(NamedTuple):
    """What a whole answer is to who asked for more than text: its value, the text to show, or
    why it is not what was asked for."""

    cause: PipechatError | None = None
    extracted: str | None = None
    json: Any = None


class Again(NamedTuple):
    """The request is sent once more, at once and otherwise put: no event, but a new attempt."""


class Start(NamedTuple):
    """A request is about to be made, or an answer to be told again from the record (`replayed`).
    Turns counted are earlier turns of the session."""

    id: str
    time: str
    session: str | None
    model: str
    turns_sent: int
    turns_dropped: int
    replayed: bool = False

    def record(self) -> dict[str, Any]:
        return {"type": "start", "v": EVENTS_VERSION, **self._asdict()}


class Retry(NamedTuple):
    """The request failed before any text and is sent again after `wait_s` seconds."""

    attempt: int
    wait_s: float
    status: int | None
    code: str

    def record(self) -> dict[str, Any]:
        return {"type": "retry", **self._asdict()}


class Fallback(NamedTuple):
    """All tries failed before any text, the last one with `code`; `to` is asked instead: a
    profile, or a model."""

    to: str
    code: str

    def record(self) -> dict[str, Any]:
        return {"type": "fallback", **self._asdict()}


class Reasoning(NamedTuple):
    """What the model thought aloud; no part of the answer."""

    text: str

    def record(self) -> dict[str, Any]:
        return {"type": "reasoning", "text": self.text}


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the answer. `index` counts from 0."""

    index: int
    text: str

    def record(self) -> dict[str, Any]:
        return {"type": "chunk", "index": self.index, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Outcome):
    """The answer is whole."""

    status: Literal["complete"] = "complete"
    total_s: float
    extracted: str | None = None
    json: Any = None

    exit_code: ClassVar[int] = 0

    def record(self) -> dict[str, Any]:
        first = {"type": "end", "status": self.status, "finish_reason": self.finish_reason}
        return {**first, **self.outcome(), "extracted": self.extracted, "json": self.json}


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(Outcome):
    """The turn failed, or its answer is not whole; `answer` is what came."""

    status: Literal["partial", "failed"]
    code: str
    exit_code: int
    retryable: bool
    message: str
    total_s: float

    def record(self) -> dict[str, Any]:
        first = {"type": "error", "status": self.status, "code": self.code}
        more = {"exit_code": self.exit_code, "retryable": self.retryable, "message": self.message}
        return {**first, **more, **self.outcome()}


TerminalEvent = End | Error
Single = Chunk | Retry | Fallback | Again
Step = Single | Together
Event = Start | Retry | Fallback | Reasoning | TextChunk | End | Error


class Judge(Protocol):
    """Who judges an answer while it comes: the reducer.

    `may_send_again`: another attempt could not double anything that was shown. `has_ended`: the
    answer has come to its sure end, and only usage and a last word can follow.
    """

    def may_send_again(self) -> bool: ...
    def has_ended(self) -> bool: ...


class Sink(Protocol):
    """Shows events, those that came together in one call; a terminal one comes alone. Raises
    OutputError or ReaderLeft where it cannot."""

    def emit(self, *events: Event) -> None: ...


def text_of(events: Sequence[Event]) -> str:
    """What of the answer stands in events that came together."""
    if len(events) == 1:  # as most are
        return events[0].text if isinstance(events[0], TextChunk) else ""
    return "".join([event.text for event in events if isinstance(event, TextChunk)])
