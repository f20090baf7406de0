"""Sessions by hand: going on with the last one, never beginning one by a typo, one turn of many."""

import os
from pathlib import Path

import pytest

from tests.program import Program

pytestmark = pytest.mark.in_process
FORMATS = ["text", "ndjson", "json"]


def ask(program: Program, *arguments: str) -> str:
    result = program.run("ask", "--offline", "-q", *arguments)
    assert result.status == 0, result.stderr
    return result.stdout.decode()


def files(program: Program) -> set[str]:
    return {path.name for path in (program.home / "sessions").glob("*.jsonl")}


def test_continue_goes_on_with_the_session_used_last(program: Program) -> None:
    ask(program, "--session", "one", "a")
    ask(program, "--session", "two", "b")
    assert "with 1 earlier turn:" in ask(program, "-c", "c")
    ask(program, "--session", "one", "d")
    assert "with 2 earlier turns:" in ask(program, "--continue", "e")
    assert files(program) == {"one.jsonl", "two.jsonl"}


def test_continue_is_stronger_than_a_session_of_the_environment(program: Program) -> None:
    ask(program, "--session", "one", "a")
    result = program.run("ask", "--offline", "-q", "-c", "b", env={"PIPECHAT_SESSION": "other"})
    assert b"with 1 earlier turn:" in result.stdout
    assert files(program) == {"one.jsonl"}


@pytest.mark.parametrize("more", [("--if-busy", "fail"), ("--once", "k"), ("--keep-files",)])
def test_what_needs_a_session_has_one_with_continue(
    program: Program, more: tuple[str, ...]
) -> None:
    ask(program, "--session", "one", "a")
    assert "with 1 earlier turn:" in ask(program, "-c", *more, "b")


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("-c",), 9, "session_missing"),
        (("--existing", "--session", "trp"), 9, "session_missing"),
        (("--existing", "--session", "a/b"), 2, "bad_session_name"),
        (("--existing",), 2, "bad_option"),
        (("-c", "--session", "x"), 2, "bad_option"),
    ],
)
def test_where_there_is_no_such_session_nothing_is_asked_and_none_begins(
    program: Program, arguments: tuple[str, ...], status: int, code: str, output_format: str
) -> None:
    result = program.run("ask", "--offline", *arguments, "--output-format", output_format, "hi")
    assert (result.status, result.code) == (status, code)
    assert files(program) == set()
    assert (result.stdout == b"") == (output_format == "text")


def test_chat_goes_on_and_keeps_to_what_exists_as_ask_does(program: Program) -> None:
    ask(program, "--session", "trip", "a")
    talked = program.run("chat", "--offline", "-q", "-c", input=b"b\n")
    assert b"with 1 earlier turn:" in talked.stdout
    missed = program.run("chat", "--offline", "--existing", "--session", "trp", input=b"b\n")
    assert (missed.status, missed.code) == (9, "session_missing")
    assert files(program) == {"trip.jsonl"}


def test_existing_may_stand_in_the_config_file_and_waits_for_a_session(program: Program) -> None:
    (program.home / "config.toml").write_text("existing = true\n")
    os.chmod(program.home / "config.toml", 0o600)
    assert ask(program, "no session at all")
    missed = program.run("ask", "--offline", "--session", "new", "hi")
    assert (missed.status, missed.code) == (9, "session_missing")


@pytest.mark.parametrize(("place", "question"), [(1, "q1"), (3, "q3"), (-1, "q5"), (-5, "q1")])
def test_one_turn_is_shown_by_its_place_from_either_end(
    program: Program, place: int, question: str
) -> None:
    for number in range(1, 6):
        ask(program, "--session", "s", f"q{number}")
    text = program.run("history", "show", "s", "--turn", str(place))
    assert text.stdout.decode().count("You, ") == 1
    assert f"\n{question}\n" in text.stdout.decode()
    lines = (program.home / "sessions" / "s.jsonl").read_bytes().splitlines(keepends=True)
    record = program.run("history", "show", "s", "--turn", str(place), "--output-format", "ndjson")
    assert record.stdout == lines[place - 1 if place > 0 else place]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("place", [2, -2, 10**30])
def test_a_turn_that_is_not_there_is_a_failure_of_the_session(
    program: Program, place: int, output_format: str
) -> None:
    ask(program, "--session", "s", "q")
    arguments = ("--turn", str(place), "--output-format", output_format)
    result = program.run("history", "show", "s", *arguments)
    assert (result.status, result.code, result.stdout) == (9, "turn_missing", b"")


@pytest.mark.parametrize("arguments", [("--turn", "0"), ("--turn", "1", "--last", "1")])
def test_a_place_that_says_nothing_is_wrong_usage(
    program: Program, arguments: tuple[str, ...]
) -> None:
    ask(program, "--session", "s", "q")
    result = program.run("history", "show", "s", *arguments)
    assert (result.status, result.code) == (2, "bad_option")


def test_a_turn_of_a_file_is_shown_by_its_place(program: Program, tmp_path: Path) -> None:
    ask(program, "--session", "s", "first")
    ask(program, "--session", "s", "second")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((program.home / "sessions" / "s.jsonl").read_bytes())
    shown = program.run("history", "show", str(copy), "--turn", "2")
    assert b"second" in shown.stdout
    assert b"\nfirst" not in shown.stdout


def test_a_turn_has_the_number_that_search_shows(program: Program) -> None:
    path = program.home / "sessions" / "s.jsonl"
    ask(program, "--session", "s", "first")
    with path.open("ab") as file:
        file.write(b"no turn\n" + path.read_bytes())  # a torn line, and the first turn once more
    ask(program, "--session", "s", "needle")
    found = program.run("history", "search", "-q", "needle", "--session", "s").stdout.decode()
    number = found.split(":")[1]
    assert number == "4"
    assert b"needle" in program.run("history", "show", "-q", "s", "--turn", number).stdout
