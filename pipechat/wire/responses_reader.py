"""Responses of `/responses` as chunks.

Told in the words of Chat Completions, so that events and records are the same: finish reasons,
the names in `usage`. Whole is only what ends with a terminal event whose response says
`completed`, with nothing incomplete in it, and with fewer tokens than were allowed: servers call
an answer completed that the limit cut. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipechat import jsonl
from pipechat.errors import IncompleteError
from pipechat.events import Chunk
from pipechat.text import whole_text
from pipechat.wire.api_errors import malformed, stream_error
from pipechat.wire.chat_completions import shown_value
from pipechat.wire.dialect import with_origin
from pipechat.wire.sse import ServerEvent

_EMPTY = Chunk()
_LONGEST_DONE = 16
_REASONS = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
}
_UNENDED = ("queued", "in_progress", "failed", "cancelled")
# What the client is to run; what a server runs by itself, it goes on from by itself.
_TOOLS = (
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "computer_call",
    "mcp_approval_request",
)
_TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.done")
_USAGE = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}


class ResponsesReader:
    """One response's events in, chunks out."""

    def __init__(self, host: str, limit: float | None) -> None:
        self._host = host
        self._limit = limit
        self._texts: list[str] = []
        self._ends: dict[str, str] = {}  # the text of each part, as its own end says it

    def event(self, event: ServerEvent) -> Chunk:
        """The chunk that one server-sent event makes.

        Raises:
            PipechatError: the event carries an error, or is none of this dialect.
        """
        data = event.data
        if len(data) < _LONGEST_DONE and data.strip() == b"[DONE]":
            return Chunk(done=True)
        payload = self._decoded(data, is_error=event.name == "error")
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
            return Chunk(tool_calls=True) if _is_tool(payload.get("item")) else _EMPTY
        if kind in ("response.output_text.done", "response.refusal.done"):
            return self._note_end_of_part(payload)
        if kind in _TERMINAL:
            return self._terminal(_object(payload.get("response"), "a response"), kind)
        if not isinstance(kind, str) or not kind.startswith("response."):
            raise malformed(f"data that is no event of this API: {shown_value(payload)}")
        return _EMPTY

    def document(self, data: bytes) -> Iterator[Chunk]:
        """The chunks of one whole response.

        Raises:
            PipechatError: it is none, or it carries an error.
        """
        payload = self._decoded(data, is_error=False)
        if payload.get("error") and "output" not in payload:
            raise stream_error(payload["error"], host=self._host)
        if not isinstance(payload.get("output"), list):
            raise malformed(f"JSON that is no response: {shown_value(payload)}")
        yield Chunk(reasoning=_reasoning_of(payload["output"]))
        yield self._terminal(payload, "response.completed")

    def _shown(self, chunk: Chunk) -> Chunk:
        self._texts.append(chunk.text)
        return chunk

    def _note_end_of_part(self, payload: Mapping[str, Any]) -> Chunk:
        text = payload.get("text") or payload.get("refusal")
        if isinstance(text, str):
            place = f"{payload.get('output_index')} {payload.get('content_index')}"
            self._ends[place] = text
        return Chunk(refusal=True) if payload.get("refusal") else _EMPTY

    def _terminal(self, response: Mapping[str, Any], kind: str) -> Chunk:
        """The end, with the text where none came before."""
        if response.get("error") or kind == "response.failed":
            raise stream_error(response.get("error") or "the response failed", host=self._host)
        usage = _usage(response.get("usage"))
        output = response.get("output")
        items = output if isinstance(output, list) else []
        text, refusal = _text_of(items)
        chunk = Chunk(
            text="" if self._was_told(text) else text or "".join(self._ends.values()),
            refusal=refusal,
            tool_calls=any(map(_is_tool, items)),
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
        if details or cut or any(map(_is_incomplete, items)):
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
        return "stop"

    def _decoded(self, data: bytes, *, is_error: bool) -> Mapping[str, Any]:
        try:
            payload = jsonl.loads(data)
        except ValueError:
            if is_error:
                raise stream_error(data.decode("utf-8", "replace"), host=self._host) from None
            raise malformed("data that is no JSON") from None
        if is_error and not isinstance(payload, Mapping):
            raise stream_error(payload, host=self._host)
        return _object(payload, "data")


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise malformed(f"{what} that is no JSON object: {shown_value(value)}")
    return value


def _delta(payload: Mapping[str, Any]) -> str:
    delta = payload.get("delta")
    if not isinstance(delta, str):
        raise malformed("a delta that is no text")
    return delta


def count_of(value: object) -> float | None:
    """A number, which some servers send as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _is_incomplete(item: object) -> bool:
    if not isinstance(item, Mapping):
        return False
    return item.get("type") == "message" and item.get("status") == "incomplete"


def _is_tool(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("type") in _TOOLS


def _parts(output: Sequence[Any], kind: str) -> Iterator[Mapping[str, Any]]:
    for item in output:
        if isinstance(item, Mapping) and item.get("type") == kind:
            content = item.get("content") or item.get("summary")
            if isinstance(content, str):
                yield {"text": content}
            parts = content if isinstance(content, list) else []
            yield from (part for part in parts if isinstance(part, Mapping))


def _text_of(output: Sequence[Any]) -> tuple[str, bool]:
    """The text of all messages in `output`, and whether a refusal is among it."""
    texts, refused = [], False
    for part in _parts(output, "message"):
        text = part.get("text") if part.get("type") != "refusal" else part.get("refusal")
        refused = refused or part.get("type") == "refusal"
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts), refused


def _reasoning_of(output: Sequence[Any]) -> str:
    texts = [part.get("text") for part in _parts(output, "reasoning")]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _usage(value: object) -> Mapping[str, Any] | None:
    """The usage under the names of Chat Completions; what it has no name for stays as it is."""
    if not isinstance(value, Mapping) or not value:
        return None
    return {_USAGE.get(str(name), str(name)): count for name, count in value.items()}
