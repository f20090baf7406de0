"""What `history search` prints, to pipes and people: lines, lines around them, names, numbers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipechat import jsonl
from pipechat.show.found import FoundText
from pipechat.show.transcript import Look
from pipechat.show.width import width
from tests.history_kit import on_a_terminal, turn, write_session
from tests.program import Program

pytestmark = pytest.mark.in_process


@pytest.fixture
def sessions(program: Program) -> Path:
    path = write_session(
        program,
        "a",
        [
            turn(1, "one\ntwo\npipe three", "four\nfive\n"),
            turn(2, "nothing", "of it"),
            turn(3, "pipe", "six\nseven\neight\npipe nine\nten\neleven\npipe"),
        ],
    )
    write_session(program, "b", [turn(4, "no")])
    write_session(program, "c-d", [turn(5, "a pipe", "x")])
    return path


def found(program: Program, *arguments: str, status: int = 0) -> list[str]:
    result = program.run("history", "search", *arguments)
    assert (result.status, result.stderr) == (status, b"")
    return result.stdout.decode().splitlines()


def as_records(program: Program, form: str, *arguments: str, status: int = 0) -> Any:
    lines = found(program, *arguments, "--output-format", form, status=status)
    return json.loads("".join(lines)) if form == "json" else [json.loads(line) for line in lines]


@pytest.mark.parametrize("option", ["-l", "--files-with-matches"])
def test_names_of_the_sessions_that_match_and_of_no_others(
    program: Program, sessions: Path, option: str
) -> None:
    assert found(program, "pipe", option) == ["a", "c-d"]
    assert found(program, "pipe", option, "c-d", str(sessions)) == ["c-d", str(sessions)]
    assert found(program, "nowhere", option, status=1) == []


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("option", ["-c", "--count"])
def test_of_each_session_that_matches_the_number_of_its_turns(
    program: Program, option: str
) -> None:
    assert found(program, "pipe", option) == ["a:2", "c-d:1"]
    assert found(program, "pipe", option, "a", "a") == ["a:2", "a:2"]
    assert found(program, "nowhere", option, status=1) == []


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_names_and_numbers_as_json(program: Program, form: str) -> None:
    assert as_records(program, form, "pipe", "-l") == [{"session": "a"}, {"session": "c-d"}]
    assert as_records(program, form, "pipe", "-c") == [
        {"session": "a", "turns": 2},
        {"session": "c-d", "turns": 1},
    ]
    assert as_records(program, form, "nowhere", "-l", status=1) == []


@pytest.mark.usefixtures("sessions")
def test_lines_around_are_of_the_turn_and_marked_as_grep_marks_them(program: Program) -> None:
    assert found(program, "pipe", "-C", "1", "a", "c-d") == [
        "a-1-question- two",
        "a:1:question: pipe three",
        "a-1-answer- four",
        "--",
        "a:3:question: pipe",
        "a-3-answer- six",
        "--",
        "a-3-answer- eight",
        "a:3:answer: pipe nine",
        "a-3-answer- ten",
        "a-3-answer- eleven",
        "a:3:answer: pipe",
        "--",
        "c-d:1:question: a pipe",
        "c-d-1-answer- x",
    ]
    assert found(program, "five", "--context", "99") == [
        "a-1-question- one",
        "a-1-question- two",
        "a-1-question- pipe three",
        "a-1-answer- four",
        "a:1:answer: five",
    ]
    assert found(program, "pipe", "-C", "0") == found(program, "pipe")


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_lines_around_as_json(program: Program, form: str) -> None:
    (first, *_) = as_records(program, form, "pipe", "-C", "1", "a")
    (plain, *_) = as_records(program, form, "pipe", "a")
    assert first == plain | {
        "before": [{"side": "question", "line": 2, "text": "two"}],
        "after": [{"side": "answer", "line": 1, "text": "four"}],
    }
    assert len(as_records(program, form, "pipe", "-C", "1")) == 5


@pytest.mark.parametrize("form", ["text", "json", "ndjson"])
@pytest.mark.parametrize("arguments", [["-l", "-c"], ["-l", "-C", "1"], ["-c", "--context", "2"]])
def test_only_one_thing_is_printed(program: Program, arguments: list[str], form: str) -> None:
    result = program.run("history", "search", "x", *arguments, "--output-format", form)
    assert (result.status, result.code, result.stdout) == (2, "bad_option", b"")


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("arguments", [["-C", "-1"], ["-C", "x"], ["--color", "red"]])
def test_a_wrong_value_exits_2(program: Program, arguments: list[str]) -> None:
    result = program.run("history", "search", "pipe", *arguments)
    assert (result.status, result.stdout, result.stderr.count(b"\n")) == (2, b"", 1)


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("option", ["-l", "-c", "-C1"])
def test_a_session_that_cannot_be_read_is_told_and_the_others_are_printed(
    program: Program, option: str
) -> None:
    result = program.run("history", "search", "pipe", option, "./nope", "c-d")
    assert (result.status, result.code) == (9, "session_missing")
    assert result.stdout.startswith(b"c-d")


def test_a_name_is_told_before_the_rest_of_its_session_is_read(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_session(program, "w", [turn(n, "pipe") for n in range(9)])
    parsed: list[bytes] = []
    loads_line = jsonl.loads_line

    def counted(data: bytes) -> Any:
        parsed.append(data)
        return loads_line(data)

    monkeypatch.setattr(jsonl, "loads_line", counted)
    assert found(program, "pipe", "-l") == ["w"]
    assert len(parsed) == 2  # the line, and the turn made of it


PAINTED = (
    "\x1b[35mw\x1b[0m\x1b[36m:\x1b[0m\x1b[32m1\x1b[0m\x1b[36m:\x1b[0m"
    "\x1b[32mquestion\x1b[0m\x1b[36m:\x1b[0m ^[[2J \x1b[1;31ma pipe\x1b[0m\n"
)


@pytest.mark.parametrize(
    ("color", "env", "piped", "on_screen"),
    [
        (None, {}, False, True),
        (None, {"NO_COLOR": "1"}, False, False),
        (None, {"TERM": "dumb"}, False, False),
        ("auto", {}, False, True),
        ("always", {}, True, True),
        ("always", {"NO_COLOR": "1"}, True, True),
        ("never", {}, False, False),
    ],
)
def test_colors_are_for_terminals_unless_it_is_said_otherwise(
    program: Program, color: str | None, env: dict[str, str], piped: bool, on_screen: bool
) -> None:
    write_session(program, "w", [turn(1, "\x1b[2J a pipe")])
    arguments = ["history", "search", "a pipe", *([] if color is None else ["--color", color])]
    screen = on_a_terminal(program, *arguments, env=env).stdout.decode()
    assert screen == (PAINTED if on_screen else "w:1:question: ^[[2J a pipe\n")
    out = program.run(*arguments, env=env).stdout.decode()
    assert out == (PAINTED if piped else "w:1:question: \x1b[2J a pipe\n")


@pytest.mark.usefixtures("sessions")
def test_names_numbers_and_groups_have_the_colors_of_grep(program: Program) -> None:
    def shown(*arguments: str) -> list[str]:
        return found(program, "pipe", "--color", "always", *arguments, "a")

    assert shown("-l") == ["\x1b[35ma\x1b[0m"]
    assert shown("-c") == ["\x1b[35ma\x1b[0m\x1b[36m:\x1b[0m2"]
    assert "\x1b[36m--\x1b[0m" in shown("-C1")
    beside = "\x1b[36m-\x1b[0m"
    parts = ["\x1b[35ma\x1b[0m", "\x1b[32m1\x1b[0m", "\x1b[32mquestion\x1b[0m", " two"]
    assert shown("-C1")[0] == beside.join(parts)


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_json_has_no_colors(program: Program, form: str) -> None:
    assert as_records(program, form, "pipe", "--color", "always") == as_records(
        program, form, "pipe"
    )


def test_a_long_line_is_cut_around_what_matches_on_a_terminal_alone(program: Program) -> None:
    text = "word " * 100 + "needle" + " more" * 100
    write_session(program, "w", [turn(1, text)])
    columns = 80
    screen = on_a_terminal(program, "history", "search", "needle", env={"NO_COLOR": "1"}).stdout
    (line,) = screen.decode().splitlines()
    assert line.startswith("w:1:question: …")
    assert " needle more" in line
    assert line.endswith("…")
    assert len(line) == columns
    assert found(program, "needle") == [f"w:1:question: {text}"]
    assert found(program, "needle", "--color", "never") == [f"w:1:question: {text}"]


LETTERS = st.text(st.sampled_from("ab 中\u0301\t\x1b\u202e"), max_size=40)


@given(before=LETTERS, hit=LETTERS, after=LETTERS, columns=st.integers(1, 60))
@example(before="b" * 99, hit="a", after="", columns=40)
@example(before="", hit="", after="b" * 99, columns=40)
def test_a_line_takes_no_more_columns_than_there_are_and_shows_where_it_begins_to_match(
    before: str, hit: str, after: str, columns: int
) -> None:
    text = before + hit + after
    spans = [(len(before), len(before + hit))]
    plain = Look(terminal=True)
    line = FoundText(plain, columns).line("w", 1, "answer", text, spans)
    shown = line.removeprefix("w:1:answer: ")
    room = max(columns - len("w:1:answer: "), 24)
    assert width(shown) <= room
    whole = FoundText(plain, 10_000).line("w", 1, "answer", text, spans)
    assert line == whole or "…" in (shown[0], shown[-1])
    if width(whole.removeprefix("w:1:answer: ")) <= room:
        assert line == whole
    marked = FoundText(Look(terminal=True, color=True), columns)
    painted = marked.line("w", 1, "answer", text, spans)
    if hit and width(hit) and not any(letter in hit for letter in "\u0301\x1b\u202e"):
        assert "\x1b[1;31m" in painted


def test_what_stands_at_the_end_is_shown_with_as_much_before_it_as_there_is_room() -> None:
    look = FoundText(Look(terminal=True), 40)
    line = look.line("w", 1, "answer", "x" * 100 + "end", [(100, 103)])
    assert line == "w:1:answer: …" + "x" * 24 + "end"
    line = look.line("w", 1, "answer", "x" * 100, None)
    assert line == "w-1-answer- " + "x" * 27 + "…"


def test_a_path_keeps_its_bytes_in_a_pipe(program: Program, sessions: Path) -> None:
    path = os.fsencode(sessions.parent) + b"/caf\xe9"
    os.link(sessions, path)
    for option, end in (("-l", b"\n"), ("-c", b":2\n")):
        result = program.run("history", "search", "pipe", option, path)
        assert result.stdout == path + end
