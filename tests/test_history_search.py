"""`pipechat history search` finds all that is there, wherever and however it was written."""

import errno
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipechat import jsonl
from pipechat.errors import UsageError
from pipechat.store.candidates import candidates
from pipechat.store.reading import Session
from pipechat.store.search import Hit, Query, search
from pipechat.store.search_bytes import Needles, needles_of
from pipechat.store.search_finders import Finder, finders_of
from pipechat.store.search_in_text import for_whole_texts
from pipechat.store.search_literals import required
from tests.history_kit import limit_memory, line, on_a_terminal, turn, write_session
from tests.program import Program

pytestmark = pytest.mark.in_process


def hits(path: Path, query: Query, warnings: list[str] | None = None) -> list[Hit]:
    fd = os.open(path, os.O_RDONLY)
    told = [] if warnings is None else warnings
    try:
        return list(search(Session("w", fd, os.fstat(fd).st_size, told.append), query))
    finally:
        os.close(fd)


def test_addresses_are_session_turn_and_side_as_in_grep(program: Program) -> None:
    write_session(program, "work", [turn(1, "a pipe?", "no\nthe pipe\n"), turn(2), turn(3, "PIPE")])
    write_session(program, "b", [b'{"torn\n', b"\n", turn(4, "c", "pipe pipe")])
    result = program.run("history", "search", "pipe")
    assert (result.status, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines() == [
        "b:3:answer: pipe pipe",
        "work:1:question: a pipe?",
        "work:1:answer: the pipe",
    ]
    one = program.run("history", "search", "-i", "--session", "work", "Pipe")
    assert one.stdout.decode().splitlines()[2:] == ["work:3:question: PIPE"]


@pytest.mark.parametrize("arguments", [["nope"], ["a.c"], ["-E", "^c$"], ["-i", "ß"]])
def test_nothing_found_exits_1_as_grep_does(program: Program, arguments: list[str]) -> None:
    write_session(program, "w", [turn(1, "abc", "ac")])
    result = program.run("history", "search", *arguments)
    assert (result.status, result.stdout, result.stderr) == (1, b"", b"")
    as_json = program.run("history", "search", "--output-format", "json", *arguments)
    assert (as_json.status, as_json.stdout) == (1, b"[]\n")


def test_an_expression_is_python_s_and_looked_for_line_by_line(program: Program) -> None:
    write_session(program, "w", [turn(1, "one\ntwo 22\nthree", "two\n22")])
    found = program.run("history", "search", "-E", r"^two (\d)\1$")
    assert found.stdout == b"w:1:question: two 22\n"
    assert program.run("history", "search", "-E", "-i", r"TWO.?$").stdout == b"w:1:answer: two\n"


@pytest.mark.parametrize(
    "arguments",
    [["-E", "("], ["-E", "a{9999999999999}"], ["a\nb"], ["-E", "(" * 3_000], ["-E", "(a|" * 900]],
    ids=range(5),
)
def test_a_bad_pattern_exits_2(program: Program, arguments: list[str]) -> None:
    result = program.run("history", "search", *arguments)
    assert (result.status, result.code, result.stderr.count(b"\n")) == (2, "bad_pattern", 1)
    assert len(result.stderr) < 300


def test_a_pattern_python_warns_of_is_taken_without_a_word(program: Program) -> None:
    write_session(program, "w", [turn(1, "a[")])
    result = program.run("history", "search", "-E", "[[a]")
    assert (result.status, result.stderr) == (0, b"")


def test_a_pattern_that_is_no_utf_8_exits_2(program: Program) -> None:
    assert program.run("history", "search", b"caf\xe9").code == "not_utf8"


def test_a_missing_session_exits_9(program: Program) -> None:
    result = program.run("history", "search", "x", "--session", "nope")
    assert (result.status, result.code) == (9, "session_missing")


def test_a_session_that_cannot_be_read_hides_no_other_and_is_exit_9(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_session(program, "w", [turn(1, "here")]).parent
    (folder / "bad.jsonl").mkdir()
    assert program.run("history", "search", "here").status == 0  # a folder is no session
    write_session(program, "gone", [turn(1, "here")])
    real_open = os.open

    def as_no_root(path: Any, *more: Any, **options: Any) -> int:
        if str(path).endswith("gone.jsonl"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real_open(path, *more, **options)

    monkeypatch.setattr(os, "open", as_no_root)
    result = program.run("history", "search", "here")
    assert (result.status, result.code) == (9, "session_unreadable")
    assert b"w:1:question: here\n" in result.stdout


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_json_tells_where_in_the_text_it_was_found(program: Program, form: str) -> None:
    write_session(program, "w", [turn(1), turn(2, "x\nüber a pipe, a pipe", status="partial")])
    result = program.run("history", "search", "a pipe", "--output-format", form)
    found = json.loads(result.stdout)
    assert (found[0] if form == "json" else found) == {
        "session": "w",
        "turn": 2,
        "id": turn(2).id,
        "time": turn(2).time,
        "status": "partial",
        "side": "question",
        "line": 2,
        "text": "über a pipe, a pipe",
        "spans": [[5, 11], [13, 19]],
    }


def address(side: str) -> str:
    separator = "\x1b[36m:\x1b[0m"
    return f"\x1b[35mw\x1b[0m{separator}\x1b[32m1\x1b[0m{separator}\x1b[32m{side}\x1b[0m{separator}"


def test_what_matches_is_highlighted_on_a_terminal_and_nothing_is_obeyed(program: Program) -> None:
    write_session(program, "w", [turn(1, "\x1b[2J a pipe\x07, a pipe")])
    screen = on_a_terminal(program, "history", "search", "-E", "a pip[e]?|x*").stdout
    assert screen.decode() == (
        f"{address('question')} ^[[2J \x1b[1;31ma pipe\x1b[0m^G, \x1b[1;31ma pipe\x1b[0m\n"
        f"{address('answer')} so\n"
    )
    plain = on_a_terminal(program, "history", "search", "a pipe", env={"NO_COLOR": "1"}).stdout
    assert plain == b"w:1:question: ^[[2J a pipe^G, a pipe\n"
    piped = program.run("history", "search", "a pipe").stdout
    assert piped == b"w:1:question: \x1b[2J a pipe\x07, a pipe\n"


def test_torn_lines_that_may_match_are_told_and_doubles_once(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(
        line(turn(1, "pipe")) * 2
        + line(turn(2))[:-9]
        + b"\n"
        + line(turn(3, "a pipe"))[:-9]
        + b"\n"
        b'"pipe"\n{"question":"pipe"}\n{"question":["pipe"]}\n' + line(turn(4, "pipe"))[:-1]
    )
    warnings: list[str] = []
    assert [hit.turn_number for hit in hits(path, Query("pipe"), warnings)] == [1, 8]
    assert warnings == [
        "session 'w': 1 line that may match is no turn; "
        "`pipechat history repair w` moves such lines aside"
    ]


def test_doubles_are_dropped_only_near_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipechat.store.search._RECENT_IDS", 2)
    path = tmp_path / "w.jsonl"
    path.write_bytes(b"".join(line(turn(n, "pipe")) for n in (1, 2, 1, 3, 1, 1)))
    assert [hit.turn_number for hit in hits(path, Query("pipe"))] == [1, 2, 4, 5]


def test_an_empty_answer_has_no_line_to_match(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(line(turn(1, "q\n\nr\n", "")))
    found = [(hit.side, hit.line_number, hit.text) for hit in hits(path, Query(""))]
    assert found == [("question", 1, "q"), ("question", 2, ""), ("question", 3, "r")]


# What stands for what, and what is escaped by whom: letters whose partners in the other case
# are not ASCII, signs that have several forms in JSON, and some that have only one.
LETTERS = (
    'aAkKsSiI\u212a\u017f\u0130\u0131éÉßẞσςΣ"\\/\t\x1b\x7f.u0\U0001f600\U00010400\U00010428\ufffd'
)
TEXTS = st.text(st.sampled_from(LETTERS), max_size=8)
FEW_LETTERS = 'aks\u017f\u212aéÉ/"\n'  # so few that they often match


def always_escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    codes = [f"\\u{units[at : at + 2].hex().upper()}" for at in range(0, len(units), 2)]
    return '"' + "".join(codes) + '"'


WRITERS: dict[str, Callable[[str], str]] = {
    "ours": lambda text: jsonl.dumps(text).decode(),
    "ascii": json.dumps,
    "utf-8": lambda text: json.dumps(text, ensure_ascii=False),
    "php": lambda text: json.dumps(text).replace("/", "\\/"),
    "odd": always_escaped,
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("ignore_case", [False, True])
@settings(deadline=None)  # how busy the machine is says nothing
@given(pattern=TEXTS.filter(bool), before=TEXTS, after=TEXTS, other=TEXTS)
@example(pattern="k", before="", after="", other="\u212a")
@example(pattern="é/", before="\\", after="u00", other="É/")
@example(pattern="a/", before="", after="", other="A/")
def test_what_is_in_the_text_is_in_the_candidates_whoever_wrote_the_json(
    writer: str, ignore_case: bool, pattern: str, before: str, after: str, other: str
) -> None:
    query = Query(pattern, ignore_case=ignore_case)
    for text in (before + pattern + after, other):
        record = '{"0":' + WRITERS[writer](text) + "}"
        if any(query.matches(text)):
            assert list(found_in(record.encode(), query.finders)) == [(1, record.encode())]


def found_in(data: bytes, finders: list[Finder] | None, block: int = 1 << 20) -> Any:
    fd = os.memfd_create("lines") if sys.platform == "linux" else os.open(".", os.O_TMPFILE)
    try:
        os.write(fd, data)
        found = list(candidates(fd, len(data), finders, block=block))
        assert all(data[offset:].startswith(line) for _, offset, line in found)
        return [(number, line) for number, _, line in found]
    finally:
        os.close(fd)


@settings(deadline=None)  # how busy the machine is says nothing
@given(
    lines=st.lists(st.sampled_from([b"", b"x", b"ab", b"xxabxxab", b"x" * 40, b"A\\u00B"])),
    end=st.sampled_from([b"", b"\n"]),
    block=st.integers(1, 64),
    fold=st.booleans(),
)
def test_candidates_have_their_number_wherever_the_blocks_cut(
    lines: list[bytes], end: bytes, block: int, fold: bool
) -> None:
    needles = needles_of(["ab"], fold=fold)
    assert needles is not None
    found = found_in(b"\n".join(lines) + end, finders_of(needles), block)
    numbered = [each for each in enumerate(lines, 1) if b"ab" in each[1] or b"\\u00" in each[1]]
    assert found == numbered


@pytest.mark.parametrize(
    ("expression", "texts"),
    [
        ("abc", "abc"),
        (r"error \d+ in file", " in file"),
        ("abc|abd", "abc|abd"),
        ("abc|xyz|abcd", "abc|xyz"),
        ("(abc)d", "abcd"),
        ("(the )?Zug|zug[a-z]+", "Zug|zug"),
        ("zug(zwang|luft)", "zugzwang|zugluft"),
        ("(x|a+)+bc", "bc"),
        ("(abc|x)+", "abc|x"),
        ("ab(?=x)f(?!abcd)", "abf"),
        ("(?=.*rain)x", "rain"),
        ("ab?cd", "acd|abcd"),
        (r"\babc$", "abc"),
        ("(?x) a b c", "abc"),
        ("a{2}b", "aab"),
        ("[zZ]ug", "zug|Zug"),
        ("[a-z]bc|[^a]bcd", "bc"),
        (r"(abc)\1x", "abc"),
        ("(?>abc)d++e", "abc"),
        ("[abcdefghi]", ""),
        ("abc|d*", ""),
        ("abc|.", ""),
        ("a|b|c|d|e|f|g|h|ii", ""),
        (".*", ""),
        ("", ""),
    ],
)
def test_of_an_expression_it_is_known_what_must_be_there(expression: str, texts: str) -> None:
    assert required(re.compile(expression)).texts == frozenset(texts.split("|")) - {""}


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "abc",
            r"\d{7,}",
            r"[^a\n]b",
            "a.b",
            r"\w+",
            "^a$",
            r"\bfoo\B",
            "(?!x)b",
            "(?<!x)b",
            r"\S",
        ),
        *("[a-z]", "(a|b)*c", r"(a)\1", r"[^\s]x", r"a++(?>b)\w*?", ""),
    ],
)
def test_what_can_match_no_newline_is_looked_for_in_whole_texts(expression: str) -> None:
    assert for_whole_texts(re.compile(expression))


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "[^a]b",
            "(?s)a.b",
            "(?s:a.b)",
            r"\s",
            r"\D",
            r"\W",
            r"\A",
            r"a\Z",
            r"(a|b\n)",
            r"(?!x\n)b",
            "(?-m:^b)",
            "(a|(?-m:b$))",
            "(?i-m:^)b",
            "(?x-ms:a b $)",
        ),
        *(r"[\x00-\x20]", r"(a|(c|\W))+", "(a)(?(1)b|c)", r"[^\S]x", r"(?:a[^b])*", "(?<![^x])a"),
    ],
)
def test_what_may_match_a_newline_is_looked_for_line_by_line(expression: str) -> None:
    assert for_whole_texts(re.compile(expression)) is None


ATOMS = [
    *(
        "a",
        "k",
        "S",
        "ak",
        "É",
        "/",
        '"',
        ".",
        "[kK]",
        "[ſa]",
        "[^a]",
        r"[^a\n]",
        "^",
        "$",
        "(?s:.)",
        "(?-m:^a)",
        "(?-m:k$)",
    ),
    *(r"\w", r"\b", r"\S", r"\s", r"\Z", "(?=k)", "(?<!a)", "a.k", "ka?s"),
]
EXPRESSIONS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format),
        st.tuples(inner, st.sampled_from("?*+")).map("(?:{0[0]}){0[1]}".format),
        inner.map("(?i:{})".format),
        inner.map("(?:{}){{2}}".format),
        inner.map("(?!{})".format),
    ),
    max_leaves=4,
)


@settings(deadline=None)  # how busy the machine is says nothing
@given(
    expression=st.text(st.sampled_from(FEW_LETTERS.strip()), max_size=2) | EXPRESSIONS,
    regexp=st.booleans(),
    ignore_case=st.booleans(),
    writer=st.sampled_from(sorted(WRITERS)),
    texts=st.lists(st.text(st.sampled_from(FEW_LETTERS), max_size=5), min_size=1, max_size=9),
    block=st.integers(1, 300),
)
@example(expression="a.k", regexp=True, ignore_case=False, writer="ours", texts=["ask"], block=9)
@example(
    expression="aa?[sk]", regexp=True, ignore_case=True, writer="utf-8", texts=["ſ", "AK"], block=9
)
@example(
    expression="^k$|s\\b",
    regexp=True,
    ignore_case=True,
    writer="odd",
    texts=["a\nK", "aſ"],
    block=9,
)
@example(
    expression="(?i-m:^k)",
    regexp=True,
    ignore_case=False,
    writer="ours",
    texts=["a\nk", "s\nKa\n"],
    block=9,
)
@example(
    expression="(?:a|k+)s",
    regexp=True,
    ignore_case=False,
    writer="php",
    texts=["/kks", "/"],
    block=9,
)
def test_what_is_found_is_what_is_there(
    expression: str, regexp: bool, ignore_case: bool, writer: str, texts: list[str], block: int
) -> None:
    query = Query(expression, regexp=regexp, ignore_case=ignore_case)
    plain = re.compile(
        expression if regexp else re.escape(expression), re.IGNORECASE if ignore_case else 0
    )
    there = [
        (number, each.span())
        for number, text in enumerate(texts, 1)
        for line in (text.removesuffix("\n").split("\n") if text else [])
        for each in plain.finditer(line)
    ]
    lines = [f'{{"0":{WRITERS[writer](text)}}}' for text in texts]  # a key that matches nothing
    found = [
        (number, span)
        for number, line in found_in("\n".join(lines).encode(), query.finders, block)
        for _, _, spans in query.matches(jsonl.loads_line(line)["0"])
        for span in spans
    ]
    assert found == there


@pytest.mark.parametrize("needle", [b"needle", b"\xc4\xb0", b"a needle that is long", b"zz"])
def test_bytes_are_found_where_they_are_rare_and_where_they_are_not_after_all(
    needle: bytes,
) -> None:
    fields = [
        b"x" * 70_000,
        needle,
        (needle[:1] + b"y") * 50_000,
        needle,
        b"y" + needle[-1:],
        needle,
        b"x",
    ]
    lines = [b"y%by" % field for field in fields]
    needles = Needles(exact=(needle,))
    found = found_in(b"\n".join(lines) + b"\n", finders_of(needles), 1 << 17)
    assert [number for number, _ in found] == [2, 4, 6]


def alike(letter: str) -> set[str]:
    return set(re.findall(re.escape(letter), EVERYTHING, re.IGNORECASE))


EVERYTHING = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))


def test_the_partners_of_ascii_letters_are_all_that_unicode_has() -> None:
    for code in set(range(0x80)) - {ord("\n")}:
        letter = chr(code)
        beyond = {other for other in alike(letter) if not other.isascii()}
        needles = needles_of([letter], fold=True)
        assert needles is not None
        assert {b.decode() for b in needles.exact if b[0] > 0x7F} == beyond
        assert {other.lower() for other in alike(letter) if other.isascii()} == {letter.lower()}


@pytest.mark.parametrize(
    "letter", ["é", "ß", "ς", "İ", "ſ", "\u212a", "ǅ", "\U00010400", "\U0001e900"]
)
def test_a_letter_is_found_in_every_case_that_re_knows(letter: str) -> None:
    needles = needles_of([letter], fold=True)
    assert needles is not None
    (expression,) = needles.expressions
    assert {each.decode() for each in re.findall(expression, EVERYTHING.encode())} == alike(letter)


def test_no_letter_with_two_cases_stands_where_none_is_looked_for() -> None:
    late = [chr(code) for code in range(0x1F000, 0x110000)]
    assert all(letter.lower() == letter.upper() for letter in late)


@pytest.mark.parametrize("form", ["text", "ndjson"])
@pytest.mark.parametrize("writer", ["ours", "ascii", "odd"])
def test_case_is_ignored_beyond_ascii_too(program: Program, form: str, writer: str) -> None:
    said = ["Привет МИР", "ΟΔΟΣ", "Straße", "300 \u212a", "İstanbul", "ÉTÉ"]
    lines = [jsonl.dumps(turn(n, "?").record()).decode() for n in range(len(said))]
    write_session(
        program,
        "w",
        [
            line.replace('"?"', WRITERS[writer](text)).encode() + b"\n"
            for line, text in zip(lines, said, strict=True)
        ],
    )
    for number, pattern in enumerate(
        ["приВЕТ мир", "οδος", "STRAßE", "300 k", "istanbul", "été"], 1
    ):
        for how in (("-i", pattern), ("-E", f"(?i:{pattern})|xyz"), ("-iE", f"({pattern})+$")):
            result = program.run("history", "search", *how, "--output-format", form)
            assert result.status == 0, (pattern, how)
            text = said[number - 1]
            if form == "text":
                assert result.stdout.decode() == f"w:{number}:question: {text}\n"
            else:
                assert json.loads(result.stdout)["text"] == text


def test_a_scoped_flag_folds_only_what_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(line(turn(1, "ABc", "abC")) + line(turn(2, "ABC", "abc")))
    found = [(hit.turn_number, hit.side) for hit in hits(path, Query("(?i:ab)c", regexp=True))]
    assert found == [(1, "question"), (2, "answer")]
    folded = hits(path, Query("(?i)abc", regexp=True))
    assert len(folded) == 4


def test_an_expression_is_searched_without_re_s_own_parser_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "re._parser", None)
    assert Query("[a-c]bc", regexp=True).finders is None


def test_only_lines_that_may_match_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(b"".join(line(turn(n, f"question {n}\n")) for n in range(1000)))
    parsed: list[bytes] = []
    loads_line = jsonl.loads_line

    def counted(data: bytes) -> Any:
        parsed.append(data)
        return loads_line(data)

    monkeypatch.setattr(jsonl, "loads_line", counted)
    assert [hit.turn_number for hit in hits(path, Query("question 777"))] == [778]
    assert len(parsed) <= 2  # the line, and the turn made of it
    parsed.clear()
    assert hits(path, Query(r"question 1234\d", regexp=True)) == []
    assert parsed == []


def test_a_long_session_is_searched_in_flat_memory(program: Program) -> None:
    path = write_session(program, "w", [])
    with path.open("wb") as file:
        for start in range(0, 40_000, 1000):
            file.write(
                b"".join(line(turn(n, f"q {n}.", "x" * 5000)) for n in range(start, start + 1000))
            )
    result = program.run("history", "search", "q 39999.", preexec_fn=limit_memory)
    assert (result.status, result.stdout) == (0, b"w:40000:question: q 39999.\n")


def test_a_bad_expression_is_told_before_a_session_is_opened() -> None:
    with pytest.raises(UsageError):
        Query("[", regexp=True)
