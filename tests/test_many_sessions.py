"""What a folder of many sessions costs, counted in entries listed; and that what was in flight is
found, where it stands now and where it stood formerly."""

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import new_turn_id
from pipechat.store import in_flight, layout, moves
from pipechat.store.sessions import SessionStore, TurnWriter
from tests.history_kit import line, turn
from tests.program import Program
from tests.store_kit import (
    ask,
    failure_of,
    hidden,
    ids,
    nth_call_fails,
    records,
    spool_path,
    turn_of_id,
)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> SessionStore:
    store = SessionStore(tmp_path / "sessions", told.append)
    os.mkdir(store.folder, 0o700)
    return store


def count_listed(patch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each listing of a folder gave, from now on."""
    listed: list[int] = []
    names_in = os.listdir

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".") -> Any:
            listed.append(len(names_in(path)))
            return real(path)

        return call

    for name in ("listdir", "scandir"):
        patch.setattr(os, name, counted(getattr(os, name)))
    return listed


def fill(folder: Path, count: int) -> None:
    """So many sessions of a turn each; one of them has a spool that was left."""
    folder.mkdir(mode=0o700, exist_ok=True)
    first = folder / "first.jsonl"
    first.write_bytes(line(turn(1)))
    first.chmod(0o600)
    for number in range(count):
        with suppress(FileExistsError):
            os.link(first, folder / f"s{number}.jsonl")
    first.unlink()
    spool_path(folder, "s1", new_turn_id()).write_bytes(b"")


ASKS = {
    "a turn": (),
    "as events": ("--output-format", "ndjson"),
    "one at a time": ("--if-busy", "fail"),
    "with a key": ("--once", "KEY"),
}


@pytest.mark.in_process
@pytest.mark.parametrize("kind", ASKS)
def test_a_turn_lists_as_much_however_many_sessions_there_are(
    program: Program, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = program.home / "sessions"
    counts = []
    for number in (10, 2000):
        fill(folder, number)
        program.run("ask", "-q", "--offline", "--session", "s2", "before")
        words = [word.replace("KEY", f"key {number}") for word in ASKS[kind]]
        with monkeypatch.context() as patch:
            listed = count_listed(patch)
            result = program.run("ask", "-q", "--offline", "--session", "s2", *words, "hello")
        assert result.status == 0
        counts.append(sum(listed))
    assert counts[0] == counts[1] < 10


@pytest.mark.parametrize("name", ["s2", "S2", "new"])
def test_only_a_name_that_may_be_new_is_looked_for_among_all(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(Path(store.folder), 50)
    ask(store, "s2")
    with monkeypatch.context() as patch:
        listed = count_listed(patch)
        failure = failure_of(ask, store, name)
    assert (failure is not None) == (name == "S2")
    assert (max(listed, default=0) >= 50) == (name != "s2")


def test_on_a_disk_that_ignores_case_a_name_in_another_case_is_refused_all_the_same(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "Work")
    real = os.lstat
    true_names = {entry.casefold(): entry for entry in os.listdir(store.folder)}

    def ignoring_case(path: str) -> os.stat_result:
        folder, entry = os.path.split(path)
        return real(os.path.join(folder, true_names.get(entry.casefold(), entry)))

    monkeypatch.setattr(os, "lstat", ignoring_case)
    with pytest.raises(SessionError, match="differs from 'Work' only by case"):
        store.begin("work")
    ask(store, "Work")
    assert os.listdir(store.folder).count("work.jsonl") == 0


def former_spool(folder: str | Path, name: str, text: str = "half") -> Path:
    """What a process of the former version left of a turn when it died; named by its id."""
    head = turn_of_id(new_turn_id(), status="partial", answer="")
    path = Path(folder, f".{name}.{head.id}.part")
    path.write_bytes(jsonl.dumps(head.record()) + b"\n" + text.encode())
    path.chmod(0o600)
    return path


def id_of(spool: Path) -> str:
    return layout.turn_id_of(str(spool))


FINDS = {
    "ask": ("ask", "-q", "--offline", "--session", "s", "again"),
    "continue": ("ask", "-q", "--offline", "-c", "again"),
    "show": ("history", "show", "s"),
    "show the last": ("history", "show"),
    "search": ("history", "search", "half"),
    "list": ("history", "list"),
    "prune": ("history", "prune", "s", "--older-than", "9w"),
    "fork": ("history", "fork", "s", "t"),
}


@pytest.mark.in_process
@pytest.mark.parametrize("later", [False, True], ids=["before", "when it was there no more"])
@pytest.mark.parametrize("command", FINDS)
def test_what_the_former_version_left_in_the_folder_is_found_by(
    program: Program, command: str, later: bool
) -> None:
    folder = program.home / "sessions"
    folder.mkdir(mode=0o700)
    if later and command not in ("ask", "continue", "prune"):
        program.run("ask", "-q", "--offline", "--session", "other", "first")
        os.utime(folder / "other.jsonl", (1, 1))
    (folder / "s.jsonl").write_bytes(line(turn(1)))
    (folder / "s.jsonl").chmod(0o600)
    former_spool(folder, "s")
    result = program.run(*FINDS[command])
    assert result.status == 0
    assert program.spools() == []
    assert [each["answer"] for each in program.records("s")][:2] == ["so", "half"]


WITHOUT_A_NAME = {
    "show": ("history", "show"),
    "export": ("history", "export"),
    "continue": ("ask", "-q", "--offline", "-c", "again"),
}


@pytest.mark.in_process
@pytest.mark.parametrize("command", WITHOUT_A_NAME)
def test_the_session_that_the_former_version_asked_last_is_the_one_used_last(
    program: Program, command: str
) -> None:
    for name in ("s", "other"):
        program.run("ask", "-q", "--offline", "--session", name, "first")
        os.utime(program.home / "sessions" / f"{name}.jsonl", (1, 1))
    former_spool(program.home / "sessions", "s")
    assert program.run(*WITHOUT_A_NAME[command]).status == 0
    assert len(program.records("s")) == 2
    assert len(program.records("other")) == 1


@pytest.mark.in_process
@pytest.mark.parametrize("level", [layout.IN_FLIGHT, layout.in_flight_folder("s")])
@pytest.mark.parametrize("command", [*WITHOUT_A_NAME, "search", "list"])
def test_what_may_not_be_looked_into_is_no_bug_and_what_is_there_is_read(
    program: Program, monkeypatch: pytest.MonkeyPatch, command: str, level: str
) -> None:
    program.run("ask", "-q", "--offline", "--session", "s", "half")
    barred = program.home / "sessions" / level
    barred.mkdir(exist_ok=True)
    real = os.listdir

    def refused(path: Any = ".") -> Any:
        if str(path).startswith(str(barred)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "listdir", refused)
    result = program.run(*(WITHOUT_A_NAME | FINDS)[command])
    assert result.status == (9 if command == "continue" else 0)
    assert b"half" in result.stdout or command == "continue"
    where = program.home / "sessions" / layout.in_flight_folder("s")
    if command in ("search", "list"):
        where = barred
    assert f": {where}: permission denied" in result.stderr.decode()
    assert b"interrupted" not in result.stderr  # nobody knows of any


def test_what_only_looks_like_a_spool_of_the_former_version_keeps_its_place_and_costs_nothing(
    store: SessionStore,
) -> None:
    left = {former_spool(store.folder, name).name for name in ("a b", "..", ".", "-x", ".swept")}
    ask(store, "s")
    ask(store, "s")
    store.adopt_all()
    assert left < set(os.listdir(store.folder))
    assert os.listdir(Path(store.folder, layout.IN_FLIGHT)) == [os.path.basename(layout.SWEPT)]


def test_a_turn_of_the_former_version_that_runs_is_left_alone_and_found_when_it_died(
    store: SessionStore,
) -> None:
    spool = former_spool(store.folder, "s")
    process = os.open(spool, os.O_RDWR)
    fcntl.flock(process, fcntl.LOCK_EX)
    first = ask(store, "s")
    assert hidden(store) == [spool.name]
    os.close(process)
    second = ask(store, "s")
    assert ids(store, "s") == [first.id, id_of(spool), second.id]


RUNS_ON: dict[str, Callable[[SessionStore], object]] = {
    "rename": lambda store: failure_of(moves.rename, store, "s", "t"),
    "delete": lambda store: moves.delete(store, "s").in_flight,
    "delete another": lambda store: moves.delete(store, "other").in_flight,
}


@pytest.mark.parametrize("command", RUNS_ON)
def test_a_turn_that_the_former_version_runs_is_in_flight_to(
    store: SessionStore, command: str
) -> None:
    for name in ("s", "other"):
        ask(store, name)
    spool = former_spool(store.folder, "s")
    with open(spool, "rb") as process:
        fcntl.flock(process, fcntl.LOCK_EX)
        found = RUNS_ON[command](store)
        assert spool.exists()
    if command == "rename":
        assert isinstance(found, SessionError)
        assert (found.code, store.names()) == ("session_busy", ["other", "s"])
    else:
        assert found == (command == "delete")
    store.adopt("s")
    assert ids(store, "s")[-1] == id_of(spool)


def test_orphans_of_other_sessions_come_along_and_are_adopted_when_theirs_is_opened(
    store: SessionStore,
) -> None:
    spools = [former_spool(store.folder, name) for name in ("a", "a.b", "b")]
    Path(store.folder, f".a.{'0' * 32}.asking").touch()
    ask(store, "s")
    assert sorted(hidden(store)) == sorted(
        layout.spool_file(name, id_of(spool))
        for name, spool in zip(("a", "a.b", "b"), spools, strict=True)
    )
    store.adopt_all()
    assert [ids(store, name) for name in ("a", "a.b", "b")] == [[id_of(each)] for each in spools]
    assert hidden(store) == []


def test_a_former_spool_that_somebody_removes_meanwhile_holds_nobody_up(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = former_spool(store.folder, "s")
    real = os.rename

    def removed(old: str, new: str) -> None:
        spool.unlink(missing_ok=True)
        real(old, new)

    monkeypatch.setattr(os, "rename", removed)
    ask(store, "s")
    assert hidden(store) == []
    assert len(ids(store, "s")) == 1


def test_a_room_that_goes_while_a_former_spool_moves_there_is_made_again(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = former_spool(store.folder, "s")
    real = os.rename

    def gone(old: str, new: str) -> None:
        monkeypatch.undo()
        os.rmdir(os.path.dirname(new))
        real(old, new)

    monkeypatch.setattr(os, "rename", gone)
    ask(store, "s")
    assert ids(store, "s")[0] == id_of(spool)


def begin(store: SessionStore, writers: list[TurnWriter]) -> None:
    writers.append(store.begin("s"))


def test_whatever_call_fails_while_former_spools_move_none_is_lost(store: SessionStore) -> None:
    ask(store, "s")
    wanted = set(ids(store, "s"))
    for nth in range(1, 200):
        wanted.add(id_of(former_spool(store.folder, "s")))
        Path(store.folder, layout.SWEPT).unlink(missing_ok=True)
        writers: list[TurnWriter] = []
        with nth_call_fails(nth) as faults:
            failure_of(begin, store, writers)
        for writer in writers:
            writer.abandon()
        store.adopt("s")
        assert wanted <= set(ids(store, "s"))
        assert hidden(store) == []
        if not faults.hit:
            break
    assert nth > 12
    assert all(ids(store, "s").count(each) == 1 for each in wanted)


@pytest.mark.in_process
@pytest.mark.parametrize("command", ["show", "search", "list"])
def test_a_reader_has_nothing_to_say_of_a_folder_that_it_cannot_write_to(
    program: Program, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    program.run("ask", "-q", "--offline", "--session", "s", "half")
    (program.home / "sessions" / layout.SWEPT).unlink()
    real = os.open

    def read_only(path: str, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(program.home)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    result = program.run(*FINDS[command])
    assert (result.status, result.stderr) == (0, b"")


PLANTED: dict[str, Callable[[Path], None]] = {
    "a link": lambda path: path.symlink_to(path.parent.parent),
    "a file": lambda path: path.touch(),
    "a FIFO": os.mkfifo,
}


@pytest.mark.parametrize("level", [layout.IN_FLIGHT, layout.in_flight_folder("s")])
@pytest.mark.parametrize("kind", PLANTED)
def test_what_stands_in_the_place_of_the_folder_is_not_followed_and_told(
    store: SessionStore, kind: str, level: str
) -> None:
    path = Path(store.folder, level)
    path.parent.mkdir(exist_ok=True)
    PLANTED[kind](path)
    failure = failure_of(store.begin, "s")
    assert failure is not None
    assert failure.code == "session_unwritable"
    assert f"{path.name}: it is a symbolic link" in failure.message or kind != "a link"
    assert store.names() == []


@pytest.mark.parametrize("name", ["s", "other", "gone"])
def test_a_room_that_a_killed_process_left_empty_goes_when_all_are_looked_at(
    store: SessionStore, name: str
) -> None:
    ask(store, "s")
    in_flight.make_room(store.folder, name)
    living = store.begin("other")
    store.adopt_all()
    rooms = sorted(os.listdir(Path(store.folder, layout.IN_FLIGHT)))
    assert rooms == [os.path.basename(layout.SWEPT), "other"]
    living.abandon()


@pytest.mark.parametrize("is_former", [False, True])
@pytest.mark.parametrize("kind", [*PLANTED, "a folder"])
def test_what_is_no_spool_makes_no_session_the_one_used_last(
    store: SessionStore, kind: str, is_former: bool
) -> None:
    ask(store, "used")
    turn_id = new_turn_id()
    former = Path(store.folder, f".planted.{turn_id}.part")
    path = former if is_former else spool_path(store.folder, "planted", turn_id)
    (PLANTED | {"a folder": lambda path: path.mkdir()})[kind](path)
    assert store.last_used() == "used"


@pytest.mark.parametrize("level", [layout.IN_FLIGHT, layout.in_flight_folder("s")])
def test_no_turn_is_taken_from_where_a_link_leads(
    store: SessionStore, tmp_path: Path, level: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    rooms = elsewhere / os.path.relpath(layout.in_flight_folder("s"), level)
    rooms.mkdir(parents=True)
    spool = former_spool(rooms, "s")
    spool = spool.rename(rooms / os.path.basename(layout.spool_file("s", id_of(spool))))
    Path(store.folder, level).parent.mkdir(exist_ok=True)
    Path(store.folder, level).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    store.adopt_all()
    store.adopt("s")
    assert store.last_used() is None
    assert spool.exists()
    assert store.names() == []
    failure = failure_of(store.begin, "s")
    assert failure
    assert failure.code == "session_unwritable"
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("level", [layout.IN_FLIGHT, layout.in_flight_folder("s")])
@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (Path.touch, b"Move it away"),
        (os.mkfifo, b"Move it away"),
        (lambda path: path.symlink_to("a"), b"Put the file itself in its place"),
    ],
    ids=["file", "FIFO", "link"],
)
def test_what_stands_where_a_turn_in_flight_would_is_named_and_may_be_moved_away(
    program: Program, make: Callable[[Path], None], hint: bytes, level: str, output_format: str
) -> None:
    path = program.home / "sessions" / level
    path.parent.mkdir(mode=0o700, parents=True)
    make(path)
    given = ("--offline", "-q", "--session", "s", "--output-format", output_format)
    result = program.run("ask", "hello", *given)
    assert (result.status, result.code) == (9, "session_unwritable")
    assert f"session 's': {path}: ".encode() in result.stderr
    assert hint in result.stderr
    path.unlink()
    assert program.run("ask", "hello", *given).status == 0


def test_turns_that_end_while_others_begin_never_miss_the_folder(store: SessionStore) -> None:
    def turns() -> None:
        for _ in range(30):
            store.begin("s").abandon()
            ask(store, "s")

    threads = [threading.Thread(target=turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record["id"] for record in records(store, "s")}) == 120
    assert hidden(store) == []
    assert os.listdir(Path(store.folder, layout.IN_FLIGHT)) == [".swept"]
