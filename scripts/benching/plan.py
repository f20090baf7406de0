"""What a measurement is made of: sizes, groups of parties that take turns, rows of quotients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from benching.parties import Party


@dataclass(frozen=True)
class Sizes:
    """How much of everything. `turns` of the long session, `chunks` of the long answer. Where it
    is `small` the targets do not hold: they are for what grows, and all else weighs more."""

    turns: int = 1_000_000
    chunks: int = 20_000
    paced: int = 1_000
    items: int = 4_000
    tails: int = 200
    sessions: int = 100_000
    runs: int = 15
    long_runs: int = 5
    small: bool = False


@dataclass(frozen=True)
class Group:
    """Parties that take turns. `set_up` runs once before; it may raise NotMeasuredError. `runs`:
    how many of each party, where it is not as in other groups."""

    name: str
    about: str
    parties: tuple[Party, ...]
    set_up: Callable[[], None] = lambda: None
    long: bool = False
    stamped: bool = False
    runs: int | None = None


@dataclass(frozen=True)
class Row:
    """`of` compared with `to`, by wall time unless said: quotients of medians; for `p50`, `p99`
    and `first` the difference in ms; for `tail` and `worst` the p99 and the maximum of all runs'
    wall times over their median. Of parties with several items, one of them. `at_most` is the
    target, where there is one."""

    title: str
    group: str
    of: str
    to: str
    at_most: float | None = None
    by: Literal["wall", "cpu", "peak", "p50", "p99", "tail", "worst", "first"] = "wall"


def with_targets_of(sizes: Sizes, rows: list[Row]) -> list[Row]:
    """The rows with the targets that hold at these sizes."""
    return [replace(row, at_most=None) for row in rows] if sizes.small else rows
