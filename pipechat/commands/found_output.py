"""What `history search` prints: lines with or without those around them, names, or numbers; each
as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pipechat import jsonl
from pipechat.commands.history_output import Page, look_of
from pipechat.environment import Environment
from pipechat.errors import UsageError
from pipechat.show.found import FoundText

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipechat.store.search import Hit
    from pipechat.store.search_context import Place

    # Each session by its name, with what is found in it while it is read.
    Found = Iterable[tuple[str, Generator[Hit, None, None]]]


class Shown(NamedTuple):
    """What of the hits is wanted: `names` of sessions only, `counts` of turns only, or lines with
    `context` more of them before and after each."""

    names: bool = False
    counts: bool = False
    context: int = 0


def check_shown(names: bool, counts: bool, context: int) -> Shown:
    """What is wanted, which is one thing.

    Raises:
        UsageError: `bad_option`.
    """
    given = {"--files-with-matches": names, "--count": counts, "--context": context > 0}
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        message = f"{' and '.join(named)} are different things to print"
        raise UsageError("bad_option", message, "Leave one of them out.")
    return Shown(names, counts, context)


def lines_for(env: Environment, color: str) -> FoundText:
    """How lines look on stdout. Raises UsageError: `color` is none of its values."""
    columns = env.stdout.columns() if env.stdout.is_terminal else None
    return FoundText(look_of(env, color), columns)


def print_found(
    page: Page, output_format: str, lines: FoundText, found: Found, shown: Shown
) -> bool:
    """Whether there was anything to print."""
    if output_format != "text":
        return page.records(_records(found, shown), output_format) > 0
    is_found = False
    for line in _text_lines(lines, found, shown):
        is_found = True
        # A path has the bytes it came with.
        page.write(line.encode("utf-8", "surrogateescape") + b"\n")
    return is_found


def _text_lines(lines: FoundText, found: Found, shown: Shown) -> Iterator[str]:
    is_first = True
    for name, hits in found:
        with closing(hits):
            if shown.names:
                yield from (lines.name(name) for _ in _first(hits))
            elif shown.counts:
                yield from (lines.count(name, turns) for turns in _turns(hits))
            elif not shown.context:
                for hit in hits:
                    yield lines.line(name, hit.turn_number, hit.side, hit.text, hit.spans)
            else:
                for group in _groups_of_lines(lines, name, hits, shown.context):
                    if not is_first:
                        yield lines.between_groups()
                    is_first = False
                    yield from group


def _groups_of_lines(
    lines: FoundText, name: str, hits: Iterable[Hit], context: int
) -> Iterator[Iterator[str]]:
    from pipechat.store.search_context import in_groups

    for number, of_turn in groupby(hits, lambda hit: hit.turn_number):
        for group in in_groups(list(of_turn), context):
            yield (
                lines.line(name, number, place.side, place.text, hit.spans if hit else None)
                for place, hit in group
            )


def _records(found: Found, shown: Shown) -> Iterator[bytes]:
    """The same as JSON objects."""
    for name, hits in found:
        with closing(hits):
            if shown.names:
                yield from (jsonl.dumps({"session": name}) for _ in _first(hits))
            elif shown.counts:
                yield from (jsonl.dumps({"session": name, "turns": each}) for each in _turns(hits))
            elif not shown.context:
                yield from (jsonl.dumps(_record(name, hit)) for hit in hits)
            else:
                yield from _records_in_context(name, hits, shown.context)


def _records_in_context(name: str, hits: Iterable[Hit], context: int) -> Iterator[bytes]:
    from pipechat.store.search_context import with_context

    for _, of_turn in groupby(hits, lambda hit: hit.turn_number):
        for before, hit, after in with_context(list(of_turn), context):
            around = {"before": _lines(before), "after": _lines(after)}
            yield jsonl.dumps(_record(name, hit) | around)


def _first(hits: Iterator[Hit]) -> Iterator[Hit]:
    """The first one, if there is one: the rest is not even looked for."""
    for hit in hits:
        yield hit
        return


def _turns(hits: Iterable[Hit]) -> Iterator[int]:
    """How many turns they are in, if there are any."""
    turns = sum(1 for _ in groupby(hits, lambda hit: hit.turn_number))
    if turns:
        yield turns


def _record(name: str, hit: Hit) -> dict[str, object]:
    return {
        "session": name,
        "turn": hit.turn_number,
        "id": hit.turn.id,
        "time": hit.turn.time,
        "status": hit.turn.status,
        "side": hit.side,
        "line": hit.line_number,
        "text": hit.text,
        "spans": hit.spans,
    }


def _lines(places: list[Place]) -> list[dict[str, object]]:
    return [{"side": place.side, "line": place.number, "text": place.text} for place in places]
