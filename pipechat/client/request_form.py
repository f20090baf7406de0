"""How a request is put, where servers refuse what nobody asked for by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipechat.errors import PipechatError, RefusedError
from pipechat.messages import ChatRequest
from pipechat.wire.dialect import STREAM_PARAMETER, dialect_of


class RequestForm:
    """The form of requests to one server, learned from what it refuses.

    Args:
        api: `chat`, `responses`, or `auto`: chat, until the server asks for the other.
        tell: is told what is asked for in another way.
        learned: is told which API it was that the server asked for.

    `dialect`: the API that is spoken now.
    """

    def __init__(
        self,
        api: str,
        tell: Callable[[str], None],
        learned: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._may_turn = api == "auto"
        self._tell = tell
        self._learned = learned
        self._usage_asked = True
        self._format_index = 0
        self.dialect = dialect_of(api)

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
        if self._may_turn and _asks_for_responses(error):
            self._tell(f"{error.message}: asking by the Responses API instead")
            self.dialect = dialect_of("responses")
            self._may_turn, self._usage_asked, self._format_index = False, True, 0
            self._learned(self.dialect.name)
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

    def _asks_usage(self, request: ChatRequest) -> bool:
        return request.stream and self._usage_asked


def _asks_for_responses(error: PipechatError) -> bool:
    """Whether a server says that this model, or parameter, is to be had by the other API alone."""
    said = error.message.lower()
    return "/responses" in said or "responses api" in said
