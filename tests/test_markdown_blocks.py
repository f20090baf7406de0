"""Markdown cut into blocks while it streams: nothing is lost, and no cut of the network matters."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.show.markdown_blocks import LARGEST, Block, BlockSplitter
from tests.calls import calls_in
from tests.properties import MODEST, cut_points

LINES = [
    "words", "more words", "", "  ", "# heading", "#hash", "- item", "* item", "  - nested",
    "1. one", "2) two", "10. ten", "    code", "  deeper", "```", "```py", "~~~", "  ```",
    "   ~~~~", "---", "***", "===", "> quote", "| a | b |", "|---|---|", "<div>", "</div>",
    "- ```sh", "-", "1.", "\ttab", "模型：管道",
    "`` a```b ``", "[x]: http://y.z", "- - -", "* a\tb", "\\- no item", "``` `no fence`",
]  # fmt: skip
documents = st.lists(st.sampled_from(LINES), max_size=25).map("\n".join) | st.text(
    "ab \n`~#-*1.>|\t", max_size=60
)


def blocks_of(*pieces: str) -> list[Block]:
    splitter = BlockSplitter()
    return [block for piece in pieces for block in splitter.feed(piece)] + list(splitter.end())


def shape(text: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text.rstrip("\n")) for block in blocks_of(text)]


@MODEST
@given(documents)
def test_the_blocks_joined_are_the_text(text: str) -> None:
    assert "".join(block.text for block in blocks_of(text)) == text


@MODEST
@given(documents, cut_points)
def test_however_the_text_was_cut_the_blocks_are_the_same(text: str, points: list[int]) -> None:
    ends = sorted({0, len(text), *(point % (len(text) + 1) for point in points)})
    assert blocks_of(*(text[a:b] for a, b in pairwise(ends))) == blocks_of(text)
    assert blocks_of(*text) == blocks_of(text)


@MODEST
@given(documents)
def test_every_block_but_blanks_has_something_to_show(text: str) -> None:
    for kind, part in blocks_of(text):
        assert part
        assert part.isspace() == (kind == "blank") or kind == "code"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a\nb\n\nc", [("markdown", "a\nb"), ("blank", ""), ("markdown", "c")]),
        ("# a\nb\n## c", [("markdown", "# a"), ("markdown", "b"), ("markdown", "## c")]),
        ("a\n===\n\nb", [("markdown", "a\n==="), ("blank", ""), ("markdown", "b")]),
        ("a\n---\nb", [("markdown", "a\n---\nb")]),
        (
            "a\n```py\nx\n\ny\n```\nb",
            [("markdown", "a"), ("fence", "```py"), ("code", "x"), ("code", ""), ("code", "y"),
             ("fence", "```"), ("markdown", "b")],
        ),
        ("~~~\n```\n~~~~", [("fence", "~~~"), ("code", "```"), ("fence", "~~~~")]),
        ("````\n```\n````", [("fence", "````"), ("code", "```"), ("fence", "````")]),
        ("```\n    ```\n  ```", [("fence", "```"), ("code", "    ```"), ("fence", "  ```")]),
        ("```a`b```\nc", [("markdown", "```a`b```\nc")]),
        ("```\nnever closed", [("fence", "```"), ("code", "never closed")]),
        ("- a\n- b\n  c\nd", [("markdown", "- a"), ("markdown", "- b\n  c\nd")]),
        ("- a\n\n- b", [("markdown", "- a"), ("blank", ""), ("markdown", "- b")]),
        ("- a\n\n  b\n\nc", [("markdown", "- a\n\n  b"), ("blank", ""), ("markdown", "c")]),
        ("- a\n  - b\n\n    c\n- d", [("markdown", "- a\n  - b\n\n    c"), ("markdown", "- d")]),
        (
            "1. a\n   ```\n   x\n\n   - y\n   ```\n2. b",
            [("markdown", "1. a\n   ```\n   x\n\n   - y\n   ```"), ("markdown", "2. b")],
        ),
        (
            "1. a\n```\nx\n```\n2. b",
            [("markdown", "1. a"), ("fence", "```"), ("code", "x"), ("fence", "```"),
             ("markdown", "2. b")],
        ),
        ("In\n1986. Yes", [("markdown", "In\n1986. Yes")]),
        ("In\n1. Yes", [("markdown", "In"), ("markdown", "1. Yes")]),
        ("- a\n# b", [("markdown", "- a"), ("markdown", "# b")]),
        ("- a\n---\nb", [("markdown", "- a"), ("markdown", "---\nb")]),
        ("| a |\n|---|\n| 1 |\n\nb", [("markdown", "| a |\n|---|\n| 1 |"), ("blank", ""),
                                    ("markdown", "b")]),
        ("> a\n> b\n\nc", [("markdown", "> a\n> b"), ("blank", ""), ("markdown", "c")]),
        ("", []),
        ("\n\n", [("blank", ""), ("blank", "")]),
    ],
)  # fmt: skip
def test_where_a_block_ends(text: str, kinds: list[tuple[str, str]]) -> None:
    assert shape(text) == kinds


def test_a_block_is_given_as_soon_as_it_is_whole() -> None:
    splitter = BlockSplitter()
    assert list(splitter.feed("# Title")) == []
    assert [block.text for block in splitter.feed("\nWords\n")] == ["# Title\n"]
    assert [block.text for block in splitter.feed("\n```\nx = 1")] == ["Words\n", "\n", "```\n"]
    assert [block.text for block in splitter.feed("\n- a\n```\n- a\n")] == [
        "x = 1\n",
        "- a\n",
        "```\n",
    ]
    assert [block.text for block in splitter.feed("- b\n")] == ["- a\n"]


@pytest.mark.parametrize(
    "text",
    [
        "x" * (3 * LARGEST),
        "x\n" * LARGEST,
        "- x\n" + "  y\n" * LARGEST,
        "- x" + "\n" * 999,
        "x" * LARGEST + "\n- a\n",
    ],
)
def test_a_block_that_is_too_large_is_plain_and_bounded(text: str) -> None:
    blocks = blocks_of(text)
    assert "".join(block.text for block in blocks) == text
    assert max(len(block.text) for block in blocks) <= LARGEST + 4
    assert blocks[0].kind == "plain" or len(blocks) > 900
    assert blocks_of(*(text[n : n + 7777] for n in range(0, len(text), 7777))) == blocks


def test_a_long_line_of_code_stays_code() -> None:
    text = "```\n" + "x" * (2 * LARGEST) + "y\n```\n"
    assert [block.kind for block in blocks_of(text)] == ["fence", "code", "code", "code", "fence"]


@pytest.mark.parametrize("line", ["x", "words and more\n", "- item\n", "```\n", "\n", " "])
def test_what_it_costs_grows_with_the_length_alone(line: str) -> None:
    def cost(size: int) -> int:
        found: list[Block] = []
        calls = calls_in(lambda: found.extend(blocks_of(*[line] * size)))
        assert len("".join(block.text for block in found)) == len(line) * size
        return calls

    assert cost(20_000) < 8.1 * cost(2_500)
