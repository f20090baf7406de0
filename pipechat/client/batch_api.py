"""The endpoint's Files and Batches: one call each, made through the SDK's client.

Owns paths, what a reply must hold, and how long a call may take. No call is made twice here:
who calls knows what a second one would cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from urllib.parse import quote

from pipechat import jsonl
from pipechat.client.exchange import Exchange, Request, Response
from pipechat.client.reading import cleaned, decoded_error
from pipechat.client.retries import retry_after_s
from pipechat.client.sdk_sender import SdkSender
from pipechat.errors import NetworkError, PipechatError, TryLaterError
from pipechat.text import redacted_values
from pipechat.wire.api_errors import malformed, status_error, stream_error
from pipechat.wire.provider_id import is_id

CHAT_PATH = "/v1/chat/completions"
_WINDOW = "24h"
_PAGE = 100  # the most that the vendor lists at once
_MOST_PAGES = 1000
_DAY_S = 86_400  # more than clocks are apart
_LARGEST_DOCUMENT = 64 * 1024 * 1024
_ERROR_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_HINT = "Does this server speak Files and Batches? Check --base-url."


class BatchApi:
    """Files and batches of one endpoint.

    Args:
        host, key: for messages, and what must appear in none.
        ends_at: when, by `time.monotonic()`, every call must have come to its end.
        waits: where it waits for the server.
        advise: lets a refusal say what to try, by the settings.

    Each method raises PipechatError.
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
        self._host = host
        self._secrets = secrets
        self._ends_at = math.inf if ends_at is None else ends_at
        self._waits = waits
        self._advise = advise

    def upload(self, path: str, name: str) -> str:
        """Upload the file at `path` as `name`; its id there."""
        with open(path, "rb") as file:
            files = {"file": (name, file, "application/jsonl")}
            body = {"purpose": "batch"}
            made = self._document(
                partial(self._sender.call, "POST", "/files", body=body, files=files)
            )
        return _id_of(made)

    def find_file(self, name: str, size: int, since: float) -> str | None:
        """The id of a file called `name` of `size` bytes that was uploaded after `since` (epoch),
        or None; one of another size is what came of an upload that broke off."""
        for file in self._listed("/files", {"purpose": "batch"}, since):
            if file.get("filename") == name and file.get("bytes", size) == size:
                return _id_of(file)
        return None

    def create(self, file_id: str, metadata: Mapping[str, str]) -> Mapping[str, Any]:
        """Create the batch of an uploaded file; the batch as the API tells it."""
        body = {
            "input_file_id": file_id,
            "endpoint": CHAT_PATH,
            "completion_window": _WINDOW,
            "metadata": dict(metadata),
        }
        made = self._document(partial(self._sender.call, "POST", "/batches", body=body))
        _id_of(made)
        return made

    def find_batch(
        self, file_id: str, metadata: Mapping[str, str], since: float
    ) -> Mapping[str, Any] | None:
        """The batch of an uploaded file that was created after `since` (epoch), or None. It is
        told by `metadata`, or, of a server that keeps none, by the file."""
        for batch in self._listed("/batches", {}, since):
            mark = batch.get("metadata")
            is_marked = isinstance(mark, Mapping) and mark.items() >= metadata.items()
            if is_marked or batch.get("input_file_id") == file_id:
                _id_of(batch)
                return batch
        return None

    def batch(self, batch_id: str) -> Mapping[str, Any]:
        """The batch as it stands."""
        path = f"/batches/{quote(batch_id, safe='')}"
        return self._batch(partial(self._sender.call, "GET", path))

    def cancel(self, batch_id: str) -> Mapping[str, Any]:
        """Ask for a batch to be cancelled; the batch as it stands then."""
        path = f"/batches/{quote(batch_id, safe='')}/cancel"
        return self._batch(partial(self._sender.call, "POST", path, body={}))

    def lines(self, file_id: str) -> Iterator[bytes]:
        """The lines of a file, as they come, each with its newline; the last may lack it."""
        path = f"/files/{quote(file_id, safe='')}/content"
        begun: list[bytes] = []
        mark = _BOM
        for part in self._segments(partial(self._sender.call, "GET", path)):
            first, *others = part.split(b"\n")
            begun.append(first)
            for piece in others:
                yield b"".join(begun).removeprefix(mark) + b"\n"
                mark = b""
                begun = [piece]
        if last := b"".join(begun).removeprefix(mark):
            yield last

    def _batch(self, call: Callable[[], Response]) -> Mapping[str, Any]:
        """A batch, which says how it stands: what does not is none, and would be for ever."""
        batch = self._document(call)
        if isinstance(batch.get("status"), str):
            return batch
        if batch.get("error"):
            raise stream_error(batch["error"], host=self._host)
        raise malformed("no batch where one is due")

    def _listed(
        self, path: str, params: Mapping[str, Any], since: float
    ) -> Iterator[Mapping[str, Any]]:
        """What a list holds, page by page, back to `since` where the newest come first. One that
        does not come to its end is an error: what is not in it may be there all the same."""
        after: str | None = None
        for _ in range(_MOST_PAGES):
            asked = {**params, "limit": _PAGE, **({"after": after} if after else {})}
            page = self._document(partial(self._sender.call, "GET", path, params=asked))
            listed = page.get("data")
            if not isinstance(listed, list):
                raise malformed("no list where one is due")
            entries = [each for each in listed if isinstance(each, Mapping)]
            yield from entries
            if not page.get("has_more") or (entries and _is_past(entries, since - _DAY_S)):
                return
            before, after = after, _id_of(entries[-1]) if entries else None
            if after in (None, before):
                break
        message = f"the list {path} of {self._host} does not come to its end"
        raise TryLaterError("incomplete_list", message, again=False)

    def _document(self, call: Callable[[], Response]) -> Mapping[str, Any]:
        """The JSON object that a call gives."""
        parts: list[bytes] = []
        size = 0
        for part in self._segments(call):
            parts.append(part)
            size += len(part)
            if size > _LARGEST_DOCUMENT:
                raise malformed("a reply without an end")
        try:
            document = jsonl.loads_line(b"".join(parts))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise malformed("no JSON object where one is due")
        shown: Mapping[str, Any] = redacted_values(document, self._secrets)
        return shown

    def _segments(self, call: Callable[[], Response]) -> Iterator[bytes]:
        exchange = Exchange(_Call(call), _NO_REQUEST, self._waits)
        try:
            response = self._next(exchange)
            assert isinstance(response, Response)
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

    def _next(self, exchange: Exchange) -> Response | bytes | None:
        try:
            return exchange.next_item(self._ends_at - time.monotonic())
        except TimeoutError as error:
            message = f"{self._host} did not come to an end within --timeout"
            raise NetworkError("timeout", message, "Raise --timeout.", again=False) from error

    def _refusal(self, response: Response, exchange: Exchange) -> PipechatError:
        content = b""
        while len(content) < _ERROR_BYTES and (part := self._next(exchange)) is not None:
            assert isinstance(part, bytes)
            content += part
        error = status_error(
            response.status,
            decoded_error(content[:_ERROR_BYTES]),
            host=self._host,
            retry_after_s=retry_after_s(response.headers, time.time()),
        )
        if error.code == "not_found":
            error.hint = _HINT
        self._advise(error)
        return error


class _Call:
    """A call as what an exchange carries."""

    def __init__(self, call: Callable[[], Response]) -> None:
        self._call = call

    def send(self, request: Request) -> Response:  # noqa: ARG002 — because the call knows it
        return self._call()


_NO_REQUEST = Request("", {})


def _is_past(entries: list[Mapping[str, Any]], since: float) -> bool:
    """Whether what follows a page that goes backwards in time is older than `since`."""
    first, last = entries[0].get("created_at"), entries[-1].get("created_at")
    if not (isinstance(first, int | float) and isinstance(last, int | float)):
        return False
    return last < since and first > last


def _id_of(thing: Mapping[str, Any]) -> str:
    value = thing.get("id")
    if not is_id(value):
        raise malformed("a file or a batch without a usable id")
    return str(value)
