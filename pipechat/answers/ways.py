"""How often a validator may come to one place of an answer, told by the schema alone. Pure.

Alternatives that refer to alternatives multiply: a few lines of schema can stand for more work
than a machine does in a year, and validating is native code that nothing interrupts. A schema
that refers to itself is counted once; how often it is gone through depends on how deep an answer
is, and `most_ways_at` counts that.
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


# Of each schema, by its identity: those that hold for the same place, and those below it.
_Graph = dict[int, tuple[list[int], list[int]]]


def most_ways(schema: Schema) -> int:
    """The most visits that one place of an answer may get, each reference followed."""
    ways: dict[int, int] = {}
    _count(id(schema), _graph(schema), ways)
    return ways[id(schema)]


def most_ways_at(schema: Schema, depth: int, enough: int) -> int:
    """The same for an answer that is nested `depth` levels deep, a schema that refers to itself
    gone through at each. Counting stops at `enough`."""
    graph = _graph(schema)
    below = dict.fromkeys(graph, 1)
    for _ in range(depth + 1):
        here: dict[int, int] = {}
        for part in graph:
            _count(part, graph, here, below)
        if here == below or here[id(schema)] > enough:
            return here[id(schema)]
        below = here
    return below[id(schema)]


def _count(
    part: int, graph: _Graph, here: dict[int, int], below: dict[int, int] | None = None
) -> None:
    """The ways of `part`, and of what they are made of, into `here`; 0: it is being counted, and
    what leads back to it adds nothing. `below`: the ways to places a level deeper, where they are
    known."""
    waiting = [part]
    while waiting:
        part = waiting[-1]
        same, deeper = graph[part]
        if part not in here:
            here[part] = 0
            unknown = same if below else [*same, *deeper]
            waiting += [each for each in unknown if each not in here]
            continue
        waiting.pop()
        if here[part] == 0:
            most = max(((below or here)[each] for each in deeper), default=0)
            here[part] = max(most, 1) + sum(max(here[each], 1) for each in same)


def _graph(schema: Schema) -> _Graph:
    named = _named(schema)
    graph: _Graph = {}
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if id(part) not in graph:
            same = list(_same_place(part, schema, named))
            below = list(_parts(part, _BELOW))
            graph[id(part)] = [id(each) for each in same], [id(each) for each in below]
            waiting += [*same, *below]
    return graph


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
