"""What a user may rely on of `pipechat history export`, in each of its formats."""

import json
import os
import signal
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.history_kit import line, on_a_terminal, turn, write_session
from tests.program import Program, Result

pytestmark = pytest.mark.in_process

FORMATS = ["markdown", "messages", "ndjson", "html"]
TURNS = [
    turn(1, "one?", "*1*", system="Be brief."),
    turn(2, "two?", "half", status="partial", error={"code": "cut", "message": "gone"}),
    turn(3, "three?", "3", system="Be long."),
]


def exported(program: Program, *arguments: str | bytes, form: str | None = None) -> Result:
    chosen = ("--format", form) if form else ()
    return program.run("history", "export", *arguments, *chosen)


def test_messages_are_what_a_request_would_send_along(program: Program) -> None:
    write_session(program, "w", TURNS)
    result = exported(program, "w", form="messages")
    assert json.loads(result.stdout) == [
        {"role": "system", "content": "Be long."},
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "*1*"},
        {"role": "user", "content": "three?"},
        {"role": "assistant", "content": "3"},
    ]
    assert b"pipechat: 1 turn left out: not complete" in result.stderr
    assert exported(program, "w", "-q", form="messages").stderr == b""
    write_session(program, "empty", [])
    assert exported(program, "empty", form="messages").stdout == b"[]\n"


def test_records_are_exported_as_they_stand_with_what_was_left_out_of_the_context(
    program: Program,
) -> None:
    unknown = line(turn(4))[:-2] + b', "rating": 5}\n'
    mark = turn(1, "one?", "*1*", system="Be brief.", context=False)
    write_session(program, "w", [*TURNS, mark, unknown, b'{"torn\n'])
    result = exported(program, "w", form="ndjson")
    assert result.stdout == b"".join(map(line, TURNS)) + unknown + line(mark)
    assert b"is no turn and was skipped" in result.stderr


def test_markdown_has_a_heading_a_turn_whatever_was_asked_and_answered(program: Program) -> None:
    opened = ["```\ncode", "~~~~\n# no heading", "<!-- hidden", "<script>", "<pre>\n\n# x",
              "- a\n- b", "| a |\n|---|", "    code", "> quoted", "text", "![CDATA[",
              "<?php", "***", "a\n==="]  # fmt: skip
    turns = [turn(n, text, text, model="m_*1*") for n, text in enumerate(opened, 4)]
    write_session(program, "w", [*TURNS, *turns])
    text = exported(program, "w").stdout.decode()
    tokens = MarkdownIt("commonmark").parse(text)
    at_top = [
        tokens[place + 1].content
        for place, each in enumerate(tokens)
        if each.type == "heading_open" and each.level == 0 and each.tag in ("h1", "h2")
    ]
    numbers = [*range(1, len(opened) + 4)]
    assert [each for each in at_top if each != "a"] == ["w", *(f"Turn {n}" for n in numbers)]
    assert "**Not complete:** partial (cut: gone)\n" in text
    assert text.count("**System:**") == 2
    assert "\n**gpt-5.4-mini:**\n\n*1*\n" in text
    assert "m\\_\\*1\\*" in text


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.md", b"# w\n"), ("a.MARKDOWN", b"# w\n"), ("a.json", b'[{"role"'),
        ("a.jsonl", b'{"v":1'), ("a.ndjson", b'{"v":1'), ("a.html", b"<!doctype html>"),
        ("a.htm", b"<!doctype html>"), ("a.txt", b"# w\n"), ("a", b"# w\n"),
    ],
)  # fmt: skip
def test_the_name_of_the_file_says_the_format_where_nothing_else_does(
    program: Program, tmp_path: Path, name: str, begins: bytes
) -> None:
    write_session(program, "w", TURNS)
    path = tmp_path / "out" / name
    path.parent.mkdir()
    result = exported(program, "w", "-o", str(path))
    assert (result.status, result.stdout) == (0, b"")
    assert path.read_bytes().startswith(begins)
    assert exported(program, "w", "-o", str(path), form="html").status == 0
    assert path.read_bytes().startswith(b"<!doctype html>")
    assert os.listdir(path.parent) == [name]


@pytest.mark.parametrize("form", FORMATS)
def test_what_goes_wrong_has_one_exit_code_in_every_format_and_leaves_no_file(
    program: Program, tmp_path: Path, form: str
) -> None:
    (tmp_path / "notes.jsonl").write_text("no turn\n")
    write_session(program, "w", TURNS)
    out = tmp_path / "new" / "out"
    for arguments, status, code in [
        (("nope",), 9, "session_missing"),
        ((f"{tmp_path}/nope",), 9, "session_missing"),
        ((f"{tmp_path}/notes.jsonl",), 9, "session_unreadable"),
        (("../w",), 9, "session_missing"),
        ((".w",), 2, "bad_session_name"),
        (("w", "-o", str(out)), 11, "output_failed"),
        (("w", "-o", str(tmp_path)), 11, "output_failed"),
    ]:
        for more in ((), ("-o", str(tmp_path / "out"))) if "-o" not in arguments else ((),):
            result = exported(program, *arguments, *more, form=form)
            assert (result.status, result.code, result.stdout) == (status, code, b""), arguments
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*.part"))
    assert exported(program, form=form).stdout == exported(program, "w", form=form).stdout


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("way", ["by name", "by path", "through a link"])
def test_an_export_does_not_replace_what_it_reads(
    program: Program, tmp_path: Path, form: str, way: str
) -> None:
    path = write_session(program, "w", TURNS)
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    source = "w" if way == "by name" else str(path)
    target = tmp_path / "link" if way == "through a link" else path
    result = exported(program, source, "-o", str(target), form=form)
    assert (result.status, result.stdout) == (2, b"")
    assert b"bad_option: --output: " in result.stderr
    assert b"is what is exported. Name another file" in result.stderr
    assert path.read_bytes() == before


def test_a_format_that_there_is_not_is_exit_2_and_what_is_near_is_named(program: Program) -> None:
    write_session(program, "w", TURNS)
    for wrong, near in (("htlm", "'html'"), ("mesages", "'messages'"), ("markdwon", "'markdown'")):
        result = exported(program, "w", form=wrong)
        assert (result.status, result.code) == (2, "bad_option")
        assert f"--format: '{wrong}' is not one of ".encode() in result.stderr
        assert near.encode() in result.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_a_terminal_obeys_nothing_of_an_export(program: Program, form: str) -> None:
    evil = "a\x1b]0;x\x07\x9b\u202e"
    write_session(program, "w", [turn(1, evil, evil, model=evil, system=evil, id=evil)])
    shown = on_a_terminal(program, "history", "export", "w", "--format", form)
    assert shown.status == 0
    text = shown.stdout.decode()
    assert not any(each in text for each in "\x1b\x07\x9b\u202e")
    written = program.run("history", "export", "w", "--format", form).stdout.decode()
    is_for_people = form in ("markdown", "html")
    assert ("\u202e" not in written) == is_for_people
    assert ("U+202E" in written) == is_for_people


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_whose_name_is_no_utf_8_is_exported(
    program: Program, tmp_path: Path, form: str
) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(line(TURNS[0]))
    result = program.run("history", "export", b"./caf\xe9.jsonl", "--format", form, cwd=tmp_path)
    assert (result.status, result.stderr) == (0, b"")
    assert ("caf\ufffd.jsonl" in result.stdout.decode()) == (form in ("markdown", "html"))


@pytest.mark.in_process(False)
def test_an_export_goes_into_a_pipe_and_a_descriptor_and_a_reader_may_leave(
    program: Program,
) -> None:
    write_session(program, "w", TURNS)
    wanted = exported(program, "w", form="html").stdout
    for output in ("-", "/dev/stdout"):
        assert exported(program, "w", "-o", output, form="html").stdout == wanted
    write_session(program, "long", [turn(n, "q" * 9000) for n in range(200)])
    process = program.start("history", "export", "long")
    assert process.stdout is not None
    assert process.stdout.read(6) == b"# long"
    process.stdout.close()
    assert process.wait(30) == -signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_page_tells_what_each_turn_cost_by_the_prices_that_hold(program: Program) -> None:
    (program.home / "config.toml").write_text('[prices."own"]\ninput = 0.5\noutput = 2\n')
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    turns = [turn(1, model="own", usage=usage), turn(2, model="of-nobody", usage=usage)]
    write_session(program, "w", turns)
    page = exported(program, "w", form="html").stdout.decode()
    assert page.count("1,000 tokens sent, 500 received, $0.0015") == 1
    assert "2 turns, 2,000 tokens sent, 1,000 received, $0.0015 for 1 of them." in page


def test_a_name_of_another_kind_of_file_is_said_to_hold_markdown(
    program: Program, tmp_path: Path
) -> None:
    write_session(program, "w", TURNS)
    for name in ("w.pdf", "w.docx", "w.csv"):
        result = exported(program, "w", "-o", str(tmp_path / name))
        assert result.status == 0
        told = f"pipechat: .{name[2:]} is no format of export: this is Markdown; --format"
        assert result.stderr.decode().startswith(told)
        assert (tmp_path / name).read_bytes().startswith(b"# w\n")
    for name, form in (("w.txt", None), ("w", None), ("w.md", None), ("w.pdf", "html")):
        assert exported(program, "w", "-o", str(tmp_path / name), form=form).stderr == b""
