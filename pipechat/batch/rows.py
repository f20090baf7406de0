"""A batch's input as rows: NDJSON, CSV or TSV with a header, or plain lines.

A generator of rows over blocks of bytes: it reads no further than it is asked to, holds one row,
and gives an error in the place of a row that is none. Knows no item.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
_MAYBE_HALF = rb"\ud"


class Row(NamedTuple):
    """`value`: what line `number` (from 1) holds, or why it holds no row. `size`: of its lines, in
    bytes. `mended`: something in it was no text, and U+FFFD stands there now."""

    number: int
    value: Any
    size: int = 0
    mended: bool = False


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
            yield _read_line(number, line, read, lossy=lossy)


def _read_line(
    number: int, line: bytes, read: Callable[[bytes], tuple[Any, bool]], *, lossy: bool
) -> Row:
    size, text, mended = len(line), line, False
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            if not lossy:
                return Row(number, _not_utf8(line[error.start], error.start), size)
            text, mended = line.decode("utf-8", "replace").encode(), True
    value, has_halves = read(text)
    return Row(number, value, size, mended or has_halves)


def _json(line: bytes) -> tuple[Any, bool]:
    """The value, and whether it had halves of surrogate pairs, which no text has."""
    try:
        value = jsonl.loads_line(line, to_the_digit=True)
        maybe = _MAYBE_HALF in line.lower()
        return value, maybe and jsonl.loads(line, to_the_digit=True) != value
    except ValueError as error:
        hint = "" if line.lstrip().startswith(b"{") else _WHAT_IT_IS
        return UsageError("bad_item", f"it is no JSON ({error})", hint), False


def _question(line: bytes) -> tuple[Any, bool]:
    return {"question": line.decode().removesuffix("\r")}, False


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
    if size or cut:
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
        source.begin_row()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            said = str(error).replace("unexpected end of data", "a quote in it is not closed")
            if header is None:
                raise UsageError("bad_header", f"the first line is no header: {said}") from error
            bad = source.take_error() or UsageError("bad_item", f"no row: {said}{source.span()}")
            yield Row(source.first, bad, source.size)
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            continue
        if cells is None:
            return
        if (broken := source.take_error()) is not None:
            yield Row(source.first, broken, source.size)
        elif header is None:
            header = _header(cells) if cells else None  # blank lines are none
        elif any(cells):  # spreadsheets write rows of empty cells
            value, mended = _cells(header, cells, source.span(), lossy=lossy)
            yield Row(source.first, value, source.size, mended)


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
    """Lines as the csv module wants them, and which of them a row took: from number `first` on,
    `size` bytes."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._error: UsageError | None = None
        self._last = 0
        self.first = 0
        self.size = 0

    def begin_row(self) -> None:
        self.first, self.size = self._last + 1, 0

    def span(self) -> str:
        """Words for the lines of a row, where it is more than one."""
        if self._last <= self.first:
            return ""
        return f" (its quotes make one row of lines {self.first} to {self._last})"

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._last, line = next(self._lines)
        if isinstance(line, UsageError):
            self._error, line = line, b""
        self.size += len(line) + 1
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


def _cells(header: list[str], cells: list[str], span: str, *, lossy: bool) -> tuple[Any, bool]:
    """The row as an object, an empty cell saying nothing; and whether something was replaced."""
    if len(cells) != len(header):
        counts = f"{len(cells)} cells, the header {len(header)}"
        return UsageError("bad_item", f"the row has {counts}{span}"), False
    mended = False
    for index, cell in enumerate(cells):
        if not cell.isascii():
            data = cell.encode("utf-8", "surrogateescape")
            try:
                data.decode()
            except UnicodeDecodeError as error:
                if not lossy:
                    return _not_utf8(data[error.start], error.start), False
                cells[index], mended = data.decode("utf-8", "replace"), True
    return {name: cell for name, cell in zip(header, cells, strict=True) if cell}, mended
