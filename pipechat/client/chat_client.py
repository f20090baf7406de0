"""The client: a request in the endpoint's dialect, its answer as steps.

Owns the way of one answer: attempts, deadlines, and what a response that is no answer means.
Who carries bytes is handed in as a Sender; knows no HTTP library and no SDK.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

from pipechat import jsonl
from pipechat.client.deadlines import Deadlines, Limits
from pipechat.client.exchange import Exchange, Request, Response, Sender
from pipechat.client.retries import RetryPolicy, retry_after_s
from pipechat.errors import PipechatError, RefusedError, TryLaterError
from pipechat.events import Again, Chunk, Judge, Retry, Step
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import Settings
from pipechat.signals import LONGEST_WAIT_S
from pipechat.text import redacted, redacted_values
from pipechat.wire.api_errors import blamed_parameters, status_error
from pipechat.wire.body import BodyDecoder
from pipechat.wire.chat_completions import FORMAT_PARAMETERS, USAGE_PARAMETER, ChatCompletions

_MESSAGE_LENGTH = 500
_ERROR_BYTES = 64 * 1024


class ChatClient:
    """Sends requests with one set of settings, any number at once. It waits for the server in
    `waits`. `spent_s`: what of the turn's time was gone before it could ask. `tell` is told what
    a server refused that is asked for in another way."""

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        waits: AbstractContextManager[object] = nullcontext(),  # noqa: B008 — it holds nothing
        spent_s: float = 0.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.tell = tell
        self.spent_s = spent_s
        self.settings = settings
        self.sender = sender
        self.waits = waits
        self.dialect = ChatCompletions()
        self.limits = Limits(
            settings.timeout_s, settings.first_token_timeout_s, settings.idle_timeout_s
        )

    @property
    def dialect_name(self) -> str:
        """The API that it speaks, as records name it."""
        return self.dialect.name

    def answer(self, request: ChatRequest, judge: Judge) -> AnswerInFlight:
        """The answer to `request`, which is sent when its steps are asked for.

        Args:
            judge: knows, of the steps so far, whether another attempt could double anything.
        """
        return AnswerInFlight(self, request, judge)


class AnswerInFlight:
    """The steps of one answer: chunks, and the attempts on the way to them. Iterate once.

    Raises (iterating):
        PipechatError: what went wrong, as one of ours.
    """

    def __init__(self, client: ChatClient, request: ChatRequest, judge: Judge) -> None:
        self._client = client
        self._request = request
        self._judge = judge
        self._key = client.settings.api_key
        started = time.monotonic() - client.spent_s
        client.spent_s = 0.0  # the turns after this one begin when they are asked
        self._deadlines = Deadlines(client.limits, time.monotonic, started)
        self._exchange: Exchange | None = None
        self._cancelled: PipechatError | None = None
        self._waited_s = 0.0  # for the piece that came last
        self._usage_asked = request.stream
        self._format_index = 0

    def cancel(self, cause: PipechatError) -> None:
        """Make the iteration raise `cause`; may be called from a signal handler."""
        self._cancelled = cause
        if self._exchange is not None:
            self._exchange.wake(cause)

    def __iter__(self) -> Iterator[Step]:
        policy = RetryPolicy(self._client.settings.retries)
        while True:
            try:
                yield from self._attempt()
                return
            except PipechatError as error:
                self._clean(error)
                if not self._judge.may_send_again():
                    raise
                otherwise = isinstance(error, RefusedError) and self._put_otherwise(error)
                again: Step = Again() if otherwise else self._retry(policy, error)
                yield again
                if isinstance(again, Retry) and not self._client.settings.hurries:
                    self._rest(again.wait_s)

    def _put_otherwise(self, error: RefusedError) -> bool:
        """Whether the request can be put without what was refused: the answer matters more."""
        blamed = error.parameters
        if self._usage_asked and USAGE_PARAMETER in blamed:
            self._usage_asked = False
            return True
        formats = self._request.formats
        if self._format_index + 1 < len(formats) and set(blamed) & set(FORMAT_PARAMETERS):
            self._format_index += 1
            way = formats[self._format_index].kind
            self._client.tell(f"{error.message}: asking by {way} instead")
            return True
        return False

    def _retry(self, policy: RetryPolicy, error: PipechatError) -> Retry:
        wait = policy.wait_s(error) if isinstance(error, TryLaterError) else None
        if wait is None or not self._deadlines.leave(wait):
            raise error
        assert isinstance(error, TryLaterError)
        return Retry(policy.attempt, wait, error.status, error.code)

    def _attempt(self) -> Iterator[Chunk]:
        client = self._client
        body = client.dialect.body(
            self._request, usage_asked=self._usage_asked, format_index=self._format_index
        )
        request = Request(client.dialect.path, body)
        self._exchange = exchange = Exchange(client.sender, request, client.waits)
        if self._cancelled is not None:
            exchange.wake(self._cancelled)
        self._deadlines.begin_attempt()
        try:
            response = self._response(exchange)
            if response.status >= 300:
                raise self._refusal(response, self._error_body(exchange))
            request_id = response.headers.get("x-request-id")
            yield Chunk(request_id=redacted(request_id, self._key) if request_id else None)
            yield from self._chunks(exchange, response)
        finally:
            exchange.stop()

    def _chunks(self, exchange: Exchange, response: Response) -> Iterator[Chunk]:
        host = self._client.settings.host
        content_type = response.headers.get("content-type", "")
        decoder = BodyDecoder(
            self._client.dialect.reader(host), content_type=content_type, host=host
        )
        deadlines = self._deadlines
        while not decoder.finished:
            segment = self._next(exchange)
            if segment is None:
                yield from decoder.close()
                return
            began = time.monotonic()
            any_data = False
            for chunk in decoder.feed(segment):
                any_data = True
                yield self._clean_chunk(chunk)
                deadlines.saw(chunk, ended=self._judge.has_ended())
            # Who takes the chunks may be slow: that is not the server's time.
            took = 0.0 if any_data else time.monotonic() - began
            deadlines.listened(self._waited_s + took, LONGEST_WAIT_S + took, in_vain=not any_data)

    def _response(self, exchange: Exchange) -> Response:
        item = self._take(exchange)
        assert isinstance(item, Response)
        return item

    def _next(self, exchange: Exchange) -> bytes | None:
        item = self._take(exchange)
        assert not isinstance(item, Response)
        return item

    def _take(self, exchange: Exchange) -> Response | bytes | None:
        """The next item, waited for no longer than the deadlines allow."""
        deadlines = self._deadlines
        while True:
            meant = min(deadlines.patience_s(), LONGEST_WAIT_S)
            began = time.monotonic()
            try:
                item = exchange.next_item(meant)
            except TimeoutError:
                deadlines.listened(time.monotonic() - began, meant)
                continue
            self._waited_s = time.monotonic() - began
            return item

    def _error_body(self, exchange: Exchange) -> bytes:
        """The first 64 kB of what a refusal says."""
        parts: list[bytes] = []
        size = 0
        try:
            while size < _ERROR_BYTES and (part := self._next(exchange)) is not None:
                parts.append(part)
                size += len(part)
        except TryLaterError as error:
            if error.code == "timeout":
                raise
        return b"".join(parts)[:_ERROR_BYTES]

    def _refusal(self, response: Response, content: bytes) -> PipechatError:
        error = status_error(
            response.status,
            _decoded(content),
            host=self._client.settings.host,
            retry_after_s=retry_after_s(response.headers, time.time()),
        )
        if isinstance(error, RefusedError) and response.status in (400, 422):
            said = content.decode("utf-8", "replace")
            error.parameters = blamed_parameters(said, self._own_parameters())
        return error

    def _own_parameters(self) -> tuple[str, ...]:
        """Those of the request that nobody asked for by name."""
        formats = FORMAT_PARAMETERS if self._request.formats else ()
        return (USAGE_PARAMETER, *formats) if self._usage_asked else formats

    def _rest(self, seconds: float) -> None:
        assert self._exchange is not None
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            try:
                self._exchange.next_item(left)  # it is stopped, and still listens for a cancel
            except TimeoutError:
                return

    def _clean(self, error: PipechatError) -> None:
        """No key in a message, where a server echoes it; and no page where one line is due."""
        message = redacted(error.message, self._key)
        if len(message) > _MESSAGE_LENGTH:
            message = message[:_MESSAGE_LENGTH] + "…"
        error.message = message

    def _clean_chunk(self, chunk: Chunk) -> Chunk:
        """No key in what events and records carry of a server's words."""
        if chunk.finish_reason is None and chunk.usage is None:
            return chunk
        reason = chunk.finish_reason and redacted(chunk.finish_reason, self._key)
        return chunk._replace(finish_reason=reason, usage=redacted_values(chunk.usage, self._key))


def _decoded(content: bytes) -> object:
    """The body of an error: JSON, or what plain text says; of a page of HTML nothing."""
    try:
        return jsonl.loads(content)
    except ValueError:
        text = content.decode("utf-8", "replace").strip()
        return None if text.startswith("<") else text
