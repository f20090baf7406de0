"""Which bytes a JSON line must hold for its text to match: the sieve of `history search`. Pure.

A character stands in JSON as itself in UTF-8, or escaped: `\\uXXXX`, a short form such as `\\n`,
or `\\/`. jsonl.dumps writes one form, other tools write others. So a line that may match holds
the text as jsonl.dumps writes it, or else an escape that jsonl.dumps would not have written.
"""

import importlib
import re
from collections.abc import Callable
from typing import NamedTuple

from pipechat import jsonl

# The characters beyond ASCII that match an ASCII letter where case is ignored; a test looks
# through all of Unicode that there are no others.
_PARTNERS = {"i": "\u0130\u0131", "k": "\u212a", "s": "\u017f"}


# A place in bytes at which something begins, between two others; -1: nowhere.
Finder = Callable[[bytes, int, int], int]


class Needles(NamedTuple):
    """A line may match only if it holds `text`, or any of `escapes`. `fold`: they are in lower
    case, and to be looked for in lines put in lower case by `bytes.lower`."""

    text: bytes
    escapes: tuple[bytes, ...]
    fold: bool

    def finders(self) -> list[Finder]:
        """One a needle. What is long and sought for its own sake `find` finds fastest; what is
        short, an expression of `re`, which leaps from first byte to first byte."""
        return [_text_finder(self.text), *(_short_finder(escape) for escape in self.escapes)]


def _text_finder(text: bytes) -> Finder:
    return lambda data, start, end: data.find(text, start, end)


def _short_finder(needle: bytes) -> Finder:
    search = re.compile(re.escape(needle)).search

    def find(data: bytes, start: int, end: int) -> int:
        found = search(data, start, end)
        return found.start() if found else -1

    return find


def needles_of(literal: str, *, fold: bool) -> Needles | None:
    """What a line must hold so that `literal` may be in its text; None: any line may.

    Args:
        fold: whether case is ignored, as by re.IGNORECASE.
    """
    if fold:
        literal = max(_ascii_runs(literal), key=len).lower()
    # U+FFFD also stands for bytes that are no UTF-8, and a surrogate is in no text.
    if not literal or any(c == "\ufffd" or "\ud800" <= c <= "\udfff" for c in literal):
        return None
    partners = "".join(_PARTNERS.get(letter, "") for letter in sorted(set(literal)) if fold)
    escapes = [partner.encode() for partner in partners]
    escapes.append(b"\\u00" if max(literal + partners) <= "\xff" else b"\\u")
    if "/" in literal:
        escapes.append(b"\\/")
    return Needles(jsonl.dumps(literal)[1:-1], tuple(escapes), fold)


def _ascii_runs(text: str) -> list[str]:
    return "".join(letter if letter.isascii() else "\n" for letter in text).split("\n")


def required_literal(expression: str, flags: int) -> str:
    """The longest text that everything which the regular expression matches holds; "" where
    none is plain to see. The expression is one that `re` compiles."""
    try:
        parser = importlib.import_module("re._parser")  # re's own, and so of the same opinion
        parsed = list(parser.parse(expression, flags))
        literal_code = importlib.import_module("re._constants").LITERAL
    except (ImportError, AttributeError):
        return ""
    # Only what stands one after the other at the top: no group, no choice, no repetition.
    runs = [""]
    for code, argument in parsed:
        if code == literal_code:
            runs[-1] += chr(argument)
        else:
            runs.append("")
    return max(runs, key=len)
