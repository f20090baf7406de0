"""Calls to an endpoint's other paths: bounded in size and time, errors made ours.

Owns how a reply is read that is no answer of a model: documents, lists page by page, lines. No
call is made twice here: who calls knows what a second one would cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from pipechat import jsonl
from pipechat.client.exchange import Exchange, Request, Response
from pipechat.client.reading import cleaned
from pipechat.client.retries import retry_after_s
from pipechat.client.sdk_sender import SdkSender
from pipechat.errors import NetworkError, PipechatError, TryLaterError
from pipechat.text import redacted_values
from pipechat.wire.api_errors import decoded_error, malformed, status_error

_LARGEST_DOCUMENT = 64 * 1024 * 1024
_ERROR_BYTES = 64 * 1024


class ApiCalls:
    """Calls with one client of the SDK.

    Args:
        host, secrets: for messages, and what must appear in none.
        ends_at: when, by `time.monotonic()`, every call must have come to its end.
        waits: where it waits for the server.
        advise: lets a refusal say what to try.

    `headers`: of the response that came last, names in lower case; `came_at`: when it came, in
    seconds since 1970. Each method raises PipechatError.
    """

    def __init__(
        self,
        sender: SdkSender,
        *,
        host: str,
        secrets: Iterable[str],
        ends_at: float | None = None,
        waits: AbstractContextManager[object] = nullcontext(),  # noqa: B008 — it holds nothing
        advise: Callable[[PipechatError], None] = lambda _: None,
    ) -> None:
        self._sender = sender
        self._secrets = secrets
        self._ends_at = math.inf if ends_at is None else ends_at
        self._waits = waits
        self._advise = advise
        self.host = host
        self.headers: Mapping[str, str] = {}
        self.came_at = 0.0

    def document(self, method: str, path: str, **more: Any) -> Any:
        """The JSON, an object or an array, that a call gives; `more`: as `SdkSender.call`."""
        parts: list[bytes] = []
        size = 0
        for part in self.segments(method, path, **more):
            parts.append(part)
            size += len(part)
            if size > _LARGEST_DOCUMENT:
                raise malformed("a reply without an end")
        try:
            document = jsonl.loads_line(b"".join(parts))
        except ValueError:
            document = None
        if not isinstance(document, dict | list):
            raise malformed("no JSON object where one is due")
        return redacted_values(document, self._secrets)

    def segments(self, method: str, path: str, **more: Any) -> Iterator[bytes]:
        """The body that a call gives, as it comes; `more`: as `SdkSender.call`."""
        call = partial(self._sender.call, method, path, **more)
        exchange = Exchange(_Call(call), _NO_REQUEST, self._waits)
        try:
            response = self._next(exchange)
            assert isinstance(response, Response)
            self.headers, self.came_at = response.headers, time.time()
            if response.status >= 300:
                raise self._refusal(response, exchange)
            while (part := self._next(exchange)) is not None:
                assert isinstance(part, bytes)
                yield part
        except PipechatError as error:
            error.message = cleaned(error.message, self._secrets)
            raise
        finally:
            exchange.stop()

    def never_ends(self, path: str) -> PipechatError:
        """The error of a list that does not come to its end."""
        message = f"the list {path} of {self.host} does not come to its end"
        return TryLaterError("incomplete_list", message, again=False)

    def _next(self, exchange: Exchange) -> Response | bytes | None:
        try:
            return exchange.next_item(self._ends_at - time.monotonic())
        except TimeoutError as error:
            message = f"{self.host} did not come to an end within --timeout"
            raise NetworkError("timeout", message, "Raise --timeout.", again=False) from error

    def _refusal(self, response: Response, exchange: Exchange) -> PipechatError:
        content = b""
        while len(content) < _ERROR_BYTES and (part := self._next(exchange)) is not None:
            assert isinstance(part, bytes)
            content += part
        error = status_error(
            response.status,
            decoded_error(content[:_ERROR_BYTES]),
            host=self.host,
            retry_after_s=retry_after_s(response.headers, time.time()),
        )
        self._advise(error)
        return error


class _Call:
    """A call as what an exchange carries."""

    def __init__(self, call: Callable[[], Response]) -> None:
        self._call = call

    def send(self, request: Request) -> Response:  # noqa: ARG002 — because the call knows it
        return self._call()


_NO_REQUEST = Request("", {})
