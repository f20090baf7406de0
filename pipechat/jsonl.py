"""JSON in and out, and files of lines read from either end.

The only module that imports orjson; what orjson refuses and JSON allows goes through the
standard library. Knows no record, no session and no path: callers hand in a descriptor.
"""

import os
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import orjson

from pipechat.text import whole_text

_FIRST_BLOCK = 1 << 16
_LARGEST_BLOCK = 1 << 20
# orjson gives up at 254 levels; no answer of a model is nested like that, an attack is.
_DEEPEST = 250
_MOST_DIGITS = 4000  # Python refuses to read many more at once
_LARGEST_INT = 10**_MOST_DIGITS
# orjson ends the process where memory for a large document is refused to it; json raises.
_LARGEST_FOR_ORJSON = 8_000_000
_LARGEST_TEXT_FOR_ORJSON = 1 << 20  # which grows while it is written


def dumps(value: object) -> bytes:
    """`value` as compact JSON in UTF-8, without a newline: it is one line whatever it holds.

    Lone surrogates become U+FFFD, NaN and the infinities null, and so does what is nested
    deeper than 250 levels.

    Raises:
        TypeError: a value or a key is of a type that JSON has not.
    """
    if _is_large(value):
        return _dumps_leniently(value)
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, more than 64 bits, too deep; or indeed no JSON
        return _dumps_leniently(value)


def _dumps_leniently(value: object) -> bytes:
    import json

    text = json.dumps(_plain(value, 0), ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _is_large(value: object) -> bool:
    """Whether the texts in it are, taken together."""
    size = 0
    parts = [value]
    for part in parts:  # which grows meanwhile; by exact types, since every chunk comes this way
        kind = type(part)
        if kind is str:
            size += len(part)  # type: ignore[arg-type]  # because mypy does not narrow by `kind`
        elif kind is dict:
            parts.extend(part.values())  # type: ignore[attr-defined]  # as above
        elif kind is list or kind is tuple:
            parts.extend(part)  # type: ignore[arg-type]  # as above
    return size > _LARGEST_TEXT_FOR_ORJSON


def dumps_ordered(value: object, *, is_small: bool = False) -> bytes:
    """As `dumps`, keys sorted: equal for equal values. `is_small`: of no more than 100 kB."""
    if not is_small and _is_large(value):
        return _dumps_leniently(ordered(value))
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _dumps_leniently(ordered(value))


def loads(data: bytes | str, *, to_the_digit: bool = False) -> Any:
    """The value that `data` holds. Lone surrogate escapes stay as they are, since the other
    half may come in the next piece; bytes that are not UTF-8 become U+FFFD; integers beyond 64
    bits become the nearest float, or with `to_the_digit` stay what they are.

    Raises:
        ValueError: it is no JSON (RFC 8259; so NaN is refused), nested too deeply, or holds an
            integer of more than 4,000 digits that is to be exact.
    """
    if len(data) > _LARGEST_FOR_ORJSON or (to_the_digit and _has_long_number(data)):
        return _loads_leniently(data, to_the_digit)
    try:
        return orjson.loads(data)
    except ValueError:
        return _loads_leniently(data, to_the_digit)


def loads_exactly(text: str) -> Any:
    """The value that `text` holds, as Python reads it: integers of any size are themselves, and
    NaN and the infinities numbers.

    Raises:
        ValueError: it is no JSON, nested too deeply, or has a number of more than 4,000 digits.
    """
    import json

    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def loads_line(line: bytes, *, to_the_digit: bool = False) -> Any:
    """As `loads`, with lone surrogates replaced by U+FFFD: what stood in a file must be fit to
    be shown and sent again."""
    if len(line) > _LARGEST_FOR_ORJSON or (to_the_digit and _has_long_number(line)):
        return _plain(_loads_leniently(line, to_the_digit), 0)
    try:
        return orjson.loads(line)
    except ValueError:
        return _plain(_loads_leniently(line, to_the_digit), 0)


def _has_long_number(data: bytes | str) -> bool:
    """Whether an integer in it may have more than 64 bits."""
    text = data if isinstance(data, str) else data.decode("latin-1")
    return re.search("[0-9]{19}", text) is not None


def _loads_leniently(data: bytes | str, to_the_digit: bool) -> Any:
    import json

    text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
    integer = _exactly if to_the_digit else _nearly
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=integer)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _exactly(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS:,} digits")
    return int(digits)


def _nearly(digits: str) -> int | float:
    value = int(digits) if len(digits) <= _MOST_DIGITS else 1 << 64
    return value if -(1 << 63) <= value < 1 << 64 else float(digits)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, int) and not -_LARGEST_INT < value < _LARGEST_INT:
        return None  # Python refuses to write more digits
    if isinstance(value, dict | list | tuple) and depth >= _DEEPEST:
        return None
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key is not a string")
        return {whole_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return value


def ordered(value: Any) -> Any:
    """`value` with the keys of every object in it sorted."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [ordered(item) for item in value]
    return value


def lines_backwards(
    fd: int, size: int | None = None, *, first_block: int = _FIRST_BLOCK
) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from the last to the first, as (offset in bytes, line without its
    newline); a last line without newline counts.

    Reads no more than the lines that are taken ask for, in blocks that double: at most twice
    their bytes. The descriptor's own position stays where it is.

    Args:
        size: where to begin; the end of the file unless given.
    """
    position = os.fstat(fd).st_size if size is None else size
    block_size = first_block
    later: list[bytes] = []  # pieces of the line whose beginning is not read yet, last first
    at_end = True
    while position > 0:
        start = max(0, position - block_size)
        block = _pread_whole(fd, position - start, start)
        if at_end:
            block = block[:-1] if block.endswith(b"\n") else block
            at_end = False
        end = len(block)
        while (newline := block.rfind(b"\n", 0, end)) >= 0:
            later.append(block[newline + 1 : end])
            yield start + newline + 1, b"".join(reversed(later))
            later.clear()
            end = newline
        later.append(block[:end])
        position = start
        block_size = min(block_size * 2, max(_LARGEST_BLOCK, first_block))
    if not at_end:
        yield 0, b"".join(reversed(later))


def lines_forwards(
    fd: int, size: int | None = None, *, block: int = _LARGEST_BLOCK, start: int = 0
) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from the first on, as (number from 1, line without its newline); a
    last line without newline counts. Holds a block and a line, whatever the file's size.

    Args:
        size: where to stop; the end of the file unless given.
        start: the offset of the first line.
    """
    end = os.fstat(fd).st_size if size is None else size
    position, number = start, 0
    begun: list[bytes] = []
    while position < end and (data := os.pread(fd, min(block, end - position), position)):
        position += len(data)
        first, *others = data.split(b"\n")
        begun.append(first)
        for piece in others:
            number += 1
            yield number, b"".join(begun)
            begun = [piece]
    if last := b"".join(begun):
        yield number + 1, last


def count_lines(fd: int, size: int) -> int:
    """How many lines the first `size` bytes hold, without looking into them."""
    position, count, is_ended = 0, 0, True
    while data := os.pread(fd, min(_LARGEST_BLOCK, size - position), position):
        position += len(data)
        count += newlines(data)
        is_ended = data.endswith(b"\n")
    return count if is_ended else count + 1


def newlines(data: bytes) -> int:
    """How many there are. Lines as long as turns are leapt over; `count` looks at each byte."""
    return sum(1 for _ in BytesIO(data[: data.rfind(b"\n") + 1]))


def _pread_whole(fd: int, size: int, offset: int) -> bytes:
    parts = []
    while size and (data := os.pread(fd, size, offset)):
        parts.append(data)
        offset += len(data)
        size -= len(data)
    return b"".join(parts)
