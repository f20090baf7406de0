"""One response read by its dialect: items in, chunks out. Sans I/O: who carries waits.

Owns what a response that is no answer means, and how long the next piece of it may take. A
thread and an event loop drive it alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipechat.client.deadlines import Deadlines
from pipechat.client.exchange import Response
from pipechat.client.retries import retry_after_s
from pipechat.errors import NetworkError, OutputError, PipechatError, RefusedError, TryLaterError
from pipechat.events import Chunk, Judge, Together, Told
from pipechat.text import redacted, redacted_values
from pipechat.wire.api_errors import decoded_error, status_error
from pipechat.wire.body import BodyDecoder
from pipechat.wire.dialect import Dialect

_MESSAGE_LENGTH = 500
_ERROR_BYTES = 64 * 1024
# What is whole by its content may still be a part by its status (RFC 9110 §15.3.7); the other
# successes say nothing of the kind, so there the content alone is judged.
_PARTIAL = 206
# What is said of the fields of a request; one server raises what it does not know.
_OF_FIELDS = (400, 422, 500)
# What a proxy says for itself as often as a server does.
_OF_PROXIES = (403, 407, 502, 503, 504)
# Failures before anything of the question reached the server, or was read by it.
_NEVER_SENT = (
    "unknown_host", "connection_refused", "unreachable", "connection_failed", "proxy_failed",
    "proxy_refused", "bad_certificate", "client_cert_refused", "bad_request_parts",
    "bad_base_url", "no_thread", "not_recorded",
)  # fmt: skip

Item = Response | bytes | None
"""What is carried: the response, its body in segments, and None at its end."""

Steps = Generator[Together | float, Item, None]
"""Yields chunks, those of one item together, and numbers: the next item is wanted, and waited for
no longer than so many seconds. It is sent in; TimeoutError, or what broke the exchange, is thrown
in."""


class ResponseReading:
    """How one attempt's response is read.

    Args:
        asked: the body of the request.
        by_way_of: the proxy on the way, as it stands behind the host in a message.
        secrets: what must appear in nothing that a server says back.
        own_parameters: those of the request that nobody asked for by name, which a refusal may
            be about.
        longest_wait_s: no single wait is longer.
        heard: is told the headers of a response, once they are there.

    `headers`: of the response, once it came. `told`: what became known of its cost.
    """

    def __init__(
        self,
        dialect: Dialect,
        asked: Mapping[str, Any],
        deadlines: Deadlines,
        judge: Judge,
        *,
        host: str,
        by_way_of: str = "",
        secrets: Sequence[str],
        own_parameters: tuple[str, ...],
        longest_wait_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        heard: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        self._dialect = dialect
        self._asked = asked
        self._deadlines = deadlines
        self._judge = judge
        self._host = host
        self._by_way_of = by_way_of
        self._secrets = secrets
        self._own_parameters = own_parameters
        self._longest_wait_s = longest_wait_s
        self._clock = clock
        self._heard = heard
        self._refused: tuple[int, bytes] | None = None  # the status and what was said
        self._waited_s = 0.0  # for the piece that came last
        self.headers: Mapping[str, str] = {}
        self._has_reason = False
        self.told = Told()

    def steps(self) -> Steps:
        """The chunks of the response, and what is waited for on the way.

        Raises:
            PipechatError: it is no answer, or it broke off; no secret in the message, where a
                server says it back, and no page where one line is due.
        """
        try:
            yield from self._steps()
        except PipechatError as error:
            self._look_at_fields(error)
            if error.code in _NEVER_SENT and not self.headers:
                self.told = self.told._replace(sent=False)
            self._forget_what_was_counted_so_far()
            error.message = cleaned(error.message, self._secrets)
            raise

    def _steps(self) -> Steps:
        self._deadlines.begin_attempt()
        response = yield from self._take_response()
        self.headers = response.headers
        self.told = Told(sent=not response.played, refused=response.status >= 300)
        self._heard(response.headers)
        if response.status == _PARTIAL:
            what = f"{self._host}{self._by_way_of} answered 206, with a part of the answer alone"
            hint = "Nobody asked for a part: something on the way cuts it."
            raise TryLaterError("partial_content", what, hint, again=False)
        if response.status >= 300:
            content = yield from self._error_body()
            raise self._refusal(response, content)
        request_id = response.headers.get("x-request-id")
        known = redacted(request_id, self._secrets) if request_id else None
        yield Together([Chunk(request_id=known)])
        yield from self._chunks(response.headers.get("content-type", ""))

    def _chunks(self, content_type: str) -> Steps:
        decoder = BodyDecoder(
            self._dialect.reader(self._host, self._asked),
            content_type=content_type,
            host=self._host,
        )
        deadlines, longest = self._deadlines, self._longest_wait_s
        while not decoder.finished:
            try:
                segment = yield from self._take()
            except OutputError as failure:  # of its recording: what came is told all the same
                try:
                    yield from self._told(decoder.close())
                except PipechatError as broken:
                    raise failure from broken
                raise
            assert not isinstance(segment, Response)
            if segment is None:
                yield from self._told(decoder.close())
                self._forget_what_was_counted_so_far()
                return
            began = self._clock()
            any_data = yield from self._told(decoder.feed(segment))
            # Who takes the chunks may be slow: that is not the server's time.
            took = 0.0 if any_data else self._clock() - began
            deadlines.listened(self._waited_s + took, longest + took, in_vain=not any_data)

    def _forget_what_was_counted_so_far(self) -> None:
        """What some servers count with every chunk is not what a broken answer took."""
        if not self._has_reason:
            self.told = self.told._replace(usage=None)

    def _told(self, found: Iterator[Chunk]) -> Generator[Together | float, Item, bool]:
        """Yields the chunks of one item, as one; whether there were any. What breaks them off is
        raised once those before it are told."""
        chunks: list[Chunk] = []
        broken: Exception | None = None
        try:
            for chunk in found:
                chunks.append(self._clean_chunk(chunk))
        except Exception as error:
            broken = error
        if chunks:
            began = self._clock()
            yield Together(chunks)
            self._deadlines.held_up(self._clock() - began)
            said = chunks[-1]
            if len(chunks) > 1:
                said = next((each for each in chunks if each.text or each.reasoning), said)
            self._deadlines.saw(said, ended=self._judge.has_ended())
        if broken is not None:
            raise broken
        return bool(chunks)

    def _take_response(self) -> Generator[Together | float, Item, Response]:
        try:
            response = yield from self._take()
        except NetworkError as error:
            if error.code in ("timeout", "first_token_timeout"):
                error.message += self._by_way_of  # who was silent may be the proxy
            raise
        assert isinstance(response, Response)
        return response

    def _take(self) -> Generator[Together | float, Item, Item]:
        """The next item, waited for no longer than the deadlines allow."""
        while True:
            meant = min(self._deadlines.patience_s(), self._longest_wait_s)
            began = self._clock()
            try:
                item = yield meant
            except TimeoutError:
                self._deadlines.listened(self._clock() - began, meant)
                continue
            self._waited_s = self._clock() - began
            return item

    def _error_body(self) -> Generator[Together | float, Item, bytes]:
        """The first 64 kB of what a refusal says."""
        parts: list[bytes] = []
        size = 0
        try:
            while size < _ERROR_BYTES and (part := (yield from self._take())) is not None:
                assert not isinstance(part, Response)
                parts.append(part)
                size += len(part)
        except TryLaterError as error:
            if error.code == "timeout":
                raise
        return b"".join(parts)[:_ERROR_BYTES]

    def _refusal(self, response: Response, content: bytes) -> PipechatError:
        self._refused = (response.status, content)
        return status_error(
            response.status,
            decoded_error(content),
            host=self._host + (self._by_way_of if response.status in _OF_PROXIES else ""),
            retry_after_s=retry_after_s(response.headers, time.time()),
        )

    def _look_at_fields(self, error: PipechatError) -> None:
        """Let `error` say which fields of the request it is about, by its status or, in an answer,
        by its own words."""
        status, content = self._refused or (None, error.message.encode("utf-8", "replace"))
        if status in _OF_FIELDS or (status is None and isinstance(error, RefusedError)):
            from pipechat.client.refusal import look_at_fields  # most answers are none

            may_guess = status is not None
            look_at_fields(error, content, self._asked, self._own_parameters, may_guess=may_guess)

    def _clean_chunk(self, chunk: Chunk) -> Chunk:
        """No secret in what events and records carry of a server's words."""
        if chunk.finish_reason is None and chunk.usage is None:
            return chunk
        reason = chunk.finish_reason and redacted(chunk.finish_reason, self._secrets)
        self._has_reason |= bool(reason)
        usage = redacted_values(chunk.usage, self._secrets)
        if usage is not None:
            model, tier = (name and redacted(name, self._secrets) for name in chunk[-2:])
            self.told = self.told._replace(usage=usage, model=model, tier=tier)
        return chunk._replace(finish_reason=reason, usage=usage)


def cleaned(message: str, secrets: Iterable[str]) -> str:
    """What a server says, fit for a line: without secrets, and no longer than a line."""
    message = redacted(message, secrets)
    return message if len(message) <= _MESSAGE_LENGTH else message[:_MESSAGE_LENGTH] + "…"
