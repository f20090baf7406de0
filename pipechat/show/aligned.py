"""Rows of cells in columns of a terminal's width, names to the left and figures to the right; and
a bar for a figure. Pure."""

from collections.abc import Iterator, Sequence

from pipechat.show.width import cut, width

_GAP = "  "
_WIDEST, _NARROWEST = 32, 8  # of a name that has to give way
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WHOLE = "█"


def aligned(
    rows: Sequence[Sequence[str]], names: int, columns: int, spare: Sequence[int] = ()
) -> Iterator[str]:
    """The lines of `rows`, none wider than `columns`.

    Args:
        names: how many columns in front are names; the others are figures.
        spare: the columns that may be left out where there is no room, in that order.
    """
    kept = list(range(len(rows[0])))
    widths = [max(width(row[place]) for row in rows) for place in kept]
    _give_way(widths, kept, names, columns, _WIDEST)
    for place in spare:
        if _taken(widths, kept) <= columns:
            break
        kept.remove(place)
    _give_way(widths, kept, names, columns, _NARROWEST)
    for row in rows:
        cells = (_cell(row[place], widths[place], place < names) for place in kept)
        yield cut(_GAP.join(cells).rstrip(), columns)


def _give_way(widths: list[int], kept: Sequence[int], names: int, columns: int, least: int) -> None:
    """Make columns of names less wide, down to `least`, the last one first."""
    for place in reversed(range(names)):
        over = _taken(widths, kept) - columns
        if over > 0:
            widths[place] = max(widths[place] - over, min(widths[place], least))


def _taken(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[place] for place in kept) + len(_GAP) * (len(kept) - 1)


def _cell(text: str, wide: int, is_name: bool) -> str:
    shown = cut(text, wide)
    space = " " * (wide - width(shown))
    return shown + space if is_name else space + shown


def bar(share: float, columns: int, *, plain: bool = False) -> str:
    """A bar of `share` (0 to 1) of so many columns, to an eighth of one; of what is not nothing
    something is seen. `plain`: in ASCII."""
    if plain:
        return "#" * max(round(share * columns), share > 0)
    whole, eighths = divmod(max(round(share * columns * 8), share > 0), 8)
    return _WHOLE * whole + _EIGHTHS[eighths].strip()
