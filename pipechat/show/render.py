"""The sink of `--render`: an answer formatted block by block, each the moment it is whole.

What was shown is never taken back. What the terminal must not obey is made visible before anything
looks at it as Markdown.
"""

from typing import Protocol

from pipechat.events import End, Error, Event, text_of
from pipechat.show import markdown
from pipechat.show.markdown_blocks import Block, BlockSplitter
from pipechat.text import visible


class Terminal(Protocol):
    """What it is written to; how wide it is may change."""

    def write(self, data: bytes) -> None: ...
    def end_line(self) -> None: ...
    def columns(self) -> int: ...


class RenderSink:
    """The answer as a person reads it.

    Args:
        color: whether escape sequences may be sent at all.
        column: how many columns of the first line are taken, by a prompt.
    """

    def __init__(self, out: Terminal, *, color: bool, column: int = 0) -> None:
        self._out = out
        self._color = color
        self._column = column
        self._splitter = BlockSplitter()
        self._after_blank = True

    def emit(self, *events: Event) -> None:
        if text := text_of(events):
            self._show(list(self._splitter.feed(visible(text))))
        elif isinstance(events[-1], End | Error):
            self._show(list(self._splitter.end()))
            self._splitter = BlockSplitter()
            self._out.end_line()

    def _show(self, blocks: list[Block]) -> None:
        if not blocks:
            return
        page = markdown.Page(self._out.columns() - self._column, self._color)
        self._column = 0
        text = "".join(self._rendered(block, page) for block in blocks)
        if text:
            self._out.write(text.encode())

    def _rendered(self, block: Block, page: markdown.Page) -> str:
        if block.kind == "blank":  # one, however many there are
            blank = "" if self._after_blank else "\n"
            self._after_blank = True
            return blank
        self._after_blank = False
        if block.kind == "markdown":
            return markdown.rendered(block.text, page)
        if block.kind == "fence":
            return markdown.fence(block.text, page)
        return markdown.code(block.text, page) if block.kind == "code" else block.text
