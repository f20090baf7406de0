"""The offline transport: answers inside the process, under the real SDK.

It repeats what would have been asked and how many turns went along, as an event stream in
several chunks with usage figures. The same request always gives the same bytes.
"""

from collections.abc import Iterator
from typing import Any

import httpx2

from pipechat import jsonl


class OfflineTransport(httpx2.BaseTransport):
    """Takes the place of the network."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = jsonl.loads(request.read())
        pieces = _pieces(_answer_to(body["messages"]))
        usage = _usage(body["messages"], len(pieces))
        if not body.get("stream"):
            choice = _choice({"role": "assistant", "content": "".join(pieces)}, "message", "stop")
            return httpx2.Response(
                200,
                headers={"content-type": "application/json"},
                content=jsonl.dumps({"choices": [choice], "usage": usage}),
            )
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=_Events(pieces, usage)
        )


class _Events(httpx2.SyncByteStream):
    def __init__(self, pieces: list[str], usage: dict[str, int]) -> None:
        self._pieces = pieces
        self._usage = usage

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield _event({"choices": [_choice({"content": piece}, "delta", None)]})
        yield _event({"choices": [_choice({}, "delta", "stop")]})
        yield _event({"choices": [], "usage": self._usage})
        yield b"data: [DONE]\n\n"


def _answer_to(messages: list[dict[str, str]]) -> str:
    earlier = sum(message["role"] == "assistant" for message in messages)
    turns = {0: "no earlier turn", 1: "1 earlier turn"}.get(earlier, f"{earlier} earlier turns")
    return f"offline, with {turns}: you asked: {messages[-1]['content']}"


def _pieces(text: str) -> list[str]:
    """Words, each with the space before it, so that the pieces joined are the text."""
    pieces: list[str] = []
    for index, word in enumerate(text.split(" ")):
        pieces.append(word if index == 0 else " " + word)
    return pieces


def _usage(messages: list[dict[str, str]], completion: int) -> dict[str, int]:
    """A token a word."""
    prompt = sum(len(message["content"].split()) for message in messages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _choice(message: dict[str, str], key: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, key: message, "finish_reason": finish_reason}


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: " + jsonl.dumps(payload) + b"\n\n"
