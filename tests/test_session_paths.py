"""A file of turns is read by its path as a session is by its name, and left as it is."""

import fcntl
import json
import os
import stat
from pathlib import Path

import pytest

from pipechat.store.sessions import SessionStore
from tests.history_kit import line, on_a_terminal, turn, write_session
from tests.program import Program, Result
from tests.store_kit import fork, wait_for

pytestmark = pytest.mark.in_process

TURNS = [turn(1, "a pipe?", "yes\na pipe"), turn(2, status="partial"), turn(3, "last pipe")]
FORMATS = ["text", "json", "ndjson"]
READERS = [("show",), ("search", "pipe")]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder as a user might stand in, with a batch's output `out.jsonl` in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "out.jsonl").write_bytes(b"".join(map(line, TURNS)))
    (folder / "out.jsonl").chmod(0o600)
    return folder


def history(program: Program, here: Path, *arguments: str) -> Result:
    return program.run("history", *arguments, cwd=here)


def found_in(result: Result) -> list[str]:
    """The addresses that a search in text gave."""
    return [each.rpartition(": ")[0] for each in result.stdout.decode().splitlines()]


@pytest.mark.parametrize("options", [[], ["-n", "1"], ["--last", "2"]], ids=str)
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("path", ["./out.jsonl", "../here/out.jsonl", "{here}/out.jsonl"])
def test_show_says_of_a_path_what_it_says_of_a_session_with_these_turns(
    program: Program, here: Path, path: str, output_format: str, options: list[str]
) -> None:
    write_session(program, "w", TURNS)
    more = ["--output-format", output_format, *options]
    by_name = history(program, here, "show", "w", *more)
    by_path = history(program, here, "show", path.format(here=here), *more)
    assert by_name.stdout != b""
    assert by_path == by_name


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=str)
@pytest.mark.parametrize("output_format", ["json", "ndjson"])
def test_keys_that_only_a_batch_writes_are_shown_as_they_stand(
    program: Program, here: Path, output_format: str, options: list[str]
) -> None:
    records = [{**each.record(), "item": f"i{n}", "attempts": n} for n, each in enumerate(TURNS)]
    lines = [json.dumps(record) for record in records]
    (here / "out.jsonl").write_text("\n".join(lines) + "\n")
    more = ["--output-format", output_format, *options]
    shown = history(program, here, "show", "./out.jsonl", *more).stdout.decode()
    wanted = lines[-2:] if options else lines
    assert shown == (
        "".join(f"{each}\n" for each in wanted)
        if output_format == "ndjson"
        else "[" + ",\n".join(wanted) + "]\n"
    )
    assert history(program, here, "show", "./out.jsonl").status == 0


def test_search_goes_through_names_and_paths_in_the_order_in_which_they_are_given(
    program: Program, here: Path
) -> None:
    write_session(program, "w", [turn(4, "a pipe")])
    write_session(program, "not-named", [turn(5, "a pipe")])
    (here / "b").mkdir()
    (here / "b" / "x").write_bytes(line(turn(6, "no", "pipe")))
    result = history(program, here, "search", "pipe", "b/x", "w", "./out.jsonl", f"{here}/b/x")
    assert (result.status, result.stderr) == (0, b"")
    assert found_in(result) == [
        "b/x:1:answer",
        "w:1:question",
        "./out.jsonl:1:question",
        "./out.jsonl:1:answer",
        "./out.jsonl:3:question",
        f"{here}/b/x:1:answer",
    ]
    for first in ("./out.jsonl", "w"):
        both = history(program, here, "search", "--session", first, "pipe", "b/x")
        assert [each.split(":")[0] for each in found_in(both)[-2:]] == [first, "b/x"]


@pytest.mark.parametrize("output_format", ["json", "ndjson"])
def test_a_hit_in_a_file_has_the_path_for_its_session(
    program: Program, here: Path, output_format: str
) -> None:
    write_session(program, "w", TURNS)
    arguments = ("search", "last", "--output-format", output_format, "./out.jsonl", "w")
    result = history(program, here, *arguments)
    hits = json.loads(result.stdout) if output_format == "json" else result.events
    assert [(hit.pop("session"), hit["turn"]) for hit in hits] == [("./out.jsonl", 3), ("w", 3)]
    assert hits[0] == hits[1]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("options", [["nope"], ["-E", "^pipe$"], ["-i", "NO"]], ids=str)
def test_where_nothing_in_a_file_matches_search_exits_1(
    program: Program, here: Path, options: list[str], output_format: str
) -> None:
    more = ("--output-format", output_format, *options, "./out.jsonl")
    result = history(program, here, "search", *more)
    nothing = b"[]\n" if output_format == "json" else b""
    assert (result.status, result.stdout, result.stderr) == (1, nothing, b"")


UNREADABLE = [
    ("./nope", "session_missing", "there is no such file"),
    ("./dangling", "session_missing", "there is no such file"),
    ("nope/out.jsonl", "session_missing", "there is no such file"),
    ("./", "session_unreadable", "it is a folder"),
    ("/", "session_unreadable", "it is a folder"),
    ("./to-folder", "session_unreadable", "it is a folder"),
    ("./fifo", "session_unreadable", "it is not a regular file"),
    ("/dev/null", "session_unreadable", "it is not a regular file"),
    ("./to-device", "session_unreadable", "it is not a regular file"),
    ("./circle", "session_unreadable", "its symbolic links lead in a circle"),
    ("./out.jsonl/x", "session_unreadable", "a part of the path is no folder"),
    ("./" + "x" * 300, "session_unreadable", "File name too long"),
]


@pytest.fixture
def odd(here: Path) -> Path:
    """The same folder with what is no file in it."""
    os.mkfifo(here / "fifo")
    for name, where in [("dangling", "nope"), ("to-folder", "."), ("to-device", "/dev/zero"),
                        ("circle", "circle")]:  # fmt: skip
        (here / name).symlink_to(where)
    return here


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("reader", READERS, ids=str)
@pytest.mark.parametrize(("path", "code", "words"), UNREADABLE, ids=[u[0][:20] for u in UNREADABLE])
def test_what_is_no_file_is_refused_in_one_line_with_its_path(
    program: Program,
    odd: Path,
    reader: tuple[str, ...],
    path: str,
    code: str,
    words: str,
    output_format: str,
) -> None:
    result = history(program, odd, *reader, path, "--output-format", output_format)
    assert (result.status, result.code) == (9, code)
    assert result.stderr.startswith(f"pipechat: {code}: {path}: {words}. ".encode())
    assert result.stderr.count(b"\n") == 1
    assert result.stdout in (b"", b"[]\n")
    assert b"folder of the sessions" not in result.stderr


@pytest.mark.parametrize("path", ["./fifo", "/dev/null", "./to-device", "./"])
def test_what_is_no_file_is_not_even_opened(
    program: Program, odd: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open a FIFO and to close it would end who waits to write into it."""
    opened = []
    really_open = os.open

    def watched(name: str, *arguments: int, **options: int) -> int:
        opened.append(name)
        return really_open(name, *arguments, **options)

    monkeypatch.setattr(os, "open", watched)
    assert history(program, odd, "show", "./out.jsonl").status == 0
    assert "./out.jsonl" in opened
    assert history(program, odd, "show", path).status == 9
    assert path not in opened


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_search_tells_of_the_files_that_it_cannot_read_and_goes_on_with_the_others(
    program: Program, odd: Path, output_format: str
) -> None:
    arguments = ("search", "last", "./nope", "./fifo", "missing", "./out.jsonl")
    result = history(program, odd, *arguments, "--output-format", output_format)
    assert result.status == 9
    assert b"./out.jsonl" in result.stdout
    lines = result.stderr.decode().splitlines()
    assert [each.split(": ")[1] for each in lines] == [
        "session_missing",
        "session_unreadable",
        "session_missing",
    ]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("bad", ["", ".", "..", "a b"], ids=repr)
def test_a_search_with_a_word_that_is_neither_name_nor_path_finds_nothing_before_it_says_so(
    program: Program, here: Path, bad: str, output_format: str
) -> None:
    arguments = ("search", "last", "./out.jsonl", bad, "--output-format", output_format)
    result = history(program, here, *arguments)
    assert (result.status, result.code, result.stdout) == (2, "bad_session_name", b"")
    assert result.stderr.count(b"\n") == 1


WRITERS = [
    ("rename", "./out.jsonl", "new"),
    ("rename", "w", "./new"),
    ("fork", "./out.jsonl", "new"),
    ("fork", "w", "./new"),
    ("delete", "./out.jsonl", "--yes"),
    ("prune", "./out.jsonl", "--older-than", "1d"),
    ("prune", "./out.jsonl", "--older-than", "1d", "--dry-run"),
    ("repair", "./out.jsonl"),
    ("repair", "./out.jsonl", "--dry-run"),
    ("path", "./out.jsonl"),
]


@pytest.mark.parametrize("arguments", WRITERS, ids=" ".join)
def test_what_writes_takes_no_path_and_says_what_reads_one(
    program: Program, here: Path, arguments: tuple[str, ...]
) -> None:
    session = write_session(program, "w", TURNS)
    before = (here / "out.jsonl").read_bytes(), session.read_bytes()
    result = history(program, here, *arguments)
    assert (result.status, result.code, result.stdout) == (2, "bad_session_name", b"")
    (told,) = result.stderr.decode().splitlines()
    assert "is no session name: it is a path." in told
    assert "only `history show`, `search` and `export` read files" in told
    assert ((here / "out.jsonl").read_bytes(), session.read_bytes()) == before
    assert [each.name for each in here.iterdir()] == ["out.jsonl"]
    assert [each.name for each in session.parent.iterdir()] == ["w.jsonl"]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("path", ["./out.jsonl", "out/", "/"])
def test_ask_keeps_no_turn_in_a_path(
    program: Program, here: Path, path: str, output_format: str
) -> None:
    ask = ("ask", "--offline", "--output-format", output_format, "--session", path, "hello")
    result = program.run(*ask, cwd=here, events=False)
    assert (result.status, result.code) == (2, "bad_session_name")
    assert b"Give a session's name: only `history show`, `search` and `export`" in result.stderr
    assert (here / "out.jsonl").read_bytes() == b"".join(map(line, TURNS))
    assert list(program.home.iterdir()) == []


@pytest.mark.parametrize("reader", READERS, ids=str)
@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600])
def test_reading_a_file_changes_nothing_and_needs_no_leave_to_write(
    program: Program, here: Path, reader: tuple[str, ...], mode: int
) -> None:
    path = here / "out.jsonl"
    path.chmod(mode)
    here.chmod(0o500)
    before = path.stat()
    try:
        result = history(program, here, *reader, "./out.jsonl")
    finally:
        here.chmod(0o700)
    assert (result.status, result.stderr) == (0, b"")
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert [each.name for each in here.iterdir()] == ["out.jsonl"]
    assert list(program.home.iterdir()) == []


@pytest.mark.parametrize("reader", READERS, ids=str)
@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640])
def test_who_else_may_read_a_file_is_its_owner_s_business(
    program: Program, here: Path, reader: tuple[str, ...], mode: int
) -> None:
    (here / "out.jsonl").chmod(mode)
    assert history(program, here, *reader, "./out.jsonl").stderr == b""
    session = write_session(program, "w", TURNS)
    session.chmod(mode)
    assert b"is open to others" in history(program, here, *reader, "w").stderr
    assert stat.S_IMODE((here / "out.jsonl").stat().st_mode) == mode


@pytest.mark.parametrize("reader", READERS, ids=str)
@pytest.mark.parametrize("link", ["link", "link-to-link", "folder/out.jsonl"])
def test_a_path_is_followed_through_links_as_cat_does(
    program: Program, here: Path, reader: tuple[str, ...], link: str
) -> None:
    (here / "link").symlink_to("out.jsonl")
    (here / "link-to-link").symlink_to(here / "link")
    (here / "folder").symlink_to(here)
    result = history(program, here, *reader, f"./{link}")
    assert (result.status, result.stderr) == (0, b"")
    assert b"last pipe" in result.stdout


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_a_turn_that_a_crash_left_beside_a_file_is_not_added_to_it(
    program: Program, here: Path, reader: tuple[str, ...]
) -> None:
    path = write_session(program, "s", TURNS)
    assert wait_for(fork(lambda: die_while_answering(path.parent))) == 0
    (spool,) = program.spools()
    before = path.read_bytes()
    assert b"a cut pipe" not in history(program, here, *reader, str(path)).stdout
    assert (path.read_bytes(), spool.exists()) == (before, True)
    assert b"a cut pipe" in history(program, here, *reader, "s").stdout
    assert b"a cut pipe" in history(program, here, *reader, str(path)).stdout
    assert not spool.exists()


def die_while_answering(folder: Path) -> None:
    """Begin a turn in session `s` and end with it in flight."""
    writer = SessionStore(folder, print).begin("s")
    writer.head(turn(9))
    writer.text("a cut pipe")
    os._exit(0)


@pytest.mark.in_process(False)
@pytest.mark.parametrize("reader", READERS, ids=str)
def test_an_append_in_flight_is_waited_for_and_then_read_whole(
    program: Program, here: Path, reader: tuple[str, ...]
) -> None:
    added = line(turn(4, "the pipe added"))
    with (here / "out.jsonl").open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(added[:20])
        process = program.start("history", *reader, "./out.jsonl", cwd=here)
        assert process.stderr is not None
        waiting = process.stderr.readline()  # after a second
        file.write(added[20:])
    result = program.finish(process)
    assert waiting == b"pipechat: waiting for ./out.jsonl, whose lock another program holds\n"
    assert (result.status, result.stderr) == (0, b"")
    assert b"the pipe added" in result.stdout


@pytest.mark.parametrize("more", [(), ("--output-format", "ndjson")], ids=str)
@pytest.mark.parametrize("odd_line", [b'{"pipe', b'{"pipe": 1, ', b"\xff pipe"], ids=repr)
def test_lines_that_are_no_turns_are_skipped_and_told_but_not_to_be_repaired(
    program: Program, here: Path, odd_line: bytes, more: tuple[str, ...]
) -> None:
    whole = (here / "out.jsonl").read_bytes()
    shown = history(program, here, "show", "./out.jsonl", *more)
    (here / "out.jsonl").write_bytes((odd_line + b"\n") * 5 + whole)
    result = history(program, here, "show", "./out.jsonl", *more)
    assert (result.status, result.stdout) == (0, shown.stdout)
    assert result.stderr.decode().splitlines() == [
        *(f"pipechat: ./out.jsonl: line {n} is no turn and was skipped" for n in (1, 2, 3)),
        "pipechat: ./out.jsonl: 2 more lines are no turns",
    ]
    found = history(program, here, "search", "last", "-i", "./out.jsonl", *more)
    assert (found.status, found.stderr) == (0, b"")
    found = history(program, here, "search", "pipe", "./out.jsonl", *more)
    assert found.status == 0
    assert found.stderr == b"pipechat: ./out.jsonl: 5 lines that may match are no turn\n"


@pytest.mark.parametrize("name", ["out.jsonl", "notes", "a.ndjson"])
@pytest.mark.parametrize("reader", READERS, ids=str)
def test_a_file_named_without_a_slash_is_told_the_path_that_reads_it(
    program: Program, here: Path, reader: tuple[str, ...], name: str
) -> None:
    missing = history(program, here, *reader, "nope")
    assert b"`pipechat history list` shows what there is" in missing.stderr
    (here / name).touch()
    result = history(program, here, *reader, name)
    assert (result.status, result.code) == (9, "session_missing")
    assert f"A path has a /: ./{name} is the file here." in result.stderr.decode()
    write_session(program, name, TURNS)
    assert history(program, here, *reader, name).status == 0


@pytest.mark.parametrize("name", [b"\xff.jsonl", "città".encode(), b"two\nlines", b"\x1b[2J"])
def test_a_path_goes_out_with_its_own_bytes_and_moves_no_terminal(
    program: Program, here: Path, name: bytes
) -> None:
    path = os.path.join(os.fsencode(here), name)
    os.rename(here / "out.jsonl", path)
    arguments = ("history", "search", "last")
    assert program.run(*arguments, path).stdout == path + b":3:question: last pipe\n"
    (hit,) = program.run(*arguments, path, "--output-format", "ndjson").events
    assert hit["session"] == path.decode(errors="replace")
    missing = program.run("history", "show", path + b"/x")
    assert (missing.status, missing.code) == (9, "session_unreadable")
    assert missing.stderr.count(b"\n") == 1
    assert b"\x1b" not in missing.stderr
    plain = on_a_terminal(program, *arguments, os.fsdecode(path), env={"NO_COLOR": "1"})
    assert plain.status == 0
    assert plain.stdout.count(b"\n") == 1
    assert b"\x1b" not in plain.stdout


@pytest.mark.parametrize("command", ["show", "search"])
def test_help_says_that_a_file_may_be_named(program: Program, command: str) -> None:
    assert b"[NAME|FILE]" in program.run("history", command, "--help").stdout


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("more", [(), ("--last", "1")], ids=str)
@pytest.mark.parametrize(
    "data", [b"id,question\n1,x\n", b'{"id":"a","question":"x"}\n', b"A note", b"\n\n"], ids=repr
)
def test_a_file_without_a_turn_is_told_not_to_be_one_of_turns(
    program: Program, here: Path, output_format: str, more: tuple[str, ...], data: bytes
) -> None:
    (here / "other").write_bytes(data)
    result = history(program, here, "show", "./other", "--output-format", output_format, *more)
    assert (result.status, result.code) == (9, "session_unreadable")
    assert b"./other holds no turn" in result.stderr
    (here / "other").write_bytes(b"")
    result = history(program, here, "show", "./other", "--output-format", output_format, *more)
    assert result.status == 0, "an output to which nothing was written yet"
