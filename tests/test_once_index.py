"""The index of --once: it makes a search short; whatever is wrong with it makes none wrong."""

import os
import resource
import signal
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import new_turn_id
from pipechat.store import once_index
from pipechat.store.in_flight import make_room
from pipechat.store.layout import once_lock_file
from pipechat.store.locked_file import LockedFile
from pipechat.store.moves import delete, fork, rename
from pipechat.store.once import OnceTurns
from pipechat.store.once_turns import keyed_turns
from pipechat.store.rewrite import prune, repair
from pipechat.store.sessions import SessionStore
from tests import store_kit
from tests.store_kit import hidden, turn_of_id, wait_for

LIMIT = datetime(2021, 1, 1, tzinfo=UTC)
OLD = "2020-01-01T00:00:00.000Z"
COUNT = 50


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    (tmp_path / "sessions").mkdir(mode=0o700)
    return SessionStore(tmp_path / "sessions", print)


def line(key: str | None, answer: str, **others: Any) -> bytes:
    once = None if key is None else {"key": key, "request": "0" * 64}
    turn = turn_of_id(new_turn_id(), answer=answer, once=once, **others)
    return jsonl.dumps(turn.record()) + b"\n"


def append(store: SessionStore, *lines: bytes, name: str = "s") -> None:
    with LockedFile(store.path(name), create=True) as file:
        os.write(file.fd, b"".join(lines))


def fill(store: SessionStore, *, name: str = "s") -> None:
    """A session with turns of the keys 0 to 49, and some of none between them."""
    for number in range(COUNT):
        append(store, line(str(number), f"answer {number}"), line(None, "none"), name=name)


def answer_to(store: SessionStore, key: str, *, name: str = "s") -> str | None:
    turn = OnceTurns(store, name).find(key)
    return None if turn is None else turn.answer


def check(store: SessionStore, *, name: str = "s", first: int = 0) -> None:
    """Every key has its answer, and what is no key has none."""
    for number in (first, 17, COUNT - 1, first):
        assert answer_to(store, str(number), name=name) == f"answer {number}"
    assert answer_to(store, "none", name=name) is None


def index_of(store: SessionStore, name: str = "s") -> Path:
    return Path(store.folder, f".{name}.once")


@contextmanager
def counted_reads(store: SessionStore, name: str = "s") -> Iterator[list[int]]:
    """The sizes of what is read of the session within."""
    inode = os.stat(store.path(name)).st_ino
    read: list[int] = []
    real = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        data = real(fd, size, offset)
        if os.fstat(fd).st_ino == inode:
            read.append(len(data))
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", pread)
        yield read


def bytes_of(store: SessionStore, key: str) -> int:
    """How many bytes of the session it takes to look `key` up."""
    with counted_reads(store) as read:
        OnceTurns(store, "s").find(key)
    return sum(read)


def many_turns(store: SessionStore, count: int) -> None:
    """A session of `count` turns, every thousandth of a key, some 80 bytes each."""
    plain = b'{"id":"%d","status":"complete","question":"q","answer":"a","once":null}\n'
    of_key = b'{"id":"%d","status":"complete","question":"q","answer":"a","once":{"key":"%d"}}\n'
    lines = [of_key % (n, n) if n % 1000 == 0 else plain % n for n in range(count)]
    append(store, *lines)


def test_a_lookup_reads_as_little_of_a_session_of_a_million_turns_as_of_ten_thousand(
    store: SessionStore, tmp_path: Path
) -> None:
    (tmp_path / "large").mkdir()
    large = SessionStore(tmp_path / "large", print)
    many_turns(store, 10_000)
    many_turns(large, 1_000_000)
    assert os.stat(large.path("s")).st_size > 50_000_000
    for each in (store, large):
        answer_to(each, "0")  # makes the index
    for key in ("0", "5000", "none"):
        assert answer_to(large, key) == answer_to(store, key) == (None if key == "none" else "a")
        assert bytes_of(large, key) == bytes_of(store, key) < 100_000
    for each in (store, large):
        append(each, line("new", "yes"))
    first = bytes_of(large, "new")
    assert first == bytes_of(store, "new") < 100_000  # what came since, and no more
    assert bytes_of(large, "new") == bytes_of(store, "new") < first
    assert answer_to(large, "new") == "yes"
    assert answer_to(large, "999000") == "a"


def test_what_is_added_is_read_once(store: SessionStore) -> None:
    fill(store)
    size = os.stat(store.path("s")).st_size
    assert bytes_of(store, "none") > size
    assert bytes_of(store, "none") < size
    more = line(None, "x" * 1_000_000)
    append(store, more)
    assert bytes_of(store, "none") > len(more)
    assert bytes_of(store, "none") < 10_000
    check(store)


def test_the_index_is_private_under_any_umask_and_no_session(store: SessionStore) -> None:
    fill(store)
    before = os.umask(0)
    try:
        check(store)
    finally:
        os.umask(before)
    assert stat.S_IMODE(index_of(store).stat().st_mode) == 0o600
    assert hidden(store) == [".s.once"]
    assert store.names() == [summary.name for summary in store.summaries()] == ["s"]
    assert store.last_used() == "s"


def alter(store: SessionStore, statement: str) -> None:
    with closing(sqlite3.connect(index_of(store))) as database, database:
        database.execute(statement)


def with_bytes(change: Callable[[bytearray], None]) -> Callable[[SessionStore], None]:
    """Damage: a change of the bytes of the index."""

    def damage(store: SessionStore) -> None:
        content = bytearray(index_of(store).read_bytes())
        change(content)
        index_of(store).write_bytes(content)

    return damage


def fill_pages(data: bytearray, first: int, byte: bytes) -> None:
    data[first:] = byte * (len(data) - first)


ROWS = [
    "UPDATE turn SET at = 0",
    "UPDATE turn SET at = 3",
    "UPDATE turn SET at = -1",
    "UPDATE turn SET at = 1 << 60",
    "UPDATE turn SET at = 'no number'",
    "UPDATE covered SET bytes = 'no number'",
    "UPDATE covered SET bytes = -1",
    "UPDATE covered SET bytes = bytes - 1",
    "UPDATE covered SET bytes = 1 << 60",
    "UPDATE covered SET bytes = 9223372036854775807",
    "UPDATE covered SET inode = '1'",
    "UPDATE covered SET digest = 'x'",
    "DELETE FROM covered",
    "DROP TABLE covered",
    "DROP TABLE turn",
    "ALTER TABLE turn RENAME COLUMN at TO elsewhere",
    "PRAGMA user_version = 99",
]
DAMAGES: dict[str, Callable[[SessionStore], object]] = {
    "missing": lambda store: index_of(store).unlink(),
    "empty": with_bytes(lambda data: data.clear()),
    "cut": with_bytes(lambda data: data.__delitem__(slice(5000, None))),
    "a text": with_bytes(lambda data: data.__setitem__(slice(None), b"hello\n" * 9)),
    "zeros": with_bytes(lambda data: fill_pages(data, 0, b"\0")),
    "zeros behind the header": with_bytes(lambda data: fill_pages(data, 100, b"\0")),
    "pages of noise": with_bytes(lambda data: fill_pages(data, 4096, b"\xa5")),
    "pages of zeros": with_bytes(lambda data: fill_pages(data, 4096, b"\0")),
    **{row: lambda store, row=row: alter(store, row) for row in ROWS},  # type: ignore[misc]  # because mypy cannot infer it
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_index_that_is_missing_damaged_or_wrong_is_made_anew(
    store: SessionStore, damage: Callable[[SessionStore], object]
) -> None:
    fill(store)
    size = os.stat(store.path("s")).st_size
    check(store)
    damage(store)
    assert answer_to(store, "17") == "answer 17"
    assert bytes_of(store, "none") < size / 2  # there is one again
    check(store)
    damage(store)
    append(store, line("new", "yes"))
    assert answer_to(store, "new") == "yes"
    check(store)


def test_a_journal_that_a_crash_left_of_another_index_changes_nothing(store: SessionStore) -> None:
    fill(store)
    check(store)
    with closing(sqlite3.connect(index_of(store), isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE more (it)")
        database.executemany("INSERT INTO more VALUES (?)", (("x" * 5000,) for _ in range(50)))
        journal = index_of(store).with_name(".s.once-journal")
        left = journal.read_bytes()
        assert left
        database.execute("ROLLBACK")
    journal.write_bytes(left)
    index_of(store).unlink()
    check(store)
    assert not journal.exists()
    journal.write_bytes(b"garbage" * 100)
    check(store)


def test_a_session_that_is_another_file_makes_the_index_another(store: SessionStore) -> None:
    fill(store)
    check(store)
    path = Path(store.path("s"))
    content = path.read_bytes()

    def in_place(data: bytes) -> None:
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write(data)

    lines = content.splitlines(keepends=True)
    in_place(b"".join(lines[2:]))  # the same inode, shorter
    assert answer_to(store, "0") is None
    check(store, first=1)
    in_place(line(None, "first") + content)  # longer
    check(store)
    in_place(b"".join([*lines[2:], *(line(None, "more") for _ in range(9))]))
    assert answer_to(store, "0") is None
    check(store, first=1)
    path.unlink()
    path.write_bytes(b"".join(lines[4:]))
    assert answer_to(store, "1") is None
    check(store, first=2)


def test_prune_repair_rename_fork_and_delete_leave_no_wrong_answer(store: SessionStore) -> None:
    append(store, line("0", "too old", time=OLD), b"torn\n")
    fill(store)
    assert answer_to(store, "0") == "too old"
    prune(store, "s", LIMIT)
    check(store)
    repair(store, "s")
    check(store)
    fork(store, "s", "t")
    check(store, name="t")
    check(store)
    rename(store, "s", "u")
    assert hidden(store) == [".t.once"]
    assert answer_to(store, "1") is None
    check(store, name="u")
    fill(store)
    check(store)
    for name in ("s", "t", "u"):
        delete(store, name)
        assert answer_to(store, "1", name=name) is None
    assert os.path.exists(os.path.join(store.folder, "u.torn"))
    assert store.names() == hidden(store) == []


def test_delete_removes_the_journal_and_the_locks_of_killed_processes_too(
    store: SessionStore,
) -> None:
    fill(store)
    check(store)
    free, held, other = (once_lock_file(name, key * 32) for name, key in ("s5", "s6", "t5"))
    for name in ("s", "t"):
        make_room(store.folder, name)
    for name in (".s.once-journal", free, held, other):
        Path(store.folder, name).touch()
    with LockedFile(os.path.join(store.folder, held), create=False):
        delete(store, "s")
    assert hidden(store) == [held, other]


def test_a_line_that_has_no_newline_yet_counts_and_may_still_go(store: SessionStore) -> None:
    fill(store)
    size = os.stat(store.path("s")).st_size
    append(store, line("last", "whole").rstrip(b"\n"))
    assert answer_to(store, "last") == answer_to(store, "last") == "whole"
    os.truncate(store.path("s"), size)  # as an append that failed
    assert answer_to(store, "last") is None
    append(store, line("last", "other"), b'{"once":{"key":"torn"')
    assert answer_to(store, "last") == "other"
    append(store, b"\n", line("torn", "sealed"))
    assert answer_to(store, "torn") == "sealed"
    by_hand = line("by hand", "in two pieces")
    append(store, by_hand[:40])
    assert answer_to(store, "by hand") is None
    append(store, by_hand[40:])
    assert answer_to(store, "by hand") == "in two pieces"
    check(store)


def a_folder(path: Path) -> None:
    (path / "full").mkdir(parents=True)


def a_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"mine")
    path.symlink_to("elsewhere")


ODD: list[Callable[[Path], object]] = [
    a_folder, a_link, os.mkfifo, lambda path: path.symlink_to("nowhere")
]  # fmt: skip


@pytest.mark.parametrize("make", ODD, ids=["folder", "link", "FIFO", "dangling link"])
def test_where_there_can_be_no_index_the_session_is_looked_through(
    store: SessionStore, make: Callable[[Path], object]
) -> None:
    fill(store)
    make(index_of(store))
    kind = stat.S_IFMT(index_of(store).lstat().st_mode)
    check(store)
    assert stat.S_IFMT(index_of(store).lstat().st_mode) == kind  # it is somebody's
    assert not Path(store.folder, "nowhere").exists()
    if make is a_link:
        assert Path(store.folder, "elsewhere").read_bytes() == b"mine"


def limited_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def as_nobody() -> None:
    if os.geteuid() == 0:
        os.setegid(54321)
        os.seteuid(54321)


@pytest.mark.parametrize("has_index", [False, True], ids=["no index", "an old index"])
@pytest.mark.parametrize("limit", [limited_files, as_nobody], ids=["full disk", "read-only"])
def test_where_the_index_cannot_be_written_the_session_is_looked_through(
    limit: Callable[[], None], has_index: bool
) -> None:
    with TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        store = SessionStore(folder, print)
        fill(store)
        if has_index:
            check(store)
            index_of(store).chmod(0o444)
            append(store, line("new", "yes"))
        os.chmod(store.path("s"), 0o444)
        os.chmod(folder, 0o755 if limit is limited_files else 0o555)

        def work() -> None:
            limit()
            check(store)
            assert answer_to(store, "new") == ("yes" if has_index else None)

        assert wait_for(store_kit.fork(work)) == 0
        os.chmod(folder, 0o755)


def test_an_index_that_another_process_holds_is_waited_for_and_not_for_ever(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    check(store)
    append(store, line("new", "yes"))
    monkeypatch.setattr(once_index, "_PATIENCE_S", 0.1)
    inode = index_of(store).stat().st_ino
    with closing(sqlite3.connect(index_of(store), isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert answer_to(store, "new") == "yes"
        check(store)
    check(store)
    assert index_of(store).stat().st_ino == inode


def test_a_python_without_sqlite_looks_through_the_session(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    monkeypatch.delitem(sys.modules, "pipechat.store.once_index")
    check(store)
    assert hidden(store) == []


def test_a_process_that_is_killed_while_it_makes_the_index_leaves_no_wrong_one(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    real = keyed_turns
    for after in (0, 1, COUNT // 2, COUNT - 1):

        def killing(*args: Any, after: int = after) -> Iterator[Any]:
            for number, found in enumerate(real(*args)):
                if number == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield found

        with monkeypatch.context() as patch:
            patch.setattr(once_index, "keyed_turns", killing)
            assert wait_for(store_kit.fork(lambda: answer_to(store, "0"))) == -signal.SIGKILL
        check(store)
        index_of(store).unlink()


def test_an_index_is_changed_whole_or_not_at_all(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    check(store)
    seen: list[object] = []

    def watched(*args: Any) -> Iterator[Any]:
        for found in keyed_turns(*args):
            yield found
            with closing(sqlite3.connect(index_of(store))) as database:
                for query in ("SELECT count(*) FROM turn", "SELECT bytes FROM covered"):
                    seen.append(database.execute(query).fetchone()[0])

    size = os.stat(store.path("s")).st_size
    Path(store.path("s")).write_bytes(line("a", "more") + Path(store.path("s")).read_bytes())
    monkeypatch.setattr(once_index, "keyed_turns", watched)
    check(store)
    assert seen == [COUNT, size] * (COUNT + 1)


def test_an_index_that_another_has_brought_further_is_as_good(store: SessionStore) -> None:
    fill(store)
    with store.reading("s") as session:
        append(store, line("new", "yes"))
        check(store)
        found = [once_index.find_by_index(store.folder, session, key) for key in ("new", "7")]
    assert [turn.answer for turn in found if turn is not None] == ["yes", "answer 7"]
    with closing(sqlite3.connect(index_of(store))) as database:
        [covered] = database.execute("SELECT bytes FROM covered").fetchone()
    assert covered == os.stat(store.path("s")).st_size > session.size


def test_many_at_once_make_one_index_and_find_the_same(store: SessionStore) -> None:
    fill(store)
    workers = [store_kit.fork(lambda: check(store)) for _ in range(8)]
    assert [wait_for(pid) for pid in workers] == [0] * len(workers)
    check(store)


def test_what_was_found_after_a_wait_is_shown_without_the_lock(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    turns = OnceTurns(store, "s")
    found = iter([None, turns.find("7")])
    monkeypatch.setattr(turns, "find", lambda _key: next(found))
    with turns.found_or_taken("7", 0.0) as turn:
        assert turn is not None
        assert hidden(store) == [".s.once"]


def test_a_session_that_is_missing_holds_no_answer_and_makes_no_file(store: SessionStore) -> None:
    assert answer_to(store, "k") is None
    assert os.listdir(store.folder) == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "FIFO"])
def test_a_session_that_cannot_be_read_is_told(
    store: SessionStore, make: Callable[[str], None]
) -> None:
    make(store.path("s"))
    with pytest.raises(SessionError) as caught:
        answer_to(store, "k")
    assert caught.value.code == "session_unreadable"
