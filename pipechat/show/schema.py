"""JSON Schemas (draft 2020-12) of what pipechat writes, made from the types that write it.

Which keys there are is asked of the records themselves, what they hold of the types' hints, and
what the whole means of the docstrings; only the meaning of single keys stands here. Unknown
keys are allowed: readers have to pass over them (DESIGN §5).
"""

import types
from collections.abc import Mapping, Sequence
from inspect import cleandoc, signature
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from pipechat.events import Event
from pipechat.messages import Turn

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}

MEANINGS: dict[str, str] = {
    "answer": "What the model said: all of it, or as much as came.",
    "attempt": "Which retry this is, from 1.",
    "context": "In a mark, a later record of the same turn: whether it goes along; else null.",
    "code": "The word for what went wrong; stderr names the same.",
    "error": "Why the turn is not complete; null where it is.",
    "exit_code": "The exit status that the program ends with.",
    "extracted": "What --schema or --extract made of the answer, as stdout shows it; else null.",
    "item": "Of a batch: the id of what was asked; else null.",
    "attempts": "Of a batch: how many requests it took; else null.",
    "api": "The API that was asked: chat or responses; null in older records.",
    "files": "The files that went along: `name`, `bytes`, `sha256`, `media_type`; else null.",
    "finish_reason": "Why the model stopped, in the server's words.",
    "first_token_s": "Seconds from the request to the first text.",
    "id": "The turn's id, a UUIDv7: ids sort by time.",
    "index": "The number of the chunk, from 0.",
    "json": "The value that the answer is, with --schema or --extract json; else null.",
    "message": "What went wrong, in a sentence.",
    "model": "The model that was asked for.",
    "once": "With --once: its `key`, and `request`, a hash of what was asked, earlier turns aside; "
    "of a batch, in a session, the hash alone.",
    "question": "What was asked.",
    "replayed": "Whether --once tells an answer of the session again; nothing is sent.",
    "request": "A hash of what was asked: dialect, model, messages, options; equal where all are.",
    "request_id": "The server's name for the request.",
    "retryable": "Whether another try may help.",
    "schema": "The schema of --schema: its sha256, and whether the answer matched; null: cut.",
    "session": "The session's name; null where the turn is not kept.",
    "status": "Whether the answer is whole, came in part, or not at all.",
    "system": "The system message that went along.",
    "text": "A piece of text; the texts of all chunks joined are the answer.",
    "time": "When the turn began: RFC 3339, in UTC.",
    "to": "The profile, or the model, that is asked instead.",
    "total_s": "Seconds from the request to the end.",
    "turn_tokens": "The tokens that this turn alone adds to a context, where the server told.",
    "turns_dropped": "Earlier turns left out because they did not fit into --context-tokens.",
    "turns_sent": "Earlier turns that went along.",
    "type": "Which event this is.",
    "usage": "Tokens as the server counted them; null where it did not.",
    "v": "The version of the format: no key goes or changes its meaning within it.",
    "wait_s": "Seconds until the request is sent again.",
}
_FORMATS = {"time": "date-time", "id": "uuid"}


def event_schema() -> dict[str, Any]:
    """The schema of one line of `--output-format ndjson`."""
    return {
        "$schema": DRAFT,
        "title": "pipechat event",
        "description": "One line of `pipechat ask --output-format ndjson`. `start` comes first "
        "where a request is made; exactly one of `end` and `error` comes, and it is last.",
        "oneOf": [_record_schema(event) for event in get_args(Event)],
    }


def turn_schema() -> dict[str, Any]:
    """The schema of one record of a session file."""
    return {"$schema": DRAFT, **_record_schema(Turn), "title": "pipechat turn"}


def _record_schema(kind: Any) -> dict[str, Any]:
    """The schema of what `kind` writes as its `record`."""
    hints = get_type_hints(kind)
    names = list(signature(kind).parameters)
    record = kind(**dict.fromkeys(names)).record()
    # A key of the record that is no field of the type has always the same value.
    return {
        "title": record.get("type", kind.__name__.lower()),
        "description": _summary(kind),
        "type": "object",
        "properties": {
            key: _property(key, hints[key] if key in names else Literal[value])
            for key, value in record.items()
        },
        "required": list(record),
    }


def _property(key: str, hint: Any) -> dict[str, Any]:
    schema = {"description": MEANINGS[key], **hint_schema(hint)}
    return {**schema, "format": _FORMATS[key]} if key in _FORMATS else schema


def hint_schema(hint: Any) -> dict[str, Any]:
    """The schema of what a type hint allows. Raises TypeError for what JSON has not."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin = get_origin(hint)
    if origin is Literal:
        values = get_args(hint)
        return {"const": values[0]} if len(values) == 1 else {"enum": list(values)}
    if origin in (Union, types.UnionType):
        return _any_of([hint_schema(each) for each in get_args(hint)])
    if is_typeddict(hint):
        inner = get_type_hints(hint)
        return {
            "type": "object",
            "properties": {key: _property(key, each) for key, each in inner.items()},
            "required": list(inner),
        }
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object"}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": hint_schema(get_args(hint)[0])}
    raise TypeError(f"no schema for {hint}")


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Written short, as one schema with several types, where all but one are only a type."""
    rich = [schema for schema in schemas if set(schema) != {"type"}]
    if len(rich) > 1 or any("type" not in schema for schema in rich):
        return {"anyOf": schemas}
    return {**(rich[0] if rich else {}), "type": [schema["type"] for schema in schemas]}


def _summary(kind: Any) -> str:
    """The docstring's first paragraph, in one line."""
    return " ".join(cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
