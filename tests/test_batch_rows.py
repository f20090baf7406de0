"""A batch's input as rows, however it is cut, whatever it holds."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.batch.rows import InputFormat, format_of_name, read_rows
from pipechat.errors import UsageError
from tests.properties import MODEST

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def cut_at(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def values(
    data: bytes, input_format: InputFormat, *, size: int = 7, longest: int = 1000
) -> list[Any]:
    return [row.value for row in read_rows(cut_at(data, size), input_format, longest=longest)]


@MODEST
@given(
    rows=st.lists(st.tuples(cells, cells).filter(any), max_size=5),
    size=st.integers(1, 50),
    comma=st.booleans(),
)
def test_a_table_comes_back_whatever_its_cells_hold(
    rows: list[tuple[str, str]], size: int, comma: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="," if comma else "\t")
    writer.writerow(("a", "b"))
    writer.writerows(rows)
    found = values(text.getvalue().encode(), "csv" if comma else "tsv", size=size)
    expected = [{k: v for k, v in zip("ab", row, strict=True) if v} for row in rows]
    assert [_plain(row) for row in found] == [_plain(row) for row in expected]


def _plain(row: dict[str, str]) -> dict[str, str]:
    """Newlines in a cell are newlines, whichever of the three they were."""
    return {k: v.replace("\r\n", "\n").replace("\r", "\n") for k, v in row.items()}


@MODEST
@given(st.lists(st.dictionaries(cells, cells, max_size=4), max_size=5), st.integers(1, 50))
def test_lines_of_json_come_back_however_they_are_cut(
    rows: list[dict[str, str]], size: int
) -> None:
    data = "\n".join(json.dumps(row) for row in rows).encode()
    assert values(data, "ndjson", size=size) == rows


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (b"{}\n{}\n", [1, 2]),
        (b"\n\n{}\n \t\n{}", [3, 5]),
        (b"{}\nbad\n{}", [1, 2, 3]),
        (b"{}\n" + b"x" * 2000 + b"\n{}", [1, 2, 3]),
        (b"", []),
    ],
)
def test_rows_are_numbered_by_their_lines(data: bytes, numbers: list[int]) -> None:
    rows = read_rows(cut_at(data, 64), "ndjson", longest=1000)
    assert [row.number for row in rows] == numbers


@pytest.mark.parametrize("input_format", ["ndjson", "csv", "tsv", "lines"])
@pytest.mark.parametrize(
    ("line", "code"), [(b"x" * 2000, "bad_item"), (b'{"question":"\xff"}', "not_utf8")]
)
def test_a_line_that_cannot_be_read_is_an_error_in_its_place(
    input_format: InputFormat, line: bytes, code: str
) -> None:
    good = {"ndjson": b'{"question":"q"}', "csv": b"q", "tsv": b"q", "lines": b"q"}[input_format]
    table = input_format in ("csv", "tsv")
    # A quote begins a cell of a table only at its beginning.
    bad = b"\xff" if table and code == "not_utf8" else line
    data = b"\n".join((*((b"question",) if table else ()), good, bad, good))
    found = values(data, input_format)
    assert found[0] == found[2] == {"question": "q"}
    assert isinstance(found[1], UsageError)
    assert found[1].code == code


def test_a_row_with_too_few_or_too_many_cells_is_no_row() -> None:
    found = values(b'a,b\n1\n1,2\n1,2,3\n"1\n', "csv")
    assert found[1] == {"a": "1", "b": "2"}
    assert [isinstance(each, UsageError) for each in found] == [True, False, True, True]


def test_no_more_is_read_than_the_rows_that_are_taken_ask_for() -> None:
    taken = []

    def blocks() -> Iterator[bytes]:
        for n in range(1000):
            taken.append(n)
            yield b'{"question":"q"}\n'

    rows = read_rows(blocks(), "ndjson", longest=100)
    for _ in range(10):
        next(rows)
    assert len(taken) <= 11


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("A.TSV", "tsv"),
        ("a.b.txt", "lines"),
        ("a.jsonl", "ndjson"),
        ("-", "ndjson"),
    ],
)
def test_a_name_tells_the_format(name: str, expected: str) -> None:
    assert format_of_name(name) == expected


@pytest.mark.parametrize(
    ("data", "first", "last"),
    [
        (b'a,b\n1,x\n2,"y\n3,z\n4,w\n', 3, 5),  # to the end
        (b'a,b\n1,"y\n2,z\n3,"w"\n4,v\n', 2, 4),  # to the next quote
        (b'a,b\n1,"x\ny",z\n2,w\n', 2, 3),  # a cell too many
        (b'a,b\n1,"' + b"x" * 600 + b"\n" + b"y" * 600 + b"\n2,w\n", 2, 3),  # too long a cell
    ],
)
def test_rows_that_a_stray_quote_makes_one_are_named(data: bytes, first: int, last: int) -> None:
    rows = list(read_rows(cut_at(data, 7), "csv", longest=1000))
    [bad] = [row for row in rows if isinstance(row.value, UsageError)]
    assert bad.number == first
    assert f"lines {first} to {last}" in bad.value.message


def test_a_row_that_is_wrong_by_itself_names_no_other_line() -> None:
    rows = list(read_rows([b"a,b\n1,2,3\n"], "csv", longest=1000))
    assert "lines" not in rows[0].value.message


@pytest.mark.parametrize(
    ("input_format", "data", "sizes"),
    [
        ("ndjson", b'{"a":1}\n\n{"a":22}\n', [7, 8]),
        ("lines", b"abc\nde\n", [3, 2]),
        ("csv", b'a,b\n1,2\n"3\n4",5\n', [4, 8]),
        ("tsv", b"a\tb\n1\t2", [4]),
    ],
)
def test_a_row_knows_how_long_its_lines_are(
    input_format: InputFormat, data: bytes, sizes: list[int]
) -> None:
    rows = read_rows(cut_at(data, 3), input_format, longest=1000)
    assert [row.size for row in rows] == sizes
