"""What a dialect is: one API of a server, said in our words. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from pipechat.events import Chunk
from pipechat.messages import ChatRequest
from pipechat.wire.body import Reader

_LONGEST_NAME = 200
STREAM_PARAMETER = "stream_options"
"""The field of a request that nobody asks for by name, and that some servers answer with 400."""


class Dialect(Protocol):
    """How one API is asked, and how its responses are read.

    `name`: what records call it. `path`: behind the base URL. `format_parameters`: what servers
    call the field that asks for JSON, and what it asks for.
    """

    name: str
    path: str
    format_parameters: tuple[str, ...]

    def body(
        self, request: ChatRequest, *, usage_asked: bool = True, format_index: int = 0
    ) -> dict[str, Any]:
        """The JSON body of a request.

        Args:
            usage_asked: False leaves out `stream_options`.
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


def with_origin(chunk: Chunk, payload: object) -> Chunk:
    """`chunk` with the model that answered and its service tier, as `payload` names them."""
    if not isinstance(payload, Mapping):
        return chunk
    model, tier = (_word(payload.get(name)) for name in ("model", "service_tier"))
    return chunk._replace(model=model, tier=tier)


def _word(value: object) -> str | None:
    """A name that a server says; None for what is none."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None
