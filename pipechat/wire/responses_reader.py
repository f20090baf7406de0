"""Responses of `/responses` as chunks.

Told in the words of Chat Completions, so that events and records are the same: finish reasons,
the names in `usage`. Whole is only what ends with a terminal event whose response says
`completed`, with nothing incomplete in it, and with fewer tokens than were allowed: servers call
an answer completed that the limit cut. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipechat.errors import IncompleteError, PipechatError
from pipechat.events import Chunk
from pipechat.text import whole_text
from pipechat.wire.api_errors import (
    decoded,
    is_error_without_its_key,
    malformed,
    no_object,
    shown_value,
    stream_error,
)
from pipechat.wire.origin import with_origin
from pipechat.wire.responses_output import (
    count_of,
    is_incomplete,
    is_tool,
    parts_of,
    reasoning_of,
    text_of,
    usage_of,
)
from pipechat.wire.sse import ServerEvent

_EMPTY = Chunk()
_LONGEST_DONE = 16
_REASONS = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
}
_PARTS = ("output_text", "text", "refusal")
_UNENDED = ("queued", "in_progress", "failed", "cancelled")
_TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.done")


class ResponsesReader:
    """One response's events in, chunks out."""

    def __init__(self, host: str, limit: float | None) -> None:
        self._host = host
        self._limit = limit
        self._texts: list[str] = []
        self._asked_for_tools = False
        self._ends: dict[str, str] = {}  # the text of each part, as its own end says it

    def event(self, event: ServerEvent) -> Chunk:
        """The chunk that one server-sent event makes.

        Raises:
            PipechatError: the event carries an error, or is none of this dialect.
        """
        data = event.data
        if len(data) < _LONGEST_DONE and data.strip() == b"[DONE]":
            return Chunk(done=True)
        payload = self._object_in(data, is_error=event.name == "error")
        kind = payload.get("type") or event.name
        if kind == "error" or (payload.get("error") and "response" not in payload):
            raise stream_error(payload.get("error") or payload, host=self._host)
        if kind == "response.output_text.delta":
            return self._shown(Chunk(_delta(payload)))
        if kind == "response.refusal.delta":
            return self._shown(Chunk(_delta(payload), refusal=True))
        if kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            return Chunk(reasoning=_delta(payload))
        if kind == "response.reasoning_summary_part.added" and payload.get("summary_index"):
            return Chunk(reasoning="\n\n")
        if kind == "response.output_item.added":
            return self._note_tools([payload.get("item")])
        if kind in ("response.output_text.done", "response.refusal.done"):
            return Chunk(refusal=self._note_end(payload, payload.get("content_index"), payload))
        if kind == "response.content_part.done":
            return Chunk(refusal=self._note_part(payload, payload.get("part")))
        if kind == "response.output_item.done":
            return self._note_item(payload, payload.get("item"))
        if kind in _TERMINAL:
            return self._terminal(_object(payload.get("response"), "a response"), kind)
        if isinstance(kind, str) and kind.startswith("response."):
            return _EMPTY
        return self._beside(payload)

    def document(self, data: bytes) -> Iterator[Chunk]:
        """The chunks of one whole response.

        Raises:
            PipechatError: it is none, or it carries an error.
        """
        payload = self._object_in(data)
        if payload.get("error") and "output" not in payload:
            raise stream_error(payload["error"], host=self._host)
        if not isinstance(payload.get("output"), list):
            raise self._no_answer("JSON that is no response", payload)
        yield Chunk(reasoning=reasoning_of(payload["output"]))
        yield self._terminal(payload, "response.completed")

    def _object_in(self, data: bytes, *, is_error: bool = False) -> Mapping[str, Any]:
        payload = decoded(data, host=self._host, is_error=is_error)
        if not isinstance(payload, Mapping):
            raise no_object(payload, host=self._host)
        return payload

    def _beside(self, payload: Mapping[str, Any]) -> Chunk:
        """What is no event of a response: `keepalive`, which the vendor sends and documents
        nowhere, and others that gateways have."""
        if payload and (is_error_without_its_key(payload) or not payload.get("type")):
            raise self._no_answer("data that is no event of this API", payload)
        return _EMPTY

    def _no_answer(self, what: str, payload: Mapping[str, Any]) -> PipechatError:
        if is_error_without_its_key(payload):
            return stream_error(payload, host=self._host)
        return malformed(f"{what}: {shown_value(payload)}")

    def _shown(self, chunk: Chunk) -> Chunk:
        self._texts.append(chunk.text)
        return chunk

    def _note_tools(self, items: Sequence[Any]) -> Chunk:
        self._asked_for_tools = self._asked_for_tools or any(map(is_tool, items))
        return Chunk(tool_calls=True) if self._asked_for_tools else _EMPTY

    def _note_item(self, payload: Mapping[str, Any], item: object) -> Chunk:
        parts = enumerate(parts_of([item], "message"))
        refused = [self._note_end(payload, index, part) for index, part in parts]
        return self._note_tools([item])._replace(refusal=any(refused))

    def _note_part(self, payload: Mapping[str, Any], part: object) -> bool:
        if not isinstance(part, Mapping) or part.get("type") not in _PARTS:
            return False  # of reasoning, for one
        return self._note_end(payload, payload.get("content_index"), part)

    def _note_end(self, payload: Mapping[str, Any], index: object, part: Mapping[str, Any]) -> bool:
        """Note what a part says at its end: some servers say it in three events, some in one,
        and some in none before. Whether it is a refusal."""
        text = part.get("text") or part.get("refusal")
        if isinstance(text, str):
            self._ends[f"{payload.get('output_index') or 0} {index or 0}"] = text
        return bool(part.get("refusal"))

    def _terminal(self, response: Mapping[str, Any], kind: str) -> Chunk:
        """The end, with the text where none came before."""
        if response.get("error") or kind == "response.failed":
            raise stream_error(response.get("error") or "the response failed", host=self._host)
        usage = usage_of(response.get("usage"))
        output = response.get("output")
        items = output if isinstance(output, list) else []
        self._note_tools(items)
        text, refusal = text_of(items)
        chunk = Chunk(
            text="" if self._was_told(text) else text or "".join(self._ends.values()),
            refusal=refusal,
            tool_calls=self._asked_for_tools,
            finish_reason=self._reason(response, items, usage, kind),
            usage=usage,
            done=True,
        )
        return with_origin(chunk, response)

    def _was_told(self, text: str) -> bool:
        """Whether `text`, which the end says, came in pieces. Raises IncompleteError where some
        of them did not come."""
        said = whole_text("".join(self._texts))
        if not said:
            return False
        ends = map(whole_text, self._ends.values())
        if (text and said != whole_text(text)) or not all(end in said for end in ends):
            message = "the answer was cut: its pieces are not what its end says"
            raise IncompleteError("cut", message, "Ask again.", retryable=True)
        return True

    def _reason(
        self,
        response: Mapping[str, Any],
        items: Sequence[Any],
        usage: Mapping[str, Any] | None,
        kind: str,
    ) -> str | None:
        details = response.get("incomplete_details")
        status = response.get("status")
        cut = status == "incomplete" or kind == "response.incomplete"
        if details or cut or any(map(is_incomplete, items)):
            reason = details.get("reason") if isinstance(details, Mapping) else None
            if not isinstance(reason, str) or not reason:
                return "incomplete"
            return _REASONS.get(reason, f"incomplete: {reason}")
        if status != "completed":  # a word that elsewhere means the end is none here
            if not isinstance(status, str) or not status:
                return None
            return status if status in _UNENDED else f"status {status}"
        written = count_of((usage or {}).get("completion_tokens"))
        if self._limit is not None and written is not None and written >= self._limit:
            return "length"
        return "tool_calls" if self._asked_for_tools else "stop"


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise malformed(f"{what} that is no JSON object: {shown_value(value)}")
    return value


def _delta(payload: Mapping[str, Any]) -> str:
    delta = payload.get("delta")
    if not isinstance(delta, str):
        raise malformed("a delta that is no text")
    return delta
