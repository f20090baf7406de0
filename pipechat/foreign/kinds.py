"""Which program a file of JSON is of, told by its first value; all the others must be alike.
Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from pipechat.foreign import chatgpt, llm_logs, messages_json
from pipechat.foreign.turns import Lost, Piece
from pipechat.messages import Turn

Value = Mapping[str, Any]


class Kind(NamedTuple):
    """Files of one program: what messages call a value, how one is known, and how it is read."""

    name: str
    knows: Callable[[Value], bool]
    read: Callable[[Iterable[Value], Lost], Iterator[Piece]]


def _is_record(value: Value) -> bool:
    try:
        Turn.from_record(value)
    except ValueError:
        return False
    return True


def _of_records(values: Iterable[Value], _lost: Lost) -> Iterator[Piece]:
    """Our own, unknown keys and all."""
    for value in values:
        yield Piece("", "", value)


_KINDS = (
    Kind("turn", _is_record, _of_records),
    Kind("message", messages_json.is_message, messages_json.of_messages),
    Kind("request with messages", messages_json.is_body, messages_json.of_bodies),
    Kind("conversation of ChatGPT", chatgpt.is_conversation, chatgpt.of_conversations),
    Kind("log of llm", llm_logs.is_row, llm_logs.of_rows),
)


def pieces(values: Iterable[Any], lost: Lost) -> Iterator[Piece]:
    """The turns that `values` hold, and whose each is.

    Raises:
        ValueError: it is of no program that is known, or not all of it is.
    """
    values = iter(values)
    first = next(values, None)
    kind = next((each for each in _KINDS if isinstance(first, dict) and each.knows(first)), None)
    if kind is None:
        raise ValueError("it holds neither messages, nor turns, nor conversations")
    yield from kind.read(_all(chain([first], values), kind), lost)


def _all(values: Iterable[Any], kind: Kind) -> Iterator[Value]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict) or not kind.knows(value):
            raise ValueError(f"value {number} is no {kind.name}, as those before it are")
        yield value
