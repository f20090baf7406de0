"""How values are read: one reader for each kind. Pure.

A reader takes a value as the command line (text) or TOML gives it, returns it as `Settings`
holds it, and raises ValueError with what is wrong.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pipechat import jsonl
from pipechat.settings.json_values import is_json
from pipechat.text import not_one_of, visible_line

Reader = Callable[[Any], Any]

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
# Compiled where it is used: a start is not free.
_DURATION = r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d)"
# A clock takes no more than 292 years; 30 are enough for anybody.
_LONGEST_S = 1e9
_LONGEST_KEY = 512
_MOST_DIGITS = 4000  # Python reads few more at once

# What pipechat sets itself: whoever gave these another value would make events and records lie.
OWN_FIELDS = ("messages", "model", "stream", "stream_options")


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def some_text(value: object) -> str:
    if not text(value):
        raise ValueError("it is empty")
    return text(value)


def path(value: object) -> str:
    """A file. A blank in front is that of `"-o is what?"`, which the shell hands on as one word."""
    name = some_text(value)
    if name[0].isspace():
        raise ValueError(f"{name[:60]!r} begins with a blank; a question goes behind `--`")
    return name


def model_name(value: object) -> str:
    name = text(value)
    if not name or name.strip() != name or not name.isprintable():
        raise ValueError("not the name of a model")
    return name


def once_key(value: object) -> str:
    """A key of --once: one line that says something, of at most 512 bytes."""
    key = text(value)
    if not key.isascii() and any("\ud800" <= letter <= "\udfff" for letter in key):
        raise ValueError("the key is not UTF-8")
    if not key.strip():
        raise ValueError("the key is empty")
    if visible_line(key) != key:
        raise ValueError("the key holds a control character")
    if len(key.encode()) > _LONGEST_KEY:
        raise ValueError(f"the key has more than {_LONGEST_KEY} bytes")
    return key


def profile_name(value: object) -> str:
    if isinstance(value, dict):
        name = next((key for key in value if str(key).isidentifier()), "NAME")
        raise ValueError(f"not a name; a profile is a table [profiles.{name}]")
    return some_text(value)


def switch(value: object) -> bool:
    """True or false; as text also 1, yes, on and 0, no, off."""
    if isinstance(value, bool):
        return value
    raise ValueError("neither true nor false")


def switch_text(value: str) -> bool:
    """The same from a variable of the environment."""
    word = value.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"{value!r} is neither true nor false (1, yes, on; 0, no, off)")


def unless_text(value: str) -> bool:
    """The same of a variable that turns something off."""
    return not switch_text(value)


def number(least: float, most: float = math.inf) -> Reader:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r:.60} is not a number")
        if value != value or abs(value) == math.inf:  # isfinite() takes no int of any size
            raise ValueError(f"{value} is not a finite number")
        if value < least:
            raise ValueError(f"{value} is not {least:g} or more")
        if value > most:
            raise ValueError(f"{value} is more than {most:g}")
        return value

    return read


def whole_number(least: int, most: float = math.inf) -> Reader:
    def read(value: object) -> int:
        found = number(least, most)(value)
        if not isinstance(found, int):
            raise ValueError(f"{value!r:.60} is not a whole number")
        return found

    return read


def yes_or_no(value: object) -> bool:
    """Yes or no, and what a switch takes."""
    return switch_text(value) if isinstance(value, str) else switch(value)


def count_or_share(value: object) -> int | float:
    """A count (an int), or `P%` of all (a float from 0 to 1)."""
    said = value.strip() if isinstance(value, str) else value
    typed = number_text(said.removesuffix("%")) if isinstance(said, str) else said
    if isinstance(typed, str):
        raise ValueError(f"{value!r} is neither a count nor a share (5, 10%)")
    if str(said).endswith("%"):
        return float(number(0, 100)(typed)) / 100
    count: int = whole_number(0)(typed)
    return count


def number_text(value: str) -> object:
    """A number as it is typed; what is none stays text, for the reader to refuse."""
    try:
        return int(value) if value.lstrip("+-").isdecimal() else float(value)
    except ValueError:
        return value


def seconds(value: object) -> float:
    """Seconds: a number, or text such as `90s`, `5m`, `1.5h`, `250ms`."""
    if isinstance(value, str):
        found = re.fullmatch(_DURATION, value.strip())
        if not found:
            raise ValueError(f"{value!r} is not a number of seconds (30, 90s, 5m, 1.5h)")
        value = float(found[1]) * _UNITS_S[found[2]]
    checked: float = number(0, _LONGEST_S)(value)
    return checked


def one_of(*choices: str, aliases: dict[str, str] | None = None) -> Reader:
    """One of `choices`, or another name of one."""
    names = {**{choice: choice for choice in choices}, **(aliases or {})}

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(not_one_of(str(value), names))
        return names[value]

    return read


def fields(value: object) -> dict[str, Any]:
    """Further fields of the request: a table, or KEY=VALUE pairs."""
    if isinstance(value, list):
        value = dict(_pair(pair) for pair in value)
    if not isinstance(value, dict):
        raise ValueError("not a table")
    for key, item in value.items():
        if key in OWN_FIELDS:
            raise ValueError(f"{key}: pipechat sets this itself")
        if not is_json(item):
            raise ValueError(f"{key}: not a value that JSON can hold")
    return value


def names_said(fields: Mapping[str, Any]) -> set[str]:
    """The fields that are said, with those within `reasoning` as `reasoning.NAME`."""
    inner = fields.get("reasoning")
    return {*fields, *(f"reasoning.{name}" for name in (inner if isinstance(inner, dict) else ()))}


def variables(value: object) -> dict[str, str]:
    """Variables of a template: NAME=VALUE pairs, the values as text."""
    found: dict[str, str] = {}
    for pair in texts(value):
        name, equals, text = pair.partition("=")
        if not (equals and name.isidentifier()):
            raise ValueError(f"{pair:.100}: not NAME=VALUE")
        if name == "input":
            raise ValueError("input is what stdin and the words say")
        if name in found:
            raise ValueError(f"{name} is said twice")
        found[name] = text
    return found


def fields_text(value: str) -> object:
    """The same from a variable: a JSON object, or one KEY=VALUE a line."""
    if value.lstrip().startswith("{"):
        try:
            return jsonl.loads_exactly(value)
        except ValueError:
            raise ValueError("not a JSON object") from None
    return [line for line in value.splitlines() if line.strip()]


def _pair(pair: object) -> tuple[str, Any]:
    key, equals, value = str(pair).partition("=")
    if not (key and equals):
        raise ValueError(f"{pair!s:.100}: not KEY=VALUE")
    try:
        return key, jsonl.loads_exactly(value)
    except ValueError:
        if len(value) > _MOST_DIGITS and value.lstrip("-").isdecimal():
            raise ValueError(f"{key}: a number of too many digits") from None
        return key, value


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('not a list of texts, which stands in brackets: ["…"]')
    return tuple(value)


def paths(value: object) -> tuple[str, ...]:
    """A list of files."""
    return tuple(map(path, texts(value)))


def lines_text(value: str) -> list[str]:
    """The same from a variable: one a line."""
    return [line for line in value.splitlines() if line]


def model_names(value: object) -> tuple[str, ...]:
    """A list of models, or of profiles."""
    return tuple(map(model_name, texts(value)))


def prices(value: object) -> Mapping[str, Mapping[str, Any]]:
    """What models cost: a table for each."""
    from pipechat.settings.own_prices import read_prices  # only where there are any

    return read_prices(value)


def words(value: object) -> tuple[str, ...]:
    """A list of words, in lower case."""
    return tuple(word.lower() for word in texts(value))
