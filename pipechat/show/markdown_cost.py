"""Which Markdown costs more to format than anybody who reads it gains. Pure."""

import re

from pipechat.show.markdown_blocks import LARGEST

DEEPEST = 40
"""How deep blocks, lines and pictures may be nested."""

_MOST_COLUMNS = 100
_PICTURE_MARK = re.compile(r"!\[|\]")


def is_dear(text: str) -> bool:
    """Whether a table in it may grow to many times its size, or pictures stand in pictures deeper
    than the parser, which calls itself for each, can go."""
    lines = text.split("\n")
    columns = max(line.count("|") for line in lines)
    # The rules of Markdown give a row the cells that it has not.
    if columns > _MOST_COLUMNS or columns * len(lines) > LARGEST:
        return True
    depth = 0
    for mark in _PICTURE_MARK.finditer(text):
        depth = max(depth - 1, 0) if mark[0] == "]" else depth + 1
        if depth >= DEEPEST:
            return True
    return False
