"""What `jsonl` promises: any JSON value comes back, and any file reads the same from both ends."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipechat import jsonl

INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS
WHOLE_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ANY_TEXT = st.text(st.characters())


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        SCALARS | text,
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
        max_leaves=20,
    )


@contextmanager
def file_of(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


@given(values(WHOLE_TEXT))
def test_what_is_dumped_is_loaded_again(value: Any) -> None:
    assert jsonl.loads(jsonl.dumps(value)) == value
    assert jsonl.loads_line(jsonl.dumps(value)) == value


@given(values(ANY_TEXT))
@example({"\ud800": ["\udfff", "\ud83d\ude00", 2**70, (1, 2.5)]})
@example({"": 6.103515625e-05, "\ud800": None})
def test_any_value_is_one_line_of_utf8(value: Any) -> None:
    line = jsonl.dumps(value)
    assert b"\n" not in line
    again = jsonl.dumps(jsonl.loads(line.decode()))  # a float may be spelled in two ways
    assert jsonl.loads(again) == jsonl.loads(line)


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert jsonl.loads(jsonl.dumps("a\ud83db")) == "a\ufffdb"
    assert jsonl.loads(jsonl.dumps("\ud83d\ude00")) == "😀"


def test_a_lone_surrogate_escape_is_kept_by_loads_and_replaced_by_loads_line() -> None:
    assert jsonl.loads(b'["\\ud83d", 1]') == ["\ud83d", 1]
    assert jsonl.loads('"\\ude00"') == "\ude00"
    assert jsonl.loads_line(b'["\\ud83d", 1.5, null, {"a": 1}]') == ["\ufffd", 1.5, None, {"a": 1}]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert jsonl.loads(b'{"a":"x\xff"}') == {"a": "x\ufffd"}


def test_integers_beyond_64_bits_are_written_to_the_digit_and_read_as_the_nearest_float() -> None:
    assert jsonl.dumps({"n": 10**40}) == b'{"n":1' + b"0" * 40 + b"}"
    assert jsonl.loads(jsonl.dumps({"n": 10**40})) == {"n": 1e40}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_become_null(number: float) -> None:
    assert jsonl.dumps([number]) == b"[null]"
    assert jsonl.dumps([number, "\ud800"]) == '[null,"\ufffd"]'.encode()


@pytest.mark.parametrize(
    "number",
    [2**64, -(2**63) - 1, 10**30, -(10**3999), 2**64 - 1, 0],
    ids=["2**64", "-(2**63) - 1", "10**30", "-(10**3999)", "2**64 - 1", "0"],
)
def test_integers_are_read_to_the_digit_where_that_is_asked_for(number: int) -> None:
    for data in (f'{{"n": [{number}], "s": "\\ud800"}}', f'{{"n": [{number}]}}'):
        assert jsonl.loads(data, to_the_digit=True)["n"] == [number]
        assert type(jsonl.loads(data, to_the_digit=True)["n"][0]) is int
        assert jsonl.loads_line(data.encode(), to_the_digit=True)["n"] == [number]


def test_an_integer_that_nobody_can_read_to_the_digit_is_a_value_error() -> None:
    for digits in ("1" * 4001, "-" + "1" * 5000):
        with pytest.raises(ValueError, match="4,000 digits"):
            jsonl.loads_line(digits.encode(), to_the_digit=True)


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "[Infinity]", "-Infinity", "", " ", "{", '{"a":1', "\x00\x00", "[1,]", "'a'"),
        *("\ufeff1", "[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 5000 + "}" * 5000),
    ],
)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    for load, data in ((jsonl.loads, text), (jsonl.loads, text.encode())):
        with pytest.raises(ValueError, match=r".+"):
            load(data)
    with pytest.raises(ValueError, match=r".+"):
        jsonl.loads_line(text.encode())


@given(st.binary())
def test_any_bytes_are_loaded_or_a_value_error(data: bytes) -> None:
    try:
        value = jsonl.loads(data)
    except ValueError:
        return
    jsonl.dumps(value)


def test_what_is_nested_too_deeply_to_be_written_becomes_null() -> None:
    deep = jsonl.loads("[" * 900 + "]" * 900)
    assert jsonl.dumps(deep) == b"[" * 250 + b"null" + b"]" * 250


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, {3: "\ud800"}, b"bytes"])
def test_what_has_no_json_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        jsonl.dumps(value)


def lines_of(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


CONTENT = st.lists(
    st.sampled_from([b"\n", b"a", b"bc", b"\x00", b"\r\n", b"\xe2\x80\xa8", b"{}\n"])
    | st.binary(max_size=30),
    max_size=40,
).map(b"".join)


@given(CONTENT, st.integers(1, 12))
@example(b"\n", 1)
@example(b"\n\n", 1)
@example(b"a", 1)
def test_reading_backwards_is_reading_forwards_reversed(content: bytes, block: int) -> None:
    with file_of(content) as fd:
        forwards = [line for _, line in jsonl.lines_forwards(fd, block=block)]
        backwards = list(jsonl.lines_backwards(fd, first_block=block))
        count = jsonl.count_lines(fd, len(content))
    assert forwards == lines_of(content)
    assert [line for _, line in reversed(backwards)] == forwards
    assert all(content[offset:].startswith(line) for offset, line in backwards)
    assert count == len(forwards)


@given(CONTENT, st.data())
def test_what_stands_behind_the_size_is_not_read(content: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(content)))
    with file_of(content) as fd:
        assert [line for _, line in jsonl.lines_forwards(fd, size)] == lines_of(content[:size])
        backwards = [line for _, line in jsonl.lines_backwards(fd, size)]
        assert backwards[::-1] == lines_of(content[:size])


def test_short_reads_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    with file_of(b"first\nsecond\nthird") as fd:
        assert [line for _, line in jsonl.lines_backwards(fd)] == [b"third", b"second", b"first"]
        assert [line for _, line in jsonl.lines_forwards(fd)] == [b"first", b"second", b"third"]


def test_lines_of_many_megabytes_are_read_from_both_ends() -> None:
    big = b"x" * 20_000_000
    with file_of(b"a\n" + big + b"\nb\n") as fd:
        assert [line for _, line in jsonl.lines_backwards(fd)] == [b"b", big, b"a"]
        assert list(jsonl.lines_forwards(fd)) == [(1, b"a"), (2, big), (3, b"b")]


def test_no_more_is_read_backwards_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = os.pread

    def counting(fd: int, size: int, at: int) -> bytes:
        read.append(size)
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", counting)
    with file_of((b"x" * 999 + b"\n") * 10_000) as fd:
        lines = jsonl.lines_backwards(fd)
        for _ in range(100):
            next(lines)
    assert sum(read) <= 3 * 100_000
