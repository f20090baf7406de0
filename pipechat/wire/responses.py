"""The dialect of `/responses`: a request as its JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from pipechat.messages import AnswerFormat, ChatRequest, Message
from pipechat.wire.responses_output import count_of
from pipechat.wire.responses_reader import ResponsesReader

_LIMIT = "max_output_tokens"
_NAMES = {"max_tokens": _LIMIT, "max_completion_tokens": _LIMIT}


class Responses:
    """The Responses API. The session is the memory: nothing is stored at the server."""

    name = "responses"
    path = "/responses"
    own_parameters: tuple[str, ...] = ("stream_options", "store")
    format_parameters: tuple[str, ...] = (
        "text.format", "json_schema", "json_object", "structured output", "json mode",
    )  # fmt: skip

    def body(self, request: ChatRequest, format_index: int = 0) -> dict[str, Any]:
        """As `Dialect.body`."""
        messages: list[Message] = list(request.messages)
        if request.system_role != "system":
            from pipechat.wire.system_role import spoken_as

            messages = spoken_as(request.system_role, messages)
        more: dict[str, Any] = {}
        if request.formats:
            messages, more = _formatted(messages, request.formats[format_index])
        body: dict[str, Any] = {"model": request.model}
        if messages and messages[0]["role"] == "system":
            body["instructions"] = messages.pop(0)["content"]
        body |= {"input": [_item(message) for message in messages], "store": False, **more}
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_obfuscation": False}}
        options = {_NAMES.get(name, name): value for name, value in request.options.items()}
        if isinstance(effort := options.pop("reasoning_effort", None), str):
            more = {**more, "reasoning": {"effort": effort}}
        for name, given in more.items():
            if isinstance(own := options.get(name), Mapping):
                options[name] = {**own, **given} if name == "reasoning" else {**given, **own}
            elif name not in options:
                options[name] = given
        return {**body, **options}

    def reader(self, host: str, asked: Mapping[str, Any]) -> ResponsesReader:
        """As `Dialect.reader`; `asked` says how many tokens were allowed."""
        return ResponsesReader(host, count_of(asked.get(_LIMIT)))


def _formatted(
    messages: list[Message], wanted: AnswerFormat
) -> tuple[list[Message], dict[str, Any]]:
    if wanted.kind == "json_schema":
        named = {"type": "json_schema", "name": "answer"}
        return messages, {
            "text": {"format": named | {"schema": wanted.schema, "strict": wanted.strict}}
        }
    from pipechat.wire.in_words import asked_in_words

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
