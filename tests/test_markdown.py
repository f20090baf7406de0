"""Markdown on a terminal: nothing is lost or obeyed, code is as it was written, lines fit."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.events import End, Error, TextChunk
from pipechat.show.markdown_blocks import LARGEST
from pipechat.show.render import RenderSink
from pipechat.show.width import width
from tests.calls import calls_in
from tests.properties import MODEST, any_text, cut_points
from tests.test_markdown_blocks import documents

SGR = re.compile(r"\x1b\[[0-9;]+m")
TEXT = st.text("ab \n`~#-*1.>|\t![]<&;_:=\\", max_size=60)
END = End(answer="", total_s=1.0)
CUT = Error(
    status="partial", code="cut", exit_code=6, retryable=True, message="m", answer="", total_s=1.0
)


class Terminal:
    """So many columns, and what was written to them, write by write."""

    def __init__(self, columns: int) -> None:
        self.width = columns
        self.writes: list[str] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data.decode())

    def end_line(self) -> None:
        if self.text[-1:] not in ("", "\n"):
            self.write(b"\n")

    def columns(self) -> int:
        return self.width

    @property
    def text(self) -> str:
        return "".join(self.writes)


def show(*pieces: str, columns: int = 80, color: bool = False, end: End | Error = END) -> str:
    terminal = Terminal(columns)
    sink = RenderSink(terminal, color=color)
    for index, piece in enumerate(pieces):
        sink.emit(TextChunk(index, piece))
    sink.emit(end)
    return terminal.text


def letters(text: str) -> "Counter[str]":
    return Counter(filter(str.isalnum, text))


@MODEST
@given(documents | TEXT, st.sampled_from([9, 40, 80]), st.booleans())
def test_every_letter_of_the_answer_is_shown(text: str, columns: int, color: bool) -> None:
    shown = SGR.sub("", show(text, columns=columns, color=color))
    assert letters(text) - letters(shown) == Counter()


@MODEST
@given(documents | TEXT, cut_points)
def test_how_the_network_cut_it_does_not_matter(text: str, points: list[int]) -> None:
    ends = sorted({0, len(text), *(point % (len(text) + 1) for point in points)})
    assert show(*(text[a:b] for a, b in pairwise(ends))) == show(text) == show(*text)


@MODEST
@given(documents | TEXT | any_text, st.booleans(), st.sampled_from([END, CUT]))
def test_a_terminal_is_sent_styles_and_text_alone(text: str, color: bool, end: End | Error) -> None:
    text = text.encode("utf-8", "replace").decode()
    shown = show(text, color=color, end=end)
    assert color or "\x1b" not in shown
    assert (
        SGR.sub("", shown).replace("\n", "").replace("\t", "").isprintable() or not text.isascii()
    )
    assert shown == "" or shown.endswith("\n")


@pytest.mark.parametrize(
    "attack",
    ["\x1b]52;c;eA==\x07", "\x1b[2J", "\x9b2J", "a\rb", "&#27;[2J", "&#x9b;2J", "&#x202e;x",
     "&#8238;x", "`\x1b[2J`", "[a](<\x1b[2J>)", "[a](b '&#x202e;')", "![\x1b](&#x202e;)",
     "# \x1b[2J", "```\x1b[2J\n\x1b[2J\n```", "- ```&#x202e;\n  \x1b[2J\n  ```", "    \x1b[2J",
     "|\x1b|&#x202e;|\n|-|-|\n|\x1b|x|", "<\x1b[2J>", "<a&#x202e;>", "https://a.b/\u202e",
     "> \x1b[2J", "|\x1b|\n|-|\n|a|\x1b|"],
)  # fmt: skip
@pytest.mark.parametrize("color", [True, False])
def test_no_control_character_is_obeyed_however_it_is_written(attack: str, color: bool) -> None:
    shown = SGR.sub("", show(attack, color=color)).replace("\n", "")
    assert shown.isprintable()
    assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\x80-\x9f]", shown)


CODE = [
    "def f():",
    "    return 1",
    "",
    "x" * 200,
    "\ttab",
    "| a | b |",
    "**no**",
    "# no",
    "- no",
    "模型",
]


@MODEST
@given(st.lists(st.sampled_from(CODE), max_size=8), st.sampled_from([20, 40, 80]), st.booleans())
def test_code_is_never_wrapped_framed_or_followed_by_blanks(
    code: list[str], columns: int, color: bool
) -> None:
    for indent, before in (("", ""), ("  ", "- x\n")):
        inside = "".join(f"{indent}{line}".rstrip() + "\n" for line in ["```py", *code, "```"])
        shown = SGR.sub("", show(before + inside, columns=columns, color=color)).split("\n")
        expected = ["```py", *code, "```"]
        found = [line.removeprefix(indent) for line in shown]
        place = found.index("```py")
        assert found[place : place + len(expected)] == expected


WORDS = st.lists(
    st.sampled_from(["word", "a", "模型管道", "（引号）", "é", "**bold**", "`code`", "end."]),
    min_size=1,
)


@MODEST
@given(WORDS, st.sampled_from(["", "# ", "- ", "10. ", "> ", "> - "]), st.sampled_from([20, 40]))
def test_what_is_no_code_fits_the_terminal(words: list[str], mark: str, columns: int) -> None:
    shown = show(mark + " ".join(words), columns=columns)
    assert max(width(line) for line in shown.split("\n")) <= columns


CELL = st.sampled_from(["a", "many words here", "管道" * 9, "x" * 30, ""])
ROW = st.lists(CELL, min_size=3, max_size=3)


@MODEST
@given(st.lists(ROW, min_size=1), st.sampled_from([24, 40, 80]))
def test_a_table_fits_the_terminal_and_loses_nothing(rows: list[list[str]], columns: int) -> None:
    lines = ["|".join(["", *row, ""]) for row in rows]
    text = "\n".join([lines[0], "|-|:-:|-:|", *lines[1:]])
    shown = show(text, columns=columns)
    assert max(width(line) for line in shown.split("\n")) <= columns
    assert letters(text) - letters(shown) == Counter()


EXAMPLES = {
    "words": ("Some **bold**, *it*, ~~no~~ and `x`.", 80, "Some **bold**, *it*, ~~no~~ and `x`.\n"),
    "lines stay lines": ("a\nb  \nc", 80, "a\nb\nc\n"),
    "wrapped": ("one two three", 8, "one two\nthree\n"),
    "no line ends before a mark": ("管道管道，管道", 9, "管道管\n道，管道\n"),
    "one blank line": ("a\n\n\n\nb", 80, "a\n\nb\n"),
    "none at the start": ("\n\na", 80, "a\n"),
    "heading": ("# A *b*\ntext", 80, "# A *b*\ntext\n"),
    "list": ("- a\n- bb bb bb bb\n  - c\n* d", 11, "- a\n- bb bb bb\n  bb\n  - c\n* d\n"),
    "loose list": ("1. a\n\n   b\n\n2. c", 80, "1. a\n\n   b\n\n2. c\n"),
    "numbers as they are": ("7. a\n7. b", 80, "7. a\n7. b\n"),
    "quote": ("> a\n> > b", 80, "> a\n> \n> > b\n"),
    "rule": ("a\n\n***\n\nb", 80, "a\n\n---\n\nb\n"),
    "link": ("[a](http://b.c 't')", 80, 'a (http://b.c "t")\n'),
    "bare link": ("<http://b.c>", 80, "http://b.c\n"),
    "picture": ("![a b](c.png)", 80, "a b (c.png)\n"),
    "reference": ("See [a].\n\n[a]: http://b.c", 80, "See [a].\n\n[a]: http://b.c\n"),
    "html": ("<b>a</b>\n<!-- c -->", 80, "<b>a</b>\n<!-- c -->\n"),
    "html block": ("<div>\n\n*a*\n\n</div>", 80, "<div>\n\n*a*\n\n</div>\n"),
    "entities": ("a &amp; b &lt;", 80, "a & b <\n"),
    "fence": ("```py\nx = 1\n```\nb", 80, "```py\nx = 1\n```\nb\n"),
    "unclosed fence": ("a\n```\nx = 1", 80, "a\n```\nx = 1\n"),
    "indented code": ("    x = 1\n    y", 80, "x = 1\ny\n"),
    "table": ("|a|b|\n|-|-:|\n|管道|1|\n|x|22|", 80, "a      b\n----  --\n管道   1\nx     22\n"),
    "wrapped cells": (
        "|a|b|\n|-|-|\n|x|one two three four|", 12,
        "a  b\n-  ---------\nx  one two\n   three\n   four\n",
    ),
    "as records": ("|a|b|c|\n|-|-|-|\n|long one|long two|long 3|", 12,
                   "a: long one\nb: long two\nc: long 3\n"),
    "more cells than the heading": ("|a|\n|-|\n|b|c|", 80, "|a|\n|-|\n|b|c|\n"),
    "an address stays whole": ("at http://a.b/" + "c" * 20 + " so", 20,
                               "at\nhttp://a.b/" + "c" * 20 + "\nso\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_without_colors_the_marks_say_what_styles_would(name: str) -> None:
    text, columns, shown = EXAMPLES[name]
    assert show(text, columns=columns) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**a b**", "\x1b[1ma b\x1b[0m\n"),
        ("*a **b***", "\x1b[3ma\x1b[0m \x1b[3;1mb\x1b[0m\n"),
        ("`x`", "\x1b[36mx\x1b[0m\n"),
        ("- a", "\x1b[2m• \x1b[0ma\n"),
        ("# a", "\x1b[2m#\x1b[0m \x1b[1ma\x1b[0m\n"),
        ("```\nx\n```", "\x1b[2m```\x1b[0m\n\x1b[36mx\x1b[0m\n\x1b[2m```\x1b[0m\n"),
        ("[a](b)", "\x1b[4ma\x1b[0m (\x1b[2mb\x1b[0m)\n"),
    ],
)
def test_with_colors_styles_stand_in_the_place_of_marks(text: str, shown: str) -> None:
    assert show(text, color=True) == shown


def test_what_is_whole_is_shown_at_once_and_never_taken_back() -> None:
    terminal = Terminal(80)
    sink = RenderSink(terminal, color=False)
    shown = []
    for index, piece in enumerate(
        ["# A\n", "b", "\n", "\nc\n```\nx", "\ny\n", "```\n- d\n", "- e"]
    ):
        sink.emit(TextChunk(index, piece))
        shown.append(terminal.text)
    assert shown == [
        "# A\n", "# A\n", "# A\n", "# A\nb\n\nc\n```\n", "# A\nb\n\nc\n```\nx\ny\n",
        "# A\nb\n\nc\n```\nx\ny\n```\n", "# A\nb\n\nc\n```\nx\ny\n```\n",
    ]  # fmt: skip
    sink.emit(CUT)
    assert terminal.text == "# A\nb\n\nc\n```\nx\ny\n```\n- d\n- e\n"


def test_a_terminal_that_was_resized_is_looked_at_for_the_next_block() -> None:
    terminal = Terminal(80)
    sink = RenderSink(terminal, color=False)
    sink.emit(TextChunk(0, "one two three\n\n"))
    terminal.width = 8
    sink.emit(TextChunk(1, "one two three\n\n"))
    assert terminal.text == "one two three\n\none two\nthree\n\n"


def test_behind_a_prompt_the_first_block_has_less_room() -> None:
    terminal = Terminal(13)
    sink = RenderSink(terminal, color=False, column=4)
    sink.emit(TextChunk(0, "one two three\n"))
    sink.emit(TextChunk(1, "\n"))
    sink.emit(TextChunk(2, "one two three\n\n"))
    assert terminal.text == "one two\nthree\n\none two three\n\n"


LONG_HEADING = "|" + "h" * 8000 + "|b" * 26 + "|\n" + "|-" * 27 + "|\n"


@pytest.mark.parametrize(
    "text",
    ["- " * 60 + "x", ">" * 200 + "x", "".join("  " * n + f"- {n}\n" for n in range(70)),
     "x " * LARGEST, "*a " * LARGEST, "|a" * 500 + "\n" + "|-" * 500 + "\n|b",
     "*" * 8000 + "a" + "*" * 8000, "_*" * 4000 + "a" + "*_" * 4000, "~~" * 900 + "a" + "~~" * 900,
     "[" * 50 + "*" * 99 + "a" + "*" * 99, "![" * 2000 + "a" + "](b)" * 2000,
     "> " * 38 + "a\n" + "b\n" * 7000, LONG_HEADING + "a|b\n" * 1900, "|" * 50 + "\n" + "|-" * 49
     + "|\n" + "a\n" * 7000],
)  # fmt: skip
def test_what_nobody_could_read_formatted_is_shown_as_it_came(text: str) -> None:
    assert show(text).rstrip("\n") == text.rstrip("\n")


ATTACKS = {
    "brackets": "[" * 8000, "stars": "*a _b " * 1300, "ticks": "`a``b" * 1600, "<": "<" * 8000,
    "cells": "|a|b|\n|-|-|\n" + "|x|y|\n" * 1200, "items": "- a\n" + "  - b\n" * 1300,
    "images": "![[" * 2600, "words": "word " * 1600, "letters": "管道" * 4000,
    "code": "```\nx\n```\n" * 800, "quotes": "> " * 4000, "emphasis": "*" * 8000 + "a" + "*" * 8000,
    "heading": LONG_HEADING + "a|b\n" * 1900, "lazy lines": "> " * 38 + "a\n" + "b\n" * 7000,
    "no cells": "|" * 50 + "\n" + "|-" * 49 + "|\n" + "a\n" * 7000,
    "pictures": "![" * 2000 + "a" + "](b)" * 2000,
}  # fmt: skip


def calls_to_show(text: str) -> int:
    pieces = re.findall(r"(?s).{1,50}", text)
    return calls_in(lambda: show(*pieces, color=True))


# The others are of the same kind as one of these.
FIRST = ("brackets", "stars", "cells", "items", "heading", "pictures")


@pytest.mark.parametrize(
    "name",
    [name if name in FIRST else pytest.param(name, marks=pytest.mark.storm) for name in ATTACKS],
)
def test_what_it_costs_grows_with_the_length_alone(name: str) -> None:
    def calls(length: int, blocks: int = 1) -> int:
        return calls_to_show((ATTACKS[name][:length] + "\n\n") * blocks)

    calls_to_show("- *a*\n\n|b|\n|-|\n")  # what is made once is there
    once = calls(2000)
    assert once < 2.2 * calls(1000)  # one that grew with the square would have 4
    assert once < 700 * 2000  # a line may stand 38 levels deep
    assert calls(500, blocks=4) < 4.1 * calls(500)
