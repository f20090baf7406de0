"""How a request is put, where servers refuse what nobody asked for by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipechat.errors import PipechatError, RefusedError
from pipechat.messages import ChatRequest
from pipechat.wire.chat_completions import FORMAT_PARAMETERS, USAGE_PARAMETER, ChatCompletions


class RequestForm:
    """The form of requests to one server, learned from what it refuses.

    Args:
        tell: is told what is asked for in another way.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._usage_asked = True
        self._format_index = 0

    def body(self, dialect: ChatCompletions, request: ChatRequest) -> Mapping[str, Any]:
        """The JSON body of `request`."""
        index = min(self._format_index, max(len(request.formats) - 1, 0))
        return dialect.body(request, usage_asked=self._usage_asked, format_index=index)

    def own_parameters(self, request: ChatRequest) -> tuple[str, ...]:
        """Those of the request that nobody asked for by name."""
        formats = FORMAT_PARAMETERS if request.formats else ()
        return (USAGE_PARAMETER, *formats) if self._asks_usage(request) else formats

    def otherwise(self, request: ChatRequest, error: PipechatError) -> bool:
        """Whether `request` can be put without what was refused, as it is from now on: the answer
        matters more."""
        if not isinstance(error, RefusedError):
            return False
        if self._asks_usage(request) and USAGE_PARAMETER in error.parameters:
            self._usage_asked = False
            return True
        formats = request.formats
        blamed = set(error.parameters) & set(FORMAT_PARAMETERS)
        if blamed and self._format_index + 1 < len(formats):
            self._format_index += 1
            way = formats[self._format_index].kind
            self._tell(f"{error.message}: asking by {way} instead")
            return True
        return False

    def _asks_usage(self, request: ChatRequest) -> bool:
        return request.stream and self._usage_asked
