"""Whether a schema is in the subset that OpenAI's structured output takes with `strict`. Pure.

The rules are those of the guide "Structured model outputs", section "Supported schemas", as of
February 2026, and what the API is known to refuse beyond it (`$ref` with siblings, `default`).
What the guide does not name counts as outside: a request that is refused costs more than one
that is sent without `strict`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipechat.answers.short_schema import Schema

_ANNOTATIONS = {"title", "description"}
_ALLOWED = _ANNOTATIONS | {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
    *("anyOf", "$ref", "$defs", "definitions", "pattern", "format", "minItems", "maxItems"),
    *("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
# What says nothing of an answer, and is refused: it may be left out.
_SAYS_NOTHING = {
    *("$schema", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"),
}
_MOST_PROPERTIES = 5_000
_MOST_LEVELS = 10
_MOST_CHARACTERS = 120_000  # names of properties and definitions, values of enum and const
_MOST_CHOICES = 1_000
_LONG_ENUM = 250
_MOST_LONG_ENUM_CHARACTERS = 15_000
_DEEPEST = 200  # of a schema itself: no vendor takes a tenth of it, and recursion has an end


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a schema is not in the subset: the JSON pointer of the place, and what is there."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or 'the schema'}: {self.message}"


@dataclass(slots=True)
class _Counts:
    properties: int = 0
    characters: int = 0
    choices: int = 0
    reasons: list[Reason] = field(default_factory=list)

    def add(self, pointer: str, message: str) -> None:
        self.reasons.append(Reason(pointer, message))


def why_not_strict(schema: Schema) -> list[Reason]:
    """What keeps `schema`, one that `compile_schema` took, out of the strict subset, in its own
    order; nothing: it is in it."""
    counts = _Counts()
    if schema.get("type") != "object":
        counts.add("/type" if "type" in schema else "", 'the top must be of `"type": "object"`')
    if "anyOf" in schema:
        counts.add("/anyOf", "the top must not be a choice")
    _look(schema, "", 0, counts)
    for count, most, what in (
        (counts.properties, _MOST_PROPERTIES, "properties"),
        (counts.characters, _MOST_CHARACTERS, "characters in names and choices"),
        (counts.choices, _MOST_CHOICES, "choices in enums"),
    ):
        if count > most:
            counts.add("", f"{count} {what}, and {most} are the most")
    return counts.reasons


def without_annotations(schema: Schema) -> Schema:
    """`schema` without the keywords that strict refuses though they say nothing of an answer.

    No more is done to make a schema strict: `additionalProperties: false`, or a field that is
    required, would change which answers match.
    """
    made: Schema = {}
    for key, value in schema.items():
        if key in _SAYS_NOTHING:
            continue
        if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            made[key] = {name: _bare(part) for name, part in value.items()}
        elif key == "anyOf" and isinstance(value, list):
            made[key] = [_bare(part) for part in value]
        else:
            made[key] = _bare(value) if key == "items" else value
    return made


def _bare(part: Any) -> Any:
    return without_annotations(part) if isinstance(part, dict) else part


def _look(schema: Any, pointer: str, level: int, counts: _Counts) -> None:
    """Notes what is outside the subset at `pointer` and below; `level` counts nested objects."""
    if not isinstance(schema, dict):
        counts.add(pointer, "it must be an object of keywords, not true or false")
        return
    if pointer.count("/") > _DEEPEST:
        counts.add("", f"it is nested more than {_DEEPEST} steps")
        return
    for key in schema:
        if key not in _ALLOWED:
            counts.add(_below(pointer, key), f"`{key}` is not supported")
    if "$ref" in schema:
        _look_at_reference(schema, pointer, counts)
    elif not schema.keys() & {"type", "anyOf", "enum", "const"}:
        counts.add(pointer, "it names no `type`")
    _look_at_values(schema, pointer, counts)
    types = schema.get("type")
    if types == "object" or (isinstance(types, list) and "object" in types):
        level += 1
        _look_at_object(schema, pointer, level, counts)
    if (types == "array" or (isinstance(types, list) and "array" in types)) and (
        "items" not in schema
    ):
        counts.add(pointer, "an array must have `items`")
    for part_pointer, part in _parts(schema, pointer, counts):
        _look(part, part_pointer, level, counts)


def _look_at_reference(schema: Schema, pointer: str, counts: _Counts) -> None:
    if not str(schema["$ref"]).startswith("#"):
        counts.add(_below(pointer, "$ref"), "it refers to what is not in the schema")
    if len(schema.keys() - {"$defs", "definitions"}) > 1:
        counts.add(pointer, "nothing may stand beside `$ref`")


def _look_at_object(schema: Schema, pointer: str, level: int, counts: _Counts) -> None:
    if level == _MOST_LEVELS + 1:
        counts.add(pointer, f"objects are nested more than {_MOST_LEVELS} levels deep")
    if schema.get("additionalProperties") is not False:
        counts.add(pointer, "an object must have `additionalProperties: false`")
    names = schema.get("properties", {})
    required = schema.get("required", [])
    for name in names:
        if name not in required:
            counts.add(_below(_below(pointer, "properties"), name), "it must be in `required`")


def _look_at_values(schema: Schema, pointer: str, counts: _Counts) -> None:
    types = schema.get("type", [])
    for name in types if isinstance(types, list) else [types]:
        if name not in _TYPES:
            counts.add(_below(pointer, "type"), f"there is no type {name!r}")
    if "format" in schema and schema["format"] not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        counts.add(_below(pointer, "format"), f"{schema['format']!r} is none of {known}")
    choices = schema.get("enum", [])
    counts.choices += len(choices)
    if "const" in schema:
        counts.characters += len(str(schema["const"]))
    characters = sum(len(str(choice)) for choice in choices)
    counts.characters += characters
    if len(choices) > _LONG_ENUM and characters > _MOST_LONG_ENUM_CHARACTERS:
        most = f"{_MOST_LONG_ENUM_CHARACTERS} are the most in an enum of over {_LONG_ENUM}"
        counts.add(_below(pointer, "enum"), f"{characters} characters, and {most}")


def _parts(schema: Schema, pointer: str, counts: _Counts) -> Iterator[tuple[str, Any]]:
    for key in ("properties", "$defs", "definitions"):
        named = schema.get(key)
        for name, part in named.items() if isinstance(named, dict) else ():
            counts.properties += key == "properties"
            counts.characters += len(name)
            yield _below(_below(pointer, key), name), part
    for index, part in enumerate(schema.get("anyOf", [])):
        yield _below(_below(pointer, "anyOf"), str(index)), part
    if "items" in schema:
        yield _below(pointer, "items"), schema["items"]


def _below(pointer: str, step: str) -> str:
    return f"{pointer}/{step.replace('~', '~0').replace('/', '~1')}"
