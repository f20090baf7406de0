"""What the beginning of an input tells of it: whether it is text at all, an item a line, and what
parts the cells of a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pipechat.errors import UsageError

_MOST_OF_HEAD = 1 << 16

_KINDS = (
    (b"PK\x03\x04", "a workbook or another archive", "Save it as CSV, in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "a workbook of the old kind", "Save it as CSV, in UTF-8"),
    (b"\x1f\x8b", "compressed (gzip)", "Unpack it first: gzip -dc"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "Unpack it first: zstd -dc"),
    (b"\xfd7zXZ", "compressed (xz)", "Unpack it first: xz -dc"),
    (b"%PDF-", "a PDF", "Give an item a line"),
    (b"PAR1", "a Parquet file", "Write it as NDJSON or CSV"),
    (b"SQLite format 3", "a database", "Write it as NDJSON or CSV"),
)
_UTF16 = ("UTF-16", "Convert it: iconv -f UTF-16 -t UTF-8")
_CR_WITHIN = re.compile(rb"\r[^\n]")
_QUOTED = re.compile(rb'"[^"]*("|$)')


def checked_head(blocks: Iterable[bytes], name: str, *, is_items: bool) -> Iterator[bytes]:
    """`blocks` as they are, once their beginning has been looked at.

    Args:
        name: what messages call the input.
        is_items: it is a file whose lines are to be JSON, so that its first line is all there.

    Raises:
        UsageError: `unreadable_input`: it is of another kind, and no line of it can be an item.
    """
    rest = iter(blocks)
    first = next(rest, b"")
    while first in (b"\xff", b"\xfe") and (more := next(rest, b"")):
        first += more
    found = _other_kind(first)
    if found is None and is_items:
        found = _other_json(first)
    if found is not None:
        what, hint = found
        raise UsageError("unreadable_input", f"{name}: it is {what}", hint + ".")
    yield first
    yield from rest


def with_newlines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """`blocks`, where the first has lines that end with CR alone, as old spreadsheets write
    them, with LF in its place; offsets stay what they were."""
    old: bool | None = None
    for block in blocks:
        if old is None and block:
            old = b"\n" not in block and _CR_WITHIN.search(block) is not None
        yield block.replace(b"\r", b"\n") if old else block


def _other_kind(head: bytes) -> tuple[str, str] | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:2]:
        return _UTF16
    return next(((what, hint) for magic, what, hint in _KINDS if head.startswith(magic)), None)


def _other_json(head: bytes) -> tuple[str, str] | None:
    line = head[:_MOST_OF_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0].strip()
    if line.startswith(b"["):
        return "one JSON array, and not an item a line", "Write it so: jq -c '.[]'"
    if line == b"{":
        return "JSON over several lines, and not an item a line", "Write it so: jq -c ."
    return None


def delimiter_of(header: bytes) -> str:
    """What parts the cells of a table called CSV: spreadsheets of many languages write `;`."""
    bare = _QUOTED.sub(b"", header)
    if b"," in bare:
        return ","
    return next((each for each in (";", "\t") if each.encode() in bare), ",")
