"""How a request is put, where servers refuse what nobody asked for by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol

from pipechat.errors import PipechatError, RefusedError
from pipechat.messages import ChatRequest
from pipechat.settings.learned import NOTHING, Learned
from pipechat.settings.resolve import TOKEN_FIELDS, Settings
from pipechat.wire.dialect import dialect_of

_CALLED = {"chat": "Chat Completions", "responses": "the Responses API"}
_STREAM = "stream"
_NO_SUCH_METHOD = 405  # what some servers say of a path that they know nothing of


class Memory(Protocol):
    """What one endpoint was found to refuse for one model."""

    def read(self) -> Learned: ...
    def note(self, learned: Learned) -> None: ...


MemoryOf = Callable[[str], Memory]
"""That of a model."""


class Way(NamedTuple):
    """How a request was put: by which API, without which of the fields that are pipechat's own (of
    two names of one field: by the other), by which of its formats. `believed`: the fields that are
    left out since they were refused before, and not now."""

    api: str
    refused: frozenset[str] = frozenset()
    believed: frozenset[str] = frozenset()
    format_index: int = 0


Refusals = list[tuple[Way, PipechatError]]
"""What one request was asked again for: how it was put, and what was said to that."""


class RequestForm:
    """The form of requests to one server for one model, learned from what it refuses. Several may
    be on their way at once.

    Args:
        settings: say which API is asked (of `auto`: chat, until the server asks for the other),
            and what of a request somebody asked for by name.
        tell: is told what is asked for in another way.
        memory: what the server refused before, and refuses now.

    `dialect`, `way`: the API that is spoken now, and how a request is put now.
    """

    def __init__(
        self, settings: Settings, tell: Callable[[str], None], memory: Memory | None = None
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._memory = memory
        self._before = memory.read() if memory is not None else NOTHING
        api = settings.api
        self._may_turn_from = None
        if api == "auto":
            api = self._may_turn_from = self._before.api or "chat"
        self.dialect = dialect_of(api)
        self.way = self._first_way(api)
        self._worked: Way | None = None
        self._may_stop_streaming = not any(
            name in settings.origins for name in (_STREAM, "batch_stream")
        )
        """Whether nobody asked for a stream by name."""
        named = () if settings.own_limit_field else TOKEN_FIELDS
        how = _without(self.way.believed.difference(named))
        if how or (self._may_turn_from and api != "chat"):
            tell(f"asking by {_CALLED[api]}{how}, as learned before")

    def body(self, request: ChatRequest) -> Mapping[str, Any]:
        """The JSON body of `request`."""
        refused = self.way.refused
        if refused:
            options = dict(request.options)
            limit = self._own_limit(request, self.way.api)
            if limit in refused:
                options[_other_name(limit)] = options.pop(limit)
            stream = request.stream and not (_STREAM in refused and self._may_stop_streaming)
            request = request._replace(options=options, stream=stream)
        index = min(self.way.format_index, max(len(request.formats) - 1, 0))
        body = self.dialect.body(request, index)
        for name in refused.intersection(self.dialect.own_parameters):
            if name not in request.options:
                body.pop(name, None)
        return body

    def own_parameters(
        self, request: ChatRequest, body: Mapping[str, Any] | None = None
    ) -> tuple[str, ...]:
        """Those of the request that nobody asked for by name. `body`: what `body` made of it,
        where somebody has it."""
        formats = self.dialect.format_parameters if request.formats else ()
        body = self.body(request) if body is None else body
        own = [name for name in self.dialect.own_parameters if name not in request.options]
        if self._may_stop_streaming:
            own.append(_STREAM)
        return (*(name for name in own if name in body), *formats)

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

    def worked(self) -> None:
        """An answer came: what was learned on the way to it is worth keeping."""
        if self.way is self._worked:
            return
        self._worked = self.way
        turned = self._may_turn_from not in (None, self.way.api)
        learned = self._before.with_refused(self.way.api, self.way.refused)
        learned = learned._replace(api=self.way.api) if turned else learned
        if learned != self._before and self._memory is not None:
            self._memory.note(learned)
            self._before = learned

    def _go(self, other: Way, request: ChatRequest, error: PipechatError) -> None:
        if other.api != self.way.api:
            self.dialect = dialect_of(other.api)
            how = f" by {_CALLED[other.api]} instead"
        elif other.format_index != self.way.format_index:
            how = f" by {request.formats[other.format_index].kind} instead"
        else:
            how = _without(other.refused - self.way.refused)
        self._tell(f"{error.message}: asking{how}")
        self.way = other

    def _other_way(self, request: ChatRequest, error: RefusedError, asked: Way) -> Way | None:
        if asked.api == self._may_turn_from and (other := _other_api(error, asked.api)):
            return self._first_way(other)
        for name in (*dialect_of(asked.api).own_parameters, _STREAM):
            if name in error.parameters and name not in asked.refused:
                return asked._replace(refused=asked.refused | {name})
        limit = self._limit_sent(request, asked)
        if limit in error.asked_for and error.is_unknown:
            other = _other_name(limit)
            if other not in asked.refused - asked.believed:
                refused = asked.refused - {other} | {limit}
                return asked._replace(refused=refused, believed=asked.believed - {other})
        blamed = set(error.parameters) & set(dialect_of(asked.api).format_parameters)
        if blamed and asked.format_index + 1 < len(request.formats):
            return asked._replace(format_index=asked.format_index + 1)
        return None

    def _first_way(self, api: str) -> Way:
        """How a request is put first by an API: without what it was noted to refuse."""
        able = (*dialect_of(api).own_parameters, *TOKEN_FIELDS, _STREAM)
        believed = self._before.refused_by(api).intersection(able)
        return Way(api, believed, believed)

    def _own_limit(self, request: ChatRequest, api: str) -> str:
        """The field that bounds an answer where pipechat chose its name, else ""."""
        field = self._settings.own_limit_field
        if api != "chat" or field not in request.options:  # the other has one name for it
            return ""
        return field if request.options[field] == self._settings.options[field] else ""

    def _limit_sent(self, request: ChatRequest, asked: Way) -> str:
        limit = self._own_limit(request, asked.api)
        return _other_name(limit) if limit in asked.refused else limit


def told(error: PipechatError, way: Way, before: Refusals) -> PipechatError:
    """The refusal of a request that was put as `way`, with what was said to it `before`, by the
    other API or to the other name of a field."""
    if not isinstance(error, RefusedError):
        return error
    for asked, first in reversed(before):
        if asked.api != way.api:
            said, other = (error, first) if way.api == "chat" else (first, error)
            said.message += f"; by {_CALLED['responses']}: {other.message}"
            return said
        if _limits_of(first) and _limits_of(error):
            error.message += f"; before that, to {_limits_of(first)[0]}: {first.message}"
            return error
    return error


def _limits_of(error: PipechatError) -> list[str]:
    named = error.asked_for if isinstance(error, RefusedError) else ()
    return [name for name in named if name in TOKEN_FIELDS]


def _other_name(limit: str) -> str:
    return next((name for name in TOKEN_FIELDS if limit and name != limit), "")


def _without(refused: Collection[str]) -> str:
    """` without store, with max_tokens`"""
    ways = [
        f"with {_other_name(name)}" if name in TOKEN_FIELDS else f"without {name}"
        for name in sorted(refused)
    ]
    return f" {', '.join(ways)}" if ways else ""


def _other_api(error: RefusedError, asked: str) -> str | None:
    """The API to turn to: the one that the server asks for, or, where it has no longer what
    it once asked for, the first."""
    if asked == "chat":
        return "responses" if _asks_for_responses(error) else None
    return "chat" if error.code == "not_found" or error.status == _NO_SUCH_METHOD else None


def _asks_for_responses(error: PipechatError) -> bool:
    """Whether a server says that this model, or parameter, is to be had by the other API alone."""
    said = error.message.partition(" (asked: ")[0].lower()  # not where it was asked
    return "/responses" in said or "responses api" in said
