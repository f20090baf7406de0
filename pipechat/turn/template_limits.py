"""How much a template may make and do, and the filters of ours, which ask before they make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

from pipechat.jsonl import dumps

MOST_CHARACTERS = 16 << 20  # of one text, and of the output: more than any model reads
MOST_NUMBERS = 100_000  # of one range
MOST_STEPS = 2_000_000
_CHARACTERS_A_STEP = 128  # native code takes longer for none of them than a step of ours
_MOST_BITS = 4096


class Meter:
    """Counts what one rendering does: steps of a loop, calls, parts and characters made."""

    def __init__(self) -> None:
        self._steps = 0
        self._characters = 0

    def count_output(self, text: str) -> None:
        self._characters += len(text)
        check_size(self._characters)

    def step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > MOST_STEPS:
            raise SecurityError(f"more than {MOST_STEPS} steps")

    def measure(self, value: Any) -> Any:
        """`value`, once it is known to be small enough, however often a part of it occurs."""
        characters = 0
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                characters += len(part)
                check_size(characters)
                self.step(len(part) // _CHARACTERS_A_STEP)
            elif isinstance(part, dict):
                self.step(len(part))
                waiting += part.values()
            elif isinstance(part, list | tuple):
                self.step(len(part))
                waiting += part
            elif isinstance(part, Undefined) and part is not value:
                str(part)  # it says so itself: nothing undefined is kept in an array
            elif callable(part):
                check_is_value(part)
            elif isinstance(part, int):
                _check_bits(part.bit_length())
        return value


def check_size(characters: int) -> None:
    if characters > MOST_CHARACTERS:
        raise SecurityError(f"more than {MOST_CHARACTERS} characters are made")


def check_operands(operator: str, left: Any, right: Any) -> None:
    """Refuses an operation whose result would be too large, before it is made."""
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if operator == "%" and not numbers:
        raise SecurityError("`%` is for numbers alone; `~` joins texts")
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))
    if operator == "*" and not numbers:
        text, times = (left, right) if isinstance(right, int) else (right, left)
        if isinstance(times, int) and isinstance(text, str | list | tuple):
            check_size(len(text) * times)


def _check_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise SecurityError("a number that is too large")


def number_range(*bounds: int) -> list[int]:
    """`range(…)` as a list."""
    numbers = range(*bounds)
    # len() fails beyond the machine's own integers; the ends are there at any size.
    if numbers and abs(numbers[-1] - numbers[0]) // abs(numbers.step) >= MOST_NUMBERS:
        raise SecurityError(f"a range of more than {MOST_NUMBERS} numbers")
    return list(numbers)


def shown(value: Any) -> Any:
    """What `{{ value }}` prints: objects and arrays as JSON, as they came."""
    if isinstance(value, dict | list | tuple):
        return tojson(value)
    check_is_value(value)
    return value


def check_is_value(value: Any) -> None:
    """Refuses what has no text but an address of this process."""
    if callable(value) and not isinstance(value, Undefined):
        raise SecurityError("a function is no value; call it, as in range(3)")


class Values(Iterator[Any]):
    """Values that a filter makes one by one. As a text they would be an address."""

    def __init__(self, values: Iterator[Any]) -> None:
        self._values = values

    def __next__(self) -> Any:
        return next(self._values)

    def __str__(self) -> str:
        raise SecurityError("values that are not in a list yet; put `|list` behind them")


def tojson(value: Any) -> str:
    """`value` as JSON, one line; nothing is escaped for HTML."""
    return dumps(value).decode()


def concat_texts(texts: Iterable[str]) -> str:
    """The pieces as one text."""
    pieces = list(texts)
    check_size(sum(map(len, pieces)))
    return "".join(pieces)


def concat(values: Iterable[Any]) -> str:
    """`a ~ b`: the texts of both."""
    return concat_texts(str(shown(value)) for value in values)


def join(values: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
    """The texts of `values`, or of that key of each, with `between` between them."""
    pieces = [str(shown(value[attribute] if attribute else value)) for value in values]
    check_size(sum(map(len, pieces)) + len(between) * len(pieces))
    return between.join(pieces)


def replace(text: Any, old: str, new: str, count: int = -1) -> str:
    """`text` with `old` replaced by `new`, at most `count` times."""
    text = str(shown(text))
    check_size(len(text) + text.count(old) * len(new))
    return str(text.replace(old, new, count))


def round_number(number: Any, digits: int = 0) -> float:
    """`number` rounded to `digits` after the point."""
    return round(float(number), digits)
