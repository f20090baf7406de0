"""Markdown as HTML that runs nothing and fetches nothing, whoever wrote it.

Reads by markdown-it-py. HTML in the text is shown as what it is; links lead to the web or to a
mailbox, or are no links; pictures are links to where they lie. No `style` attribute stands in it,
which a page whose policy allows no inline styles would lose. Imported only by the page of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipechat.show.markdown_blocks import BlockSplitter
from pipechat.show.markdown_cost import is_dear

LARGEST = 64 * 1024
"""Characters that are looked at as one text; a longer one is cut between blocks."""

_ALLOWED = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
_MOST_OF_TARGETS = 2 * LARGEST
_LEADS_BY = ("href", "src", "title")
_REL = "noopener noreferrer nofollow"
_MOST_NESTED = 40
_LEAST_LEVEL, _MOST_LEVEL = 3, 6


def as_html(text: str) -> str:
    """The blocks of `text`. What is too large, or too dear, to be formatted stands as written."""
    if len(text) <= LARGEST:
        return _formatted(text)
    return "".join(_formatted(piece) for piece in _pieces(text))


def as_written(text: str) -> str:
    """`text` letter by letter, with its lines and blanks."""
    return f'<div class="written">{escape(text)}</div>\n'


def _pieces(text: str) -> list[str]:
    """`text` in pieces that end between blocks, each as long as may be formatted; a single block
    may be longer."""
    splitter = BlockSplitter()
    pieces, piece, size = [], list[str](), 0
    for block in (*splitter.feed(text), *splitter.end()):
        if size + len(block.text) > LARGEST and block.kind not in ("code", "fence"):
            pieces.append("".join(piece))
            piece, size = [], 0
        piece.append(block.text)
        size += len(block.text)
    return [*pieces, "".join(piece)]


def _formatted(text: str) -> str:
    if is_dear(text) or len(text) > 2 * LARGEST:
        return as_written(text)
    parser = _parser()
    tokens = parser.parse(text)
    if _targets_size(tokens) > _MOST_OF_TARGETS:
        return as_written(text)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _targets_size(tokens: Sequence[Token]) -> int:
    """How many letters the links and the pictures lead by: many may share one long reference."""
    inline = (each for token in tokens for each in token.children or ())
    return sum(len(str(each.attrs.get(name, ""))) for each in inline for name in _LEADS_BY)


@cache
def _parser() -> MarkdownIt:
    options = {"html": False, "xhtmlOut": False, "maxNesting": _MOST_NESTED}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.validateLink = _is_allowed  # type: ignore[method-assign]  # because it is made for that
    parser.core.ruler.push("for_a_page", _made_for_a_page)
    parser.add_render_rule("image", _picture)
    for name in ("fence", "code_block"):
        parser.add_render_rule(name, _code)
    return parser


def _is_allowed(url: str) -> bool:
    """Whether a link may lead there: nowhere on this machine, and to nothing that runs."""
    return _ALLOWED.match(url) is not None


def _made_for_a_page(state: Any) -> None:
    """Headings go below those of the page; alignment is a class, and where links lead learns
    nothing of the page."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + _LEAST_LEVEL - 1, _MOST_LEVEL)}"
        elif token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            if side := style.rpartition(":")[2]:
                token.attrs["class"] = side
        token.children = list(_with_true_links(token.children)) if token.children else None


def _with_true_links(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens of a line without the links that lead nowhere: `[words]()`. Links do not nest."""
    leads = True
    for token in tokens:
        if token.type == "link_open":
            leads = bool(token.attrs.get("href"))
            token.attrs["rel"] = _REL
        if leads or not token.type.startswith("link_"):
            yield token


def _picture(renderer: Any, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
    """A link to the picture, or within another link its words."""
    token = tokens[place]
    words = renderer.renderInlineAsText(token.children or [], options, env)
    shown = f"[picture{': ' if words else ''}{escape(words)}]"
    within = sum(each.nesting for each in tokens[:place] if each.type.startswith("link_"))
    if within or not token.attrs["src"]:
        return shown
    return f'<a href="{escape(str(token.attrs["src"]))}" rel="{_REL}">{shown}</a>'


def _code(_renderer: Any, tokens: Sequence[Token], place: int, _options: Any, _env: Any) -> str:
    """Code; it can be reached by keyboard, since a long line is scrolled."""
    language = tokens[place].info.split(maxsplit=1)[:1]
    label = f"code, {language[0]}" if language else "code"
    return (
        f'<pre dir="ltr" tabindex="0" role="region" aria-label="{escape(label)}"><code>'
        f"{escape(tokens[place].content)}</code></pre>\n"
    )
