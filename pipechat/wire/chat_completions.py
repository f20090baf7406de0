"""The dialect of `/chat/completions`: a request as its JSON, a response's events as chunks.

Every shape of WIRE.md is taken; what has another type than the API documents is an error,
never a crash. Owns what `[DONE]` and a stated `finish_reason: null` mean. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipechat.events import Chunk
from pipechat.messages import AnswerFormat, ChatRequest, Message
from pipechat.wire.api_errors import (
    decoded,
    is_error_without_its_key,
    malformed,
    no_object,
    shown_value,
    stream_error,
)
from pipechat.wire.origin import with_origin
from pipechat.wire.sse import ServerEvent

_EMPTY = Chunk()
_LONGEST_DONE = 16  # with blanks around it; the length is checked first, it is quicker
_DEEPEST = 8  # parts within parts: no answer is nested, an attack is


class ChatCompletions:
    """Chat Completions, as the vendor documents it and others speak it."""

    name = "chat"
    path = "/chat/completions"
    own_parameters: tuple[str, ...] = ("stream_options",)
    format_parameters: tuple[str, ...] = (
        "response_format", "json_schema", "json_object", "structured output", "json mode",
    )  # fmt: skip

    def body(self, request: ChatRequest, format_index: int = 0) -> dict[str, Any]:
        """As `Dialect.body`."""
        messages = list(request.messages)
        if request.system_role != "system":
            from pipechat.wire.system_role import spoken_as

            messages = spoken_as(request.system_role, messages)
        body: dict[str, Any] = {"model": request.model, "messages": messages}
        if request.formats:
            body |= _formatted(body["messages"], request.formats[format_index])
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return {**body, **request.options}

    def reader(self, host: str, asked: Mapping[str, Any]) -> "ChatReader":  # noqa: ARG002 — of `Dialect`
        """As `Dialect.reader`."""
        return ChatReader(host)


def _formatted(messages: list[Message], wanted: AnswerFormat) -> dict[str, Any]:
    """The fields of the body that ask for `wanted`, with `messages` that ask for it too where
    the API does not know the schema."""
    if wanted.kind == "json_schema":
        named = {"name": "answer", "strict": wanted.strict, "schema": wanted.schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    from pipechat.wire.in_words import asked_in_words

    fields = {"response_format": {"type": "json_object"}} if wanted.kind == "json_object" else {}
    return {"messages": asked_in_words(messages, wanted), **fields}


class ChatReader:
    """One response's events in, chunks out.

    Whole without a finish reason is an answer whose last text came with `finish_reason: null`,
    stated rather than missing, where the server then says `[DONE]`.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._null_stated = False

    def event(self, event: ServerEvent) -> Chunk:
        """The chunk that one server-sent event makes.

        Raises:
            PipechatError: the event carries an error, or is none of this dialect.
        """
        data = event.data
        if len(data) < _LONGEST_DONE and data.strip() == b"[DONE]":
            return Chunk(done=True, whole=self._null_stated)
        payload = decoded(data, host=self._host, is_error=event.name == "error")
        chunk, stated = _read(payload, self._host)
        if chunk.usage is not None:
            chunk = with_origin(chunk, payload)
        is_ours = isinstance(payload, dict) and not payload.keys().isdisjoint(("choices", "usage"))
        self._null_stated = stated or (self._null_stated and is_ours and not chunk.text)
        return chunk

    def document(self, data: bytes) -> Iterator[Chunk]:
        """The chunks of one whole `chat.completion`.

        Raises:
            PipechatError: it is none, or it carries an error.
        """
        payload = decoded(data, host=self._host)
        chunk, _ = _read(payload, self._host)
        if not isinstance(payload, dict) or not payload.get("choices"):
            raise malformed(f"JSON that is no completion: {shown_value(payload)}")
        yield with_origin(chunk, payload)
        yield Chunk(done=True, whole=chunk.finish_reason is None)


def read_payload(payload: object, *, host: str) -> Chunk:
    """Read one data payload, or one whole `chat.completion`.

    Raises:
        PipechatError: the payload carries an `error`, or is no completion chunk.
    """
    return _read(payload, host)[0]


def _read(payload: object, host: str) -> tuple[Chunk, bool]:
    """The chunk, and whether its choice stated `finish_reason: null`."""
    if not isinstance(payload, dict):
        raise no_object(payload, host=host)
    if payload.get("error"):
        raise stream_error(payload["error"], host=host)
    usage = payload.get("usage")
    if not isinstance(usage, dict) or not usage:
        usage = None
    choices = payload.get("choices")
    if not choices:
        if usage is None and is_error_without_its_key(payload):
            raise stream_error(payload, host=host)
        return Chunk(usage=usage) if usage else _EMPTY, False
    choice = _first_choice(choices)
    if choice is None:
        return Chunk(usage=usage) if usage else _EMPTY, False
    if choice.get("error"):
        raise stream_error(choice["error"], host=host)
    reason = choice.get("finish_reason")
    if reason == "null":  # one server sends the word
        reason = None
    if reason is not None and not isinstance(reason, str):
        raise malformed("a finish_reason that is no text")
    stated = not reason and "finish_reason" in choice
    delta = choice.get("delta") or choice.get("message")
    if not delta and isinstance(choice.get("text"), str):
        delta = {"content": choice["text"]}  # the shape of the older completions
    if not delta:
        return Chunk(finish_reason=reason or None, usage=usage), stated
    if not isinstance(delta, dict):
        raise malformed("a delta that is no object")
    content = delta.get("content")
    text = content if isinstance(content, str) else _text(content)
    if len(delta) == 1 and isinstance(content, str):  # the shape of nearly every chunk
        return Chunk(text, "", False, False, reason or None, usage), stated
    return _rich_chunk(delta, text, reason or None, usage), stated


def _rich_chunk(
    delta: Mapping[str, Any], text: str, reason: str | None, usage: Mapping[str, Any] | None
) -> Chunk:
    refusal = _text(delta.get("refusal"))
    content = delta.get("content")
    if isinstance(content, list):
        parts = (part.get("refusal") for part in content if isinstance(part, Mapping))
        refusal += "".join(part for part in parts if isinstance(part, str))
    return Chunk(
        text=text + refusal,
        reasoning=_text(delta.get("reasoning_content")) or _text(delta.get("reasoning")),
        refusal=bool(refusal),
        tool_calls=bool(delta.get("tool_calls") or delta.get("function_call")),
        finish_reason=reason,
        usage=usage,
    )


def _first_choice(choices: object) -> dict[str, Any] | None:
    """The choice with index 0: with `-O n=2` the others come in between."""
    if not isinstance(choices, list):
        raise malformed("choices that are no list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise malformed("a choice that is no object")
        if not choice.get("index"):
            return choice
    return None


def _text(value: object, depth: int = 0) -> str:
    """Text as it comes: a string, nothing, or a list of parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth < _DEEPEST:
        return "".join(_part(part, depth + 1) for part in value)
    raise malformed("text of another type")


def _part(part: object, depth: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return _text(part.get("text"), depth)
    raise malformed("a part of another type")
