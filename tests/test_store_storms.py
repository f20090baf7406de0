"""The store under kills, full disks, rewrites and damage: what was acknowledged is there, once.

Each storm has a small dose for every run and the count of FAULTS §5 under the mark `storm`.
The last test takes the guards out of the code, one by one, and looks that these tests notice.
"""

import functools
import hashlib
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.messages import new_turn_id
from pipechat.store.locked_file import LockedFile
from pipechat.store.rewrite import prune, repair
from pipechat.store.sessions import SessionStore
from tests.store_kit import ask, failure_of, fork, hidden, ids, kill, records, turn_of_id, wait_for

ROOT = Path(__file__).resolve().parent.parent
ID_LINE = 37  # a turn's id and a newline
WRITERS = 8


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    return SessionStore(tmp_path / "sessions", print)


def dose(small: int, full: int, *more: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """The count for every run, and the whole one under the mark `storm`."""
    marks = [pytest.mark.storm, pytest.mark.timeout(900), *more]
    return pytest.mark.parametrize("count", [small, pytest.param(full, marks=marks)])


def answer_of(turn_id: str) -> str:
    """A text that only this turn has: 0.3 to 300 kB, most of them small, no page multiples."""
    seed = random.Random(turn_id)
    size = int(300 * 1000 ** seed.random())
    digest = hashlib.sha256(turn_id.encode()).hexdigest()
    return (digest * (size // len(digest) + 1))[: size | 1]


class Acknowledged:
    """The ids of turns that writers said were kept, over a pipe that all of them write to."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._reads, False)
        self._data = b""

    def say(self, turn_id: str) -> None:
        os.write(self._writes, turn_id.encode() + b"\n")  # whole: less than PIPE_BUF

    def hear(self, seconds: float = 0) -> None:
        """Take what was said, for so long."""
        ends_at = time.monotonic() + seconds
        while select.select([self._reads], [], [], max(0.0, ends_at - time.monotonic()))[0]:
            self._data += os.read(self._reads, 1 << 16)

    def close(self) -> list[str]:
        self.hear()
        os.close(self._reads)
        os.close(self._writes)
        assert len(self._data) % ID_LINE == 0
        return self._data.decode().split()


def write_for_ever(store: SessionStore, name: str, acknowledged: Acknowledged) -> None:
    random.seed()
    while True:
        writer = store.begin(name)
        turn = turn_of_id(writer.id, answer=answer_of(writer.id), total_s=0.01)
        writer.head(turn)
        cut = random.randrange(len(turn.answer))
        writer.text(turn.answer[:cut])
        writer.text(turn.answer[cut:])
        writer.finish(turn)
        acknowledged.say(turn.id)


def check(store: SessionStore, name: str, acknowledged: list[str]) -> None:
    """Every acknowledged turn is there once and whole; every other at most once, as far as it
    came."""
    store.adopt(name)
    assert hidden(store) == []
    found = records(store, name)
    counts = Counter(record["id"] for record in found)
    assert [turn_id for turn_id in acknowledged if counts[turn_id] != 1] == []
    assert max(counts.values()) == 1
    whole = {record["id"] for record in found if record["status"] == "complete"}
    assert set(acknowledged) <= whole
    for record in found:
        answer = answer_of(record["id"])
        if record["status"] == "complete":
            assert record["answer"] == answer
        else:
            assert answer.startswith(record["answer"])


@dose(60, 3000)
def test_killed_writers_lose_no_acknowledged_turn(count: int, store: SessionStore) -> None:
    chance = random.Random()
    kept = 0
    for start in range(0, count, 60):
        name = f"storm{start}"
        acknowledged = Acknowledged()
        writers = [fork_writer(store, name, acknowledged) for _ in range(WRITERS)]
        for _ in range(60):
            acknowledged.hear(chance.uniform(0, 0.02))
            victim = chance.randrange(WRITERS)
            kill(writers[victim])
            writers[victim] = fork_writer(store, name, acknowledged)
        for writer in writers:
            kill(writer)
        turns = acknowledged.close()
        assert turns
        kept += len(turns)
        check(store, name, turns)
        os.unlink(store.path(name))
    print(f"{count} kills, {kept} turns acknowledged, none lost")


def fork_writer(store: SessionStore, name: str, acknowledged: Acknowledged) -> int:
    return fork(lambda: write_for_ever(store, name, acknowledged))


@dose(30, 500)
def test_what_was_shown_is_the_beginning_of_what_is_adopted(
    count: int, store: SessionStore
) -> None:
    partial = 0
    ask(store, "other")  # so that the folder is there, however early the first is killed
    for _ in range(count):
        reads, shows = os.pipe()
        child = fork(functools.partial(show, store, shows))
        time.sleep(random.uniform(0, 0.01))
        kill(child)
        os.close(shows)
        with os.fdopen(reads, "rb") as file:
            shown = file.read().decode()
        store.adopt("work")
        assert hidden(store) == []
        turns = store.last_turns("work", 1) if store.exists("work") else []
        if shown:
            assert turns[0].answer.startswith(shown)
            assert turns[0].question == str(child_question(turns[0].id))
            partial += turns[0].status == "partial"
        if store.exists("work"):
            os.unlink(store.path("work"))
    print(f"{count} kills, {partial} partial answers adopted")
    assert partial


def child_question(turn_id: str) -> str:
    return turn_id[::-1]


def show(store: SessionStore, shows: int) -> None:
    writer = store.begin("work")
    turn = turn_of_id(writer.id, child_question(writer.id), answer="")
    writer.head(turn)
    for number in range(8000):
        piece = f"{number} é "
        writer.text(piece)
        os.write(shows, piece.encode())
    signal.pause()


@dose(400, 10_000)
def test_a_tail_damaged_at_any_byte_costs_no_other_turn(count: int, store: SessionStore) -> None:
    """The last record cut off, or filled with zeros, at each of its bytes."""
    first = ask(store, "work", "first")
    middle = ask(store, "work", "middle")
    path = Path(store.path("work"))
    sound = path.read_bytes()
    empty_record = len(jsonl.dumps(turn_of_id(new_turn_id(), answer="").record())) + 1
    size = max(count // 2, empty_record)
    turn = turn_of_id(new_turn_id(), answer="é" + "y" * (size - empty_record - 2))
    last = jsonl.dumps(turn.record()) + b"\n"
    step = max(1, len(last) * 2 // count)
    tried = 0
    for cut in range(0, len(last), step):
        for damage in (last[:cut], last[:cut] + b"\0" * (len(last) - cut)):
            path.write_bytes(sound + damage)
            appended = ask(store, "work", "appended")
            wanted = [first.id, middle.id, appended.id]
            if damage == last[:-1]:  # nothing but its newline is missing
                wanted.insert(2, turn.id)
            assert ids(store, "work") == wanted
            assert damage in path.read_bytes()
            assert store.read_tail("work", 1).turns == [appended]
            tried += 1
    assert tried >= count * 0.9
    print(f"{tried} damaged tails, no other turn lost")


OLD = "2020-01-01T00:00:00.000Z"
LIMIT = datetime(2021, 1, 1, tzinfo=UTC)


# Alone: an append waits 5 s for the lock, and others' storms can keep a disk busy for longer.
@dose(240, 36_000, pytest.mark.alone)
def test_rewrites_under_twelve_appenders_lose_nothing(count: int, store: SessionStore) -> None:
    rewrites, size = 0, min(count, 600)  # short sessions are rewritten most often
    for start in range(0, count, size):
        rewrites += rewrite_under_appenders(store, f"work{start}", size // 12)
    assert rewrites > count // 200
    print(f"{count} appends, {rewrites} rewrites, none lost")


def rewrite_under_appenders(store: SessionStore, name: str, count: int) -> int:
    """Prune and repair for as long as 12 appenders add `count` turns each; returns how often
    the session was replaced."""
    first = ask(store, name)
    acknowledged = Acknowledged()
    running = {fork(lambda: append_turns(store, name, acknowledged, count)) for _ in range(12)}
    rewrites = 0
    while running:
        acknowledged.hear(0.001)
        before = os.stat(store.path(name)).st_ino
        prune(store, name, LIMIT)
        repair(store, name)
        rewrites += os.stat(store.path(name)).st_ino != before
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                assert status == 0
                running.remove(pid)
    prune(store, name, LIMIT)
    repair(store, name)
    turns = acknowledged.close()
    assert len(turns) == 12 * count * 9 // 10
    assert Counter(ids(store, name)) == Counter([first.id, *turns])
    torn = Path(store.folder, f"{name}.torn").read_bytes().split()
    assert all(line.startswith(b'{"torn":') for line in torn)
    return rewrites


def append_turns(store: SessionStore, name: str, acknowledged: Acknowledged, count: int) -> None:
    for number in range(count):
        writer = store.begin(name)
        old = number % 10 == 3
        turn = turn_of_id(writer.id, **({"time": OLD} if old else {}))
        writer.head(turn)
        writer.finish(turn)
        if not old:
            acknowledged.say(turn.id)
        if number % 10 == 7:
            with LockedFile(store.path(name), create=True) as session:
                os.write(session.fd, b'{"torn":')


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of 300 kB at `folder`, where this machine lets us mount one; says whether."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and not subprocess.run(mount, capture_output=True, check=False).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["limit", "disk"])
def test_a_full_disk_is_told_and_loses_no_acknowledged_turn(kind: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") if kind == "disk" else nullcontext(False) as mounted:
        store = SessionStore(tmp_path / "disk" / "sessions", print)
        acknowledged = Acknowledged()
        limited = not mounted
        writers = [fork(lambda: fill(store, acknowledged, limited)) for _ in range(4)]
        assert [wait_for(writer) for writer in writers] == [0] * 4
        turns = acknowledged.close()
        data = Path(store.path("work")).read_bytes()
        assert data.endswith(b"\n")  # rolled back: no torn line, not even a sealed one
        found = [jsonl.loads(line)["id"] for line in data.split(b"\n")[:-1]]
        assert sorted(set(found)) == sorted(found)
        assert set(turns) <= set(found)
        assert len(turns) > 3
        if limited:  # the limit was the writers' own: what they kept aside comes back
            store.adopt("work")
            assert hidden(store) == []
            assert len(ids(store, "work")) > len(found)


def fill(store: SessionStore, acknowledged: Acknowledged, limited: bool) -> None:
    if limited:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    failure = None
    for _ in range(1000):
        if failure := failure_of(ask_once, store, acknowledged):
            break
    assert failure
    assert failure.code == "session_unwritable"
    assert "the disk is full" in failure.message or "may not grow" in failure.message
    assert failure.hint


def ask_once(store: SessionStore, acknowledged: Acknowledged) -> None:
    writer = store.begin("work")
    turn = turn_of_id(writer.id, answer="z" * 3001)
    try:
        writer.head(turn)
    except SessionError:
        writer.abandon()
        raise
    writer.text(turn.answer)
    writer.finish(turn)
    acknowledged.say(turn.id)


FILE, SPOOL, ADOPTION = "store/locked_file.py", "store/spool.py", "store/adoption.py"
FLOCK = "take_lock(fd, fcntl.LOCK_EX, wait_s, on_wait)"
ADOPT = "session.append(*records)"
MUTATIONS = {
    "nothing": (FILE, "", ""),
    "seal": (
        FILE,
        'write_all(self.fd, seal + b"\\n".join(records) + b"\\n")',
        'write_all(self.fd, b"\\n".join(records) + b"\\n")',
    ),
    "inode check": (FILE, "if is_named(fd, path):", "if True:"),
    "rollback": (FILE, "            self._roll_back(size)\n", ""),
    "lock": (FILE, FLOCK, "pass"),
    "sync": (FILE, "            sync(self.fd)\n", ""),
    "short-write loop": (
        FILE,
        "left = left[os.write(fd, left) :]",
        "left = os.write(fd, left) and b''",
    ),
    "spool": (SPOOL, "write_all(self._fd, whole_text(text).encode())", "pass"),
    "spool's lock": (SPOOL, "take_lock(fd, fcntl.LOCK_EX)", "pass"),
    "adoption": (ADOPTION, ADOPT, "pass"),
    "look for the record": (ADOPTION, "if Turn.from_record(record).id in recorded:", "if False:"),
}


@pytest.mark.storm
@pytest.mark.timeout(900)
@pytest.mark.parametrize("guard", MUTATIONS)
def test_a_guard_taken_out_is_noticed(guard: str, tmp_path: Path) -> None:
    module, old, new = MUTATIONS[guard]
    for folder in ("pipechat", "tests"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skipped)
    code = (tmp_path / "pipechat" / module).read_text()
    assert not old or code.count(old) == 1
    (tmp_path / "pipechat" / module).write_text(code.replace(old, new) if old else code)
    pytest_here = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path)]
    chosen = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not storm"]
    files = ["tests/test_spool.py", "tests/test_store_storms.py"]
    done = subprocess.run(
        [*pytest_here, *chosen, *files],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == (0 if guard == "nothing" else 1), done.stdout
