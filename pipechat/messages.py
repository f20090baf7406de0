"""What is said: messages, requests, turns, and what a turn cost.

Owns the types that the rest passes around; knows no file, no stream and no SDK.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypedDict

Role = Literal["system", "developer", "user", "assistant"]
SystemRole = Literal["system", "developer", "user"]
TurnStatus = Literal["complete", "partial", "failed"]

_LARGEST_S = 1e15

Usage = Mapping[str, Any]
"""Tokens as the server reported them: `prompt_tokens`, `completion_tokens`, `total_tokens`,
and whatever else it adds. Source: the OpenAI API reference, `CompletionUsage`."""


Content = str | list[dict[str, Any]]
"""What a message says: a text, or parts as the API has them, where files go along."""


class Message(TypedDict):
    """One entry of a request's `messages`, in the API's own shape."""

    role: Role
    content: Content


class TurnError(TypedDict):
    """Why a turn is not complete: the code that stderr named, and its message."""

    code: str
    message: str


_NOTHING_MORE: Mapping[str, Any] = {}


class AnswerFormat(NamedTuple):
    """How an answer is asked to match a schema: by the API's own structured output, by its JSON
    mode and an instruction, or by the instruction alone."""

    kind: Literal["json_schema", "json_object", "prompt"]
    schema: Mapping[str, Any]
    strict: bool = False


class ChatRequest(NamedTuple):
    """What is asked of a model, in no dialect yet.

    `options` are further fields of the body (temperature, max_tokens, what -O gave), sent as
    they are. `formats`: the first that the server does not refuse holds. `system_role`: as whom
    the system message is said.
    """

    model: str
    messages: Sequence[Message]
    stream: bool = True
    options: Mapping[str, Any] = _NOTHING_MORE
    formats: Sequence[AnswerFormat] = ()
    system_role: SystemRole = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request, whole or not: its text, how it ended, what it cost.

    Seconds count from the start of the turn; `finish_reason` is in the server's words.
    """

    answer: str
    usage: Usage | None = None
    finish_reason: str | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    request_id: str | None = None

    def outcome(self) -> "dict[str, Any]":
        """The fields of this class alone, by name."""
        return {name: getattr(self, name) for name in Outcome.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Outcome):
    """One question and what became of it: a record of a session file.

    `turn_tokens`: what this turn alone adds to a context, in tokens, where the server's
    figures told it. `time` is RFC 3339 in UTC. `request`: the hash of what was asked.
    `schema`: the `sha256` of the schema, and whether the answer `matched`.
    `files`: name, size, hash and type of each that went along. `once`: the `key` of --once, and
    the hash of what was asked by itself, earlier turns aside, as `request`. Of a batch: `item` is
    the id of what was asked, and `attempts` how many requests it took. `api`: the dialect that it
    was asked by. `context`: a mark, that is a later record of the same turn, says whether it goes
    along with later questions.
    """

    id: str
    time: str
    status: TurnStatus
    model: str
    question: str
    system: str | None = None
    error: TurnError | None = None
    turn_tokens: int | None = None
    request: str | None = None
    schema: Mapping[str, Any] | None = None
    files: Sequence[Mapping[str, Any]] | None = None
    once: Mapping[str, Any] | None = None
    item: str | None = None
    attempts: int | None = None
    api: str | None = None
    context: bool | None = None

    def record(self) -> dict[str, Any]:
        """The record as it stands in the file, keys in their documented order."""
        return {
            "v": 1,
            "id": self.id,
            "time": self.time,
            "status": self.status,
            "model": self.model,
            "system": self.system,
            "question": self.question,
            "answer": self.answer,
            "finish_reason": self.finish_reason,
            "usage": self.usage,
            "first_token_s": self.first_token_s,
            "total_s": self.total_s,
            "error": self.error,
            "request_id": self.request_id,
            "turn_tokens": self.turn_tokens,
            "request": self.request,
            "schema": self.schema,
            "files": self.files,
            "once": self.once,
            "item": self.item,
            "attempts": self.attempts,
            "api": self.api,
            "context": self.context,
        }

    @property
    def is_context(self) -> bool:
        """Whether it may go along with later questions: whole, unless a mark says otherwise, and
        nothing of it blank, which servers refuse."""
        wanted = self.status == "complete" if self.context is None else self.context
        return wanted and bool(self.question.strip() and self.answer.strip())

    @classmethod
    def from_record(cls, record: object) -> "Turn":
        """Read a record. Unknown keys are passed over, and so are fields of another type that a
        turn can do without.

        Raises:
            ValueError: it is not a turn: no object, or without id, status, question or answer.
        """
        if not isinstance(record, dict):
            raise ValueError("not an object")
        for key in ("id", "question", "answer"):
            if not isinstance(record.get(key), str):
                raise ValueError(f"no {key}")
        if record.get("status") not in ("complete", "partial", "failed"):
            raise ValueError("no status")
        return cls(
            id=record["id"],
            time=_of(record, "time", str) or "",
            status=record["status"],
            model=_of(record, "model", str) or "",
            question=record["question"],
            answer=record["answer"],
            system=_of(record, "system", str),
            finish_reason=_of(record, "finish_reason", str),
            usage=_of(record, "usage", dict),
            first_token_s=_of(record, "first_token_s", float),
            total_s=_of(record, "total_s", float),
            error=_of(record, "error", dict),
            request_id=_of(record, "request_id", str),
            turn_tokens=_of(record, "turn_tokens", int),
            request=_of(record, "request", str),
            schema=_of(record, "schema", dict),
            files=_of(record, "files", list),
            once=_of(record, "once", dict),
            item=_of(record, "item", str),
            attempts=_of(record, "attempts", int),
            api=_of(record, "api", str),
            context=_flag(record, "context"),
        )


class Summary(NamedTuple):
    """A session in one line. `turns` counts lines, without marks; `last_time` is RFC 3339, or ""
    where there is no turn; `size` is in bytes."""

    name: str
    turns: int
    last_time: str
    size: int
    first_question: str


def _of(record: Mapping[str, Any], key: str, kind: type) -> Any:
    """An optional field: absent where it is of another type, since it makes no turn unreadable."""
    value = record.get(key)
    if isinstance(value, bool):
        return None
    if kind is float and isinstance(value, int | float):
        # JSON's numbers may be larger than any float.
        return float(value) if abs(value) < _LARGEST_S else None
    return value if isinstance(value, kind) else None


def _flag(record: Mapping[str, Any], key: str) -> bool | None:
    """An optional switch: absent where it is neither true nor false."""
    value = record.get(key)
    return value if isinstance(value, bool) else None


def new_turn_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): ids sort by time. `uuid.uuid7` comes only with Python 3.14."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now() -> str:
    """The time in UTC, RFC 3339, to the millisecond: `2026-11-23T09:15:00.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
