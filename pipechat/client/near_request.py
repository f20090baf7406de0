"""Which recorded request is nearest to one that was not recorded, and how the two differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipechat import jsonl
from pipechat.client.exchange import Request
from pipechat.text import visible_line

_SHOWN = 3  # differences
_LONGEST = 40  # characters of a value
_BEFORE = 12  # of these, the ones before the first that differs
_LOOKED_AT = 1000  # recorded requests, the last ones

Difference = tuple[str, Any, Any]
_NOTHING = object()


def nearest(request: Request, others: Sequence[Request]) -> int | None:
    """The index of the one among `others` with the fewest values otherwise; None of none.
    Where several are as near, the one whose values have the most in common."""
    indexes = range(max(0, len(others) - _LOOKED_AT), len(others))
    return min(indexes, key=lambda index: _distance(others[index], request), default=None)


def _distance(there: Request, here: Request) -> tuple[int, int]:
    found = list(_differences("", _whole(there), _whole(here)))
    return len(found), -sum(_in_common(was, now) for _, was, now in found)


def difference(there: Request, here: Request) -> str:
    """In a line: `messages[0].content: "What is a pipe?" there, "What is a pip" here; …`"""
    found = list(_differences("", _whole(there), _whole(here)))
    shown = [
        f"{visible_line(path)}: {_excerpt(was, _in_common(was, now))} there, "
        f"{_excerpt(now, _in_common(was, now))} here"
        for path, was, now in found[:_SHOWN]
    ]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _whole(request: Request) -> dict[str, Any]:
    # As it stands in a recording: what has no other form in JSON is no difference.
    body: dict[str, Any] = jsonl.loads(jsonl.dumps(request.body))
    return {"path": request.path, **{f"body {key}": item for key, item in body.items()}}


def _differences(path: str, there: Any, here: Any) -> Iterator[Difference]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in {**there, **here}:
            below = f"{path}.{key}" if path else key.removeprefix("body ")
            yield from _differences(below, there.get(key, _NOTHING), here.get(key, _NOTHING))
    elif isinstance(there, list) and isinstance(here, list):
        for index in range(max(len(there), len(here))):
            was, now = (side[index] if index < len(side) else _NOTHING for side in (there, here))
            yield from _differences(f"{path}[{index}]", was, now)
    elif there is _NOTHING or here is _NOTHING or jsonl.dumps(there) != jsonl.dumps(here):
        yield path, there, here


def _in_common(there: Any, here: Any) -> int:
    """How many characters two texts begin with alike."""
    if not (isinstance(there, str) and isinstance(here, str)):
        return 0
    pairs = enumerate(zip(there, here, strict=False))
    return next((at for at, (was, now) in pairs if was != now), min(len(there), len(here)))


def _excerpt(value: Any, differs_at: int) -> str:
    """A value short enough for a line, around the place where it differs."""
    if value is _NOTHING:
        return "nothing"
    if isinstance(value, str):
        start = max(0, differs_at - _BEFORE) if len(value) > _LONGEST else 0
        piece = value[start : start + _LONGEST]
        before, after = "…" if start else "", "…" if start + _LONGEST < len(value) else ""
        return visible_line(f"{before}{jsonl.dumps(piece).decode()}{after}")
    text = visible_line(jsonl.dumps(value).decode())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
