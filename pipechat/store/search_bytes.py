"""Which bytes a JSON line must hold for its text to match: the sieve of `history search`. Pure.

A character stands in JSON as itself in UTF-8, or escaped: `\\uXXXX`, a short form such as `\\n`,
or `\\/`. jsonl.dumps writes one form, other tools write others. So a line that may match holds
the text as jsonl.dumps writes it, or else an escape that jsonl.dumps would not have written.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from pipechat import jsonl

# The characters beyond ASCII that match an ASCII letter where case is ignored; a test looks
# through all of Unicode that there are no others.
_PARTNERS = {"i": "\u0130\u0131", "k": "\u212a", "s": "\u017f"}
_SHORTEST_RUN = 3
# All letters that have two cases stand below, in all of Unicode; a test holds it.
_CASED = 0x1F000


class Needles(NamedTuple):
    """A line may match only if it holds one of these. `exact`: bytes as they are; `folded`:
    bytes in lower case, to be looked for in lines that `bytes.lower` put in lower case;
    `expressions`: regular expressions of bytes."""

    exact: tuple[bytes, ...] = ()
    folded: tuple[bytes, ...] = ()
    expressions: tuple[bytes, ...] = ()


def needles_of(texts: Iterable[str], *, fold: bool) -> Needles | None:
    """What a line must hold so that one of `texts` may be in its text; None: any line may.

    Args:
        fold: whether case is ignored, as by re.IGNORECASE.
    """
    sought = sorted({_sought(text, fold=fold) for text in texts})
    # U+FFFD also stands for bytes that are no UTF-8, and a surrogate is in no text.
    if not sought or any(not text or re.search("[\ufffd\ud800-\udfff]", text) for text in sought):
        return None
    letters = set("".join(sought))
    if not fold:
        exact = [_in_json(text) for text in sought]
        folded = expressions = []
    else:
        ascii_ones = [text for text in sought if text.isascii()]
        folded = [_in_json(text) for text in ascii_ones]
        expressions = [_in_any_case(text) for text in sought if not text.isascii()]
        partners = "".join(_PARTNERS.get(letter, "") for letter in sorted(set("".join(ascii_ones))))
        exact = [partner.encode() for partner in partners]
        letters |= {other for letter in letters for other in _alike(letter)}
    exact.append(b"\\u00" if max(letters) <= "\xff" else b"\\u")
    if "/" in letters:
        exact.append(b"\\/")
    return Needles(tuple(exact), tuple(folded), tuple(expressions))


def _sought(text: str, *, fold: bool) -> str:
    """What of `text` is looked for: all of it, or where case is ignored rather a part of it that
    is ASCII, which is found several times as quickly."""
    if not fold:
        return text
    runs = "".join(letter if letter.isascii() else "\n" for letter in text).split("\n")
    run = max(runs, key=len).lower()
    return run if len(run) >= min(_SHORTEST_RUN, len(text)) else text


def _in_json(text: str) -> bytes:
    return jsonl.dumps(text)[1:-1]


def _in_any_case(text: str) -> bytes:
    ways = ([re.escape(_in_json(other)) for other in _alike(letter)] for letter in text)
    return b"".join(b"(?:" + b"|".join(way) + b")" for way in ways)


@cache
def _alike(letter: str) -> tuple[str, ...]:
    """The characters that match `letter` where case is ignored, itself among them."""
    if letter.isascii():
        return tuple({letter.lower(), letter.upper(), *_PARTNERS.get(letter.lower(), "")})
    return tuple({letter, *re.findall(letter, _cased(), re.IGNORECASE)})  # `re` has the last word


@cache
def _cased() -> str:
    return "".join(map(chr, (*range(0xD800), *range(0xE000, _CASED))))
