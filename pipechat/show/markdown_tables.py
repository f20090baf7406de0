"""A table of Markdown as lines: columns side by side where they fit, wrapped where they nearly do,
and where they do not, each row as lines of `heading: cell`. Pure."""

from pipechat.show.wrapping import Line, Span, line_width, wrapped

_GAP = "  "
_NARROWEST = 6
_MOST_HEADINGS = 1 << 16  # columns that headings take, in all rows of a table together
_BOLD, _DIM = "1", "2"

Cell = list[Span]


def table_lines(
    rows: list[list[Cell]], alignments: list[str], columns: int, *, color: bool
) -> list[Line]:
    """The lines of a table of at most so many columns; none where its heading, said again with
    each row, would be most of it.

    Args:
        rows: the first is the heading.
        alignments: `right`, `center` or anything else, one a column.
    """
    widths = _widths(rows, columns)
    if widths is None:
        return _as_records(rows, columns)
    rule = ["─" if color else "-"]
    heading, *others = rows
    bold = [[Span(text, f"{style};{_BOLD}" if style else _BOLD) for text, style in cell]
            for cell in heading]  # fmt: skip
    lines = _row(bold, widths, alignments)
    lines.append([Span(_GAP.join(rule[0] * each for each in widths), _DIM)])
    for row in others:
        lines += _row(row, widths, alignments)
    return lines


def _widths(rows: list[list[Cell]], columns: int) -> list[int] | None:
    """How wide each column is, the widest made narrower first; None where there are too many."""
    natural = [max(1, *map(line_width, column)) for column in zip(*rows, strict=True)]
    room = columns - len(_GAP) * (len(natural) - 1)
    if sum(natural) <= room:
        return natural
    widest = max(natural)
    while sum(min(each, widest) for each in natural) > room and widest >= _NARROWEST:
        widest -= 1
    return None if widest < _NARROWEST else [min(each, widest) for each in natural]


def _row(row: list[Cell], widths: list[int], alignments: list[str]) -> list[Line]:
    cells = [wrapped(cell, wide, breaks_words=True) for cell, wide in zip(row, widths, strict=True)]
    lines: list[Line] = []
    for n in range(max(map(len, cells))):
        line: Line = []
        blanks = 0  # before the next text: none stand at the end of a line
        for cell, wide, alignment in zip(cells, widths, alignments, strict=True):
            part = cell[n] if n < len(cell) else []
            spare = max(wide - line_width(part), 0)
            before = {"right": spare, "center": spare // 2}.get(alignment, 0)
            if part:
                line += [Span(" " * (blanks + before)), *part]
                blanks = spare - before
            else:
                blanks += wide
            blanks += len(_GAP)
        lines.append(line)
    return lines


def _as_records(rows: list[list[Cell]], columns: int) -> list[Line]:
    heading, *others = rows
    if sum(map(line_width, heading)) * len(others) > _MOST_HEADINGS:
        return []
    if not others:
        return [line for cell in heading for line in wrapped(cell, columns)]
    lines: list[Line] = []
    for row in others:
        if lines:
            lines.append([])
        for name, cell in zip(heading, row, strict=True):
            lines += wrapped([*name, Span(": "), *cell], columns)
    return lines
