"""How often a validator may come to one place of an answer, told by the schema alone. Pure.

Alternatives that refer to alternatives multiply: a few lines of schema can stand for more work
than a machine does in a year, and validating is native code that nothing interrupts. What grows
with the answer (a schema that refers to itself) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipechat.answers.short_schema import Schema

# Keywords whose schemas hold for the same place, and those for a place below it (JSON Schema
# 2020-12, Core §10.2 and §10.3, and what older drafts called them).
_SAME_PLACE = (
    *("anyOf", "oneOf", "allOf", "not", "if", "then", "else"),
    *("dependentSchemas", "dependencies"),
)
_BELOW = (
    *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties"),
    *("propertyNames", "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
)
_BY_NAME = ("properties", "patternProperties", "dependentSchemas", "dependencies")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def most_ways(schema: Schema) -> int:
    """The most visits that one place of an answer may get, each reference followed."""
    named = _named(schema)
    ways: dict[int, int] = {}  # by the identity of a schema; 0: it is being counted
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting[-1]
        same = list(_same_place(part, schema, named))
        below = list(_parts(part, _BELOW))
        if id(part) not in ways:
            ways[id(part)] = 0
            waiting += [each for each in (*same, *below) if id(each) not in ways]
            continue
        waiting.pop()
        if ways[id(part)] == 0:
            deeper = max((ways[id(each)] for each in below), default=0)
            ways[id(part)] = max(deeper, 1) + sum(max(ways[id(each)], 1) for each in same)
    return ways[id(schema)]


def _same_place(part: Any, schema: Schema, named: dict[str, Any]) -> Iterator[Any]:
    yield from _parts(part, _SAME_PLACE)
    for key in _REFERENCES:
        target = _target(str(part.get(key, "")), schema, named)
        if isinstance(target, dict):
            yield target


def _parts(part: Any, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for key in keys:
        value = part.get(key)
        if isinstance(value, dict):
            values = list(value.values()) if key in _BY_NAME else [value]
        else:
            values = value if isinstance(value, list) else []
        yield from (each for each in values if isinstance(each, dict))


def _named(schema: Schema) -> dict[str, Any]:
    """What a reference may name beside a pointer: `#ANCHOR`, and an `$id`."""
    found: dict[str, Any] = {}
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for key, before in (("$anchor", "#"), ("$dynamicAnchor", "#"), ("$id", "")):
                if isinstance(part.get(key), str):
                    found.setdefault(before + part[key], part)
        inner = part.values() if isinstance(part, dict) else part
        waiting += [each for each in inner if isinstance(each, dict | list)]
    return found


def _target(reference: str, schema: Schema, named: dict[str, Any]) -> Any:
    if not reference:
        return None
    if reference in named:
        return named[reference]
    base, _, pointer = reference.partition("#")
    found: Any = named.get(base) if base else schema
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
