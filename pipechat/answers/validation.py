"""Holding an answer against its schema, with jsonschema-rs (an extra, imported where it is used).

No reference is ever fetched: not from the network, not from a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pipechat.answers.short_schema import Schema
from pipechat.answers.ways import most_ways, most_ways_at
from pipechat.errors import UsageError, missing_extra
from pipechat.jsonl import loads_line
from pipechat.text import visible_line, whole_text

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

_LONGEST = 300
_BACKTRACKS = 100_000
_MOST_WAYS = 20_000  # of each a validator keeps what is wrong: 60 µs


@dataclass(frozen=True, slots=True)
class Violation:
    """Where an answer departs from its schema: a JSON pointer (RFC 6901), and what is wrong."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or 'the answer'}: {self.message}"


class AnswerSchema:
    """A schema made ready; validates any number of answers."""

    def __init__(self, schema: Schema, validator: Validator) -> None:
        self.schema = schema
        self._validator = validator

    def __reduce__(self) -> tuple[Any, ...]:
        return compile_schema, (self.schema,)  # what is compiled stays in its process

    def violation(self, value: object) -> Violation | None:
        """The first thing in which `value` does not match, or None. Formats count."""
        try:
            if self._validator.is_valid(value):  # a thousand times quicker than to look for errors
                return None
            if most_ways_at(self.schema, _depth(value), _MOST_WAYS) > _MOST_WAYS:
                return Violation("", "it does not match; it is nested too deep to tell where")
            for error in self._validator.iter_errors(value):
                return Violation(json_pointer(error.instance_path), _shortened(error.message))
        except ValueError as error:  # nested beyond its reach, or no text that UTF-8 has
            return Violation("", _shortened(f"it cannot be validated: {error}"))
        return None

    def judge(self, answer: str) -> tuple[Any, Violation | None]:
        """The JSON value that the whole of `answer` is, and the first thing wrong with it.

        Lone surrogates become U+FFFD. What is no JSON has the value None, and says so.
        """
        try:
            value = loads_line(whole_text(answer).encode())
        except ValueError as error:
            return None, Violation("", _shortened(f"it is no JSON: {error}"))
        return value, self.violation(value)


def compile_schema(schema: Schema) -> AnswerSchema:
    """`schema` made ready: draft 2020-12, or the draft that its `$schema` names.

    Raises:
        UsageError: `missing_extra`: jsonschema-rs is not installed; `bad_schema`: it is no
            schema, with the JSON pointer of the place, it refers to what is not in it, or it
            leads to one place in more ways than can be tried.
    """
    try:
        import jsonschema_rs
    except ImportError as error:
        raise missing_extra("a schema needs jsonschema-rs", "jsonschema-rs>=0.61,<1") from error
    asked: list[str] = []

    def refuse(uri: str) -> NoReturn:
        asked.append(uri)
        raise ValueError("not fetched")

    try:
        validator = jsonschema_rs.validator_for(
            schema,
            validate_formats=True,
            retriever=refuse,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise _bad_schema(error, asked) from None
    if most_ways(schema) > _MOST_WAYS:
        what = f"the schema leads to one place of an answer in more than {_MOST_WAYS} ways"
        raise UsageError("bad_schema", what, "Let fewer alternatives refer to alternatives.")
    return AnswerSchema(schema, validator)


def _bad_schema(error: ValidationError | Exception, asked: list[str]) -> UsageError:
    if asked:
        what = f"the schema refers to {_shortened(asked[0])}, which is not fetched"
        return UsageError("bad_schema", what, "Put it into the schema, under $defs.")
    pointer = json_pointer(getattr(error, "instance_path", ()))
    message = _shortened(getattr(error, "message", str(error)))
    return UsageError("bad_schema", f"the schema is no schema at {pointer or 'its top'}: {message}")


def json_pointer(path: Iterable[str | int]) -> str:
    """`path` as a JSON pointer: `/a~1b/0`; the whole is the empty string."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "".join(f"/{step}" for step in steps)


def _depth(value: object) -> int:
    """How many levels of arrays and objects `value` has."""
    depth, level = 0, [value]
    while level:
        inner = [each for each in level if isinstance(each, dict | list)]
        depth += bool(inner)
        level = [
            each for part in inner for each in (part.values() if isinstance(part, dict) else part)
        ]
    return depth


def _shortened(text: str) -> str:
    line = visible_line(text)
    if len(line) <= _LONGEST:
        return line
    # What is wrong stands at the end, after the value that it quotes.
    return f"{line[: _LONGEST // 3]}…{line[-2 * _LONGEST // 3 :]}"
