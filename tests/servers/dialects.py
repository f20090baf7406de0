"""What a server says in the words of no dialect, and how each dialect says it. Pure.

`said("chat", Text("Hi"), End())` and `said("responses", Text("Hi"), End())` are the same answer.
Bytes and steps between them stay as they are.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers import responses
from tests.servers.reply import Reply
from tests.servers.sse import chunk, completion, done, json_reply, stream_reply, usage_chunk
from tests.servers.steps import Step, flatten

APIS = ("chat", "responses")


@dataclass(frozen=True)
class Text:
    """A piece of the answer; of another type where a server gets it wrong."""

    text: Any


@dataclass(frozen=True)
class Reasoning:
    text: str


@dataclass(frozen=True)
class Refusal:
    text: str


@dataclass(frozen=True)
class Tool:
    """The model asks for a tool."""


@dataclass(frozen=True)
class Begin:
    """What comes before the first text, and comes by itself where a text follows."""


@dataclass(frozen=True)
class End:
    """The end: `stop`, `length`, `content_filter` or `tool_calls`; `usage` in the words of Chat
    Completions."""

    reason: str = "stop"
    usage: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Done:
    """Chat Completions' end marker, which some say in the other dialect too."""


Words = Text | Reasoning | Refusal | Tool | Begin | End | Done
Part = Words | bytes | Step
Form = Callable[[bytes], Iterable[bytes | Step]]
"""What is made of the bytes of each event before they are sent."""


def said(api: str, *parts: Part, form: Form | None = None) -> list[Step]:
    """The parts as the dialect `api` says them, for `stream_reply`."""
    speaker: _Speaker = _Chat() if api == "chat" else _Responses()
    steps: list[bytes | Step] = []
    for part in parts:
        if isinstance(part, bytes | Step):
            steps.append(part)
            continue
        for data in speaker.say(part):
            steps.extend(form(data) if form else [data])
    return list(flatten(steps))


def spoken(api: str, *parts: Part, form: Form | None = None, **more: Any) -> Reply:
    """An event stream of the parts; `more` as of `stream_reply`."""
    return stream_reply(*said(api, *parts, form=form), **more)


def document(api: str, text: str, usage: Mapping[str, Any] | None = None) -> Reply:
    """The answer in one JSON document, as it comes without streaming."""
    if api == "chat":
        return json_reply(200, completion(text, usage=usage))
    return json_reply(200, responses.whole(text, usage=_renamed(usage)))


class _Speaker:
    def __init__(self) -> None:
        self._begun = False

    def say(self, part: Words) -> Iterable[bytes]:
        """The bytes of each event that says `part`."""
        if isinstance(part, Done):
            return [done()]
        before = [] if self._begun else [Begin()]
        self._begun = True
        parts = [*before, *([] if isinstance(part, Begin) else [part])]
        return [self.written(event) for each in parts for event in self.events(each)]

    def events(self, part: Words) -> Iterable[dict[str, Any]]:
        raise NotImplementedError

    def written(self, event: Mapping[str, Any]) -> bytes:
        data = json.dumps(event, separators=(",", ":")).encode()
        return b"data: " + data + b"\n\n"


class _Chat(_Speaker):
    def events(self, part: Words) -> Iterable[dict[str, Any]]:
        match part:
            case Begin():
                yield chunk("", role="assistant")
            case Text(text):
                yield chunk(text)
            case Reasoning(text):
                yield chunk(delta={"reasoning_content": text})
            case Refusal(text):
                yield chunk(delta={"refusal": text})
            case Tool():
                call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
                yield chunk(delta={"tool_calls": [call]})
            case End(reason, usage):
                yield chunk(finish_reason=reason)
                if usage is not None:
                    yield usage_chunk(usage)


class _Responses(_Speaker):
    """Each event also with its name in front, as the vendor sends it."""

    def __init__(self) -> None:
        super().__init__()
        self._content: list[dict[str, Any]] = []
        self._items: list[dict[str, Any]] = []

    def written(self, event: Mapping[str, Any]) -> bytes:
        return f"event: {event['type']}\n".encode() + super().written(event)

    def events(self, part: Words) -> Iterable[dict[str, Any]]:
        match part:
            case Begin():
                yield from responses.begun()
            case Text(text):
                self._content.append(responses.text_part(text))
                yield responses.delta(text)
            case Reasoning(text):
                yield {"type": "response.reasoning_text.delta", "delta": text}
            case Refusal(text):
                self._content.append({"type": "refusal", "refusal": text})
                yield {"type": "response.refusal.delta", "delta": text}
            case Tool():
                item = {"type": "function_call", "name": "f", "arguments": "{}"}
                self._items.append(item)
                yield {"type": "response.output_item.added", "item": item}
            case End(reason, usage):
                yield self._ended(reason, usage)

    def _ended(self, reason: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        told = responses.whole(
            output=[responses.message(*self._content), *self._items], usage=_renamed(usage)
        )
        if reason in ("stop", "tool_calls"):
            return responses.ended(told)
        why = {"length": "max_output_tokens"}.get(reason, reason)
        told |= {"status": "incomplete", "incomplete_details": {"reason": why}}
        return responses.ended(told, "incomplete")


def _renamed(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Usage under the names of the Responses API."""
    if usage is None:
        return None
    return {
        name.replace("prompt", "input").replace("completion", "output"): count
        for name, count in usage.items()
    }
