"""What repair, prune, delete, rename and fork promise: no turn is lost, whatever runs or fails."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipechat import jsonl
from pipechat.errors import SessionError, UsageError
from pipechat.messages import new_turn_id
from pipechat.store.importing import Staging
from pipechat.store.layout import spool_file
from pipechat.store.locked_file import LockedFile
from pipechat.store.moves import delete, fork, rename
from pipechat.store.rewrite import prune, repair
from pipechat.store.sessions import SessionStore
from tests import store_kit
from tests.store_kit import (
    ask,
    failure_of,
    hidden,
    ids,
    nth_call_fails,
    spool_path,
    turn_of_id,
    wait_for,
)

OLD = "2020-01-01T00:00:00.000Z"
LIMIT = datetime(2021, 1, 1, tzinfo=UTC)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> SessionStore:
    return SessionStore(tmp_path / "sessions", told.append)


def append_raw(store: SessionStore, name: str, data: bytes) -> None:
    with open(store.path(name), "ab") as file:
        file.write(data)


def torn_of(store: SessionStore, name: str) -> Path:
    return Path(store.folder, f"{name}.torn")


def damaged(store: SessionStore) -> tuple[bytes, bytes]:
    """A session of two whole turns, a torn line, zeros, a blank line and two doubles; returns
    what repair should leave, and what it should set aside."""
    first = ask(store, "work", "one")
    with_unknown = {**turn_of_id(new_turn_id()).record(), "stars": 5}
    part = turn_of_id(new_turn_id(), answer="wh", status="partial")
    whole = turn_of_id(part.id, answer="whole")
    lines = [jsonl.dumps(turn.record()) for turn in (first, part, whole)]
    unknown = b" " + jsonl.dumps(with_unknown)
    torn, zeros = b'{"v":1,"id":"x","ans', b"\0" * 40
    append_raw(store, "work", b"\n".join([torn, unknown, zeros, b"", lines[1], lines[2], lines[0]]))
    stays = b"\n".join([lines[0], unknown, lines[2], b""])
    return stays, b"\n".join([torn, zeros, lines[1], lines[0], b""])


def test_repair_moves_what_is_torn_or_double_and_deletes_nothing(
    store: SessionStore, told: list[str]
) -> None:
    stays, aside = damaged(store)
    before = Path(store.path("work")).read_bytes()
    dry = repair(store, "work", dry_run=True)
    assert Path(store.path("work")).read_bytes() == before
    assert not torn_of(store, "work").exists()
    report = repair(store, "work")
    assert report == dry == ("work", 3, 2, 2, str(torn_of(store, "work")))
    assert Path(store.path("work")).read_bytes() == stays
    assert torn_of(store, "work").read_bytes() == aside
    for path in (Path(store.path("work")), torn_of(store, "work")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert repair(store, "work") == ("work", 3, 0, 0, None)
    assert told == []
    append_raw(store, "work", b"torn again")
    repair(store, "work")
    assert torn_of(store, "work").read_bytes() == aside + b"torn again\n"


def test_a_whole_session_is_not_rewritten(store: SessionStore) -> None:
    ask(store, "work")
    before = os.stat(store.path("work"))
    assert repair(store, "work").turns == 1
    assert prune(store, "work", LIMIT) == ("work", 1, 0)
    after = os.stat(store.path("work"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_rewrite_keeps_the_time_of_last_use(store: SessionStore) -> None:
    damaged(store)
    os.utime(store.path("work"), (5, 5))
    repair(store, "work")
    assert os.stat(store.path("work")).st_mtime == 5


def test_prune_drops_old_turns_and_keeps_every_other_byte(store: SessionStore) -> None:
    ask(store, "work", "old", time=OLD)
    ask(store, "work", "naive", time="2020-01-01T00:00:00")
    odd = jsonl.dumps(turn_of_id(new_turn_id(), time="once").record()) + b"\ntorn\n"
    append_raw(store, "work", odd)
    last = ask(store, "work", "new")
    before = Path(store.path("work")).read_bytes()
    assert prune(store, "work", LIMIT, dry_run=True) == ("work", 2, 2)
    assert Path(store.path("work")).read_bytes() == before
    assert prune(store, "work", LIMIT.replace(tzinfo=None)) == ("work", 2, 2)
    after = Path(store.path("work")).read_bytes()
    assert after == odd + jsonl.dumps(last.record()) + b"\n"


def test_delete_removes_the_session_and_its_orphans_and_says_what_stays(
    store: SessionStore,
) -> None:
    damaged(store)
    repair(store, "work")
    living = store.begin("work", if_busy="fail")
    spool_path(store.folder, "work", new_turn_id()).write_bytes(b"{}\norphan")
    Path(store.folder, ".work.rewrite").touch()
    assert delete(store, "work") == ("work", str(torn_of(store, "work")), 1)
    assert store.names() == []
    assert hidden(store) == [spool_file("work", living.id)]
    store.adopt("work")
    assert store.names() == []
    living.finish(turn_of_id(living.id))  # what was acknowledged is kept all the same
    assert ids(store, "work") == [living.id]
    assert delete(store, "work")[2] == 0
    assert hidden(store) == []


def staged(store: SessionStore) -> None:
    with Staging(store) as staging:
        for name in ("new", "newer"):
            staging.begin(name)
            staging.add(name, Path(store.path("work")).read_bytes().strip())
        staging.commit()


# What is killed, and at which call of the system.
KILLED: dict[str, tuple[Callable[[SessionStore], object], str]] = {
    "fork": (lambda store: fork(store, "work", "new"), "link"),
    "fork that was about to end": (lambda store: fork(store, "work", "new"), "unlink"),
    "repair": (lambda store: repair(store, "old"), "rename"),
    "prune": (lambda store: prune(store, "old", LIMIT), "rename"),
    "import": (staged, "link"),
    "import that was about to end": (staged, "rmdir"),
}


@pytest.mark.parametrize("kind", KILLED)
def test_what_was_killed_leaves_nothing_of_a_session_that_is_deleted(
    store: SessionStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "old", "secret", time=OLD)
    append_raw(store, "old", b"torn\n")
    ask(store, "old", "secret")
    ask(store, "work", "secret")
    use, call = KILLED[kind]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, lambda *_args, **_options: os._exit(9))
        assert wait_for(store_kit.fork(lambda: use(store))) == 9
    assert [path for path in Path(store.folder).glob(".*") if path.name != ".in-flight"] != []
    if kind in ("repair", "prune"):
        rename(store, "old", "new")
    for name in store.names():
        delete(store, name)
    left = [path for path in Path(store.folder).rglob("*") if path.is_file()]
    assert [path.name for path in left if b"secret" in path.read_bytes()] == []
    assert [path.name for path in Path(store.folder).glob(".*")] == [".in-flight"]


def test_delete_leaves_what_forks_rewrites_and_imports_are_at_work_on(store: SessionStore) -> None:
    ask(store, "work")
    copies = [os.path.join(store.folder, entry) for entry in (".a.fork", ".b.rewrite")]
    with LockedFile(copies[0], create=True), LockedFile(copies[1], create=True):
        with Staging(store) as staging:
            staging.begin("new")
            staging.add("new", jsonl.dumps(turn_of_id(new_turn_id()).record()))
            delete(store, "work")
            staging.commit()
        assert all(map(os.path.exists, copies))
    assert store.names() == ["new"]


@pytest.mark.parametrize(
    "use",
    [
        lambda store: repair(store, "none"),
        lambda store: repair(store, "none", dry_run=True),
        lambda store: prune(store, "none", LIMIT),
        lambda store: delete(store, "none"),
        lambda store: rename(store, "none", "new"),
        lambda store: fork(store, "none", "new"),
    ],
)
def test_a_session_that_is_not_there_is_missing(
    use: Callable[[SessionStore], object], store: SessionStore
) -> None:
    for _ in range(2):
        with pytest.raises(SessionError) as caught:
            use(store)
        assert caught.value.code == "session_missing"
        os.makedirs(store.folder, 0o700, exist_ok=True)
    assert os.listdir(store.folder) == []


def test_rename_takes_the_turns_the_orphans_and_the_torn_lines_along(store: SessionStore) -> None:
    stays, aside = damaged(store)
    repair(store, "work")
    orphan = turn_of_id(new_turn_id(), status="partial", answer="")
    spool = jsonl.dumps(orphan.record()) + b"\nhel"
    spool_path(store.folder, "work", orphan.id).write_bytes(spool)
    rename(store, "work", "play")
    assert store.names() == ["play"]
    assert Path(store.path("play")).read_bytes().startswith(stays)
    assert ids(store, "play")[-1] == orphan.id
    assert torn_of(store, "play").read_bytes() == aside
    assert hidden(store) == []
    rename(store, "play", "Play")
    assert store.names() == ["Play"]


def test_rename_replaces_no_session_and_no_torn_lines(store: SessionStore) -> None:
    ask(store, "a")
    ask(store, "b")
    for taken in ("b", "a", "B"):
        with pytest.raises(SessionError) as caught:
            rename(store, "a", taken)
        assert caught.value.code == "session_exists"
    torn_of(store, "a").write_text("of a")
    torn_of(store, "c").write_text("of c")
    rename(store, "a", "c")
    assert torn_of(store, "a").read_text() == "of a"
    assert torn_of(store, "c").read_text() == "of c"
    with LockedFile(store.path("d"), create=True), pytest.raises(SessionError) as caught:
        rename(store, "c", "d")
    assert caught.value.code == "session_exists"
    rename(store, "c", "d")  # an empty one that nobody uses gives way
    assert store.names() == ["b", "d"]


def test_rename_is_refused_while_a_turn_is_in_flight(store: SessionStore) -> None:
    writer = store.begin("work")
    with pytest.raises(SessionError) as caught:
        rename(store, "work", "play")
    assert caught.value.code == "session_busy"
    assert caught.value.retryable
    writer.finish(turn_of_id(writer.id))
    other = store.begin("play")
    with pytest.raises(SessionError, match="already"):
        rename(store, "work", "play")
    other.abandon()
    rename(store, "work", "play")
    assert ids(store, "play") == [writer.id]


def test_fork_copies_all_turns_or_those_up_to_one(store: SessionStore) -> None:
    turns = [ask(store, "work", str(number)) for number in range(5)]
    append_raw(store, "work", b"torn")
    whole = ask(store, "work")
    assert fork(store, "work", "all") == 6
    assert list(store.all_turns("all")) == [*turns, whole]
    assert fork(store, "work", "two", "2") == 2
    assert list(store.all_turns("two")) == turns[:2]
    assert fork(store, "work", "three", turns[2].id) == 3
    assert fork(store, "work", "four", turns[3].id[:35]) == 4
    assert list(store.all_turns("four")) == turns[:4]
    assert stat.S_IMODE(os.stat(store.path("all")).st_mode) == 0o600
    assert hidden(store) == []
    assert fork(store, "work", "seven", "7") == 6  # the number of its line, past the torn one
    for at in ("0", "6", "8", "01", "zzz", "", "-1", "²", "1.0"):
        with pytest.raises(UsageError) as caught:
            fork(store, "work", "new", at)
        assert caught.value.code == "no_such_turn"
    assert store.names() == ["all", "four", "seven", "three", "two", "work"]


def test_fork_replaces_nothing_even_what_came_up_meanwhile(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "work")
    other = ask(store, "other")
    for taken in ("other", "work", "OTHER"):
        with pytest.raises(SessionError) as caught:
            fork(store, "work", taken)
        assert caught.value.code == "session_exists"
    real = os.link

    def too_late(old: str, new: str) -> None:
        monkeypatch.undo()
        ask(store, "new", "first")
        real(old, new)

    monkeypatch.setattr(os, "link", too_late)
    with pytest.raises(SessionError, match="already"):
        fork(store, "work", "new")
    assert ids(store, "other") == [other.id]
    assert [turn.answer for turn in store.all_turns("new")] == ["first"]


def test_what_a_killed_fork_left_is_no_danger_to_the_next(store: SessionStore) -> None:
    ask(store, "work")
    fork(store, "work", "new")
    os.link(store.path("new"), os.path.join(store.folder, ".new.fork"))  # killed before unlink
    rename(store, "new", "kept")
    fork(store, "work", "new")
    assert ids(store, "kept") == ids(store, "new") == ids(store, "work")
    assert hidden(store) == []


def test_a_temporary_file_in_use_is_not_taken(store: SessionStore) -> None:
    damaged(store)
    held = os.path.join(store.folder, ".work.rewrite")
    with LockedFile(held, create=True), pytest.raises(SessionError) as caught:
        repair(store, "work")
    assert caught.value.code == "session_busy"
    repair(store, "work")
    assert hidden(store) == []


def test_a_planted_link_in_place_of_the_temporary_file_is_not_followed(
    store: SessionStore, tmp_path: Path
) -> None:
    damaged(store)
    target = tmp_path / "target"
    target.write_text("mine")
    os.symlink(target, os.path.join(store.folder, ".work.rewrite"))
    with pytest.raises(SessionError, match="symbolic link"):
        repair(store, "work")
    assert target.read_text() == "mine"


REWRITES: dict[str, Callable[[SessionStore], object]] = {
    "repair": lambda store: repair(store, "work"),
    "prune": lambda store: prune(store, "work", LIMIT),
    "rename": lambda store: rename(store, "work", "new"),
    "fork": lambda store: fork(store, "work", "new"),
    "delete": lambda store: delete(store, "gone"),
}


@pytest.mark.parametrize("kind", REWRITES)
def test_whatever_call_fails_a_rewrite_is_done_or_undone_and_loses_nothing(
    kind: str, store: SessionStore
) -> None:
    damaged(store)
    ask(store, "work", "old", time=OLD)
    orphan = turn_of_id(new_turn_id(), status="partial", answer="")
    spool = jsonl.dumps(orphan.record()) + b"\nhel"
    wanted = set(ids(store, "work"))
    old = {store.last_turns("work", 1)[0].id}
    for nth in range(1, 300):
        spool_path(store.folder, "work", orphan.id).write_bytes(spool)
        if not store.exists("gone"):
            ask(store, "gone")
        with nth_call_fails(nth) as faults:
            failure = failure_of(REWRITES[kind], store)
        assert failure is None or faults.hit
        assert failure is None or failure.code != "session_missing"
        name = "work" if os.path.exists(store.path("work")) else "new"
        found = {line["id"] for line in store_kit.records(store, name)}
        assert wanted - old <= found
        assert old <= found or kind == "prune"
        if torn_of(store, name).exists():
            assert b"\0" * 40 in torn_of(store, name).read_bytes() or kind != "repair"
        else:
            assert b"\0" * 40 in Path(store.path(name)).read_bytes()
        if name == "new":
            rename(store, "new", "work")
        elif os.path.exists(store.path("new")):
            assert set(ids(store, "new")) >= wanted if kind == "fork" else ids(store, "new") == []
            os.unlink(store.path("new"))
        if not faults.hit:
            break
    assert nth > 8
    repair(store, "work")
    assert [entry for entry in hidden(store) if ".part" not in entry] == []
    assert ids(store, "work").count(orphan.id) == 1 or kind == "delete"


def test_a_rewrite_waits_for_the_append_in_flight(store: SessionStore) -> None:
    damaged(store)
    said, says = os.pipe()
    turn = turn_of_id(new_turn_id(), answer="in flight")

    def append_slowly() -> None:
        with LockedFile(store.path("work"), create=True) as session:
            line = b"\n" + jsonl.dumps(turn.record()) + b"\n"
            os.write(session.fd, line[:60])
            os.write(says, b"x")
            os.write(session.fd, line[60:])

    child = store_kit.fork(append_slowly)
    os.read(said, 1)
    repair(store, "work")
    assert wait_for(child) == 0
    assert ids(store, "work")[-1] == turn.id
