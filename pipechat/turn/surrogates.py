"""Texts that come in pieces, made fit for UTF-8: halves of a character joined over a cut. Pure."""

import re

_SURROGATES = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class SurrogateJoiner:
    """Pieces in, pieces out: a pair cut in two is joined; a high half at the end waits for the
    next piece; a lone one is replaced."""

    def __init__(self) -> None:
        self._high = ""

    def join(self, text: str) -> str:
        """What can be told of `text` now, what waited before it included."""
        if text.isascii() and not self._high:
            return text
        text = self._high + text
        self._high = ""
        if not _SURROGATES.search(text):
            return text
        text = _joined_pairs(text)
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high = text[-1]
            text = text[:-1]
        return _SURROGATES.sub(_REPLACEMENT, text)

    def flush(self) -> str:
        """What still waited, replaced: its other half does not come."""
        waited, self._high = self._high, ""
        return _REPLACEMENT if waited else ""


def without_surrogates(text: str) -> str:
    """A text that comes alone: pairs joined, lone halves replaced."""
    return text if text.isascii() else _SURROGATES.sub(_REPLACEMENT, _joined_pairs(text))


def _joined_pairs(text: str) -> str:
    return _PAIR.sub(lambda pair: _join(pair[1], pair[2]), text)


def _join(high: str, low: str) -> str:
    return chr(0x10000 + ((ord(high) - 0xD800) << 10) + (ord(low) - 0xDC00))
