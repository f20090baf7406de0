"""The `messages` of the API, and bodies of requests that hold them. Pure.

Source: the OpenAI API reference, Chat Completions, `messages`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pipechat.foreign.turns import Lost, Piece, Said, text_of, turns_of

_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_READ = {"role", "content", "refusal"}
_TEXTS = {"text", "input_text", "output_text", "refusal"}


def is_message(value: Mapping[str, Any]) -> bool:
    """Whether it is one message."""
    return isinstance(value.get("role"), str)


def is_body(value: Mapping[str, Any]) -> bool:
    """Whether it is the body of a request, or a line of a file to train by."""
    return isinstance(value.get("messages"), list)


def of_messages(values: Iterable[Mapping[str, Any]], lost: Lost) -> Iterator[Piece]:
    """One conversation, of messages."""
    for turn in turns_of(_said(values, lost, ""), lost):
        yield Piece("", "", turn.record())


def of_bodies(values: Iterable[Mapping[str, Any]], lost: Lost) -> Iterator[Piece]:
    """A conversation each."""
    for number, body in enumerate(values):
        model = text_of(body.get("model"))
        for turn in turns_of(_said(body["messages"], lost, model), lost):
            yield Piece(str(number), "", turn.record())


def _said(messages: Iterable[Any], lost: Lost, model: str) -> Iterator[Said]:
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError("a message has no role")
        role = _ROLES.get(message["role"])
        for key in message.keys() - _READ:
            if message[key]:
                lost.add(key)
        if role is None:
            lost.add(f"{message['role']} message")
            continue
        text = _content(message.get("content"), lost) or text_of(message.get("refusal"))
        if text or role == "user":
            yield Said(role, text, model if role == "assistant" else "")


def _content(content: object, lost: Lost) -> str:
    if not isinstance(content, list):
        return text_of(content)
    texts = []
    for part in content:
        kind = text_of(part.get("type")) if isinstance(part, dict) else ""
        if kind in _TEXTS:
            texts.append(text_of(part.get("text")) or text_of(part.get("refusal")))
        else:
            lost.add(kind or "part of no type")
    return "\n".join(texts)
