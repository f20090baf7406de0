"""How a request is put, where servers refuse what nobody asked for by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from pipechat.errors import PipechatError, RefusedError
from pipechat.messages import ChatRequest
from pipechat.wire.dialect import STREAM_PARAMETER, dialect_of

_CALLED = {"chat": "Chat Completions", "responses": "the Responses API"}


class ApiMemory(Protocol):
    """Which API one endpoint wants for one model. `api`: as it was noted, or None."""

    @property
    def api(self) -> str | None: ...
    def note(self, api: str) -> None: ...


class Way(NamedTuple):
    """How a request was put: by which API, with `stream_options` or without, by which of its
    formats."""

    api: str
    usage_asked: bool = True
    format_index: int = 0


class RequestForm:
    """The form of requests to one server for one model, learned from what it refuses. Several may
    be on their way at once.

    Args:
        api: `chat`, `responses`, or `auto`: chat, until the server asks for the other.
        tell: is told what is asked for in another way.
        memory: of `auto`: which API the server asked for before, and asks for now.

    `dialect`, `way`: the API that is spoken now, and how a request is put now.
    """

    def __init__(
        self, api: str, tell: Callable[[str], None], memory: ApiMemory | None = None
    ) -> None:
        self._tell = tell
        self._memory = memory if api == "auto" else None
        self.dialect = dialect_of((self._memory and self._memory.api) or api)
        self.way = Way(self.dialect.name)
        self._may_turn_from = self.way.api if api == "auto" else None
        self._turned_by: PipechatError | None = None

    def body(self, request: ChatRequest) -> Mapping[str, Any]:
        """The JSON body of `request`."""
        index = min(self.way.format_index, max(len(request.formats) - 1, 0))
        return self.dialect.body(request, usage_asked=self.way.usage_asked, format_index=index)

    def own_parameters(self, request: ChatRequest) -> tuple[str, ...]:
        """Those of the request that nobody asked for by name."""
        formats = self.dialect.format_parameters if request.formats else ()
        asks_usage = request.stream and self.way.usage_asked
        return (STREAM_PARAMETER, *formats) if asks_usage else formats

    def otherwise(self, request: ChatRequest, error: PipechatError, asked: Way) -> bool:
        """Whether `request`, which was put as `asked`, can be put without what was refused, as it
        is from now on: the answer matters more."""
        if not isinstance(error, RefusedError):
            return False
        other = self._other_way(request, error, asked)
        if other is None:
            return False
        if asked == self.way:  # else another request has learned it meanwhile
            self._go(other, request, error)
        return True

    def told(self, error: PipechatError) -> PipechatError:
        """`error`, with what the other API said where both refused."""
        first = self._turned_by
        if first is None or not isinstance(error, RefusedError):
            return error
        asked, other = (error, first) if self.way.api == "chat" else (first, error)
        asked.message += f"; by {_CALLED['responses']}: {other.message}"
        return asked

    def worked(self) -> None:
        """An answer came: what was learned of the API is worth keeping."""
        if self._turned_by is not None and self._memory is not None:
            self._memory.note(self.way.api)

    def _go(self, other: Way, request: ChatRequest, error: PipechatError) -> None:
        if other.api != self.way.api:
            self.dialect = dialect_of(other.api)
            self._turned_by = error
            self._tell(f"{error.message}: asking by {_CALLED[other.api]} instead")
        elif other.format_index != self.way.format_index:
            kind = request.formats[other.format_index].kind
            self._tell(f"{error.message}: asking by {kind} instead")
        self.way = other

    def _other_way(self, request: ChatRequest, error: RefusedError, asked: Way) -> Way | None:
        if asked.api == self._may_turn_from and (other := _other_api(error, asked.api)):
            return Way(other)
        if request.stream and asked.usage_asked and STREAM_PARAMETER in error.parameters:
            return asked._replace(usage_asked=False)
        blamed = set(error.parameters) & set(dialect_of(asked.api).format_parameters)
        if blamed and asked.format_index + 1 < len(request.formats):
            return asked._replace(format_index=asked.format_index + 1)
        return None


def _other_api(error: PipechatError, asked: str) -> str | None:
    """The API to turn to: the one that the server asks for, or, where it has no longer what
    it once asked for, the first."""
    if asked == "chat":
        return "responses" if _asks_for_responses(error) else None
    return "chat" if error.code == "not_found" else None


def _asks_for_responses(error: PipechatError) -> bool:
    """Whether a server says that this model, or parameter, is to be had by the other API alone."""
    said = error.message.lower()
    return "/responses" in said or "responses api" in said
