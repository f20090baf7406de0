"""What a script, and a person at a terminal, may rely on of `pipechat history`."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from pipechat.commands.history_edit import parse_limit
from pipechat.errors import UsageError
from pipechat.store.sessions import SessionStore
from tests.history_kit import limit_memory, line, on_a_terminal, turn, write_session
from tests.program import Program

pytestmark = pytest.mark.in_process

UNKNOWN_KEYS = line(turn(2, "two?"))[:-2] + b', "rating": {"stars": 5}}\n'


def test_show_prints_what_ask_kept(program: Program) -> None:
    for question in ("What is a pipe?", "And a FIFO?"):
        program.run("ask", "--offline", "--session", "work", question)
    result = program.run("history", "show", "work")
    assert result.status == 0
    assert b":\nWhat is a pipe?\n\noffline:\noffline, with no earlier turn" in result.stdout
    assert b":\nAnd a FIFO?\n\noffline:\noffline, with 1 earlier turn" in result.stdout
    assert result.stderr == b""


def test_show_takes_the_session_used_last(program: Program) -> None:
    for number, name in enumerate(["b", "c", "a"]):
        path = write_session(program, name, [turn(1, f"in {name}?")])
        os.utime(path, (number, number))
    assert b"in a?" in program.run("history", "show").stdout


@pytest.mark.parametrize("arguments", [["show"], ["show", "nope"], ["path", "nope"]])
def test_a_missing_session_exits_9_and_says_what_to_try(
    program: Program, arguments: list[str]
) -> None:
    result = program.run("history", *arguments)
    assert (result.status, result.code, result.stdout) == (9, "session_missing", b"")
    assert b"`pipechat " in result.stderr


def test_ndjson_gives_the_records_as_they_stand_in_the_file(program: Program) -> None:
    lines = [line(turn(1)), UNKNOWN_KEYS, line(turn(3, "\x1b é \u2028", status="failed"))]
    write_session(program, "w", lines)
    shown = program.run("history", "show", "w", "--output-format", "ndjson")
    assert shown.stdout == b"".join(lines)
    last = program.run("history", "show", "w", "--last", "2", "--output-format", "stream-json")
    assert last.stdout == b"".join(lines[1:])


def test_json_is_one_array_of_the_records(program: Program) -> None:
    write_session(program, "w", [turn(1), UNKNOWN_KEYS])
    shown = json.loads(program.run("history", "show", "w", "--output-format", "json").stdout)
    assert [record["question"] for record in shown] == ["why?", "two?"]
    assert shown[1]["rating"] == {"stars": 5}
    write_session(program, "empty", [])
    assert program.run("history", "show", "empty", "--output-format", "json").stdout == b"[]\n"


@pytest.mark.parametrize("last", [[], ["--last", "5"]])
def test_a_record_that_is_no_utf_8_is_still_json_when_shown(
    program: Program, last: list[str]
) -> None:
    write_session(program, "w", [line(turn(1, "caf?")).replace(b"caf?", b"caf\xe9")])
    shown = program.run("history", "show", "w", "--output-format", "ndjson", *last)
    assert json.loads(shown.stdout.decode())["question"] == "caf\ufffd"


def test_last_shows_the_end_whatever_is_torn_or_doubled_there(program: Program) -> None:
    turns = [turn(n, f"q{n}") for n in range(5)]
    write_session(program, "w", [*turns[:4], turns[3], b'{"torn\n', turns[4], b'{"tail'])
    for form in ("text", "ndjson"):
        shown = program.run("history", "show", "w", "--last", "2", "--output-format", form)
        assert [f"q{n}" in shown.stdout.decode() for n in range(5)] == [False] * 3 + [True] * 2
        assert shown.stdout.count(b"q3") == 1
        assert b"is no turn and was skipped" in shown.stderr
        assert program.run("history", "show", "w", "-q", "-n", "2").stderr == b""


def test_last_reads_only_the_end_of_the_file(program: Program) -> None:
    # A hole of 4 TB, which nobody reads to its end: if it was touched, this would not return.
    path = write_session(program, "w", [])
    with path.open("wb") as file:
        file.seek(4 << 40)
        file.write(b"\n" + b"".join(line(turn(n, f"q{n}")) for n in range(3)))
    for form in ("text", "json"):
        shown = program.run("history", "show", "w", "--last", "2", "--output-format", form)
        assert (shown.status, b"q0" in shown.stdout, b"q1" in shown.stdout) == (0, False, True)
    path.unlink()


def test_what_an_interrupted_ask_left_is_shown(program: Program) -> None:
    program.run("ask", "--offline", "--session", "w", "first?")
    head = turn(7, "interrupted?", "", status="partial", error={"code": "x", "message": "y"})
    spool = program.home / "sessions" / f".w.{head.id}.part"
    spool.write_bytes(line(head) + b"half an ans")
    spool.chmod(0o600)
    assert b"half an ans" in program.run("history", "search", "half").stdout
    assert program.spools() == []
    assert b"half an ans\n" in program.run("history", "show").stdout


@pytest.mark.parametrize("arguments", [["show", "w"], ["search", "x"], ["list"]])
def test_a_reader_that_leaves_ends_it_by_sigpipe_and_without_a_word(
    program: Program, arguments: list[str]
) -> None:
    write_session(program, "w", [turn(n, "x" * 5000) for n in range(100)])
    process = program.start("history", *arguments, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    result = program.finish(process)
    assert (result.status, result.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [["show", "w"], ["list"], ["search", "why"], ["path"]])
def test_a_full_disk_exits_11(program: Program, arguments: list[str]) -> None:
    write_session(program, "w", [turn(1)])
    with open("/dev/full", "wb") as full:
        process = program.start("history", *arguments, stdout=full)
        result = program.finish(process)
    assert (result.status, result.code) == (11, "output_failed")


def test_list_is_a_line_a_session_separated_by_tabs(program: Program) -> None:
    one = write_session(program, "one", [turn(1, "first\nwords?"), turn(2)])
    write_session(program, "two", [turn(3, "other")])
    assert program.run("history", "list").stdout.decode().splitlines() == [
        f"one\t2\t2026-11-23T00:02:30.250Z\t{one.stat().st_size}\tfirst words?",
        f"two\t1\t2026-11-23T00:03:30.250Z\t{len(line(turn(3, 'other')))}\tother",
    ]


def test_list_as_json_tells_the_same(program: Program) -> None:
    path = write_session(program, "one", [turn(1, "first\nwords?"), turn(2)])
    expected = {
        "name": "one",
        "turns": 2,
        "last_time": "2026-11-23T00:02:30.250Z",
        "size": path.stat().st_size,
        "first_question": "first\nwords?",
    }
    array = program.run("history", "list", "--output-format", "json").stdout
    lines = program.run("history", "list", "--output-format", "ndjson").stdout
    assert json.loads(array) == [expected]
    assert [json.loads(each) for each in lines.splitlines()] == [expected]


def test_list_of_nothing_is_nothing(program: Program) -> None:
    for form, stdout in (("text", b""), ("json", b"[]\n"), ("ndjson", b"")):
        result = program.run("history", "list", "--output-format", form)
        assert (result.status, result.stdout, result.stderr) == (0, stdout, b"")
    assert b"there are no sessions" in on_a_terminal(program, "history", "list").stdout


def test_path_prints_where_things_are(program: Program) -> None:
    path = write_session(program, "été", [turn(1)])
    assert program.run("history", "path", "été").stdout == f"{path}\n".encode()
    assert program.run("history", "path").stdout == f"{path.parent}\n".encode()


def test_a_terminal_gets_local_times_colors_and_no_control_characters(program: Program) -> None:
    write_session(program, "w", [turn(1, "hi \x1b]52;c;aGk=\x07", "\x9b2Jso", status="partial")])
    screen = on_a_terminal(program, "history", "show", "w").stdout.decode()
    assert screen == (
        "\x1b[1mYou\x1b[0m\x1b[2m, 2026-11-23 01:01:30, 01a20632-3269-7831-b7d6-000000000001"
        "\x1b[0m:\nhi ^[]52;c;aGk=^G\n\n"
        "\x1b[1mgpt-5.4-mini\x1b[0m\x1b[2m, partial\x1b[0m:\n<U+009B>2Jso\n"
    )
    records = on_a_terminal(program, "history", "show", "w", "--output-format", "ndjson").stdout
    assert b"\xc2\x9b" not in records
    assert b"\\u009b2Jso" in records
    table = on_a_terminal(program, "history", "list").stdout
    assert table.splitlines()[1].startswith(b"w              1  2026-11-23 01:01:30     ")
    assert b"\x1b]" not in table


@pytest.mark.parametrize("output_format", ["json", "ndjson"])
@pytest.mark.parametrize("text", ["\x1b[2Jx", "a\x9bb\x7f", "txt\u202egnp.exe", "a\rb\tc"])
def test_json_on_a_terminal_says_the_same_with_no_control_character(
    program: Program, output_format: str, text: str
) -> None:
    write_session(program, "s", [turn(1, answer=text)])
    for arguments in (("show", "s"), ("search", text[-1])):
        result = on_a_terminal(program, "history", *arguments, "--output-format", output_format)
        shown = result.stdout.decode().replace("\n", "")
        assert shown.isprintable()
        found = json.loads(shown)
        (record,) = found if output_format == "json" else [found]
        assert text in (record.get("answer"), record.get("text"))


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_keeps_ansi_codes_away(program: Program, variables: dict[str, str]) -> None:
    write_session(program, "w", [turn(1)])
    for arguments in (["show"], ["list"], ["search", "why"]):
        result = on_a_terminal(program, "history", *arguments, env=variables)
        assert result.status == 0
        assert b"\x1b" not in result.stdout


def test_delete_needs_yes_where_nobody_can_be_asked(program: Program) -> None:
    path = write_session(program, "w", [turn(1)])
    refused = program.run("history", "delete", "w", input=b"y\n")
    assert (refused.status, refused.code, path.exists()) == (2, "not_confirmed", True)
    assert b"--yes" in refused.stderr
    done = program.run("history", "delete", "w", "--yes")
    assert (done.status, done.stderr, path.exists()) == (
        0,
        b"pipechat: deleted session 'w'\n",
        False,
    )
    assert program.run("history", "delete", "w", "--yes").status == 9


@pytest.mark.parametrize(
    ("typed", "stays"),
    [(b"y\n", False), (b"YES\n", False), (b"\n", True), (b"n\n", True)],
)
def test_delete_asks_on_a_terminal(program: Program, typed: bytes, stays: bool) -> None:
    path = write_session(program, "w", [turn(1)])
    result = on_a_terminal(program, "history", "delete", "w", typed=typed)
    assert (result.status, path.exists()) == (0, stays)
    assert b"Delete session 'w' for good? [y/N]" in result.stdout
    said = b"session 'w' was left alone" if stays else b"deleted session 'w'"
    assert b"\npipechat: " + said in result.stdout  # in a line of its own


def test_delete_says_what_it_left(program: Program) -> None:
    path = write_session(program, "w", [turn(1)])
    path.with_suffix(".torn").write_bytes(b"torn\n")
    result = program.run("history", "delete", "w", "--yes")
    assert result.stderr.decode() == (
        f"pipechat: deleted session 'w'; {path.with_suffix('.torn')} stays\n"
    )


def test_delete_says_that_a_turn_in_flight_will_begin_the_session_anew(program: Program) -> None:
    path = write_session(program, "w", [turn(1)])
    writer = SessionStore(path.parent, print).begin("w")
    result = program.run("history", "delete", "w", "--yes")
    assert (result.status, path.exists()) == (0, False)
    assert b"deleted session 'w'; 1 turn in flight will begin it anew" in result.stderr
    writer.finish(turn(2))
    assert [record["id"] for record in program.records("w")] == [turn(2).id]


def test_rename_and_fork_say_what_they_did_and_refuse_names_that_are_taken(
    program: Program,
) -> None:
    path = write_session(program, "w", [turn(1), turn(2), turn(3)])
    before = path.read_bytes()
    forked = program.run("history", "fork", "w", "f", "--at", "2")
    assert (forked.status, forked.stderr) == (0, b"pipechat: forked session 'w' to 'f': 2 turns\n")
    assert (path.parent / "f.jsonl").read_bytes() == line(turn(1)) + line(turn(2))
    by_id = program.run("history", "fork", "w", "g", "--at", turn(1).id)
    assert by_id.stderr == b"pipechat: forked session 'w' to 'g': 1 turn\n"
    for verb in ("rename", "fork"):
        assert program.run("history", verb, "w", "f").code == "session_exists"
        assert program.run("history", verb, "nope", "n").status == 9
        assert program.run("history", verb, "w", "../x").status == 2
    assert program.run("history", "fork", "w", "n", "--at", "4").code == "no_such_turn"
    renamed = program.run("history", "rename", "w", "v")
    assert renamed.stderr == b"pipechat: renamed session 'w' to 'v'\n"
    assert (path.exists(), (path.parent / "v.jsonl").read_bytes()) == (False, before)


def test_repair_moves_what_is_torn_aside_and_a_dry_run_only_says_so(program: Program) -> None:
    path = write_session(program, "w", [turn(1), b'{"torn\n', turn(2), turn(2)])
    write_session(program, "fine", [turn(1)])
    before = path.read_bytes()
    torn = path.with_suffix(".torn")
    dry = program.run("history", "repair", "--dry-run")
    assert dry.stdout.decode() == (
        f"session 'w': would move 1 torn line and 1 double to {torn}; 2 turns stay\n"
        "in order: 1 session\n"
    )
    assert (dry.stderr, path.read_bytes(), torn.exists()) == (b"", before, False)
    done = program.run("history", "repair", "w")
    assert done.stderr.decode() == (
        f"pipechat: session 'w': moved 1 torn line and 1 double to {torn}; 2 turns stay\n"
    )
    assert path.read_bytes() == line(turn(1)) + line(turn(2))
    assert torn.read_bytes() == b'{"torn\n' + line(turn(2))
    assert program.run("history", "repair", "nope").status == 9


def test_prune_drops_what_is_older_and_a_dry_run_only_says_so(program: Program) -> None:
    path = write_session(program, "w", [turn(1), turn(2), turn(3)])
    write_session(program, "x", [turn(9)])
    since = ["--older-than", "2026-11-23T00:03:00Z"]
    dry = program.run("history", "prune", "--dry-run", *since)
    assert dry.stdout.decode().splitlines() == [
        "session 'w': would drop 2 turns of 3",
        "nothing to drop: 1 session",
    ]
    assert len(program.records("w")) == 3
    done = program.run("history", "prune", "w", *since)
    assert (done.status, done.stderr) == (0, b"pipechat: session 'w': dropped 2 turns of 3\n")
    assert path.read_bytes() == line(turn(3))
    assert program.run("history", "prune", "-q", "--older-than", "2999-01-01").stderr == b""
    assert program.records("x") == []
    assert program.run("history", "prune", "nope", *since).status == 9


def test_one_session_that_fails_stops_no_other_and_is_exit_9(program: Program) -> None:
    folder = write_session(program, "a", [turn(1)]).parent
    write_session(program, "z", [turn(1)])
    (folder / ".a.rewrite").mkdir()
    result = program.run("history", "prune", "--older-than", "2999-01-01")
    assert (result.status, result.code) == (9, "session 'z'")
    assert b"pipechat: session_unwritable: session 'a'" in result.stderr
    assert (len(program.records("a")), program.records("z")) == (1, [])


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("90d", "2026-08-25T12:00:00+00:00"),
        ("2w", "2026-11-09T12:00:00+00:00"),
        ("36h", "2026-11-22T00:00:00+00:00"),
        ("90m", "2026-11-23T10:30:00+00:00"),
        ("0s", "2026-11-23T12:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T08:00:00.5+02:00", "2026-01-31T08:00:00.500000+02:00"),
    ],
)
def test_an_age_or_a_date_is_a_limit(text: str, limit: str) -> None:
    assert parse_limit(text, NOW).isoformat() == limit


@pytest.mark.parametrize("text", ["", "d", "90", "-1d", "1.5d", "90y", "9" * 30 + "d", "²d", "now"])
def test_what_is_neither_an_age_nor_a_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither an age nor a date"):
        parse_limit(text, NOW)


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "--last", "0"],
        ["show", "--output-format", "xml"],
        ["list", "--output-format", "yaml"],
        ["search"],
        ["search", "x", "--output-format", "csv"],
        ["prune"],
        ["prune", "--older-than", "soon"],
        ["delete"],
        ["rename", "a"],
        ["show", ".hidden"],
        ["path", "../up"],
        ["nope"],
    ],
)
def test_a_wrong_command_line_exits_2_with_one_line(program: Program, arguments: list[str]) -> None:
    result = program.run("history", *arguments)
    assert (result.status, result.stdout, result.stderr.count(b"\n")) == (2, b"", 1)


OPTIONS = {
    "list": ["--output-format"],
    "show": ["--last", "--output-format"],
    "path": [],
    "search": [
        *("--session", "--regexp", "-E", "--ignore-case", "-i", "--output-format"),
        *("--files-with-matches", "-l", "--count", "-c", "--context", "-C", "--color"),
    ],
    "fork": ["--at"],
    "rename": [],
    "delete": ["--yes"],
    "prune": ["--older-than", "--dry-run"],
    "repair": ["--dry-run"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_tells_of_every_option(program: Program, command: str) -> None:
    result = program.run("history", command, "--help")
    assert result.status == 0
    for option in [*OPTIONS[command], "--quiet", "--verbose"]:
        assert option in result.stdout.decode()


HEAVY = {"openai", "httpx2", "httpcore2", "pydantic", "asyncio", "ssl", "rich", "json", "http"}


@pytest.mark.parametrize(
    "arguments",
    [["show", "w"], ["show", "--last", "1"], ["list"], ["path"], ["search", "why"]],
)
def test_looking_at_history_imports_nothing_heavy(program: Program, arguments: list[str]) -> None:
    write_session(program, "w", [turn(1)])
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipechat", "history", *arguments],
        env=program.environ(),
        capture_output=True,
        check=True,
    )
    imported = {each.split("|")[-1].strip() for each in result.stderr.decode().splitlines()}
    assert "pipechat.store.sessions" in imported
    assert not {name for name in imported if name.split(".")[0] in HEAVY - {"json"}}
    ours = {name for name in imported if name.startswith("pipechat.")}
    assert not ours & {
        "pipechat.client.chat_client",
        "pipechat.store.rewrite",
        "pipechat.store.moves",
        "pipechat.show.schema",
    }


def test_ten_thousand_sessions_are_listed_in_flat_memory(program: Program) -> None:
    folder = write_session(program, "s0", [turn(0, "x" * 10_000)]).parent
    for number in range(1, 10_000):
        os.link(folder / "s0.jsonl", folder / f"s{number}.jsonl")
    result = program.run("history", "list", preexec_fn=limit_memory)
    # The questions alone are 100 MB.
    assert (result.status, result.stdout.count(b"\n"), result.stderr) == (0, 10_000, b"")
