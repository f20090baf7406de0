"""The offline sender: answers inside the process, with no network and no SDK.

It repeats what would have been asked and how many turns went along, as an event stream in
several chunks with usage figures. The same request always gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipechat import jsonl
from pipechat.client.exchange import Request, Response, Segments, in_one


class OfflineSender:
    """Takes the place of the network."""

    def send(self, request: Request) -> Response:
        """As `Sender.send`."""
        messages = request.body["messages"]
        pieces = _pieces(_answer_to(messages))
        usage = _usage(messages, len(pieces))
        if request.body.get("stream"):
            kind, segments = "text/event-stream", _events(pieces, usage)
        else:
            kind, segments = "application/json", in_one(_document(pieces, usage))
        return Response(200, {"content-type": kind}, segments)


def _document(pieces: Sequence[str], usage: dict[str, int]) -> bytes:
    choice = _choice({"role": "assistant", "content": "".join(pieces)}, "message", "stop")
    return jsonl.dumps({"choices": [choice], "usage": usage})


def _events(pieces: Sequence[str], usage: dict[str, int]) -> Segments:
    for piece in pieces:
        yield _event({"choices": [_choice({"content": piece}, "delta", None)]})
    yield _event({"choices": [_choice({}, "delta", "stop")]})
    yield _event({"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _said(message: Mapping[str, Any]) -> str:
    """The text of a message; of its parts, those that are text."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n\n".join(part["text"] for part in content if part["type"] == "text")


def _answer_to(messages: Sequence[Mapping[str, Any]]) -> str:
    earlier = sum(message["role"] == "assistant" for message in messages)
    turns = {0: "no earlier turn", 1: "1 earlier turn"}.get(earlier, f"{earlier} earlier turns")
    return f"offline, with {turns}: you asked: {_said(messages[-1])}"


def _pieces(text: str) -> list[str]:
    """Words, each with the space before it, so that the pieces joined are the text."""
    pieces: list[str] = []
    for index, word in enumerate(text.split(" ")):
        pieces.append(word if index == 0 else " " + word)
    return pieces


def _usage(messages: Sequence[Mapping[str, Any]], completion: int) -> dict[str, int]:
    """A token a word."""
    prompt = sum(len(_said(message).split()) for message in messages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _choice(message: dict[str, str], key: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, key: message, "finish_reason": finish_reason}


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: " + jsonl.dumps(payload) + b"\n\n"
