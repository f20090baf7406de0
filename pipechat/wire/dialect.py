"""What a dialect is: one API of a server, said in our words; and what all of them ask. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from pipechat import jsonl
from pipechat.events import Chunk
from pipechat.messages import AnswerFormat, ChatRequest, Message
from pipechat.wire.body import Reader

_ASK = (
    "Answer with one JSON value and nothing else: no code fence, no comment. "
    "It must match this JSON Schema:"
)
_LONGEST_NAME = 200


class Dialect(Protocol):
    """How one API is asked, and how its responses are read.

    `name`: what records call it. `path`: behind the base URL. `own_parameters`: the fields of a
    body that nobody asks for by name, and without which it asks for the same.
    `format_parameters`: what servers call the field that asks for JSON, and what it asks for.
    """

    name: str
    path: str
    own_parameters: tuple[str, ...]
    format_parameters: tuple[str, ...]

    def body(self, request: ChatRequest, format_index: int = 0) -> dict[str, Any]:
        """The JSON body of a request.

        Args:
            format_index: which of the request's formats is tried.
        """

    def reader(self, host: str, asked: Mapping[str, Any]) -> Reader:
        """A reader for one response.

        Args:
            host: where the request went, for messages.
            asked: the body that it answers.
        """


def dialect_of(api: str) -> Dialect:
    """The dialect that `--api` names; `auto` begins with Chat Completions."""
    if api == "responses":
        from pipechat.wire.responses import Responses

        return Responses()
    from pipechat.wire.chat_completions import ChatCompletions

    return ChatCompletions()


def asked_in_words(messages: list[Message], wanted: AnswerFormat) -> list[Message]:
    """`messages`, of which the last also asks for what `wanted` is, in plain words."""
    last = messages[-1]
    content, ask = last["content"], f"{_ASK}\n{jsonl.dumps(wanted.schema).decode()}"
    asked: Message = {
        "role": last["role"],
        "content": f"{content}\n\n{ask}"
        if isinstance(content, str)
        else [*content, {"type": "text", "text": ask}],
    }
    return [*messages[:-1], asked]


def with_origin(chunk: Chunk, payload: object) -> Chunk:
    """`chunk` with the model that answered and its service tier, as `payload` names them."""
    if not isinstance(payload, Mapping):
        return chunk
    model, tier = (_word(payload.get(name)) for name in ("model", "service_tier"))
    return chunk._replace(model=model, tier=tier)


def _word(value: object) -> str | None:
    """A name that a server says; None for what is none."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None
