"""The endpoint's Files and Batches: one call each.

Owns paths, and what a reply must hold. No call is made twice here: who calls knows what a second
one would cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pipechat.client.api_calls import ApiCalls
from pipechat.errors import PipechatError
from pipechat.wire.api_errors import malformed, stream_error
from pipechat.wire.provider_id import is_id

CHAT_PATH = "/v1/chat/completions"
_WINDOW = "24h"
_PAGE = 100  # the most that the vendor lists at once
_MOST_PAGES = 1000
_DAY_S = 86_400  # more than clocks are apart
_BOM = b"\xef\xbb\xbf"
_HINT = "Does this server speak Files and Batches? Check --base-url."


class BatchApi:
    """Files and batches of one endpoint. Each method raises PipechatError."""

    def __init__(self, calls: ApiCalls) -> None:
        self._calls = calls

    def upload(self, path: str, name: str) -> str:
        """Upload the file at `path` as `name`; its id there."""
        with open(path, "rb") as file:
            files = {"file": (name, file, "application/jsonl")}
            body = {"purpose": "batch"}
            made = self._document("POST", "/files", body=body, files=files)
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
        made = self._document("POST", "/batches", body=body)
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
        return self._batch("GET", path)

    def cancel(self, batch_id: str) -> Mapping[str, Any]:
        """Ask for a batch to be cancelled; the batch as it stands then."""
        path = f"/batches/{quote(batch_id, safe='')}/cancel"
        return self._batch("POST", path, body={})

    def lines(self, file_id: str) -> Iterator[bytes]:
        """The lines of a file, as they come, each with its newline; the last may lack it."""
        path = f"/files/{quote(file_id, safe='')}/content"
        begun: list[bytes] = []
        mark = _BOM
        for part in self._calls.segments("GET", path):
            first, *others = part.split(b"\n")
            begun.append(first)
            for piece in others:
                yield b"".join(begun).removeprefix(mark) + b"\n"
                mark = b""
                begun = [piece]
        if last := b"".join(begun).removeprefix(mark):
            yield last

    def _batch(self, method: str, path: str, **more: Any) -> Mapping[str, Any]:
        """A batch, which says how it stands: what does not is none, and would be for ever."""
        batch = self._document(method, path, **more)
        if isinstance(batch.get("status"), str):
            return batch
        if batch.get("error"):
            raise stream_error(batch["error"], host=self._calls.host)
        raise malformed("no batch where one is due")

    def _listed(
        self, path: str, params: Mapping[str, Any], since: float
    ) -> Iterator[Mapping[str, Any]]:
        """What a list holds, page by page, back to `since` where the newest come first. One that
        does not come to its end is an error: what is not in it may be there all the same."""
        after: str | None = None
        for _ in range(_MOST_PAGES):
            asked = {**params, "limit": _PAGE, **({"after": after} if after else {})}
            page = self._document("GET", path, params=asked)
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
        raise self._calls.never_ends(path)

    def _document(self, method: str, path: str, **more: Any) -> Mapping[str, Any]:
        document = self._calls.document(method, path, **more)
        if not isinstance(document, dict):
            raise malformed("no JSON object where one is due")
        return document


def advise_of_batches(error: PipechatError) -> None:
    """Let a refusal say what to try where the server knows no such path."""
    if error.code == "not_found":
        error.hint = _HINT


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
