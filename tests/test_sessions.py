"""What the store promises about names, modes, and reading what is there."""

import errno
import os
import stat
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pipechat import jsonl
from pipechat.errors import ExitCode, SessionError, UsageError
from pipechat.messages import new_turn_id
from pipechat.store.faults import words_for
from pipechat.store.locked_file import LockedFile
from pipechat.store.sessions import SessionStore, check_name
from tests.store_kit import ask, fork, hidden, ids, turn_of_id, wait_for

GOOD = [
    "work",
    "a",
    "2026-11-23",
    "_x",
    "a.b.c",
    "x" * 200,
    "会" * 66,
    "日本語",
    "Ünïcode",
    "हिन्दी",
    "العربية٣",
    "עִבְרִית",
    "con_1",
    "console",
    "com10",
    "a..b",
    "CONx.con",
]
BAD = [
    *("", ".", "..", ".hidden", "-x", "--", "a/b", "/etc/passwd", "../x", "..\\x", "a\\b", "a b"),
    *("a\nb", "a\x00b", "a\tb", "a:b", "a*", "a?", "~", "$HOME", "a;b", "a|b", "`a`", "a'b", '"'),
    *("x" * 201, "会" * 67, "con", "CON", "Nul.txt", "com1", "LPT9.a.b", "aux.", "prn", "😀", "½"),
    *("e\u0301", "\u0301a", "a\u200db", "a\u202eb", "a\u2028b", "\ud800", "a\ufe0f", "\u3164", "²"),
    *("work ", " work", "a\x1b[0m", "a\u00a0b", "%2e%2e", "a+b", "a,b", "a=b", "a@b", "#", "a!"),
]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> SessionStore:
    return SessionStore(tmp_path / "data" / "pipechat" / "sessions", told.append)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_good_names_make_private_files_under_any_umask(
    name: str, umask: int, store: SessionStore, told: list[str]
) -> None:
    before = os.umask(umask)
    try:
        writer = store.begin(name, if_busy="fail")
        turn = turn_of_id(writer.id)
        writer.head(turn)
        made = list(Path(store.folder).rglob("*"))
        files = [path.stat().st_mode & 0o777 for path in made if path.is_file()]
        folders = [path.stat().st_mode & 0o777 for path in made if path.is_dir()]
        writer.finish(turn)
    finally:
        os.umask(before)
    # The session, its spool, its busy lock, and that nothing is left where spools stood formerly.
    assert files == [0o600] * 4
    assert folders == [0o700] * 2
    for folder in (Path(store.folder), *Path(store.folder).parents[:2]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert store.names() == [name]
    assert store.read_tail(name, 1).turns == [turn]
    assert told == []


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_and_touch_nothing(
    name: str, store: SessionStore, tmp_path: Path
) -> None:
    for use in (check_name, store.begin, store.path, store.exists, store.adopt):
        with pytest.raises(UsageError) as caught:
            use(name)
        assert caught.value.code == "bad_session_name"
        assert caught.value.exit_code == ExitCode.USAGE
        assert caught.value.line().isprintable()
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_differs_only_by_case_is_refused_at_creation(store: SessionStore) -> None:
    ask(store, "Work")
    with pytest.raises(SessionError, match="only by case") as caught:
        store.begin("work")
    assert caught.value.code == "session_exists"
    assert store.names() == ["Work"]
    ask(store, "Work")


def make_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"")
    path.symlink_to("elsewhere")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


ODD = [make_link, make_dangling_link, os.mkfifo, os.mkdir]


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_what_is_no_regular_file_is_neither_written_nor_read(
    make: Callable[[Path], None], store: SessionStore, told: list[str]
) -> None:
    ask(store, "other")
    path = Path(store.path("odd"))
    make(path)
    with pytest.raises(SessionError) as caught:
        store.begin("odd")
    assert caught.value.code == "session_unwritable"
    assert caught.value.hint
    with pytest.raises(SessionError) as caught:
        store.last_turns("odd", 1)
    assert caught.value.code == "session_unreadable"
    with pytest.raises(SessionError):
        store.read_tail("odd", 1)
    assert store.names() == ["other"]
    assert not (path.parent / "nowhere").exists()
    assert store.last_used() == "other"
    assert told == []


def test_wider_modes_are_told_once_and_left(store: SessionStore, told: list[str]) -> None:
    ask(store, "work")
    os.chmod(store.folder, 0o755)
    os.chmod(store.path("work"), 0o644)
    ask(store, "work")
    store.read_tail("work", 1)
    ask(store, "work")
    for line, path in zip(told, [store.folder, store.path("work")], strict=True):
        assert line.startswith(f"{path} ")
    assert stat.S_IMODE(os.stat(store.path("work")).st_mode) == 0o644


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        store = SessionStore(folder, print)
        with pytest.raises(SessionError) as caught:
            store.begin("work")
        assert caught.value.code == "session_unwritable"
        assert "folder" in caught.value.message
        with pytest.raises(SessionError, match="folder"):
            store.names()


def test_a_full_disk_is_told_in_plain_words() -> None:
    assert words_for(OSError(errno.ENOSPC, "x"))[0] == "the disk is full"
    assert words_for(OSError(errno.ECHILD, "odd"))[0] == "odd"


def test_a_folder_that_may_not_be_written_fails_before_anything_is_sent(
    store: SessionStore,
) -> None:
    ask(store, "work")

    def as_a_user_without_rights() -> None:
        if os.geteuid() == 0:
            os.chown(store.folder, 65534, 65534)
            os.chown(store.path("work"), 65534, 65534)
            os.chdir(store.folder)
            store.folder = "."
            os.setuid(65534)
        for folder in (store.folder, os.path.join(store.folder, ".in-flight")):
            with suppress(PermissionError):  # as the user above, of what is root's
                os.chmod(folder, 0o500)
        for name in ("work", "new"):
            with pytest.raises(SessionError) as caught:
                store.begin(name)
            assert caught.value.code == "session_unwritable"
            assert "permission denied" in caught.value.message
        assert len(store.last_turns("work", 5)) == 1
        assert store.read_tail("work", 5).turns
        os.chmod(store.folder, 0o700)

    assert wait_for(fork(as_a_user_without_rights)) == 0


def test_nothing_there_is_empty_or_missing(store: SessionStore) -> None:
    assert store.names() == []
    assert store.last_used() is None
    assert list(store.summaries()) == []
    store.adopt("work")
    tail = store.read_tail("work", 3)
    assert (tail.turns, tail.system) == ([], None)
    reads: list[Callable[[], object]] = [
        lambda: store.last_turns("work", 1),
        lambda: list(store.all_turns("work")),
    ]
    for read in reads:
        with pytest.raises(SessionError) as caught:
            read()
        assert caught.value.code == "session_missing"
        assert caught.value.exit_code == ExitCode.SESSION
    assert not os.path.exists(store.folder)


def test_only_complete_turns_are_context_and_the_last_system_holds(store: SessionStore) -> None:
    whole = [ask(store, "work", str(n), system="old") for n in range(5)]
    ask(store, "work", status="partial", system="new")
    ask(store, "work", status="failed", system="newest")
    tail = store.read_tail("work", 3)
    assert tail.turns == whole[2:]
    assert tail.system == "newest"
    assert store.read_tail("work", 99).turns == whole
    assert store.read_tail("work", 0).turns == []
    assert store.read_tail("work", 0).system == "newest"
    assert [turn.status for turn in store.last_turns("work", 3)] == [
        *("complete", "partial", "failed")
    ]
    assert len(store.last_turns("work", 99)) == len(list(store.all_turns("work"))) == 7
    assert store.last_turns("work", 0) == []


def append_raw(store: SessionStore, name: str, data: bytes) -> None:
    with open(store.path(name), "ab") as file:
        file.write(data)


def test_lines_that_are_no_turns_are_skipped_and_told(store: SessionStore, told: list[str]) -> None:
    first = ask(store, "work", "one")
    torn = [b'{"v":1,"id":"torn', b"\0\0\0", b"[]", b'{"id":1}', b""]
    append_raw(store, "work", b"\n".join([*torn, b""]))
    offset = os.path.getsize(store.path("work")) - len(b'{"id":1}\n\n')
    last = ask(store, "work", "two")
    assert list(store.all_turns("work")) == [first, last]
    assert [line.split(" is no")[0] for line in told[:3]] == [
        f"session 'work': line {number}" for number in (2, 3, 4)
    ]
    assert told[3] == "session 'work': 1 more lines are no turns"
    del told[:]
    assert store.read_tail("work", 2).turns == [first, last]
    assert told[0].startswith(f"session 'work': the line at byte {offset} is no turn")
    assert "history repair work" in told[0]
    assert told[3] == "session 'work': 1 more lines are no turns"
    del told[:]
    assert store.read_tail("work", 1).turns == [last]
    assert told == []  # what is not read is not told


def test_doubles_are_dropped_and_the_complete_one_stays(store: SessionStore) -> None:
    whole = ask(store, "work", "whole answer")
    other = ask(store, "work", "other")
    double = turn_of_id(whole.id, answer="who", status="partial")
    append_raw(store, "work", jsonl.dumps(double.record()) + b"\n")
    append_raw(store, "work", jsonl.dumps(other.record()) + b"\n")
    assert store.read_tail("work", 9).turns == [whole, other]
    assert list(store.all_turns("work")) == [whole, other]
    assert store.last_turns("work", 2) == [whole, other]


def test_a_double_far_behind_is_remembered_no_longer_than_memory_is_flat(
    store: SessionStore,
) -> None:
    turn = ask(store, "work")
    lines = [jsonl.dumps(turn_of_id(new_turn_id()).record()) for _ in range(5000)]
    append_raw(store, "work", b"\n".join([*lines, jsonl.dumps(turn.record()), b""]))
    assert len(list(store.all_turns("work"))) == 5002


def test_a_surrogate_in_a_file_is_readable(store: SessionStore) -> None:
    turn = ask(store, "work", "x")
    line = jsonl.dumps(turn.record()).replace(b'"answer":"x"', b'"answer":"\\ud800\xff"')
    append_raw(store, "work", line.replace(turn.id.encode(), new_turn_id().encode()) + b"\n")
    assert store.read_tail("work", 1).turns[0].answer == "\ufffd\ufffd"


def test_the_tail_of_a_gigabyte_costs_what_a_small_one_costs(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "work")
    os.truncate(store.path("work"), 1 << 30)
    turns = [ask(store, "work", "x" * 4000) for _ in range(25)]
    read = 0
    real = os.pread

    def counting(fd: int, size: int, at: int) -> bytes:
        nonlocal read
        read += size
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", counting)
    assert store.read_tail("work", 20).turns == turns[5:]
    assert read < 400_000
    assert store.last_turns("work", 20) == turns[5:]
    assert read < 1_000_000
    ask(store, "work")  # neither does an append look further back
    assert read < 1_000_000


def test_reading_and_summing_up_a_large_session_is_flat_in_memory(store: SessionStore) -> None:
    turn = ask(store, "work", "x" * 10_000, question="first question")
    line = jsonl.dumps(turn.record()) + b"\n"
    with open(store.path("work"), "ab") as file:
        for _ in range(4_000):
            file.write(line.replace(turn.id.encode(), new_turn_id().encode()))
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.all_turns("work")) == 4001
        (summary,) = store.summaries()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.turns == 4001
    assert summary.size > 40_000_000
    assert peak < 8_000_000


def test_a_summary_says_what_a_line_can(store: SessionStore, told: list[str]) -> None:
    ask(store, "a", question="first words", time="2026-01-01T00:00:00.000Z")
    append_raw(store, "a", b"torn\n")
    ask(store, "a", question="second", time="2026-02-02T00:00:00.000Z")
    store.begin("empty").finish(turn_of_id("x"))
    Path(store.path("empty")).write_bytes(b"")
    Path(store.path("junk")).write_bytes(b"junk\n" * 300)
    Path(store.folder, "not a name.jsonl").write_bytes(b"")
    first, empty, junk = store.summaries()
    size = os.path.getsize(store.path("a"))
    assert first == ("a", 3, "2026-02-02T00:00:00.000Z", size, "first words")
    assert empty == ("empty", 0, "", 0, "")
    assert junk == ("junk", 300, "", 1500, "")
    assert told == []


def test_a_session_that_cannot_be_read_is_told_and_the_others_are_listed(
    store: SessionStore, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "a")
    ask(store, "b")
    real = os.open

    def refusing(path: str, *others: int) -> int:
        if str(path).endswith("a.jsonl"):
            raise PermissionError(errno.EACCES, "no")
        return real(path, *others)

    monkeypatch.setattr(os, "open", refusing)
    assert [summary.name for summary in store.summaries()] == ["b"]
    assert told == ["session 'a': permission denied"]


def test_the_last_used_session_is_the_last_written_or_asked(store: SessionStore) -> None:
    for at, name in enumerate(("a", "b", "c")):
        ask(store, name)
        os.utime(store.path(name), (at, at))
    assert store.last_used() == "c"
    os.utime(store.path("a"), (9, 9))
    assert store.last_used() == "a"
    writer = store.begin("b")
    assert store.last_used() == "a"
    writer.head(turn_of_id(writer.id))
    assert store.last_used() == "b"
    writer.abandon()


def test_a_reader_waits_for_the_append_in_flight_and_reads_no_half_of_it(
    store: SessionStore, told: list[str]
) -> None:
    first = ask(store, "work")
    begun, ended = os.pipe()

    def write_slowly() -> None:
        with LockedFile(store.path("work"), create=True) as session:
            record = jsonl.dumps(turn_of_id(new_turn_id(), answer="later").record()) + b"\n"
            os.write(session.fd, record[:50])
            os.write(ended, b"x")
            os.read(go, 1)
            os.write(session.fd, record[50:])

    go, say = os.pipe()
    child = fork(write_slowly)
    os.read(begun, 1)
    reader = fork(lambda: check_two(store, told))
    os.write(say, b"x")
    assert wait_for(child) == 0
    assert wait_for(reader) == 0
    assert store.read_tail("work", 2).turns[0] == first
    assert hidden(store) == []


def check_two(store: SessionStore, told: list[str]) -> None:
    assert len(store.read_tail("work", 5).turns) == 2
    assert told == []


def test_without_locks_a_session_is_still_read(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = ask(store, "work")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert store.read_tail("work", 1).turns == [turn]
    with pytest.raises(SessionError, match="no locks"):
        store.begin("work")
    assert ids(store, "work") == [turn.id]
