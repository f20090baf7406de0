"""What an OpenAI-compatible server says: chunks, events, completions, errors; and good replies.

Pure functions. Payloads are dicts in the API's shape; `event` and `sse` make bytes of them;
`answer`, `stream_reply`, `completion_reply`, `json_reply`, `error_reply`, `text_reply` and
`redirect` make whole Replies.
"""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tests.servers.reply import Framing, Reply, http_reply
from tests.servers.steps import Part, Send, Step, Wait

ID = "chatcmpl-test"
MODEL = "test-model"
CREATED = 1_790_000_000
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DONE = b"data: [DONE]\n\n"
_ABSENT: Any = object()

Payload = dict[str, Any] | str | bytes
"""A dict (made JSON), or text that stands in the `data:` line as it is."""


def chunk(
    content: Any = _ABSENT,
    role: str | None = None,
    finish_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    delta: Any = _ABSENT,
    **extra: Any,
) -> dict[str, Any]:
    """A `chat.completion.chunk` with one choice; `content` left out is absent, None is null.

    `delta` replaces the whole delta (any type); `extra` are top-level keys, which may replace
    others (`choices=[]`, `id=""`).
    """
    built: dict[str, Any] = {"role": role} if role is not None else {}
    if content is not _ABSENT:
        built["content"] = content
    choice = {"index": 0, "delta": built if delta is _ABSENT else delta}
    record: dict[str, Any] = {
        "id": ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice | {"finish_reason": finish_reason}],
    }
    if usage is not None:
        record["usage"] = dict(usage)
    return record | extra


def usage_chunk(usage: Mapping[str, Any] = USAGE) -> dict[str, Any]:
    """The chunk after the finish: no choices, only usage."""
    return chunk(usage=usage, choices=[])


def event(payload: Payload) -> bytes:
    """`data: …` and an empty line."""
    if isinstance(payload, dict):
        payload = json.dumps(payload, separators=(",", ":"))
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    return b"data: " + payload + b"\n\n"


def done() -> bytes:
    """The end marker, `data: [DONE]`."""
    return DONE


def sse(*payloads: Payload, done: bool = True) -> bytes:
    """Several events as one body, with the end marker unless told otherwise."""
    return b"".join(map(event, payloads)) + (DONE if done else b"")


def split(text: str, pieces: int) -> list[str]:
    """The text in at most `pieces` nearly equal pieces, none of them empty."""
    count = max(1, min(pieces, len(text)))
    bounds = [len(text) * at // count for at in range(count + 1)]
    return [text[start:end] for start, end in pairwise(bounds)]


def answer_events(
    text: str,
    *,
    pieces: int = 4,
    usage: bool | Mapping[str, Any] = True,
    finish_reason: str | None = "stop",
    done: bool = True,
) -> list[bytes]:
    """The events of a normal answer: role, the text in pieces, finish, usage, `[DONE]`."""
    events = [event(chunk("", role="assistant"))]
    events += [event(chunk(piece)) for piece in split(text, pieces)]
    events.append(event(chunk(finish_reason=finish_reason)))
    if usage:
        events.append(event(usage_chunk(USAGE if usage is True else usage)))
    return [*events, DONE] if done else events


def answer(
    text: str,
    pieces: int = 4,
    usage: bool | Mapping[str, Any] = True,
    *,
    finish_reason: str | None = "stop",
    done: bool = True,
    gap: float = 0.0,
    framing: Framing = "chunked",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A normal good answer as a stream, one Send an event, `gap` seconds between them."""
    events = answer_events(text, pieces=pieces, usage=usage, finish_reason=finish_reason, done=done)
    steps: list[Step] = []
    for data in events:
        steps += [Wait(gap), Send(data)] if gap and steps else [Send(data)]
    return stream_reply(*steps, framing=framing, headers=headers)


def stream_reply(
    *parts: Part | dict[str, Any],
    status: int = 200,
    framing: Framing = "chunked",
    headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> Reply:
    """An event stream of these parts: dicts become events; bytes and steps stay as they are."""
    body = [event(part) if isinstance(part, dict) else part for part in parts]
    content_type = "text/event-stream; charset=utf-8"
    return http_reply(
        status, *body, content_type=content_type, headers=headers, framing=framing, length=length
    )


def completion(
    text: Any,
    *,
    finish_reason: str | None = "stop",
    usage: Mapping[str, Any] | None = USAGE,
    **extra: Any,
) -> dict[str, Any]:
    """A whole `chat.completion`, as it comes without streaming."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    record = {"id": ID, "object": "chat.completion", "created": CREATED, "model": MODEL}
    return record | {"choices": [choice], "usage": dict(usage) if usage else None} | extra


def json_reply(
    status: int, body: Any, headers: Mapping[str, str] | None = None, framing: Framing | None = None
) -> Reply:
    """A JSON body."""
    data = json.dumps(body).encode()
    framing = framing or "content_length"
    return http_reply(
        status, data, content_type="application/json", headers=headers, framing=framing
    )


def error_reply(
    status: int,
    message: str = "It went wrong.",
    type: str | None = None,
    code: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """`{"error": {"message", "type", "param", "code"}}`, as OpenAI's servers say it."""
    error = {"message": message, "type": type, "param": None, "code": code}
    return json_reply(status, {"error": error}, headers)


def text_reply(
    status: int,
    content_type: str,
    body: str | bytes,
    headers: Mapping[str, str] | None = None,
    framing: Framing = "content_length",
) -> Reply:
    """Any other body: HTML, plain text, problem+json."""
    data = body.encode() if isinstance(body, str) else body
    return http_reply(status, data, content_type=content_type, headers=headers, framing=framing)


def redirect(status: int, location: str) -> Reply:
    """301, 302, 303, 307 or 308 to another address."""
    return http_reply(status, headers={"location": location})
