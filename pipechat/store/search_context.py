"""The lines around those that a search found. A turn reads as one text: the question, and then
the answer; nothing of another turn stands around a line. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipechat.messages import Turn
from pipechat.store.search import SIDES, Hit, Side, lines_of


class Place(NamedTuple):
    """A line of a turn. `number`: in the question or the answer, from 1."""

    side: Side
    number: int
    text: str


def places_of(turn: Turn) -> list[Place]:
    """All lines of a turn."""
    texts = {"question": turn.question, "answer": turn.answer}
    return [
        Place(side, number, line)
        for side in SIDES
        for number, line in enumerate(lines_of(texts[side]), 1)
    ]


def with_context(hits: Sequence[Hit], count: int) -> Iterator[tuple[list[Place], Hit, list[Place]]]:
    """Each hit of a turn between the `count` lines before it and the `count` after it."""
    places = places_of(hits[0].turn)
    indexes = {(place.side, place.number): index for index, place in enumerate(places)}
    for hit in hits:
        index = indexes[hit.side, hit.line_number]
        yield places[max(0, index - count) : index], hit, places[index + 1 : index + 1 + count]


def in_groups(hits: Sequence[Hit], count: int) -> Iterator[list[tuple[Place, Hit | None]]]:
    """The hits of a turn and `count` lines before and after each, every line once, in groups of
    lines that follow each other; a line around a hit has no hit of its own."""
    places = places_of(hits[0].turn)
    found = {(hit.side, hit.line_number): hit for hit in hits}
    ranges: list[tuple[int, int]] = []
    for index, place in enumerate(places):
        if (place.side, place.number) in found:
            start, stop = max(0, index - count), index + count + 1
            if ranges and start <= ranges[-1][1]:
                start = ranges.pop()[0]
            ranges.append((start, stop))
    for start, stop in ranges:
        yield [(place, found.get((place.side, place.number))) for place in places[start:stop]]
