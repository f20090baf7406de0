"""What a server of the Responses API says: its events, and good replies. Pure."""

from collections.abc import Mapping
from typing import Any

from tests.servers.reply import Reply
from tests.servers.sse import json_reply, split, stream_reply

ASKED = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}


def message(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """An output item with these parts."""
    return {"type": "message", "role": "assistant", "status": "completed", "content": list(parts)}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def whole(text: str | None = None, **more: Any) -> dict[str, Any]:
    """A response as its end has it; without a text, without output."""
    output = [] if text is None else [message(text_part(text))]
    record = {"object": "response", "status": "completed", "error": None, "usage": dict(ASKED)}
    return record | {"incomplete_details": None, "output": output} | more


def delta(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "delta": text}


def text_done(text: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.done",
        "output_index": 0,
        "content_index": 0,
        "text": text,
    }


def ended(response: Mapping[str, Any], kind: str = "completed") -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": dict(response)}


def begun() -> list[dict[str, Any]]:
    """What comes before the first text."""
    return [
        {"type": "response.created", "response": whole(status="in_progress", usage=None)},
        {"type": "response.in_progress", "response": whole(status="in_progress", usage=None)},
        {"type": "response.output_item.added", "item": message()},
        {"type": "response.content_part.added", "part": text_part("")},
    ]


def spoken(text: str, pieces: int = 4, **more: Any) -> Reply:
    """A normal good answer as a stream; `more` are keys of the response at its end."""
    deltas = [delta(piece) for piece in split(text, pieces)]
    return stream_reply(*begun(), *deltas, text_done(text), ended(whole(text, **more)))


def response_reply(text: str, **more: Any) -> Reply:
    """The same as one document."""
    return json_reply(200, whole(text, **more))
