"""A batch's input as rows: NDJSON, CSV or TSV with a header, or plain lines.

A generator of rows over blocks of bytes: it reads no further than it is asked to, holds one row,
and gives an error in the place of a row that is none. Knows no item.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from pipechat import jsonl
from pipechat.batch.heads import delimiter_of
from pipechat.errors import UsageError
from pipechat.text import visible_line

InputFormat = Literal["ndjson", "csv", "tsv", "lines"]
INPUT_FORMATS: tuple[InputFormat, ...] = ("ndjson", "csv", "tsv", "lines")

_BY_SUFFIX: dict[str, InputFormat] = {"csv": "csv", "tsv": "tsv", "tab": "tsv", "txt": "lines"}
_BOM = b"\xef\xbb\xbf"
_TOLD = re.compile(rb"sep=([;,|\t])\r?")
"""A first line by which a spreadsheet says what parts the cells."""
_WHAT_IT_IS = "Say what the input holds: --input-format csv, tsv or lines."
_Line = tuple[int, bytes | UsageError]


class Row(NamedTuple):
    """`value`: what line `number` (from 1) holds, or why it holds no row."""

    number: int
    value: Any


def format_of_name(name: str) -> InputFormat:
    """The format that a file's name tells; NDJSON where it tells none."""
    return _BY_SUFFIX.get(name.rpartition(".")[2].lower(), "ndjson")


def read_rows(
    blocks: Iterable[bytes], input_format: InputFormat, *, longest: int, lossy: bool = False
) -> Iterator[Row]:
    """The rows of an input that comes in `blocks`, cut anywhere; blank lines are none.

    Args:
        longest: the longest line, in bytes.
        lossy: bytes that are not UTF-8 are replaced instead of making an error of the row.

    Raises:
        UsageError: `bad_header`: of CSV and TSV, where nothing can be told of any row.
    """
    lines = _lines(blocks, longest)
    if input_format in ("csv", "tsv"):
        yield from _table(lines, input_format, longest, lossy=lossy)
        return
    read = _json if input_format == "ndjson" else _question
    for number, line in lines:
        if isinstance(line, UsageError):
            yield Row(number, line)
        elif not line.isspace() and line:
            yield Row(number, _read_line(line, read, lossy=lossy))


def _read_line(line: bytes, read: Any, *, lossy: bool) -> Any:
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            if not lossy:
                return _not_utf8(line[error.start], error.start)
            line = line.decode("utf-8", "replace").encode()
    return read(line)


def _json(line: bytes) -> Any:
    try:
        return jsonl.loads_line(line)
    except ValueError as error:
        hint = "" if line.lstrip().startswith(b"{") else _WHAT_IT_IS
        return UsageError("bad_item", f"it is no JSON ({error})", hint)


def _question(line: bytes) -> Any:
    return {"question": line.decode().removesuffix("\r")}


def _not_utf8(byte: int, offset: int) -> UsageError:
    message = f"it is not UTF-8: byte 0x{byte:02x} at offset {offset}"
    return UsageError("not_utf8", message, "Convert it (iconv), or replace such bytes with --lossy")


def _lines(blocks: Iterable[bytes], longest: int) -> Iterator[_Line]:
    """The lines, with their numbers; of one that is too long no more than that it is."""
    number, begun, size, cut = 1, [], 0, False
    for data in _without_bom(blocks):
        first, *others = data.split(b"\n")
        begun.append(first)
        size += len(first)
        for piece in others:
            yield number, _too_long(longest) if cut or size > longest else b"".join(begun)
            number, begun, size, cut = number + 1, [piece], len(piece), False
        if size > longest:
            begun, cut = [], True
    if begun or cut:
        yield number, _too_long(longest) if cut or size > longest else b"".join(begun)


def _without_bom(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """`blocks` less the mark that some editors begin a file with, cut or not."""
    head: bytes | None = b""
    for block in blocks:
        if head is None:
            yield block
            continue
        head += block
        if len(head) >= len(_BOM) or not _BOM.startswith(head):
            yield head.removeprefix(_BOM)
            head = None
    if head:
        yield head


def _too_long(longest: int) -> UsageError:
    return UsageError("bad_item", f"the line is longer than {longest} bytes (max_input_mib)")


def _table(
    lines: Iterator[_Line], input_format: InputFormat, longest: int, *, lossy: bool
) -> Iterator[Row]:
    """Rows as objects, by the names in the header. A cell may hold newlines (RFC 4180)."""
    delimiter = "\t"
    if input_format == "csv":
        delimiter, lines = _delimited(lines)
    source = _TableLines(lines)
    csv.field_size_limit(longest)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        number = source.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if header is None:
                raise UsageError("bad_header", f"the first line is no header: {error}") from error
            yield Row(number, source.take_error() or UsageError("bad_item", f"no row: {error}"))
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            continue
        if cells is None:
            return
        if (broken := source.take_error()) is not None:
            yield Row(number, broken)
        elif header is None:
            header = _header(cells) if cells else None  # blank lines are none
        elif any(cells):  # spreadsheets write rows of empty cells
            yield Row(number, _cells(header, cells, lossy=lossy))


def _delimited(lines: Iterator[_Line]) -> tuple[str, Iterator[_Line]]:
    """What parts the cells, by the first line that says anything; and the lines."""
    head: list[_Line] = []
    for each in lines:
        line = each[1]
        if isinstance(line, bytes) and (told := _TOLD.fullmatch(line)):
            return told[1].decode(), lines
        head.append(each)
        if isinstance(line, UsageError) or line.strip():
            delimiter = delimiter_of(line) if isinstance(line, bytes) else ","
            return delimiter, _again(head, lines)
    return ",", iter(head)


def _again(head: list[_Line], rest: Iterator[_Line]) -> Iterator[_Line]:
    yield from head
    yield from rest


class _TableLines:
    """Lines as the csv module wants them, and which came last."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._error: UsageError | None = None
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, UsageError):
            self._error, line = line, b""
        # Bytes that are not UTF-8 are looked at cell by cell.
        return line.decode("utf-8", "surrogateescape") + "\n"

    def take_error(self) -> UsageError | None:
        """What was wrong with a line since it was last asked."""
        error, self._error = self._error, None
        return error


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None or not any(names):
        what = "is empty" if not twice else f"names {visible_line(twice)!r} twice"
        hint = "Give every column a name of its own in the first line."
        raise UsageError("bad_header", f"the header {what}", hint)
    return names


def _cells(header: list[str], cells: list[str], *, lossy: bool) -> Any:
    if len(cells) != len(header):
        return UsageError("bad_item", f"the row has {len(cells)} cells, the header {len(header)}")
    for index, cell in enumerate(cells):
        if not cell.isascii():
            data = cell.encode("utf-8", "surrogateescape")
            try:
                data.decode()
            except UnicodeDecodeError as error:
                if not lossy:
                    return _not_utf8(data[error.start], error.start)
                cells[index] = data.decode("utf-8", "replace")
    return {name: cell for name, cell in zip(header, cells, strict=True) if cell}
