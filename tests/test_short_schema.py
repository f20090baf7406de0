"""The short form of a schema: what it says is what the schema validates."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.answers.schema import read_schema
from pipechat.answers.short_schema import parse_short_schema
from pipechat.answers.strict_subset import why_not_strict
from pipechat.answers.validation import compile_schema
from pipechat.errors import UsageError
from tests.properties import MODEST


def of(text: str) -> dict[str, Any]:
    """The properties that the short form `text` says, each of them required and no other."""
    schema = parse_short_schema(text)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])
    properties: dict[str, Any] = schema["properties"]
    return properties


STR = {"type": "string"}


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("name", {"name": STR}),
        ("  name  ", {"name": STR}),
        ("name str,age int", {"name": STR, "age": {"type": "integer"}}),
        ("a num, b float", {"a": {"type": "number"}, "b": {"type": "number"}}),
        ("a bool", {"a": {"type": "boolean"}}),
        ("a date", {"a": {"type": "string", "format": "date"}}),
        ("a time", {"a": {"type": "string", "format": "time"}}),
        ("a datetime", {"a": {"type": "string", "format": "date-time"}}),
        ("tags [str]", {"tags": {"type": "array", "items": STR}}),
        ("tags []", {"tags": {"type": "array", "items": STR}}),
        ("m [[int]]", {"m": {"type": "array", "items": of("a [int]")["a"]}}),
        ("note str?", {"note": {"type": ["string", "null"]}}),
        ("note?", {"note": {"type": ["string", "null"]}}),
        ("a [int?]", {"a": {"type": "array", "items": {"type": ["integer", "null"]}}}),
        ("a [int]?", {"a": {"anyOf": [of("a [int]")["a"], {"type": "null"}]}}),
        ("a {b int}", {"a": parse_short_schema("b int")}),
        ("a {b int}?", {"a": {"anyOf": [parse_short_schema("b int"), {"type": "null"}]}}),
        ("a low|high", {"a": {"type": "string", "enum": ["low", "high"]}}),
        ("a low | high ?", {"a": {"type": ["string", "null"], "enum": ["low", "high", None]}}),
        ("a 1|2.5|-3", {"a": {"type": "number", "enum": [1, 2.5, -3]}}),
        ("a 1|x", {"a": {"type": ["number", "string"], "enum": [1, "x"]}}),
        ('a "1"|"in part"', {"a": {"type": "string", "enum": ["1", "in part"]}}),
        ('a "invoice"', {"a": {"type": "string", "enum": ["invoice"]}}),
        ("a x|x", {"a": {"type": "string", "enum": ["x"]}}),
        ("a: the first one , b", {"a": {**STR, "description": "the first one"}, "b": STR}),
        ('a int: "1, 2 or 3"', {"a": {"type": "integer", "description": "1, 2 or 3"}}),
        ('"größe in cm" num', {"größe in cm": {"type": "number"}}),
        ("größe num", {"größe": {"type": "number"}}),
        ("int int", {"int": {"type": "integer"}}),
        ("a\nint,\n\tb", {"a": {"type": "integer"}, "b": STR}),
    ],
)
def test_each_rule_of_the_short_form(text: str, properties: dict[str, Any]) -> None:
    assert of(text) == properties


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("", 1, "the name of a field"),
        ("a,", 3, "the name of a field"),
        ("a,,b", 3, "the name of a field"),
        ("1a", 1, "the name of a field"),
        ("a strin", 3, "a type"),
        ("a int, b strng", 10, "a type"),
        ("a int b", 7, "a comma or the end"),
        ("a [int", 7, "`]`"),
        ("a {b int", 9, "`}`"),
        ("a {}", 4, "the name of a field"),
        ("a int, a", 8, "`a` is said twice"),
        ("a x|", 5, "one more choice"),
        ("a x|[int]", 5, "one more choice"),
        ("a:", 3, "a description"),
        ("a: b: c", 5, "a comma or the end"),
        ('a "x', 3, "a comma or the end"),
        (r'"\q" int', 1, "a JSON string"),
        ("a" + "[" * 60, 53, "no more than 50 levels"),
        ("name)", 5, "a comma or the end"),
    ],
)
def test_a_slip_is_told_with_its_place(text: str, at: int, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_short_schema(text)
    assert caught.value.code == "bad_schema"
    assert f"at character {at}: {expected}" in caught.value.message
    assert "\n" not in caught.value.line()


# A type of the short form, as (its text, values that match it, values that do not).
Case = tuple[str, st.SearchStrategy[Any], st.SearchStrategy[Any]]
SCALARS: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    "str": (st.text(max_size=5), st.integers() | st.none() | st.lists(st.text(), max_size=1)),
    "int": (st.integers(-9, 9), st.text(max_size=2) | st.just(0.5) | st.booleans()),
    "num": (st.integers(-9, 9) | st.just(0.5), st.text(max_size=2) | st.booleans()),
    "bool": (st.booleans(), st.integers(0, 1) | st.just("true")),
    "date": (st.dates().map(str), st.just("31.12.1999") | st.integers(0, 9)),
    "low|high|7": (st.sampled_from(["low", "high", 7]), st.sampled_from(["Low", "7", 8, None])),
}


@st.composite
def types(draw: st.DrawFn, depth: int = 2) -> Case:
    kind = draw(st.sampled_from(["scalar", "array", "object", "null"] if depth else ["scalar"]))
    if kind == "scalar":
        text = draw(st.sampled_from(sorted(SCALARS)))
        return text, SCALARS[text][0], SCALARS[text][1]
    if kind == "array":
        text, right, wrong = draw(types(depth - 1))
        one_wrong = wrong.map(lambda value: [value])
        return f"[{text}]", st.lists(right, max_size=3), one_wrong | st.just("[]")
    if kind == "object":
        text, right, wrong = draw(objects(depth - 1))
        return f"{{{text}}}", right, wrong
    text, right, wrong = draw(types(depth - 1))
    not_null = wrong.filter(lambda value: value is not None)
    return f"{text.removesuffix('?')}?", st.none() | right, not_null


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> Case:
    names = draw(
        st.lists(st.sampled_from(["a", "b_1", "c-d", "e f", "é"]), min_size=1, unique=True)
    )
    cases = {name: draw(types(depth)) for name in names}
    text = ", ".join(
        f"{json.dumps(name) if ' ' in name else name} {case[0]}" for name, case in cases.items()
    )
    right = st.fixed_dictionaries({name: case[1] for name, case in cases.items()})
    broken = draw(st.sampled_from(names))
    others = {name: case[1] for name, case in cases.items()}
    wrong = st.fixed_dictionaries({**others, broken: cases[broken][2]})
    missing = right.map(lambda value: {key: value[key] for key in value if key != broken})
    more = right.map(lambda value: {**value, "more": 1})
    return text, right, wrong | missing | more | st.none() | st.just([])


@MODEST
@given(st.data(), objects())
def test_what_the_short_form_says_is_what_the_schema_validates(
    data: st.DataObject, case: Case
) -> None:
    text, right, wrong = case
    schema = compile_schema(parse_short_schema(text))
    assert schema.violation(data.draw(right)) is None
    assert schema.violation(data.draw(wrong)) is not None


@MODEST
@given(objects())
def test_the_short_form_is_always_in_the_strict_subset(case: Case) -> None:
    assert why_not_strict(parse_short_schema(case[0])) == []


@MODEST
@given(st.text(st.sampled_from('ab1 ,:?|[]{}"\\-.\n'), max_size=20))
def test_any_text_is_a_schema_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        compile_schema(parse_short_schema(text))


def no_file(path: str) -> bytes:
    raise AssertionError(f"{path} is read")


FILES = {
    "s.json": b'{"type": "object"}',
    "my schema.json": b'\xef\xbb\xbf{"type": "object"}',
    "dir/s": b'{"type": "object"}',
    "/abs/short": b"name, age int\n",
    "with-at": b"name, age int\n",
}


@pytest.mark.parametrize("text", ["s.json", "my schema.json", "dir/s", "@s.json", " s.json "])
def test_a_path_is_read_as_a_file(text: str) -> None:
    assert read_schema(text, lambda path: FILES[path]) == {"type": "object"}


@pytest.mark.parametrize("text", ["/abs/short", "@with-at", "@/abs/short"])
def test_a_file_may_hold_the_short_form(text: str) -> None:
    assert read_schema(text, lambda path: FILES[path]) == parse_short_schema("name, age int")


@pytest.mark.parametrize("text", ['{"type": "object"}', ' {\n"type" : "object" } '])
def test_an_object_is_read_as_json(text: str) -> None:
    assert read_schema(text, no_file) == {"type": "object"}


def test_an_empty_object_is_the_schema_of_anything() -> None:
    assert read_schema("{}", no_file) == {}


@pytest.mark.parametrize("text", ["name", "when date: as yyyy/mm/dd", "file: see x.json"])
def test_what_is_neither_is_the_short_form(text: str) -> None:
    assert read_schema(text, no_file)["type"] == "object"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type": }', "line 1 column 10"),
        ('{"type": "object"', "no JSON"),
        ('[{"type": "object"}]', "an array"),
        ('{"minimum": NaN}', "no JSON"),
        ("{'type': 'object'}", "line 1 column 2"),
        ("{name, age int}", "line 1 column 2"),
    ],
)
def test_json_that_is_no_object_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_schema(text, no_file)
    assert caught.value.code == "bad_schema"


@pytest.mark.parametrize("data", [b"", b"7", b"true", b'"s"', b"[]", b"{", b"\xff", b"{'a': 1}"])
def test_a_file_that_holds_no_schema_is_a_usage_error_that_names_it(data: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        read_schema("x/y.json", lambda _: data)
    assert "x/y.json" in caught.value.message
