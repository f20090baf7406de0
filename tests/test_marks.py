"""A mark says of a turn whether it goes along; it loses nothing, and every reader agrees."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipechat import jsonl
from pipechat.errors import SessionError
from pipechat.store import moves, reading, rewrite
from pipechat.store.marks import last_turn, mark
from pipechat.store.search import Query, search
from pipechat.store.sessions import SessionStore
from tests.store_kit import ask, raw_lines, records


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    def warn(text: str) -> None:
        raise AssertionError(text)

    return SessionStore(tmp_path / "sessions", warn)


def context(store: SessionStore, name: str = "s", count: int = 20) -> list[str]:
    return [turn.answer for turn in store.read_tail(name, count).turns]


def test_the_newest_mark_of_a_turn_holds_and_its_place_is_the_turns_own(
    store: SessionStore,
) -> None:
    one, two = ask(store, "s", "A1"), ask(store, "s", "A2", status="partial")
    ask(store, "s", "A3")
    assert context(store) == ["A1", "A3"]
    mark(store, "s", two.id, context=True)
    assert context(store) == ["A1", "A2", "A3"]
    assert context(store, count=2) == ["A2", "A3"]
    mark(store, "s", one.id, context=False)
    mark(store, "s", two.id, context=False)
    assert context(store) == ["A3"]
    mark(store, "s", one.id, context=True)
    assert context(store) == ["A1", "A3"]


def test_a_mark_is_the_whole_record_again_with_keys_of_others(store: SessionStore) -> None:
    turn = ask(store, "s", "A1")
    path = Path(store.path("s"))
    record = {**jsonl.loads(path.read_bytes()), "note": ["mine", 2**70]}
    path.write_bytes(jsonl.dumps(record) + b"\n")
    mark(store, "s", turn.id, context=False)
    assert records(store, "s") == [record, {**record, "context": False}]


def test_readers_show_a_marked_turn_once(store: SessionStore) -> None:
    turns = [ask(store, "s", f"A{n}", question=f"needle {n}") for n in range(3)]
    mark(store, "s", turns[1].id, context=False)
    assert [turn.answer for turn in store.all_turns("s")] == ["A0", "A1", "A2"]
    assert [turn.answer for turn in store.last_turns("s", 2)] == ["A1", "A2"]
    with store.reading("s") as session:
        assert [hit.turn.answer for hit in search(session, Query("needle"))] == ["A0", "A1", "A2"]


def test_repair_prune_rename_and_fork_leave_marks_in_force(store: SessionStore) -> None:
    one, two = ask(store, "s", "A1"), ask(store, "s", "A2")
    mark(store, "s", one.id, context=True)
    mark(store, "s", two.id, context=False)
    before = raw_lines(store, "s")
    report = rewrite.repair(store, "s")
    assert (report.turns, report.doubles, report.torn) == (2, 0, 0)
    assert raw_lines(store, "s") == before
    moves.fork(store, "s", "t")
    assert context(store, "t") == ["A1"]
    moves.rename(store, "t", "u")
    assert context(store, "u") == ["A1"]


def test_repair_moves_doubles_and_leaves_their_marks(store: SessionStore) -> None:
    turn = ask(store, "s", "A1")
    path = Path(store.path("s"))
    path.write_bytes(path.read_bytes() * 2)
    mark(store, "s", turn.id, context=False)
    assert rewrite.repair(store, "s").doubles == 1
    assert [record["context"] for record in records(store, "s")] == [None, False]
    assert context(store) == []


def test_the_last_turn_is_the_last_one_not_left_out(store: SessionStore) -> None:
    assert last_turn(store, "s") is None
    one, two = ask(store, "s", "A1"), ask(store, "s", "A2", status="failed")
    for expected in (two, one):
        found = last_turn(store, "s")
        assert found is not None
        assert found.id == expected.id
        mark(store, "s", expected.id, context=False)
    assert last_turn(store, "s") is None


def test_a_turn_that_is_gone_is_an_error_and_changes_nothing(store: SessionStore) -> None:
    turn = ask(store, "s", "A1")
    before = raw_lines(store, "s")
    with pytest.raises(SessionError) as caught:
        mark(store, "s", turn.id[:-1] + "x", context=False)
    assert caught.value.code == "turn_missing"
    assert raw_lines(store, "s") == before
    with pytest.raises(SessionError) as caught:
        mark(store, "other", turn.id, context=False)
    assert caught.value.code == "session_missing"


MARKS = {"as we write it": ":", "with blanks": " : "}


@pytest.mark.parametrize("form", MARKS)
def test_a_mark_counts_as_no_turn_when_sessions_are_listed_or_pruned(
    store: SessionStore, form: str
) -> None:
    turns = [ask(store, "s", f"A{n}", time=f"2026-01-0{n + 1}T00:00:00Z") for n in range(3)]
    for turn, context in ((turns[0], False), (turns[0], True), (turns[2], False)):
        mark(store, "s", turn.id, context=context)
    path = Path(store.path("s"))
    path.write_text(path.read_text().replace('"context":', f'"context"{MARKS[form]}'))
    assert [summary.turns for summary in store.summaries()] == [3]
    limit = datetime(2026, 1, 2, tzinfo=UTC)
    assert rewrite.prune(store, "s", limit, dry_run=True) == ("s", 2, 1)
    assert rewrite.prune(store, "s", limit) == ("s", 2, 1)
    assert [record["id"] for record in records(store, "s")] == [
        turns[1].id, turns[2].id, turns[2].id,
    ]  # fmt: skip
    assert [summary.turns for summary in store.summaries()] == [2]


@pytest.mark.parametrize("usage", [{"context": True}, {"x": {"context": False}}], ids=str)
def test_a_turn_that_only_speaks_of_context_counts(
    store: SessionStore, usage: dict[str, object]
) -> None:
    ask(store, "s", 'it says "context":true', usage=usage)
    assert [summary.turns for summary in store.summaries()] == [1]


def test_a_mark_that_two_blocks_share_is_seen(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = ask(store, "s")
    mark(store, "s", turn.id, context=False)
    for size in range(10, 40):
        monkeypatch.setattr(reading, "_BLOCK", size)
        assert [summary.turns for summary in store.summaries()] == [1]
