"""A conversation as one page of HTML: whole in itself, to be read anywhere, printed or sent.

It fetches nothing and runs nothing: its policy (Content Security Policy, Level 3) allows its own
style sheet, by the hash, and that alone. Whatever was said stands in it as text. It comes turn by
turn, so that a long conversation takes no more memory than a short one. Knows no file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Any

from pipechat.messages import Turn
from pipechat.show.html_markdown import as_html, as_written
from pipechat.show.html_style import STYLE
from pipechat.show.transcript import fault_of, human_size
from pipechat.text import counted, visible_html, visible_line

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{name}</title>
<style>{style}</style>
</head>
<body>
<header><h1 dir="auto">{name}</h1></header>
<main>
"""
_FOOT = """</main>
<footer>{about}</footer>
</body>
</html>
"""

CostOf = Callable[[Turn], Decimal | None]


class HtmlPage:
    """Turns one after the other; a system message is shown where it changes.

    Args:
        name: what the page is called: the session, or the file.
        cost_of: what a turn cost in USD; None where that is not known, and then nothing is told.
    """

    def __init__(self, name: str, cost_of: CostOf = lambda _: None) -> None:
        self._name = name
        self._cost_of = cost_of
        self._system: str | None = None
        self._turns = 0
        self._tokens = [0, 0]
        self._cost = Decimal(0)
        self._priced = 0

    def head(self) -> str:
        """What stands above the first turn."""
        name = escape(visible_line(self._name))
        return _HEAD.format(policy=escape(POLICY, quote=False), name=name, style=STYLE)

    def turn(self, number: int, turn: Turn) -> str:
        """A turn; `#turn-NUMBER` leads to it."""
        self._turns += 1
        system = turn.system if turn.system != self._system else None
        self._system = turn.system
        self._tokens = [sum(pair) for pair in zip(self._tokens, tokens_of(turn), strict=True)]
        cost = self._cost_of(turn)
        if cost is not None:
            self._cost += cost
            self._priced += 1
        return visible_html("".join(_parts(number, turn, system, cost)))

    def foot(self) -> str:
        """What stands below the last turn."""
        facts = [counted(self._turns, "turn"), *_told_tokens(self._tokens)]
        if self._priced:
            of = "" if self._priced == self._turns else f" for {self._priced} of them"
            facts.append(_dollars(self._cost) + of)
        return _FOOT.format(about=f"{', '.join(facts)}. Exported by pipechat.")


def _parts(number: int, turn: Turn, system: str | None, cost: Decimal | None) -> Iterator[str]:
    is_whole = turn.status == "complete"
    mark = "" if is_whole else ' class="cut"'
    yield f'<article id="turn-{number}"{mark}>\n'
    yield f'<h2><a href="#turn-{number}">Turn {number}</a></h2>\n'
    yield f'<p class="about">{", ".join(_about(turn, cost))}</p>\n'
    if system:
        yield _block("system", "System", as_written(_lines(system)))
    yield _block("question", "You", as_written(_lines(turn.question)) + _files(turn))
    who = _named(turn.model) if turn.model else "AI"
    if turn.answer.strip():
        yield _block("answer", who, as_html(_lines(turn.answer)))
    if not is_whole:
        yield f'<p class="fault" dir="auto">{escape(fault_of(turn))}</p>\n'
    yield "</article>\n"


def _about(turn: Turn, cost: Decimal | None) -> Iterator[str]:
    """What is told of a turn beside what was said, as HTML: one fact each."""
    yield _time(turn.time)
    if turn.item is not None:
        yield f"item {_named(turn.item)}"
    if turn.model:
        yield _named(turn.model)
    yield from _told_tokens(tokens_of(turn))
    if cost is not None:
        yield _dollars(cost)
    if turn.total_s is not None and turn.total_s >= 0:
        yield f"{turn.total_s:.1f} s"
    if turn.context is False:
        yield "left out of what went along later"


def tokens_of(turn: Turn) -> list[int]:
    """How many tokens went out and came back, as the server counted them; 0 where it did not."""
    usage: Mapping[str, Any] = turn.usage or {}
    found = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")]
    return [each if type(each) is int and each > 0 else 0 for each in found]


def _told_tokens(tokens: list[int]) -> list[str]:
    sent, received = tokens
    return [f"{sent:,} tokens sent, {received:,} received"] if sent or received else []


def _dollars(cost: Decimal) -> str:
    """To the cent, and of what is less than ten of them two digits that say something."""
    digits = 2 if not cost or cost >= Decimal("0.1") else 1 - cost.adjusted()
    return f"${cost:,.{digits}f}"


def _block(kind: str, who: str, html: str) -> str:
    return (
        f'<section class="{kind}"><h3 dir="auto">{who}</h3>\n'
        f'<div class="said" lang="" dir="auto">\n{html}</div></section>\n'
    )


def _files(turn: Turn) -> str:
    shown = []
    for file in turn.files or ():
        name, size = (file.get("name"), file.get("bytes")) if isinstance(file, dict) else ("", 0)
        told = f", {human_size(size)}" if type(size) is int and size >= 0 else ""
        if isinstance(name, str):
            shown.append(f"<li>{_named(name)}{told}</li>")
    return f'<ul class="files">{"".join(shown)}</ul>\n' if shown else ""


def _time(time: str) -> str:
    """In UTC, since who reads it may be anywhere."""
    try:
        at = datetime.fromisoformat(time)
        at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return _named(time) if time else "at no known time"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M} UTC</time>'


def _named(text: str) -> str:
    return f"<bdi>{escape(visible_line(text))}</bdi>"


def _lines(text: str) -> str:
    """`text` with the ends of lines that browsers know, whatever system they are of."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
