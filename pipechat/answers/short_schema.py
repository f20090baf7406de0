"""The short form of a schema, `name, age int, tags [str], note str?`, as JSON Schema. Pure.

fields = field, field, …                 one object, all of its keys required, no others
field  = NAME [TYPE] [: DESCRIPTION]     without a type: str
TYPE   = str | int | num | bool          (float is num)
       | date | time | datetime          a str of that format (RFC 3339)
       | [TYPE]                          an array of it; [] is [str]
       | {fields}                        an object
       | CHOICE|CHOICE|…                 one of these: low|high, 1|2|3, "in part"|"in full"
TYPE?  = the same or null: the key is there all the same, so that strict output allows it
NAME, CHOICE, DESCRIPTION: bare, or a JSON string where they hold , : | ? [ ] { } or quotes
"""

import re
from typing import Any, NoReturn

from pipechat.errors import UsageError
from pipechat.jsonl import loads
from pipechat.text import visible_line

Schema = dict[str, Any]

_TYPES: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "num": {"type": "number"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "datetime": {"type": "string", "format": "date-time"},
}
# What they are called elsewhere.
_ALSO = {"string": "str", "integer": "int", "number": "num", "boolean": "bool"}
_DEEPEST = 50
_BLANKS = re.compile(r"\s*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NAME = re.compile(r"[^\W\d][\w-]*")
_WORD = re.compile(r"-?\w[\w.-]*")
_DESCRIPTION = re.compile(r'[^,:|?\[\]{}"]+')
_TYPE_OR_TEXT = re.compile(r'[\[{]|[^,:"\[\]{}]+')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


def parse_short_schema(text: str) -> Schema:
    """The JSON Schema that the short form `text` stands for.

    Raises:
        UsageError: `bad_schema`: what was expected, and at which character (from 1).
    """
    return _Parser(text).parse()


class _Parser:
    """Reads by descent, a rule of the grammar a method; `_at` is where it stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Schema:
        schema = self._fields()
        if self._at < len(self._text):
            self._fail("a comma or the end")
        return schema

    def _fields(self) -> Schema:
        properties: dict[str, Schema] = {}
        while True:
            self._skip_blanks()
            start = self._at
            name = self._quoted() or self._match(_NAME)
            if not name:
                self._fail("the name of a field")
            if name in properties:
                self._complain(f"`{name}` is said twice", start)
            start = self._at
            schema = self._type()
            if self._take(":"):
                mark = self._text[start : self._at - 1].strip()
                if mark in ("", "?"):
                    self._refuse_type(name, mark)
                schema = {**schema, "description": self._description()}
            properties[name] = schema
            if not self._take(","):
                break
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def _refuse_type(self, name: str, mark: str) -> None:
        """Refuse `NAME: TYPE`, which would make a text of it. `mark`: the `?` of the name."""
        self._skip_blanks()
        found = _TYPE_OR_TEXT.match(self._text, self._at)
        said = found.group().strip() if found else ""
        word = said.removesuffix("?").strip()
        if said in ("[", "{"):
            instead = "[…]" if said == "[" else "{…}"
        elif word in _TYPES or word in _ALSO or "|" in word:
            instead = _ALSO.get(word, word) + (mark or said[len(word) :].strip())
        else:
            return
        what = f"a type stands before `:`, and after it a description; there is `{said}`"
        self._complain(what, self._at, f"Write `{name} {instead}`.")

    def _description(self) -> str:
        self._skip_blanks()
        if not (description := (self._quoted() or self._match(_DESCRIPTION)).strip()):
            self._fail("a description")
        self._skip_blanks()
        return description

    def _type(self) -> Schema:
        if self._take("["):
            schema = {"type": "array", "items": self._nested("]")}
        elif self._take("{"):
            schema = self._nested("}")
        else:
            schema = self._word_or_choice()
        return _or_null(schema) if self._take("?") else schema

    def _nested(self, end: str) -> Schema:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"no more than {_DEEPEST} levels")
        schema = self._type() if end == "]" else self._fields()
        if not self._take(end):
            self._fail(f"`{end}`")
        self._depth -= 1
        return schema

    def _word_or_choice(self) -> Schema:
        self._skip_blanks()
        start = self._at
        quoted, word = self._quoted(), ""
        if quoted is None and not (word := self._match(_WORD)):
            return dict(_TYPES["str"])  # a name alone, or `[]`
        choices = [quoted if quoted is not None else _plain(word)]
        is_choice = quoted is not None
        while self._take("|"):
            is_choice = True
            choices.append(self._choice())
        if not is_choice:
            if word not in _TYPES:
                self._fail(f"a type ({', '.join(_TYPES)}, […], {{…}}, a|b)", start)
            return dict(_TYPES[word])
        return _enum(choices)

    def _choice(self) -> str | int | float:
        self._skip_blanks()
        if (quoted := self._quoted()) is not None:
            return quoted
        if not (word := self._match(_WORD)):
            self._fail("one more choice")
        return _plain(word)

    def _quoted(self) -> str | None:
        start = self._at
        if not (literal := self._match(_STRING)):
            return None
        try:
            return str(loads(literal))
        except ValueError:
            self._fail("a JSON string", start)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found.group() if found else ""

    def _skip_blanks(self) -> None:
        self._match(_BLANKS)

    def _take(self, sign: str) -> bool:
        self._skip_blanks()
        found = self._text.startswith(sign, self._at)
        self._at += found
        return found

    def _fail(self, expected: str, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        there = visible_line(self._text[at : at + 20])
        found = f"there is `{there}`" if there else "the text ends"
        self._complain(f"{expected} is expected, and {found}", at)

    def _complain(
        self, what: str, at: int, hint: str = "For example: 'name, age int, tags [str], note str?'."
    ) -> NoReturn:
        message = f"the short schema is wrong at character {at + 1}: {visible_line(what)}"
        raise UsageError("bad_schema", message, hint)


def _plain(word: str) -> str | int | float:
    """A choice that is written bare: a number where it reads as one."""
    if not _NUMBER.fullmatch(word):
        return word
    return float(word) if "." in word else int(word)


def _enum(choices: list[str | int | float]) -> Schema:
    """One of `choices`; doubles are said once. Strict output wants the types named."""
    types = {"string" if isinstance(choice, str) else "number" for choice in choices}
    values = list(dict.fromkeys(choices))
    return {"type": types.pop() if len(types) == 1 else sorted(types), "enum": values}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*types, "null"], "enum": [*schema["enum"], None]}
    if "properties" in schema or "items" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}
