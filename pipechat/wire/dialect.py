"""What a dialect is: one API of a server, said in our words; and which one `--api` names. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from pipechat.messages import ChatRequest
from pipechat.wire.body import Reader


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
