"""Texts of which whatever a regular expression matches must hold one. Pure.

Reads the tree that `re` itself makes of the expression, so that both are of one opinion. What is
not understood requires nothing.
"""

import importlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

# Where case may be ignored in a part, as in `(?i:…)`. One found too many costs time alone.
_SCOPED_FOLD = re.compile(r"\(\?[a-zA-Z]*i")
# More texts than these cost more to look for than they spare; longer ones spare no more.
_MOST = 8
_LONG_ENOUGH = 4
_MOST_LETTERS = 64
_ONCE = frozenset({""})

Texts = frozenset[str]


class Required(NamedTuple):
    """One of `texts` stands in whatever matches; none are known where it is empty. `fold`: in
    upper or lower case."""

    texts: Texts
    fold: bool


class _Part(NamedTuple):
    """What is known of a part of an expression. `exact`: all that it may match, None where that
    is more than can be told; `held`: one of these is in whatever it matches."""

    exact: Texts | None
    held: Texts


_ANYTHING = _Part(None, frozenset())


def required(expression: re.Pattern[str]) -> Required:
    """What a match of `expression` must hold."""
    tree = tree_of(expression)
    held = Texts() if tree is None else _of_row(tree).held
    fold = expression.flags & re.IGNORECASE or _SCOPED_FOLD.search(expression.pattern)
    return Required(_fewest(held), bool(fold))


def tree_of(expression: re.Pattern[str]) -> Any:
    """What `re` makes of it; None where that is not to be had."""
    try:
        parser = importlib.import_module("re._parser")
        return parser.parse(expression.pattern, expression.flags)
    except (ImportError, AttributeError, RecursionError):
        return None


def _of_row(row: Iterable[Any]) -> _Part:
    """Parts one after the other: texts that touch are put together."""
    run, held, whole = _ONCE, Texts(), True
    for code, argument in row:
        part = _of_part(str(code), argument)
        together = _product(run, part.exact)
        held = _better(held, part.held)
        if together is None:
            held = _better(held, run)
            run, whole = part.exact or _ONCE, False
        else:
            run = together
    return _Part(run if whole else None, _better(held, run))


def _of_part(code: str, argument: Any) -> _Part:
    match code:
        case "LITERAL":
            return _exactly(chr(argument))
        case "IN":
            return _of_class(argument)
        case "AT" | "ASSERT_NOT":  # takes no text
            return _exactly("")
        case "ASSERT":
            return _Part(_ONCE, _of_row(argument[1]).held)
        case "SUBPATTERN":
            return _of_row(argument[3])
        case "ATOMIC_GROUP":
            return _of_row(argument)
        case "BRANCH":
            return _of_choice([_of_row(way) for way in argument[1]])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _of_repetition(*argument)
    return _ANYTHING


def _exactly(text: str) -> _Part:
    return _Part(frozenset({text}), frozenset({text}))


def _of_class(members: list[tuple[Any, Any]]) -> _Part:
    """A letter out of some, such as `[zZ]`."""
    if len(members) > _MOST or any(str(code) != "LITERAL" for code, _ in members):
        return _ANYTHING
    letters = frozenset(chr(letter) for _, letter in members)
    return _Part(letters, letters)


def _of_choice(ways: list[_Part]) -> _Part:
    exact: Texts | None = Texts()
    held = Texts()
    for way in ways:
        exact = None if exact is None or way.exact is None else exact | way.exact
        if not way.held or "" in way.held:
            return _Part(_if_few(exact), frozenset())
        held |= way.held
    return _Part(_if_few(exact), _if_few(_fewest(held)) or frozenset())


def _of_repetition(least: int, most: Any, row: Iterable[Any]) -> _Part:
    part = _of_row(row)
    if least == 0:
        optional = part.exact | _ONCE if most == 1 and part.exact is not None else None
        return _Part(_if_few(optional), Texts())
    exact = part.exact if least == most and least <= _MOST_LETTERS else None
    for _ in range(1, least):
        if exact is None:
            break
        exact = _product(exact, part.exact)
    return _Part(exact, part.held)


def _product(run: Texts, then: Texts | None) -> Texts | None:
    """All texts of `run` followed by all of `then`; None where they are too many, or too long."""
    if then is None or len(run) * len(then) > _MOST or max(map(len, run)) > _MOST_LETTERS:
        return None
    return frozenset(text + more for text in run for more in then)


def _if_few(texts: Texts | None) -> Texts | None:
    return texts if texts is not None and len(texts) <= _MOST else None


def _better(some: Texts, others: Texts) -> Texts:
    """Those that spare more work."""
    return max(some, others, key=_worth)


def _worth(texts: Texts) -> tuple[int, int, int]:
    shortest = min(map(len, texts), default=0)
    return min(shortest, _LONG_ENOUGH), -len(texts), shortest


def _fewest(texts: Texts) -> Texts:
    """Without those that hold another one; none where one of them is in everything."""
    if "" in texts:
        return frozenset()
    return frozenset(
        text for text in texts if not any(each in text for each in texts if each != text)
    )
