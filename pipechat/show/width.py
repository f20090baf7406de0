"""How many columns text takes on a terminal (Unicode Standard Annex #11). Pure."""

from collections.abc import Iterator

_EMOJI_STYLE = "\ufe0f"
_TAKES_NONE = ("Mn", "Me", "Cf")


def width(text: str) -> int:
    """The columns that `text` takes: wide letters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(columns for _, columns in _letters(text))


def cut(text: str, columns: int) -> str:
    """As much of `text` as fits into so many columns; one that is cut ends with `…`."""
    if width(text) <= columns:
        return text
    kept, left = [], columns - 1
    for letter, wide in _letters(text):
        left -= wide
        if left < 0:
            break
        kept.append(letter)
    return "".join([*kept, "…"]) if columns > 0 else ""


def is_wide(letter: str) -> bool:
    """Whether a letter takes two columns, as those of Chinese, Japanese and Korean do."""
    if letter.isascii():
        return False
    from unicodedata import east_asian_width

    return east_asian_width(letter) in "WF"


def _letters(text: str) -> Iterator[tuple[str, int]]:
    from unicodedata import category, east_asian_width

    for letter in text:
        if letter == _EMOJI_STYLE:
            yield letter, 1  # what it follows is drawn as a picture, and that is wide
        elif category(letter) in _TAKES_NONE:
            yield letter, 0
        else:
            yield letter, 2 if east_asian_width(letter) in "WF" else 1
