"""What happens in a turn: the chunks that come in and the events that go out.

The event schema (DESIGN §5) is these classes: `pipechat schema event` is made from them.
Knows no stream, no file and no SDK.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pipechat.messages import Usage

EVENTS_VERSION = 1


class Chunk(NamedTuple):
    """One step of a server's answer, whatever shape it had on the wire.

    `finish_null`: the choice carried `finish_reason: null`, stated rather than missing.
    `done`: the server said that nothing more comes (`[DONE]`, or a whole JSON body).
    """

    text: str = ""
    reasoning: str = ""
    refusal: bool = False
    tool_calls: bool = False
    finish_reason: str | None = None
    finish_null: bool = False
    usage: Usage | None = None
    done: bool = False
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A request is about to be made. Turns counted are earlier turns of the session."""

    id: str
    time: str
    session: str | None
    model: str
    turns_sent: int
    turns_dropped: int

    def record(self) -> dict[str, Any]:
        return {"type": "start", "v": EVENTS_VERSION, **_fields(self)}


@dataclass(frozen=True, slots=True)
class Retry:
    """The request failed before any text and is sent again after `wait_s` seconds."""

    attempt: int
    wait_s: float
    status: int | None
    code: str

    def record(self) -> dict[str, Any]:
        return {"type": "retry", **_fields(self)}


@dataclass(frozen=True, slots=True)
class Reasoning:
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


@dataclass(frozen=True, slots=True)
class End:
    """The answer is whole."""

    status: Literal["complete"]
    finish_reason: str | None
    answer: str
    usage: Usage | None
    first_token_s: float | None
    total_s: float
    request_id: str | None

    exit_code: ClassVar[int] = 0

    def record(self) -> dict[str, Any]:
        return {"type": "end", **_fields(self)}


@dataclass(frozen=True, slots=True)
class Error:
    """The turn failed, or its answer is not whole; `answer` is what came."""

    status: Literal["partial", "failed"]
    code: str
    exit_code: int
    retryable: bool
    message: str
    answer: str
    usage: Usage | None
    finish_reason: str | None
    first_token_s: float | None
    total_s: float
    request_id: str | None

    def record(self) -> dict[str, Any]:
        return {"type": "error", **_fields(self)}


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


Terminal = End | Error
Event = Start | Retry | Reasoning | TextChunk | End | Error


class Sink(Protocol):
    """Shows the events. Raises OutputError or ReaderLeft where it cannot."""

    def emit(self, event: Event) -> None: ...
