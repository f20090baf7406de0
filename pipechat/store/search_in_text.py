"""Which regular expressions can be looked for in a whole text at once, though lines are what
matches: that is quicker than line by line. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipechat.store.search_literals import tree_of

_NEWLINE = ord("\n")
# Their own parts are looked at; what else there may be is not understood.
_HARMLESS = {
    *("ANY", "GROUPREF", "BRANCH", "SUBPATTERN", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"),
    *("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"),
}
_WITHOUT_NEWLINE = ("CATEGORY_DIGIT", "CATEGORY_WORD", "CATEGORY_NOT_SPACE")


def for_whole_texts(expression: re.Pattern[str]) -> re.Pattern[str] | None:
    """What is in a text where one of its lines matches `expression`, and hardly ever elsewhere;
    None where only the lines can tell."""
    if not _stays_in_line(expression):
        return None
    return re.compile(expression.pattern, expression.flags | re.MULTILINE)


def _stays_in_line(expression: re.Pattern[str]) -> bool:
    """Whether nothing in it can match a newline or asks for the end of all text: line by line, or
    with re.MULTILINE in the whole text, it then matches the same."""
    tree = tree_of(expression)
    if tree is None or expression.flags & re.DOTALL:
        return False
    return not any(_leaves_line(str(code), argument) for code, argument in _leaves(tree))


def _leaves(row: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The parts of an expression, and those that stand in them."""
    for code, argument in row:
        yield code, argument
        parts = argument if isinstance(argument, tuple) else (argument,)
        ways = parts[1] if str(code) == "BRANCH" else parts
        for way in ways:
            if hasattr(way, "getwidth"):  # a row
                yield from _leaves(way)


def _leaves_line(code: str, argument: Any) -> bool:
    match code:
        case "LITERAL":
            return bool(argument == _NEWLINE)
        case "NOT_LITERAL":
            return bool(argument != _NEWLINE)
        case "IN":
            return _has_newline(argument)
        case "AT":
            return str(argument).endswith("STRING")
        case "SUBPATTERN":  # `(?s:…)`, whose dot matches newlines, and `(?-m:…)`
            _, added, taken, _ = argument
            return bool(added & re.DOTALL or taken & re.MULTILINE)
    return code not in _HARMLESS


def _has_newline(members: list[tuple[Any, Any]]) -> bool:
    has, is_negated = False, False
    for code, argument in members:
        match str(code):
            case "NEGATE":
                is_negated = True
            case "LITERAL":
                has |= argument == _NEWLINE
            case "RANGE":
                has |= argument[0] <= _NEWLINE <= argument[1]
            case _:
                has |= str(argument) not in _WITHOUT_NEWLINE
    return has is not is_negated
