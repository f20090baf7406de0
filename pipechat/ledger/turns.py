"""The turns of a session, or of a file of turns, as lines of the ledger: for what is older than it.

A turn stands for all its requests. Where it was asked is known of those alone that say so.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipechat import jsonl
from pipechat.ledger.amounts import is_line
from pipechat.messages import Turn
from pipechat.store.names import is_path
from pipechat.store.reading import Session, turns_forwards

# Keys that not every record has, and that need the line to be read once more.
_MORE = (b'"endpoint"', b'"service_tier"')
_HEAD = 1 << 16


class TurnLine(NamedTuple):
    """A turn as `Spending.add` takes it. `requests`: 0 where nothing was ever sent."""

    line: Mapping[str, Any]
    requests: int
    settled: bool


def is_ledger(session: Session) -> bool:
    """Whether a file is none of turns, but a month of a ledger."""
    for _, line in jsonl.lines_forwards(session.fd, session.size, block=_HEAD):
        try:
            return is_line(jsonl.loads_line(line))
        except ValueError:
            return False
    return False


def lines_of_turns(session: Session) -> Iterator[TurnLine]:
    """A line for each turn, oldest first; of doubles one, and none of a mark."""
    kind = "batch" if is_path(session.name) else "session"
    for _, turn, line in turns_forwards(session):
        if turn.context is None:
            more = jsonl.loads_line(line) if any(key in line for key in _MORE) else {}
            yield TurnLine(
                {
                    "at": turn.time,
                    kind: session.name,
                    "host": _host(more.get("endpoint")),
                    "tier": more.get("service_tier"),
                    "model": turn.model,
                    "usage": turn.usage,
                },
                _requests(turn),
                settled=turn.status == "failed",
            )


def _requests(turn: Turn) -> int:
    if turn.attempts == 0 and turn.usage is None:  # what is no item, say
        return 0
    return max(turn.attempts or 1, 1)


def _host(endpoint: object) -> str | None:
    """The host of an endpoint, which is kept with its path; of a socket its path."""
    if not isinstance(endpoint, str) or not endpoint:
        return None
    place = endpoint.partition("://")[2] or endpoint
    return place if place.startswith("/") else place.partition("/")[0]
