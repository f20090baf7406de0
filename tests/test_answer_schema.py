"""Schemas and answers: which match, what is told of those that do not, and what `strict` takes."""

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.answers.strict_subset import why_not_strict, without_annotations
from pipechat.answers.validation import compile_schema, json_pointer
from pipechat.errors import UsageError
from tests.properties import MODEST

A = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    """An object that has `properties`, all of them, and no others: what strict takes."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def field(**keywords: Any) -> dict[str, Any]:
    """An object with one field, `a`, that has `keywords`."""
    return closed(a=keywords)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = A
    for _ in range(levels):
        schema = closed(a=schema)
    return schema


def deep(levels: int, inner: Any) -> Any:
    return {"a": deep(levels - 1, inner)} if levels else inner


TREE = closed(v={"type": "integer"}, kids={"type": "array", "items": {"$ref": "#"}})
DEFS = {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"type": "integer"}}}
# (schema, right answers, (wrong answer, where it departs)…, places that keep it out of strict)
Row = tuple[dict[str, Any], list[Any], list[tuple[Any, str]], list[str]]
TABLE: dict[str, Row] = {
    "closed": (closed(a=A), [{"a": ""}], [({}, ""), ({"a": 1}, "/a"), ({"a": "", "b": 1}, "")], []),
    "integer": (field(type="integer"), [{"a": 1}, {"a": 1.0}], [({"a": 1.5}, "/a")], []),
    "number": (field(type="number"), [{"a": 1.5}], [({"a": "1"}, "/a"), ({"a": True}, "/a")], []),
    "boolean": (field(type="boolean"), [{"a": False}], [({"a": 0}, "/a"), ({"a": None}, "/a")], []),
    "null": (field(type="null"), [{"a": None}], [({"a": 0}, "/a"), ({"a": ""}, "/a")], []),
    "types": (field(type=["string", "null"]), [{"a": None}, {"a": ""}], [({"a": 1}, "/a")], []),
    "enum": (field(type="string", enum=["x", "y"]), [{"a": "y"}], [({"a": "z"}, "/a")], []),
    "const": (field(type="string", const="x"), [{"a": "x"}], [({"a": "y"}, "/a")], []),
    "anyOf": (field(anyOf=[A, {"type": "null"}]), [{"a": None}], [({"a": 1}, "/a")], []),
    "items": (field(type="array", items=A), [{"a": ["x"]}], [({"a": ["x", 2]}, "/a/1")], []),
    "minItems": (field(type="array", items=A, minItems=1), [{"a": ["x"]}], [({"a": []}, "/a")], []),
    "maxItems": (field(type="array", items=A, maxItems=0), [{"a": []}], [({"a": ["x"]}, "/a")], []),
    "minimum": (field(type="number", minimum=2), [{"a": 2}], [({"a": 1}, "/a")], []),
    "maximum": (field(type="number", maximum=2), [{"a": 2}], [({"a": 3}, "/a")], []),
    "exclusives": (
        field(type="number", exclusiveMinimum=1, exclusiveMaximum=2),
        [{"a": 1.5}],
        [({"a": 1}, "/a"), ({"a": 2}, "/a")],
        [],
    ),
    "multipleOf": (field(type="number", multipleOf=0.5), [{"a": 1.5}], [({"a": 0.7}, "/a")], []),
    "pattern": (field(type="string", pattern="^x+$"), [{"a": "xx"}], [({"a": "y"}, "/a")], []),
    "date": (field(type="string", format="date"), [{"a": "2024-02-29"}], [({"a": "x"}, "/a")], []),
    "ipv4": (field(type="string", format="ipv4"), [{"a": "1.2.3.4"}], [({"a": "1.2"}, "/a")], []),
    "$defs": (DEFS, [{"a": 1}], [({"a": "1"}, "/a")], []),
    "recursion": (
        TREE,
        [{"v": 1, "kids": [{"v": 2, "kids": []}]}],
        [({"v": 1, "kids": [{"v": "x", "kids": []}]}, "/kids/0/v")],
        [],
    ),
    "nested 10": (nested(10), [deep(10, "x")], [(deep(10, 1), "/a" * 10)], []),
    "nested 11": (
        nested(11),
        [deep(11, "x")],
        [(deep(11, 1), "/a" * 11)],
        ["/properties/a" * 10],
    ),
    "pointer": (
        closed(**{"a/b~c": A}),
        [{"a/b~c": ""}],
        [({"a/b~c": 1}, "/a~1b~0c")],
        [],
    ),
    "uri": (
        field(type="string", format="uri"),
        [{"a": "http://x/"}],
        [({"a": "x y"}, "/a")],
        ["/properties/a/format"],
    ),
    "minLength": (
        field(type="string", minLength=2),
        [{"a": "é𝄞"}],
        [({"a": "𝄞"}, "/a")],
        ["/properties/a/minLength"],
    ),
    "maxLength": (
        field(type="string", maxLength=1),
        [{"a": "𝄞"}],
        [({"a": "xx"}, "/a")],
        ["/properties/a/maxLength"],
    ),
    "uniqueItems": (
        field(type="array", items={"type": "integer"}, uniqueItems=True),
        [{"a": [1, 2]}],
        [({"a": [1, 1]}, "/a")],
        ["/properties/a/uniqueItems"],
    ),
    "contains": (
        field(type="array", items={}, contains={"const": 1}, minContains=2, maxContains=3),
        [{"a": [1, 0, 1]}],
        [({"a": [1]}, "/a"), ({"a": [1] * 4}, "/a")],
        [
            *("/properties/a/contains", "/properties/a/minContains"),
            *("/properties/a/maxContains", "/properties/a/items"),
        ],
    ),
    "prefixItems": (
        field(type="array", prefixItems=[A, {"type": "integer"}], items=False),
        [{"a": ["x", 1]}],
        [({"a": [1]}, "/a/0"), ({"a": ["x", 1, 2]}, "/a/2")],
        ["/properties/a/prefixItems", "/properties/a/items"],
    ),
    "unevaluatedItems": (
        field(type="array", prefixItems=[A], unevaluatedItems=False),
        [{"a": ["x"]}],
        [({"a": ["x", 1]}, "/a")],
        ["/properties/a/prefixItems", "/properties/a/unevaluatedItems", "/properties/a"],
    ),
    "allOf": (
        {**closed(a=A), "allOf": [{"minProperties": 1}]},
        [{"a": "x"}],
        [({"a": 1}, "/a")],
        ["/allOf"],
    ),
    "oneOf": (
        field(oneOf=[{"minimum": 2}, {"maximum": 3}]),
        [{"a": 1}, {"a": 4}],
        [({"a": 2}, "/a")],
        ["/properties/a/oneOf", "/properties/a"],
    ),
    "not": (
        field(type="integer", **{"not": {"const": 1}}),
        [{"a": 2}],
        [({"a": 1}, "/a")],
        ["/properties/a/not"],
    ),
    "if": (
        {
            **closed(a=A, b=A),
            "if": {"properties": {"a": {"const": "x"}}},
            "then": {"properties": {"b": {"const": "y"}}},
            "else": {"properties": {"b": {"const": "n"}}},
        },
        [{"a": "x", "b": "y"}, {"a": "", "b": "n"}],
        [({"a": "x", "b": "n"}, "/b"), ({"a": "", "b": "y"}, "/b")],
        ["/if", "/then", "/else"],
    ),
    "dependentRequired": (
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        [{}, {"b": 1}, {"a": 1, "b": 1}],
        [({"a": 1}, "")],
        ["/dependentRequired", ""],
    ),
    "dependentSchemas": (
        {"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}},
        [{}, {"a": 1, "b": 1}],
        [({"a": 1}, "")],
        ["/dependentSchemas", ""],
    ),
    "patternProperties": (
        {**closed(), "patternProperties": {"^x": A}},
        [{}, {"xa": ""}],
        [({"xa": 1}, "/xa"), ({"y": ""}, "")],
        ["/patternProperties"],
    ),
    "propertyNames": (
        {"type": "object", "propertyNames": {"maxLength": 2}, "additionalProperties": A},
        [{"ab": ""}],
        [({"abc": ""}, ""), ({"a": 1}, "/a")],
        ["/propertyNames", ""],
    ),
    "minProperties": (
        {"type": "object", "minProperties": 1, "maxProperties": 2},
        [{"a": 1}],
        [({}, ""), ({"a": 1, "b": 2, "c": 3}, "")],
        ["/minProperties", "/maxProperties", ""],
    ),
    "unevaluatedProperties": (
        {"type": "object", "properties": {"a": A}, "unevaluatedProperties": False},
        [{}, {"a": ""}],
        [({"b": 1}, "")],
        ["/unevaluatedProperties", "", "/properties/a"],
    ),
    "optional": (
        {"type": "object", "properties": {"a": A}, "additionalProperties": False},
        [{}, {"a": ""}],
        [({"a": 1}, "/a")],
        ["/properties/a"],
    ),
    "open": (
        {"type": "object", "properties": {"a": A}, "required": ["a"]},
        [{"a": "", "b": 1}],
        [({"b": 1}, "")],
        [""],
    ),
    "$dynamicRef": (
        {"$dynamicAnchor": "n", **closed(v={"type": "array", "items": {"$dynamicRef": "#n"}})},
        [{"v": [{"v": []}]}],
        [({"v": [{"v": 1}]}, "/v/0/v"), ({"v": [1]}, "/v/0")],
        ["/$dynamicAnchor", "/properties/v/items/$dynamicRef", "/properties/v/items"],
    ),
    "$anchor": (
        {**closed(a={"$ref": "#x"}), "$defs": {"x": {"$anchor": "x", "type": "integer"}}},
        [{"a": 1}],
        [({"a": "1"}, "/a")],
        ["/$defs/x/$anchor"],
    ),
    "$ref and more": (
        {**closed(a={"$ref": "#/$defs/x", "maximum": 2}), "$defs": {"x": {"type": "integer"}}},
        [{"a": 2}],
        [({"a": 3}, "/a"), ({"a": "1"}, "/a")],
        ["/properties/a"],
    ),
    "no type": (field(description="any"), [{"a": 1}, {"a": None}], [({}, "")], ["/properties/a"]),
    "true": (closed(a=True), [{"a": []}], [({}, "")], ["/properties/a"]),
    "array on top": ({"type": "array", "items": A}, [["x"]], [([1], "/0"), ({}, "")], ["/type"]),
    "choice on top": (
        {"anyOf": [closed(a=A), closed(b=A)]},
        [{"a": ""}, {"b": ""}],
        [({}, ""), ({"a": "", "b": ""}, "")],
        ["", "/anyOf"],
    ),
    "draft 7": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [A], "type": "array"},
        [["x", 1], []],
        [([1], "/0")],
        ["/type", "/$schema", "/items"],
    ),
}


def test_the_table_has_forty_schemas_and_every_keyword_that_vendors_forbid() -> None:
    assert len(TABLE) >= 40
    keywords = {key for row in TABLE.values() for key in _keywords(row[0])}
    forbidden = "allOf not if then else dependentRequired dependentSchemas patternProperties"
    assert {*forbidden.split(), "propertyNames", "oneOf", "unevaluatedProperties"} <= keywords


def _keywords(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_keywords, schema))
    if isinstance(schema, dict):
        return set(schema).union(*map(_keywords, schema.values()))
    return set()


@pytest.mark.parametrize("name", TABLE)
def test_right_answers_match_and_wrong_ones_are_told_with_their_place(name: str) -> None:
    schema, right, wrong, _ = TABLE[name]
    ready = compile_schema(schema)
    assert [ready.violation(value) for value in right] == [None] * len(right)
    for value, pointer in wrong:
        violation = ready.violation(value)
        assert violation is not None, value
        assert (violation.pointer, "\n" in str(violation)) == (pointer, False), value


@pytest.mark.parametrize("name", sorted(TABLE.keys() - {"date", "ipv4", "uri"}))
def test_another_validator_says_the_same(name: str) -> None:
    schema, right, wrong, _ = TABLE[name]
    other = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)(schema)
    assert all(other.is_valid(value) for value in right)
    assert not any(other.is_valid(value) for value, _ in wrong)


@pytest.mark.parametrize("name", TABLE)
def test_what_keeps_a_schema_out_of_strict_is_told_with_its_place(name: str) -> None:
    schema, _, _, places = TABLE[name]
    reasons = why_not_strict(schema)
    assert [reason.pointer for reason in reasons] == places
    assert all("\n" not in str(reason) for reason in reasons)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (closed(**{f"p{i}": A for i in range(5_001)}), "5001 properties"),
        (field(type="integer", enum=list(range(1_001))), "1001 choices"),
        (field(type="string", enum=["x" * 70 + str(i) for i in range(251)]), "15000 are the most"),
        (closed(**{"x" * 120_001: A}), "120001 characters"),
        (nested(300), "nested more than 200 steps"),
        (field(type="text"), "no type 'text'"),
        (field(type="array"), "must have `items`"),
        (closed(a={"$ref": "other.json"}), "not in the schema"),
    ],
)
def test_the_limits_of_strict_are_told(schema: dict[str, Any], said: str) -> None:
    assert said in " ".join(map(str, why_not_strict(schema)))


def test_the_limits_of_strict_themselves_are_allowed() -> None:
    assert why_not_strict(closed(**{f"p{i}": A for i in range(5_000)})) == []
    assert why_not_strict(field(type="integer", enum=list(range(1_000)))) == []


def test_annotations_are_taken_off_and_fields_of_their_names_are_not() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "x",
        "title": "T",
        **closed(default={"type": "string", "default": "x"}, examples=A),
        "$defs": {"readOnly": {"anyOf": [{**A, "readOnly": True}], "examples": [1]}},
    }
    bare = without_annotations(schema)
    assert bare == {
        "title": "T",
        **closed(default=A, examples=A),
        "$defs": {"readOnly": {"anyOf": [A]}},
    }
    assert why_not_strict(schema) != []
    assert why_not_strict(bare) == []


@pytest.mark.parametrize("name", sorted(TABLE.keys() - {"draft 7"}))
def test_without_annotations_the_same_answers_match(name: str) -> None:
    schema, right, wrong, _ = TABLE[name]
    ready = compile_schema(without_annotations({**schema, "$comment": "c", "examples": [1]}))
    assert all(ready.violation(value) is None for value in right)
    assert all(ready.violation(value) is not None for value, _ in wrong)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "objekt"}, "/type"),
        ({"type": 5}, "/type"),
        ({"properties": {"a": {"minimum": "x"}}}, "/properties/a/minimum"),
        ({"properties": {"a/b": 7}}, "/properties/a~1b"),
        ({"required": "a"}, "/required"),
        ({"pattern": "("}, "/pattern"),
        ({"items": [{}]}, "/items"),
        ({"$ref": "#/$defs/none"}, "/$defs/none"),
    ],
)
def test_a_schema_that_is_none_is_a_usage_error_with_its_place(
    schema: dict[str, Any], place: str
) -> None:
    with pytest.raises(UsageError) as caught:
        compile_schema(schema)
    assert caught.value.code == "bad_schema"
    assert place in caught.value.message
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    "make",
    [
        lambda base: {"$ref": base},
        lambda _: {"$ref": "file:///etc/hostname"},
        lambda _: {"$ref": "other.json"},
        lambda base: {"properties": {"a": {"$ref": f"{base}#/x"}}},
        lambda base: {"$id": base, "$ref": "y"},
        lambda base: {"$dynamicRef": base},
        lambda base: {"$schema": base, "type": "object"},
    ],
)
def test_nothing_is_fetched_for_a_schema(make: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        with pytest.raises(UsageError) as caught:
            compile_schema(make(f"http://127.0.0.1:{server.getsockname()[1]}/x"))
        with pytest.raises(BlockingIOError):
            server.accept()
    assert caught.value.code == "bad_schema"


def test_what_is_told_of_a_violation_is_bounded_however_long_the_answer() -> None:
    violation = compile_schema(field(type="integer")).violation({"a": "x\x1b\n" * 100_000})
    assert violation is not None
    assert len(violation.message) < 400
    assert violation.message.isprintable()
    assert "integer" in violation.message


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        (' \n{"a": 1.0}\n', {"a": 1.0}),
        ('{"a": 9, "b": "\\ud83d\\ude42"}', {"a": 9, "b": "🙂"}),
        ('{"a": 1, "b": "\\ud800"}', {"a": 1, "b": "\ufffd"}),
        ('{"a": 1, "b": "\ud800"}', {"a": 1, "b": "\ufffd"}),
    ],
)
def test_an_answer_that_matches_is_its_value(answer: str, value: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    found, violation = compile_schema(schema).judge(answer)
    assert violation is None
    assert found == value


@pytest.mark.parametrize(
    "answer",
    ["", " ", "text", '{"a": 1', '{"a": 1} and more', "```json\n{}\n```", "NaN", "[" * 100_000],
)
def test_an_answer_that_is_no_json_is_told_so(answer: str) -> None:
    value, violation = compile_schema({}).judge(answer)
    assert value is None
    assert violation is not None
    assert str(violation).startswith("the answer: it is no JSON")


def test_whatever_value_it_is_validating_ends_in_a_verdict() -> None:
    ready = compile_schema({"type": "array", "items": {"$ref": "#"}})
    for value in ("\ud800", {"\ud800": 1}, [2**70], float("nan")):
        assert ready.violation(value) is not None


def test_a_pattern_that_would_backtrack_for_ever_ends() -> None:
    ready = compile_schema({"pattern": "^(?=a)(a|aa)+\\1b$"})
    ready.violation("a" * 5_000)


@MODEST
@given(st.lists(st.text(max_size=4) | st.integers(0, 9), max_size=4))
def test_a_json_pointer_leads_back_to_its_path(path: list[str | int]) -> None:
    steps = json_pointer(path).split("/")[1:]
    assert [step.replace("~1", "/").replace("~0", "~") for step in steps] == [*map(str, path)]


@MODEST
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["string", "#", "x"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *("type", "properties", "items", "anyOf", "enum", "required", "$defs"),
                        *("$ref", "definitions", "const", "format", "a"),
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=6,
    ).filter(lambda value: isinstance(value, dict))
)
def test_whatever_is_a_schema_can_be_judged(schema: Any) -> None:
    try:
        ready = compile_schema(schema)
    except UsageError:
        return
    ready.violation(json.loads("{}"))
    why_not_strict(schema)
    without_annotations(schema)


@pytest.mark.parametrize(
    ("module", "call", "extra"),
    [
        ("jsonschema_rs", "from pipechat.answers.validation import compile_schema as f", "schema"),
        ("jinja2", "from pipechat.turn.template import compile_template as f", "template"),
    ],
)
def test_a_missing_extra_is_told_with_the_line_that_installs_it(
    module: str, call: str, extra: str
) -> None:
    script = (
        f"import sys; sys.modules[{module!r}] = None\n{call}\n"
        "from pipechat.errors import UsageError\n"
        "try: f('' if 'template' in f.__name__ else {})\n"
        "except UsageError as e: print(int(e.exit_code), e.line())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("2 pipechat: missing_extra: ")
    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    (requirement,) = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"][extra]
    assert f"pip --python {sys.executable} install '{requirement}'" in done.stdout
