"""What turns and sessions look like, to people and to pipes."""

import pytest

from pipechat.messages import Summary, Turn
from pipechat.show.transcript import Look, SessionTable, Transcript, first_words, human_size
from pipechat.show.width import width
from tests.history_kit import turn

PIPE = Look()
SCREEN = Look(terminal=True)
COLORS = Look(terminal=True, color=True)


def shown(look: Look, *turns: Turn) -> str:
    transcript = Transcript(look)
    return "".join(transcript.turn(each) for each in turns)


def test_a_turn_says_who_said_what_when_and_with_which_model() -> None:
    assert shown(PIPE, turn(1, "why?", "so\n")) == (
        "You, 2026-11-23T00:01:30.250Z, 01a20632-3269-7831-b7d6-000000000001:\nwhy?\n"
        "\ngpt-5.4-mini:\nso\n"
    )


def test_turns_are_set_apart_by_an_empty_line() -> None:
    one, two = turn(1), turn(2)
    assert shown(PIPE, one, two) == shown(PIPE, one) + "\n" + shown(PIPE, two)


@pytest.mark.parametrize(
    ("others", "heading"),
    [
        ({"status": "partial", "error": {"code": "idle_timeout"}}, "partial (idle_timeout):\n"),
        ({"status": "failed", "error": {"code": "rate_limited"}}, "failed (rate_limited):\n"),
        ({"status": "failed"}, "failed:\n"),
        (
            {"status": "failed", "error": {"code": "refused", "message": "HOST answered\n400: no"}},
            "failed (refused: HOST answered^J400: no):\n",
        ),
    ],
)
def test_a_turn_that_is_not_whole_is_marked_with_its_code_and_why(
    others: dict[str, str], heading: str
) -> None:
    assert f"gpt-5.4-mini, {heading}" in shown(PIPE, turn(1, **others))


def test_a_turn_of_a_batch_names_its_item() -> None:
    assert shown(PIPE, turn(1, item="q\n7")).splitlines()[0].endswith("0001, item q^J7:")


def test_a_system_message_is_shown_where_it_changes() -> None:
    turns = [turn(n, system=system) for n, system in enumerate(["a", "a", "b", None, "b"])]
    assert [block.split("\n")[1] for block in shown(PIPE, *turns).split("System:")[1:]] == [
        "a",
        "b",
        "b",
    ]


def test_a_turn_without_time_or_model_is_shown_all_the_same() -> None:
    assert shown(SCREEN, turn(1, time="", model="")).startswith("You, 01a20632")
    assert "\nAI:\n" in shown(SCREEN, turn(1, time="", model=""))


def test_control_characters_are_shown_on_a_terminal_and_exact_in_a_pipe() -> None:
    evil = turn(1, "\x1b]52;c;aGk=\x07", "a\x9b2J\tb\u202e", model="m\x1b[1m\n", time="\x1b")
    assert "\x1b" not in shown(SCREEN, evil)
    assert "^[]52;c;aGk=^G\n" in shown(SCREEN, evil)
    assert "a<U+009B>2J\tb<U+202E>\n" in shown(SCREEN, evil)
    assert "\x1b]52;c;aGk=\x07\n" in shown(PIPE, evil)
    assert "a\x9b2J\tb\u202e\n" in shown(PIPE, evil)
    assert "\nm^[[1m^J:\n" in shown(PIPE, evil)  # a heading is one line


def test_only_colors_bring_ansi_codes() -> None:
    assert "\x1b" not in shown(PIPE, turn(1)) + shown(SCREEN, turn(1))
    assert shown(COLORS, turn(1)).startswith("\x1b[1mYou\x1b[0m\x1b[2m, ")
    assert SCREEN.hit("x") == "x"


def test_a_time_that_is_none_is_shown_as_it_is() -> None:
    assert [SCREEN.time(time) for time in ("yesterday", "", "9999-12-31T23:59:59-23:59")] == [
        "yesterday",
        "",
        "9999-12-31T23:59:59-23:59",
    ]


def test_sessions_in_a_pipe_are_separated_by_tabs_on_one_line() -> None:
    table = SessionTable(PIPE, ["work"])
    summary = Summary("work", 3, "2026-11-23T00:01:30Z", 12345, "tabs\tand\nlines  are blanks")
    assert table.heading() == ""
    assert table.row(summary) == "work\t3\t2026-11-23T00:01:30Z\t12345\ttabs and lines are blanks\n"


def test_sessions_on_a_terminal_are_aligned_whatever_script_their_names_are_in() -> None:
    names = ["work", "旅行", "e\u0301t\u00e9", "a-rather-longer-name", "n" * 200]
    table = SessionTable(SCREEN, names)
    rows = [table.heading(), *(table.row(Summary(name, 3, "", 1, "w")) for name in names[:4])]
    columns = [row.index(" w\n") if row.endswith(" w\n") else 0 for row in rows]
    # A wide letter takes two columns and a combining one none.
    assert [columns[1], columns[2] + 2, columns[3] - 1, columns[4]] == [columns[1]] * 4
    assert rows[0].split() == ["session", "turns", "last", "size", "begins", "with"]


@pytest.mark.parametrize("columns", [20, 40, 59, 60, 80, 200])
@pytest.mark.parametrize("name", ["w", "a-rather-longer-name", "旅" * 30])
def test_no_row_of_sessions_is_wider_than_the_terminal(columns: int, name: str) -> None:
    table = SessionTable(SCREEN, [name, "w"], columns)
    summary = Summary(name, 3, "2026-11-23T00:01:30Z", 1, "many words, 很多很多的词 " * 9)
    rows = [table.heading(), table.row(summary), table.row(summary._replace(name="w"))]
    assert all(width(row.rstrip("\n")) <= columns for row in rows)
    assert rows[2].startswith("w ")
    assert [row.count("\n") for row in rows] == [1] * 3
    assert ("  3  " in rows[2]) == (columns >= 60)  # a narrow one has no room for numbers
    assert columns < 80 or "many" in rows[2]


def test_an_empty_session_has_a_row_without_trailing_blanks() -> None:
    assert SessionTable(SCREEN, ["w"]).row(Summary("w", 0, "", 0, "")).endswith("0 B\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        (" \n why?\n", "why?"),
        ("x" * 48, "x" * 48),
        ("x" * 49, "x" * 47 + "…"),
        ("word " * 1_000_000, "word " * 9 + "wo…"),
    ],
)
def test_first_words_are_one_short_line(text: str, words: str) -> None:
    assert first_words(text) == words


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_037_591_393, "1.0 GB"),
        (10**21, "1000 EB"),
    ],
)
def test_sizes_are_told_in_three_digits(size: int, text: str) -> None:
    assert human_size(size) == text
