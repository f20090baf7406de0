"""How a request is put, where servers refuse what nobody asked for by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pipechat.errors import PipechatError, RefusedError
from pipechat.messages import ChatRequest
from pipechat.wire.dialect import STREAM_PARAMETER, dialect_of

_CALLED = {"chat": "Chat Completions", "responses": "the Responses API"}


class ApiMemory(Protocol):
    """Which API one endpoint wants for one model. `api`: as it was noted, or None."""

    @property
    def api(self) -> str | None: ...
    def note(self, api: str) -> None: ...


class RequestForm:
    """The form of requests to one server, learned from what it refuses.

    Args:
        api: `chat`, `responses`, or `auto`: chat, until the server asks for the other.
        tell: is told what is asked for in another way.
        memory: of `auto`: which API the server asked for before, and asks for now.

    `dialect`: the API that is spoken now.
    """

    def __init__(
        self, api: str, tell: Callable[[str], None], memory: ApiMemory | None = None
    ) -> None:
        self._may_turn = api == "auto"
        self._tell = tell
        self._memory = memory if self._may_turn else None
        self._usage_asked = True
        self._format_index = 0
        self.dialect = dialect_of((self._memory and self._memory.api) or api)

    def body(self, request: ChatRequest) -> Mapping[str, Any]:
        """The JSON body of `request`."""
        index = min(self._format_index, max(len(request.formats) - 1, 0))
        return self.dialect.body(request, usage_asked=self._usage_asked, format_index=index)

    def own_parameters(self, request: ChatRequest) -> tuple[str, ...]:
        """Those of the request that nobody asked for by name."""
        formats = self.dialect.format_parameters if request.formats else ()
        return (STREAM_PARAMETER, *formats) if self._asks_usage(request) else formats

    def otherwise(self, request: ChatRequest, error: PipechatError) -> bool:
        """Whether `request` can be put without what was refused, as it is from now on: the answer
        matters more."""
        if not isinstance(error, RefusedError):
            return False
        if self._may_turn and (other := self._other_api(error)):
            self._tell(f"{error.message}: asking by {_CALLED[other]} instead")
            self.dialect = dialect_of(other)
            self._may_turn, self._usage_asked, self._format_index = False, True, 0
            if self._memory is not None:
                self._memory.note(other)
            return True
        if self._asks_usage(request) and STREAM_PARAMETER in error.parameters:
            self._usage_asked = False
            return True
        formats = request.formats
        blamed = set(error.parameters) & set(self.dialect.format_parameters)
        if blamed and self._format_index + 1 < len(formats):
            self._format_index += 1
            way = formats[self._format_index].kind
            self._tell(f"{error.message}: asking by {way} instead")
            return True
        return False

    def _other_api(self, error: PipechatError) -> str | None:
        """The API to turn to: the one that the server asks for, or, where it has no longer what
        it once asked for, the first."""
        if self.dialect.name == "chat":
            return "responses" if _asks_for_responses(error) else None
        return "chat" if error.code == "not_found" else None

    def _asks_usage(self, request: ChatRequest) -> bool:
        return request.stream and self._usage_asked


def _asks_for_responses(error: PipechatError) -> bool:
    """Whether a server says that this model, or parameter, is to be had by the other API alone."""
    said = error.message.lower()
    return "/responses" in said or "responses api" in said
