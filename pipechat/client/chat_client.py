"""The client: one request to a chat model, through the openai SDK, as chunks.

Owns the SDK: nothing else sees its types or its errors, which are translated here around
opening and around every read. The SDK neither retries nor parses here: both belong to the
turn's own rules (FAULTS §1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipechat import jsonl
from pipechat.client.deadlines import Limits, Reading
from pipechat.client.exchange import Pump
from pipechat.client.network_errors import network_error
from pipechat.client.retries import retry_after_s, wait_s
from pipechat.errors import PipechatError, RefusedError, TryLaterError
from pipechat.events import Chunk, Retry
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import Settings
from pipechat.text import redacted
from pipechat.wire.api_errors import status_error
from pipechat.wire.body import read_body

if TYPE_CHECKING:
    from types import ModuleType

    import httpx2

_MESSAGE_LENGTH = 500
_NO_KEY = "none"  # the SDK insists on one; the header that would carry it is left out


class ChatClient:
    """Sends requests with one set of settings; a conversation reuses it. It waits for the
    server in `waits`."""

    def __init__(
        self,
        settings: Settings,
        openai: ModuleType,
        waits: AbstractContextManager[object] = nullcontext(),  # noqa: B008 — it holds nothing
    ) -> None:
        self._settings = settings
        self._waits = waits
        self._openai = openai
        self._host = settings.host
        self._limits = Limits(
            settings.timeout_s, settings.first_token_timeout_s, settings.idle_timeout_s
        )
        self._sdk = _sdk_client(settings, openai)
        self._pump: Pump | None = None

    def answer(self, request: ChatRequest) -> Iterator[Chunk | Retry]:
        """The chunks of the answer, and the retries on the way to it.

        Raises:
            PipechatError: what went wrong, as one of ours.
        """
        started = time.monotonic()
        usage_asked = request.stream
        attempt = 0
        while True:
            nothing_shown = True
            try:
                for chunk in self._attempt(request, usage_asked, started):
                    nothing_shown = nothing_shown and not (chunk.text or chunk.reasoning)
                    yield chunk
                return
            except RefusedError as error:
                self._clean(error)
                # Some servers answer 400 to `stream_options`: the answer matters more.
                if error.code != "bad_request" or not usage_asked:
                    raise
                usage_asked = False
            except TryLaterError as error:
                self._clean(error)
                attempt += 1
                wait = wait_s(attempt, error.retry_after_s)
                if not (nothing_shown and error.again and attempt <= self._settings.retries):
                    raise
                if not self._limits.leave(wait, started):
                    raise
                yield Retry(attempt, wait, error.status, error.code)
                self._rest(wait)
            except PipechatError as error:
                self._clean(error)
                raise

    def cancel(self, cause: PipechatError) -> None:
        """Make the running `answer` raise `cause`; may be called from a signal handler."""
        if self._pump is not None:
            self._pump.wake(cause)

    def _clean(self, error: PipechatError) -> None:
        """No key in a message, where a server echoes it; and no page where one line is due."""
        message = redacted(error.message, self._settings.api_key)
        if len(message) > _MESSAGE_LENGTH:
            message = message[:_MESSAGE_LENGTH] + "…"
        error.message = message

    def _clean_chunk(self, chunk: Chunk) -> Chunk:
        """No key in what events and records carry of a server's words."""
        if not self._settings.api_key:
            return chunk
        key = jsonl.dumps(self._settings.api_key).decode()[1:-1]  # as it stands in JSON
        said = jsonl.dumps([chunk.finish_reason, chunk.usage]).decode()
        if key not in said:
            return chunk
        finish_reason, usage = jsonl.loads(redacted(said, key))
        return chunk._replace(finish_reason=finish_reason, usage=usage)

    def _attempt(self, request: ChatRequest, usage_asked: bool, started: float) -> Iterator[Chunk]:
        body = request.body(usage_asked=usage_asked)
        self._pump = pump = Pump(lambda: self._open(body), self._translate, self._waits)
        reading = Reading(pump, self._limits, started)
        try:
            response = reading.response()
            request_id = response.headers.get("x-request-id")
            yield Chunk(
                request_id=redacted(request_id, self._settings.api_key) if request_id else None
            )
            content_type = response.headers.get("content-type", "")
            for chunk in read_body(reading.segments(), content_type=content_type, host=self._host):
                reading.saw(chunk)
                if chunk.finish_reason is not None or chunk.usage is not None:
                    chunk = self._clean_chunk(chunk)
                yield chunk
        finally:
            pump.stop()

    def _rest(self, seconds: float) -> None:
        assert self._pump is not None
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            try:
                self._pump.next_item(left)  # it is stopped, and still listens for a cancel
            except TimeoutError:
                return

    def _open(self, body: dict[str, Any]) -> httpx2.Response:
        import httpx2

        headers = {} if self._settings.api_key else {"Authorization": self._openai.Omit()}
        response: httpx2.Response = self._sdk.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            body=body,
            stream=True,
            options={"headers": headers},
        )
        return response

    def _translate(self, error: Exception) -> PipechatError | Exception:
        """The SDK's error, or its transport's, as one of ours; a bug stays what it is."""
        import httpx2

        if isinstance(error, self._openai.APIStatusError):
            response = error.response
            body = _error_body(response.content)
            after = retry_after_s(response.headers, time.time())
            translated: PipechatError | Exception = status_error(
                response.status_code, body, host=self._host, retry_after_s=after
            )
        elif isinstance(error, self._openai.APIConnectionError | httpx2.HTTPError | OSError):
            translated = network_error(error, host=self._host)
        else:
            return error
        translated.__cause__ = error
        return translated


def _error_body(content: bytes) -> object:
    """The body of an error: JSON, or what plain text says; of a page of HTML nothing."""
    try:
        return jsonl.loads(content)
    except ValueError:
        text = content.decode("utf-8", "replace").strip()
        return None if text.startswith("<") else text


def _sdk_client(settings: Settings, openai: ModuleType) -> Any:
    """The SDK's client, so made that it does nothing by itself: no retries, no redirects (they
    would carry the question to another host), no time-outs but ours."""
    import httpx2

    transport: httpx2.BaseTransport | None = None
    if settings.offline:
        from pipechat.client.offline import OfflineTransport

        transport = OfflineTransport()
    http = httpx2.Client(
        # Loading the certificate store takes 20 ms, which plain http has no use for.
        verify=settings.base_url.startswith("https:"),
        proxy=None if settings.offline else settings.proxy,
        transport=transport,
        trust_env=not settings.offline,
        timeout=settings.timeout_s,
        follow_redirects=False,
    )
    return openai.OpenAI(
        api_key=settings.api_key or _NO_KEY,
        base_url=settings.base_url,
        max_retries=0,
        timeout=settings.timeout_s,
        http_client=http,
    )
