"""The dialect of `/responses`: a request as its JSON, a response's events as chunks.

Told in the words of Chat Completions, so that events and records are the same: finish reasons,
the names in `usage`. Whole is only what ends with a terminal event whose response says
`completed`, without `incomplete_details`, and with fewer tokens than were allowed: servers call
an answer completed that the limit cut. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipechat import jsonl
from pipechat.errors import IncompleteError
from pipechat.events import Chunk
from pipechat.messages import AnswerFormat, ChatRequest, Message
from pipechat.wire.api_errors import malformed, stream_error
from pipechat.wire.chat_completions import asked_in_words, shown_value
from pipechat.wire.dialect import STREAM_PARAMETER
from pipechat.wire.sse import ServerEvent

_EMPTY = Chunk()
_LONGEST_DONE = 16
_LIMIT = "max_output_tokens"
_NAMES = {"max_tokens": _LIMIT, "max_completion_tokens": _LIMIT}
_REASONS = {"max_output_tokens": "length", "max_messages": "length"}
_TOOLS = (
    "function_call",
    "custom_tool_call",
    "local_shell_call",
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


class Responses:
    """The Responses API. The session is the memory: nothing is stored at the server."""

    name = "responses"
    path = "/responses"
    format_parameters: tuple[str, ...] = (
        "text.format", "json_schema", "json_object", "structured output", "json mode",
    )  # fmt: skip

    def body(
        self, request: ChatRequest, *, usage_asked: bool = True, format_index: int = 0
    ) -> dict[str, Any]:
        """As `Dialect.body`."""
        messages: list[Message] = list(request.messages)
        more: dict[str, Any] = {}
        if request.formats:
            messages, more = _formatted(messages, request.formats[format_index])
        body: dict[str, Any] = {"model": request.model}
        if messages and messages[0]["role"] == "system":
            body["instructions"] = messages.pop(0)["content"]
        body |= {"input": [_item(message) for message in messages], "store": False, **more}
        if request.stream:
            body["stream"] = True
            if usage_asked:
                body[STREAM_PARAMETER] = {"include_obfuscation": False}
        options = {_NAMES.get(name, name): value for name, value in request.options.items()}
        if isinstance(effort := options.pop("reasoning_effort", None), str):
            options["reasoning"] = {**options.get("reasoning", {}), "effort": effort}
        return {**body, **options}

    def reader(self, host: str, asked: Mapping[str, Any]) -> "ResponsesReader":
        """As `Dialect.reader`; `asked` says how many tokens were allowed."""
        limit = asked.get(_LIMIT)
        return ResponsesReader(host, limit if isinstance(limit, int) else None)


def _formatted(
    messages: list[Message], wanted: AnswerFormat
) -> tuple[list[Message], dict[str, Any]]:
    if wanted.kind == "json_schema":
        named = {"type": "json_schema", "name": "answer"}
        return messages, {
            "text": {"format": named | {"schema": wanted.schema, "strict": wanted.strict}}
        }
    messages = asked_in_words(messages, wanted)
    fields = {"text": {"format": {"type": "json_object"}}} if wanted.kind == "json_object" else {}
    return messages, fields


def _item(message: Message) -> dict[str, Any]:
    content = message["content"]
    if not isinstance(content, str):
        content = [_part(part) for part in content]
    return {"role": message["role"], "content": content}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a message of Chat Completions as this API has it."""
    kind = part["type"]
    if kind == "text":
        return {"type": "input_text", "text": part["text"]}
    if kind == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}
    return {"type": "input_file", **part["file"]}


class ResponsesReader:
    """One response's events in, chunks out."""

    def __init__(self, host: str, limit: int | None) -> None:
        self._host = host
        self._limit = limit
        self._texts: list[str] = []

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

    def _terminal(self, response: Mapping[str, Any], kind: str) -> Chunk:
        """The end, with the text where none came before."""
        if response.get("error") or kind == "response.failed":
            raise stream_error(response.get("error") or "the response failed", host=self._host)
        usage = _usage(response.get("usage"))
        output = response.get("output")
        text, refusal = _text_of(output if isinstance(output, list) else [])
        said = "".join(self._texts)
        if said and text and said != text:
            message = "the answer was cut: its pieces are not what its end says"
            raise IncompleteError("cut", message, "Ask again.", retryable=True)
        return Chunk(
            text="" if said else text,
            refusal=refusal,
            tool_calls=any(_is_tool(item) for item in output or () if isinstance(output, list)),
            finish_reason=self._reason(response, usage),
            usage=usage,
            done=True,
        )

    def _reason(self, response: Mapping[str, Any], usage: Mapping[str, Any] | None) -> str | None:
        details = response.get("incomplete_details")
        status = response.get("status")
        if isinstance(details, Mapping) and isinstance(details.get("reason"), str):
            return _REASONS.get(details["reason"], details["reason"])
        if details or status == "incomplete":
            return "incomplete"
        if status != "completed":
            return status if isinstance(status, str) and status else None
        written = (usage or {}).get("completion_tokens")
        if self._limit is not None and isinstance(written, int) and written >= self._limit:
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


def _is_tool(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("type") in _TOOLS


def _parts(output: Sequence[Any], kind: str) -> Iterator[Mapping[str, Any]]:
    for item in output:
        if isinstance(item, Mapping) and item.get("type") == kind:
            content = item.get("content") or item.get("summary")
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
