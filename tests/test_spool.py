"""What the store promises about the turn in flight: appended whole, or its beginning adopted."""

import errno
import fcntl
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipechat import jsonl
from pipechat.errors import ExitCode, SessionError
from pipechat.messages import Turn, new_turn_id
from pipechat.store import spool
from pipechat.store.layout import spool_file
from pipechat.store.locked_file import LockedFile
from pipechat.store.sessions import SessionStore, TurnWriter
from tests.store_kit import (
    ask,
    failure_of,
    fork,
    hidden,
    ids,
    kill,
    nth_call_fails,
    raw_lines,
    records,
    spool_path,
    turn_of_id,
    wait_for,
)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> SessionStore:
    return SessionStore(tmp_path / "sessions", told.append)


def die_after(store: SessionStore, name: str, *texts: str, torn_head: bool = False) -> str:
    """A turn whose process is killed after `texts` were kept; returns its id."""
    said, says = os.pipe()

    def half_a_turn() -> None:
        writer = store.begin(name)
        if torn_head:
            os.write(writer._fd, b'{"v":1,"id":"' + writer.id.encode())
        else:
            writer.head(turn_of_id(writer.id, "why?", system="S"))
        for text in texts:
            writer.text(text)
        os.write(says, writer.id.encode())
        signal.pause()

    child = fork(half_a_turn)
    turn_id = os.read(said, 100).decode()
    kill(child)
    os.close(said)
    os.close(says)
    return turn_id


def test_a_turn_in_flight_is_in_its_spool_and_nowhere_when_it_has_ended(
    store: SessionStore,
) -> None:
    writer = store.begin("work")
    assert hidden(store) == [spool_file("work", writer.id)]
    turn = turn_of_id(writer.id, answer="hello")
    writer.head(turn)
    writer.text("hel")
    writer.text("lo")
    head, text = Path(store.folder, hidden(store)[0]).read_bytes().split(b"\n")
    assert jsonl.loads(head) == {**turn.record(), "status": "partial", "answer": ""}
    assert text == b"hello"
    writer.finish(turn)
    assert hidden(store) == []
    assert list(store.all_turns("work")) == [turn]


def test_finish_and_abandon_do_nothing_a_second_time(store: SessionStore) -> None:
    writer = store.begin("work")
    turn = turn_of_id(writer.id)
    writer.head(turn)
    writer.finish(turn)
    writer.finish(turn)
    writer.abandon()
    writer.text("late")
    assert ids(store, "work") == [turn.id]


def test_a_request_never_made_leaves_nothing(store: SessionStore) -> None:
    writer = store.begin("new")
    writer.abandon()
    assert store.names() == []
    assert hidden(store) == []
    turn = ask(store, "work")
    store.begin("work").abandon()
    assert ids(store, "work") == [turn.id]


def test_an_empty_session_with_a_turn_in_flight_is_not_taken_away(store: SessionStore) -> None:
    first = store.begin("work")
    second = store.begin("work")
    first.abandon()
    assert store.names() == ["work"]
    second.finish(turn_of_id(second.id))
    assert ids(store, "work") == [second.id]


@pytest.mark.parametrize("open_it", ["begin", "adopt"])
def test_whoever_opens_a_session_adopts_the_turn_of_a_killed_process(
    open_it: str, store: SessionStore, told: list[str]
) -> None:
    turn_id = die_after(store, "work", "shown, ", "and more: é")
    assert hidden(store) == [spool_file("work", turn_id)]
    if open_it == "begin":
        store.begin("work").abandon()
    else:
        store.adopt("work")
    assert hidden(store) == []
    (turn,) = store.all_turns("work")
    assert (turn.id, turn.status) == (turn_id, "partial")
    assert (turn.question, turn.answer, turn.system) == ("why?", "shown, and more: é", "S")
    assert turn.error is not None
    assert turn.error["code"] == "interrupted"
    assert told == []
    assert store.read_tail("work", 5).turns == []


def test_orphans_of_other_sessions_are_left_to_them(store: SessionStore) -> None:
    mine = die_after(store, "a", "x")
    theirs = die_after(store, "a.b", "y")
    store.adopt("a")
    assert ids(store, "a") == [mine]
    assert hidden(store) == [spool_file("a.b", theirs)]
    store.adopt("a.b")
    assert ids(store, "a.b") == [theirs]


def test_a_living_turn_is_not_adopted(store: SessionStore) -> None:
    writer = store.begin("work")
    turn = turn_of_id(writer.id)
    writer.head(turn)
    store.adopt("work")
    store.begin("work").abandon()
    assert ids(store, "work") == []
    writer.finish(turn)
    assert ids(store, "work") == [turn.id]


def test_an_empty_spool_is_removed_and_a_torn_head_set_aside(store: SessionStore) -> None:
    ask(store, "work")
    torn_id = die_after(store, "work", torn_head=True)
    spool_path(store.folder, "work", new_turn_id()).touch()
    store.adopt("work")
    assert hidden(store) == []
    assert len(ids(store, "work")) == 1
    torn = Path(store.folder, "work.torn").read_bytes()
    assert torn == b'{"v":1,"id":"' + torn_id.encode() + b"\n"


def test_a_character_cut_in_two_is_dropped(store: SessionStore) -> None:
    turn_id = die_after(store, "work", "ok 😀")
    path = spool_path(store.folder, "work", turn_id)
    for cut in (1, 2, 3):
        os.truncate(path, os.path.getsize(path) - 1)
        assert path.read_bytes()[-4 + cut :] == "😀".encode()[: 4 - cut]
    store.adopt("work")
    assert next(store.all_turns("work")).answer == "ok "


@pytest.mark.parametrize("later_turns", [0, 3])
def test_a_turn_killed_between_append_and_unlink_is_not_doubled(
    later_turns: int, store: SessionStore
) -> None:
    for _ in range(3):
        ask(store, "work", total_s=1.0)
    turn_id = die_after(store, "work", "so")
    path = spool_path(store.folder, "work", turn_id)
    aside = path.rename(path.with_name("aside"))
    with open(store.path("work"), "ab") as file:
        file.write(jsonl.dumps(turn_of_id(turn_id).record()) + b"\n")
    for _ in range(later_turns):
        ask(store, "work", total_s=1.0)
    aside.rename(path)
    store.adopt("work")
    assert hidden(store) == []
    assert ids(store, "work").count(turn_id) == 1


def test_the_search_for_a_recorded_turn_ends_at_older_ones(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = turn_of_id("00000000-0000-7000-8000-000000000000", total_s=2.0, answer="x" * 1000)
    os.mkdir(store.folder, 0o700)
    Path(store.path("work")).write_bytes((jsonl.dumps(old.record()) + b"\n") * 10_000)
    turn_id = die_after(store, "work", "so")
    read = []
    real = os.pread

    def counting(fd: int, size: int, at: int) -> bytes:
        read.append(size)
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", counting)
    store.adopt("work")
    assert ids(store, "work")[-1] == turn_id
    assert sum(read) < 3_000_000  # the spool itself is read in blocks of 1 MB


def test_what_is_no_spool_is_left_alone_and_told(store: SessionStore, told: list[str]) -> None:
    ask(store, "work")
    fake = [spool_path(store.folder, "work", new_turn_id()) for _ in range(3)]
    fake[0].symlink_to("/etc/passwd")
    fake[1].mkdir()
    os.mkfifo(fake[2])
    ask(store, "work")
    assert all(path.is_symlink() or path.exists() for path in fake)
    assert len(told) == 3
    assert len(ids(store, "work")) == 2


def test_a_spool_that_cannot_be_adopted_does_not_stop_a_reader(
    store: SessionStore, told: list[str]
) -> None:
    ask(store, "work")
    turn_id = die_after(store, "work", "x")
    for nth in range(1, 100):
        with nth_call_fails(nth, errno.EROFS) as faults:
            store.adopt("work")
        assert len(store.last_turns("work", 9)) <= 2
        if not faults.hit:
            break
    assert any("could not be added" in line for line in told)
    assert ids(store, "work").count(turn_id) == 1


def test_text_that_cannot_be_kept_is_told_only_at_the_end(store: SessionStore) -> None:
    writer = store.begin("work")
    turn = turn_of_id(writer.id, answer="a" * 50_000 + "b")
    writer.head(turn)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        writer.text("a" * 50_000)
        writer.text("b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    with pytest.raises(SessionError, match="the turn is kept, but the file may not grow") as caught:
        writer.finish(turn)
    assert caught.value.exit_code == ExitCode.SESSION
    assert list(store.all_turns("work")) == [turn]
    assert hidden(store) == []


def test_a_turn_that_cannot_be_appended_comes_back_from_its_spool(store: SessionStore) -> None:
    first = ask(store, "work", "x" * 1000)
    writer = store.begin("work")
    turn = turn_of_id(writer.id, answer="precious", question="q" * 900)
    writer.head(turn)
    writer.text("precious")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = Path(store.path("work")).read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 300, limit[1]))
    try:
        with pytest.raises(SessionError, match="comes back when") as caught:
            writer.finish(turn)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.code == "session_unwritable"
    assert Path(store.path("work")).read_bytes() == before
    store.adopt("work")
    assert [(t.id, t.answer) for t in store.all_turns("work")] == [
        (first.id, first.answer),
        (turn.id, "precious"),
    ]


def test_a_head_that_cannot_be_kept_fails_before_anything_is_sent(store: SessionStore) -> None:
    writer = store.begin("work")
    with (
        nth_call_fails(1, errno.ENOSPC),
        pytest.raises(SessionError, match="the disk is full") as caught,
    ):
        writer.head(turn_of_id(writer.id))
    assert "Free some space" in caught.value.hint
    writer.abandon()
    assert store.names() == hidden(store) == []


def test_a_lone_surrogate_is_kept_as_a_replacement(store: SessionStore) -> None:
    turn_id = die_after(store, "work", "a\ud800b")
    store.adopt("work")
    assert records(store, "work")[0]["answer"] == "a\ufffdb"
    assert ids(store, "work") == [turn_id]


def test_a_torn_tail_is_sealed_off_and_stays(store: SessionStore) -> None:
    first = ask(store, "work")
    for tail in (b'{"torn', b"\0" * 10, b"}"):
        with open(store.path("work"), "ab") as file:
            file.write(tail)
        turn = ask(store, "work")
        assert raw_lines(store, "work")[-3] == tail
        assert ids(store, "work")[-1] == turn.id
    assert ids(store, "work")[0] == first.id


def test_a_short_write_is_gone_on_with(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    turns = [ask(store, "work", "x" * 100) for _ in range(3)]
    assert list(store.all_turns("work")) == turns


@pytest.mark.parametrize("written", [0, 1, 200])
def test_a_write_that_fails_half_way_is_rolled_back(
    written: int, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "work")
    before = Path(store.path("work")).read_bytes()
    real = os.write
    calls = []

    def half_a_write(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) == 1 and written:
            return real(fd, bytes(data)[:written])
        raise OSError(errno.ENOSPC, "full")

    with LockedFile(store.path("work"), create=True) as session:
        monkeypatch.setattr(os, "write", half_a_write)
        with pytest.raises(OSError, match="full"):
            session.append(b"x" * 500)
        monkeypatch.undo()
    assert Path(store.path("work")).read_bytes() == before


def test_a_record_is_on_the_disk_before_it_is_acknowledged(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("write", "fdatasync", "unlink", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, recording(real, name, done))
    writer = store.begin("work")
    turn = turn_of_id(writer.id)
    del done[:]
    writer.finish(turn)
    assert done == ["write", "fdatasync", "fsync", "unlink"]  # fsync: of the folder, once
    writer = store.begin("work")
    del done[:]
    writer.finish(turn_of_id(writer.id))
    assert done == ["write", "fdatasync", "unlink"]


def recording(real: Callable[..., object], name: str, done: list[str]) -> Callable[..., object]:
    def call(*args: object) -> object:
        done.append(name)
        return real(*args)

    return call


def test_who_waited_for_a_replaced_session_appends_to_the_one_with_the_name(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(store, "work")
    writer = store.begin("work")
    path = Path(store.path("work"))
    real = fcntl.flock

    def replaced_meanwhile(fd: int, how: int) -> None:
        monkeypatch.undo()
        copy = path.with_name("copy")
        copy.write_bytes(path.read_bytes())
        copy.rename(path)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    writer.finish(turn_of_id(writer.id))
    assert ids(store, "work") == [first.id, writer.id]


def test_who_waited_for_a_removed_session_makes_it_again(store: SessionStore) -> None:
    ask(store, "work")
    writer = store.begin("work")
    os.unlink(store.path("work"))
    writer.finish(turn_of_id(writer.id))
    assert ids(store, "work") == [writer.id]


def test_a_spool_taken_for_an_orphan_before_its_lock_is_made_again(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(store.folder, 0o700)
    real = fcntl.flock

    def taken_meanwhile(fd: int, how: int) -> None:
        monkeypatch.undo()
        os.unlink(os.path.join(store.folder, hidden(store)[0]))
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", taken_meanwhile)
    fd = spool.create_spool(store.folder, "work", new_turn_id())
    os.write(fd, b"x")
    os.close(fd)
    assert os.path.getsize(os.path.join(store.folder, hidden(store)[0])) == 1


def test_finish_in_a_signal_handler_keeps_the_turn_whatever_text_it_interrupted(
    store: SessionStore,
) -> None:
    for number in range(40):
        writer = store.begin("work")
        turn = turn_of_id(writer.id, answer=f"{number}")

        def stop(
            _signum: int, _frame: object, writer: TurnWriter = writer, turn: Turn = turn
        ) -> None:
            writer.finish(turn)

        writer.head(turn)  # before the request: no handler is there yet
        before = signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0001 + number * 0.00002)
            while not writer._done:
                writer.text("x")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert len(set(ids(store, "work"))) == len(ids(store, "work")) == 40
    assert hidden(store) == []


def test_one_asker_at_a_time_where_asked_for(store: SessionStore) -> None:
    first = store.begin("work", if_busy="fail")
    with pytest.raises(SessionError) as caught:
        store.begin("work", if_busy="fail")
    assert caught.value.code == "session_busy"
    assert caught.value.retryable
    assert caught.value.exit_code == ExitCode.SESSION
    with pytest.raises(SessionError, match="holds it"):
        store.begin("work", if_busy="wait", wait_s=0.05)
    store.begin("other", if_busy="fail").abandon()
    store.begin("work").abandon()  # without the flag nobody waits
    ended: list[float] = []

    def end_it() -> None:
        ended.append(time.monotonic())
        first.finish(turn_of_id(first.id))

    timer = threading.Timer(0.1, end_it)
    timer.start()
    second = store.begin("work", if_busy="wait", wait_s=30)
    assert ended
    assert time.monotonic() >= ended[0]
    timer.join()
    second.abandon()
    store.begin("work", if_busy="wait", wait_s=None).abandon()


def test_a_busy_lock_ends_with_its_process(store: SessionStore) -> None:
    said, says = os.pipe()

    def hold() -> None:
        store.begin("work", if_busy="fail")
        os.write(says, b"x")
        signal.pause()

    child = fork(hold)
    os.read(said, 1)
    with pytest.raises(SessionError, match="holds it"):
        store.begin("work", if_busy="fail")
    kill(child)
    store.begin("work", if_busy="fail").abandon()


def begin_alone(store: SessionStore, writers: list[TurnWriter]) -> None:
    writers.append(store.begin("work", if_busy="fail"))


@pytest.mark.parametrize("prior", [0, 2])
def test_whatever_call_fails_at_the_beginning_nothing_is_lost_or_left(
    prior: int, store: SessionStore
) -> None:
    wanted = [ask(store, "work").id for _ in range(prior)]
    if prior:
        wanted.append(die_after(store, "work", "orphan"))
    for nth in range(1, 200):
        writers: list[TurnWriter] = []
        with nth_call_fails(nth) as faults:
            failure = failure_of(begin_alone, store, writers)
        if failure is not None:
            assert faults.hit
            assert failure.code == "session_unwritable"
            assert failure.hint
            continue
        writers[0].abandon()
        if not faults.hit:
            break
    assert nth > 8
    assert (ids(store, "work") if prior else store.names()) == wanted
    store.adopt("work")
    assert hidden(store) == []


def test_whatever_call_fails_at_the_end_the_turn_is_kept_or_told_and_adopted(
    store: SessionStore,
) -> None:
    wanted = []
    for nth in range(1, 200):
        writer = store.begin("work")
        turn = turn_of_id(writer.id, answer="kept")
        writer.head(turn)
        writer.text("kept")
        before = ids(store, "work")
        with nth_call_fails(nth, errno.EIO) as faults:
            failure = failure_of(writer.finish, turn)
        assert failure is None or "the disk failed" in failure.message
        assert ids_in_full(store) == (before if failure else [*before, turn.id])
        wanted.append(turn.id)
        store.adopt("work")
        assert ids(store, "work") == wanted
        assert [turn.answer for turn in store.all_turns("work")] == ["kept"] * nth
        assert hidden(store) == []
        if not faults.hit:
            break
    assert nth > 5


def ids_in_full(store: SessionStore) -> list[str]:
    data = Path(store.path("work")).read_bytes()
    assert data.endswith(b"\n") or not data
    return [jsonl.loads(line)["id"] for line in data.split(b"\n")[:-1]]


def test_whatever_call_fails_while_a_turn_is_adopted_it_is_adopted_once_in_the_end(
    store: SessionStore,
) -> None:
    wanted = [ask(store, "work").id, die_after(store, "work", "one")]
    for nth in range(1, 200):
        with nth_call_fails(nth) as faults:
            store.adopt("work")
        if not faults.hit:
            break
        if not hidden(store):
            wanted.append(die_after(store, "work", "more"))
    assert nth > 8
    store.adopt("work")
    assert ids(store, "work") == wanted
    assert hidden(store) == []


def test_death_at_the_beginning_leaves_at_most_an_empty_spool(store: SessionStore) -> None:
    ask(store, "work")

    def begin_for_ever() -> None:
        while True:
            store.begin("work").abandon()

    for number in range(20):
        child = fork(begin_for_ever)
        time.sleep(0.001 * number / 4)
        os.kill(child, signal.SIGINT)
        assert wait_for(child) == -signal.SIGINT
        for entry in hidden(store):
            assert os.path.getsize(os.path.join(store.folder, entry)) == 0
        ask(store, "work")
        assert hidden(store) == []
    assert len(ids(store, "work")) == 21
