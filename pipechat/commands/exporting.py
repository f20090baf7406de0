"""A session, or a file of turns, in the formats that it can be exported in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pipechat.environment import Environment
from pipechat.messages import Turn
from pipechat.store import whole
from pipechat.store.names import is_path
from pipechat.store.reading import Session, read_tail, turns_forwards

if TYPE_CHECKING:
    from pipechat.show.html_page import CostOf


class Document(Protocol):
    """A conversation in some format, in three parts, of which the middle is one a turn."""

    def head(self) -> str: ...
    def turn(self, number: int, turn: Turn) -> str: ...
    def foot(self) -> str: ...


def has_no_turn(session: Session) -> bool:
    """Whether it is a file that a user named, and something else than turns."""
    quiet = session._replace(warn=lambda _: None)
    is_theirs = bool(is_path(session.name) and session.size)
    return is_theirs and next(turns_forwards(quiet), None) is None


class Exported:
    """A session on its way out. `left_out`: how many turns it says nothing of, so far."""

    def __init__(self, env: Environment, session: Session, wanted: str) -> None:
        self._env = env
        self._session = session
        self._wanted = wanted
        self.left_out = 0

    def pieces(self) -> Iterator[str]:
        """All of it, turn by turn."""
        if self._wanted == "ndjson":
            yield from self._records()
            return
        document = self._document()
        yield document.head()
        for number, turn in whole.marked_turns(self._session):
            self.left_out += self._wanted == "messages" and not turn.is_context
            yield document.turn(number, turn)
        yield document.foot()

    def _records(self) -> Iterator[str]:
        for line in whole.turn_lines(self._session):
            yield line.strip().decode("utf-8", "replace") + "\n"
        for line in whole.mark_lines(self._session):
            yield line.strip().decode("utf-8", "replace") + "\n"

    def _document(self) -> Document:
        if self._wanted == "messages":
            from pipechat.show.messages_page import MessagesPage

            return MessagesPage(read_tail(self._session, 1).system)
        # Where a file lies is its owner's business, and the page may be sent to anybody.
        name = os.fsencode(os.path.basename(self._session.name)).decode("utf-8", "replace")
        if self._wanted == "html":
            from pipechat.show.html_page import HtmlPage

            return HtmlPage(name, _cost_of(self._env))
        from pipechat.show.markdown_page import MarkdownPage

        return MarkdownPage(name)


def _cost_of(env: Environment) -> CostOf:
    """What a turn cost, by the prices of its day. A record does not tell where it was asked: the
    model's name tells the vendor."""
    from pipechat.ledger.prices import price_of
    from pipechat.settings.config import find_folders, read_config
    from pipechat.settings.resolve import resolve_settings

    path = find_folders(env.environ).config_file
    own = resolve_settings({}, env.environ, read_config(path), path).prices
    return lambda turn: price_of(turn.model, None, None, turn.usage, own, turn.time or None)
