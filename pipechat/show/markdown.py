"""A block of Markdown as lines for a terminal. Nothing that it says is left out, and code stands
as it was written: unwrapped, unframed, with no blanks behind it.

Reads by markdown-it-py, which comes with typer (by way of rich). HTML is shown as what it is, and
so are references, whose targets may come any time later. Imported only where answers are rendered.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode as Node

from pipechat.show.markdown_cost import DEEPEST, is_dear
from pipechat.show.markdown_tables import table_lines
from pipechat.show.wrapping import Line, Span, wrapped
from pipechat.text import visible, visible_line

_BOLD, _DIM, _ITALIC, _UNDERLINED, _STRUCK, _CODE = "1", "2", "3", "4", "9", "36"
_STYLES = {"strong": _BOLD, "em": _ITALIC, "s": _STRUCK}
_NARROWEST = 8
_MOST_GROWTH, _LEAST = 30, 4096


class Page(NamedTuple):
    """Where it is shown. Without `color` (NO_COLOR, TERM=dumb) no escape sequence is sent, and
    what they would say is said by the marks of Markdown."""

    columns: int
    color: bool


def rendered(text: str, page: Page) -> str:
    """The block `text`; each line ends with a newline. As it stands, where nobody could read it
    formatted: nested too deep, a table of too many columns, or what grows to many times its size.
    """
    if is_dear(text):
        return text
    tokens = _parser().parse(text)
    if _depth(tokens) >= DEEPEST:
        return text
    shown = _Writer(page, text).blocks(Node(tokens), page.columns)
    if sum(len(span.text) for line in shown for span in line) > _MOST_GROWTH * len(text) + _LEAST:
        return text
    return "".join(painted(line, page) + "\n" for line in shown)


def _depth(tokens: Sequence[Token]) -> int:
    """How deep what they make is nested, lines within blocks; each level is a call of ours."""
    deepest = depth = 0
    for token in tokens:
        inner = _depth(token.children) if token.children else 0
        deepest = max(deepest, depth + 1 + inner)
        depth += token.nesting
    return deepest


def code(text: str, page: Page) -> str:
    """A line of code, or a part of it, as it stands."""
    bare = text.rstrip("\n")
    return painted([Span(bare, _CODE)], page) + text[len(bare) :]


def fence(text: str, page: Page) -> str:
    """The line that begins or ends code."""
    return painted([Span(text.rstrip("\n"), _DIM)], page) + "\n"


def painted(line: Line, page: Page) -> str:
    """A line with its styles."""
    if not page.color:
        return "".join(span.text for span in line)
    return "".join(
        f"\x1b[{style}m{text}\x1b[0m" if style and text else text for text, style in line
    )


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST + 4})
    parser.enable(["table", "strikethrough"]).disable("reference")
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]  # it is shown, not fetched
    return parser


class _Writer:
    """Makes lines of the nodes of a block."""

    def __init__(self, page: Page, source: str) -> None:
        self._color = page.color
        self._source = source.split("\n")

    def blocks(self, parent: Node, columns: int, *, loose: bool = False) -> list[Line]:
        """What stands in `parent`; with `loose`, an empty line between any two."""
        lines: list[Line] = []
        columns = max(columns, _NARROWEST)
        for node in parent.children:
            if loose and lines:
                lines.append([])
            lines += self._block(node, columns)
        return lines

    def _block(self, node: Node, columns: int) -> list[Line]:
        if node.type in ("bullet_list", "ordered_list"):
            return self._list(node, columns)
        if node.type == "blockquote":
            bar = Span("│ ", _DIM) if self._color else Span("> ")
            return [[bar, *line] for line in self.blocks(node, columns - 2, loose=True)]
        if node.type in ("fence", "code_block"):
            return self._code(node)
        if node.type == "hr":
            return [[Span("─" * columns, _DIM) if self._color else Span("---")]]
        if node.type == "table":
            return self._table(node, columns)
        if node.type == "heading":
            marks = "#" * int(node.tag[1:]) + " "
            spans = [
                Span(text, _added(_BOLD, style)) for text, style in self._inline(node.children)
            ]
            return wrapped([Span(marks, _DIM), *spans], columns)
        return wrapped(self._inline(node.children), columns)

    def _list(self, node: Node, columns: int) -> list[Line]:
        lines: list[Line] = []
        loose = any(
            not each.hidden
            for item in node.children
            for each in item.children
            if each.type == "paragraph"
        )
        for item in node.children:
            number = item.info + item.markup
            bullet = "•" if self._color else item.markup
            mark = Span((bullet if node.type == "bullet_list" else number) + " ", _DIM)
            inner = self.blocks(item, columns - len(mark.text), loose=loose) or [[]]
            indent = Span(" " * len(mark.text))
            if loose and lines:
                lines.append([])
            lines.append([mark, *inner[0]])
            lines += [[indent, *line] if line else [] for line in inner[1:]]
        return lines

    def _table(self, node: Node, columns: int) -> list[Line]:
        rows = [row.children for part in node.children for row in part.children]
        source = self._source[slice(*node.map)] if node.map else []
        # The rules of Markdown leave out the cells that a row has beyond the heading's.
        kept = sum(_letters(cell.children[0].content) for row in rows for cell in row)
        if kept < sum(map(_letters, source)):
            return [[Span(_in_line(line))] for line in source]
        cells = [[self._inline(cell.children) for cell in row] for row in rows]
        lines = table_lines(cells, _alignments(node), columns, color=self._color)
        return lines or [[Span(_in_line(line))] for line in source]

    def _code(self, node: Node) -> list[Line]:
        source = node.content.removesuffix("\n").split("\n") if node.content else []
        lines = [[Span(visible(line), _CODE)] for line in source]
        if node.type == "code_block":
            return lines
        first = node.markup + visible_line(node.info)
        return [[Span(first, _DIM)], *lines, [Span(node.markup, _DIM)]]

    def _inline(self, nodes: Sequence[Node]) -> list[Span]:
        return [span for node in nodes for span in self._spans(node, "")]

    def _spans(self, node: Node, style: str) -> Iterator[Span]:
        """The spans of inline `node`, within something of that style."""
        if node.type in _STYLES:
            mark = "" if self._color else node.markup
            yield Span(mark)
            for child in node.children:
                yield from self._spans(child, _added(style, _STYLES[node.type]))
            yield Span(mark)
        elif node.type == "code_inline":
            mark = "" if self._color else node.markup
            yield Span(mark + _in_line(node.content) + mark, _added(style, _CODE))
        elif node.type == "link":
            yield from self._link(node, style)
        elif node.type == "image":
            yield Span(_in_line(node.content), _added(style, _ITALIC))
            yield from _target(node, "src")
        elif node.type == "inline":
            for child in node.children:
                yield from self._spans(child, style)
        elif node.type in ("softbreak", "hardbreak"):
            yield Span("\n")  # a line that was written as one stays one
        else:
            yield Span(_in_line(node.content), style)

    def _link(self, node: Node, style: str) -> Iterator[Span]:
        inner = [
            span
            for child in node.children
            for span in self._spans(child, _added(style, _UNDERLINED))
        ]
        yield from inner
        target = str(node.attrs.get("href", ""))
        if "".join(span.text for span in inner) not in (target, target.removeprefix("mailto:")):
            yield from _target(node, "href")


def _target(node: Node, attribute: str) -> Iterator[Span]:
    title = node.attrs.get("title")
    words = [str(node.attrs.get(attribute, "")), f'"{title}"' if title else ""]
    shown = " ".join(_in_line(word) for word in words if word)
    if shown:
        yield Span(" (")
        yield Span(shown, _DIM)
        yield Span(")")


def _in_line(text: str) -> str:
    """Text that is shown in a line: what entities have made of it is looked at once more."""
    return visible(text.replace("\n", " ").replace("\t", " "))


def _added(style: str, more: str) -> str:
    return ";".join(filter(None, (style, more)))


def _alignments(table: Node) -> list[str]:
    head = table.children[0].children[0]
    return [str(cell.attrs.get("style", "")).rpartition(":")[2] for cell in head.children]


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))
