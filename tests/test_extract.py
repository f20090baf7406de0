"""--extract: what is taken out of an answer stood in it, whole, or nothing is taken."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.answers.extract import first_code_block, first_json
from tests.properties import MODEST

# What answers are made of, where fences and brackets meet text.
PIECES = st.sampled_from(
    [
        *("```", "````", "~~~", "`", "\n", "\r\n", "\r", " ", "    ", "\t", "- ", "1. ", "> "),
        *("sh", "{", "}", "[", "]", '"', ":", ",", "1", "null", '{"a": 1}', "\\", "é", "\u2028"),
    ]
)
answers = st.lists(PIECES, max_size=30).map("".join)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```\nls\n```\n", "ls\n"),
        ("```\nls\n```", "ls\n"),
        ("Here:\n\n```sh\nls\npwd\n```\nand\n```\nno\n```\n", "ls\npwd\n"),
        ("~~~ python title=x\na\n~~~\n", "a\n"),
        ("~~~ a ` b\na\n~~~\n", "a\n"),
        ("````\n```\na\n```\n````\n", "```\na\n```\n"),
        ("```\n~~~\n```\n", "~~~\n"),
        ("```\na\n`````   \t\n", "a\n"),
        ("```\n``` sh\n```\n", "``` sh\n"),
        ("```\n```\n", ""),
        ("```\n\n```\n", "\n"),
        ("  ```\n  a\n    b\n c\n  ```\n", "a\n  b\nc\n"),
        ("```\r\na\r\n```\r\n", "a\r\n"),
        ("```\ra\r```", "a\r"),
        ("```\na\u2028```\u2028b\n```\n", "a\u2028```\u2028b\n"),
        ("1. Do\n   ```sh\n   ls\n     x\n   ```\n", "ls\n  x\n"),
        ("- a\n  - b\n\n    ```\n    ls\n    ```\n", "ls\n"),
        ("- ```\n  ls\n  ```\n", "ls\n"),
        ("\t- x\n\t  ```\n\t  ls\n\t  ```\n", "ls\n"),
        ("a ``` b\n```\nx\n```\n", "x\n"),
        ("``` a`b\n\n```\nx\n```", "x\n"),
        ("    ```\n    no\n    ```\n\n```\nyes\n```\n", "yes\n"),
    ],
)
def test_the_first_fenced_block_is_taken(answer: str, code: str) -> None:
    assert first_code_block(answer) == code


@pytest.mark.parametrize(
    "answer",
    [
        *("", "no code", "`a`", "``\na\n``", "```\nunclosed", "```\na\n``", "```\na\n~~~\n"),
        *("````\na\n```\n", "```\na\n```x\n", "    ```\n    a\n    ```\n", "text ```\na\n"),
        *("- a\n\ntext\n\n     ```\n     a\n     ```\n", "``` x ``` \n"),
    ],
)
def test_where_no_block_is_closed_there_is_none(answer: str) -> None:
    assert first_code_block(answer) is None


@MODEST
@given(answers)
def test_no_line_of_the_code_was_not_in_the_answer(answer: str) -> None:
    code = first_code_block(answer)
    if code is None:
        return
    rest = iter(answer.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    for line in code.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        assert any(other.endswith(line) and not other.removesuffix(line).strip() for other in rest)


@MODEST
@given(st.text(), st.sampled_from(["```", "~~~~", "`````"]), st.sampled_from(["", "py", " a b"]))
def test_what_was_fenced_comes_back_to_the_character(text: str, fence: str, info: str) -> None:
    if fence[:3] in text:
        return
    assert first_code_block(f"so:\n{fence}{info}\n{text}\n{fence}\nend") == f"{text}\n"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (' \n{"a": 1}\n', '{"a": 1}'),
        ("7", "7"),
        (' "s" ', '"s"'),
        ("null\n", "null"),
        ('Here: {"a": [1, {"b": "}"}]} and [2]', '{"a": [1, {"b": "}"}]}'),
        ('```json\n{\n  "a": 1\n}\n```', '{\n  "a": 1\n}'),
        ("use {braces} or [1, 2]", "[1, 2]"),
        ("{bad} {'a': 1} {\"a\": 1}", '{"a": 1}'),
        ('{"a": 1} {"a": 2}', '{"a": 1}'),
        ('{"cut": [1, 2], "x', "[1, 2]"),
        ('{"a": NaN} {"a": 1e5}', '{"a": 1e5}'),
        ("[] {}", "[]"),
        ('{"é": "\\u00e9"}!', '{"é": "\\u00e9"}'),
        ('say "{" then [3]', "[3]"),
    ],
)
def test_the_first_json_value_is_taken(answer: str, found: str) -> None:
    assert first_json(answer) == found


@pytest.mark.parametrize(
    "answer",
    [
        *("", " ", "text", "7 of 9", "true enough", "{", '{"a": 1', "[1, 2", "{a: 1}", "[NaN]"),
        *("[1,]", "'x'", '{"a": 1,}', "[" * 100_000, '{"a":' * 100_000, "[" + "1," * 500_000),
    ],
)
def test_what_is_no_whole_json_is_none(answer: str) -> None:
    assert first_json(answer) is None


@MODEST
@given(answers)
def test_json_that_is_taken_stood_in_the_answer_and_parses(answer: str) -> None:
    found = first_json(answer)
    if found is not None:
        assert found in answer
        json.loads(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@MODEST
@given(
    st.text(st.characters(exclude_characters="[{")),
    JSON.filter(lambda value: isinstance(value, dict | list)),
    st.sampled_from(["", "\n", " x", "]", "}", "{", "`"]),
)
def test_a_value_between_words_comes_back_whole(before: str, value: Any, after: str) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert first_json(f"{before}{text}{after}") == text


def test_an_answer_full_of_brackets_takes_bounded_time() -> None:
    assert first_json("[1, " * 900 + "1, " * 1_000_000) is None
