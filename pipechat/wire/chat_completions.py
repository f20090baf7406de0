"""What a decoded payload of the stream says: JSON values in, chunks out.

Every shape of WIRE.md is taken; what has another type than the API documents is an error,
never a crash. Pure.
"""

from collections.abc import Mapping
from typing import Any

from pipechat.errors import TryLaterError
from pipechat.events import Chunk
from pipechat.wire.api_errors import stream_error

_EMPTY = Chunk()


def malformed(what: str) -> TryLaterError:
    """The error for a stream that is not what the API documents. Not sent again: a server
    that talks nonsense once does so again. Once text came it makes the turn incomplete."""
    return TryLaterError("malformed_stream", f"the server sent {what}", again=False)


def read_payload(payload: object, *, host: str) -> Chunk:
    """Read one data payload, or one whole `chat.completion`.

    Raises:
        PipechatError: the payload carries an `error`, or is no completion chunk.
    """
    if not isinstance(payload, dict):
        raise malformed("data that is no JSON object")
    if payload.get("error"):
        raise stream_error(payload["error"], host=host)
    usage = payload.get("usage")
    if not isinstance(usage, dict) or not usage:
        usage = None
    choices = payload.get("choices")
    if not choices:
        if choices is None and usage is None and _is_error_without_its_key(payload):
            raise stream_error(payload, host=host)
        return Chunk(usage=usage) if usage else _EMPTY
    choice = _first_choice(choices)
    if choice is None:
        return Chunk(usage=usage) if usage else _EMPTY
    delta = choice.get("delta") or choice.get("message")
    reason = choice.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise malformed("a finish_reason that is no text")
    finish_null = reason is None and "finish_reason" in choice
    if not delta:
        return Chunk(finish_reason=reason or None, finish_null=finish_null, usage=usage)
    if not isinstance(delta, dict):
        raise malformed("a delta that is no object")
    content = delta.get("content")
    text = content if isinstance(content, str) else _text(content)
    if len(delta) == 1 and content is not None:  # the shape of nearly every chunk
        return Chunk(text, "", False, False, reason or None, finish_null, usage)
    refusal = _text(delta.get("refusal"))
    return Chunk(
        text=text + refusal,
        reasoning=_text(delta.get("reasoning_content")) or _text(delta.get("reasoning")),
        refusal=bool(refusal),
        tool_calls=bool(delta.get("tool_calls") or delta.get("function_call")),
        finish_reason=reason or None,
        finish_null=finish_null,
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


def _text(value: object) -> str:
    """Text as it comes: a string, nothing, or a list of parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part) for part in value)
    raise malformed("text of another type")


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return _text(part.get("text"))
    raise malformed("a part of another type")


def _is_error_without_its_key(payload: Mapping[str, Any]) -> bool:
    return payload.get("object") == "error" or (
        "choices" not in payload and ("message" in payload or "detail" in payload)
    )
