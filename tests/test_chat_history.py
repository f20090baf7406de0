"""What was typed in `chat` is there in the next run: bounded, private, shared by chats at once."""

import json
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pipechat.store.question_history import LONGEST_BYTES, MOST_ENTRIES, QuestionHistory
from tests.chat_kit import Model, talk
from tests.store_kit import fork, wait_for

NAME = "chat_history.jsonl"


def peak_memory(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_entries_of_any_shape_come_back_in_their_order(tmp_path: Path) -> None:
    texts = ["one", "two\nlines\n", "什么 🚀", '"quoted"\\', "\ttab", "/help", "\x1b[2J"]
    for text in texts:
        QuestionHistory(str(tmp_path / "new" / NAME)).add(text)
    assert QuestionHistory(str(tmp_path / "new" / NAME)).entries() == texts
    assert stat.S_IMODE((tmp_path / "new" / NAME).stat().st_mode) == 0o600


def test_it_never_holds_more_than_its_bound_and_the_newest_stay(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("".join(f'"old {n}"\n' for n in range(MOST_ENTRIES - 2)))
    history = QuestionHistory(str(path))
    for n in range(5):
        history.add(f"new {n}")
        assert len(path.read_text().splitlines()) <= MOST_ENTRIES
    assert history.entries()[-6:] == [f"old {MOST_ENTRIES - 3}", *(f"new {n}" for n in range(5))]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [NAME]


def test_a_file_of_huge_entries_is_cut_to_the_newest(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with path.open("w") as file:
        for n in range(300):
            file.write(json.dumps(f"{n} " + "x" * 60_000) + "\n")
    history = QuestionHistory(str(path))
    history.add("new")
    assert path.stat().st_size < 9_000_000
    entries = history.entries()
    assert entries[-1] == "new"
    assert entries[-2].startswith("299 ")
    assert len(entries) > 100


def test_what_is_too_long_and_what_is_no_entry_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text('"one"\n{"a": 1}\nnot json\n7\n"nul \\u0000"\n"tw')
    history = QuestionHistory(str(path))
    history.add("x" * LONGEST_BYTES)
    history.add("three")
    assert history.entries() == ["one", "three"]


def test_two_chats_at_once_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / NAME)

    def add(who: int) -> None:
        for n in range(60):
            QuestionHistory(path).add(f"{who} {n}")

    pids = [fork(lambda who=who: add(who)) for who in range(4)]  # type: ignore[misc]  # because mypy cannot infer a lambda's default
    assert [wait_for(pid) for pid in pids] == [0] * 4
    entries = QuestionHistory(path).entries()
    for who in range(4):
        assert [e for e in entries if e.startswith(f"{who} ")] == [f"{who} {n}" for n in range(60)]


def test_what_is_typed_is_there_in_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["one", "one", "/model", "two\nlines", " ", "/quit"]
    talk(tmp_path, monkeypatch, Model("A1", "A2", "A3"), *typed)
    said = talk(tmp_path, monkeypatch, Model())
    assert said.past == ["one", "/model", "two\nlines", "/quit"]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_it_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(tmp_path, monkeypatch, Model("A1"), "one")
    before = (tmp_path / NAME).read_bytes()
    said = talk(tmp_path, monkeypatch, Model("A2"), "two", chat_history=False)
    assert said.past == []
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("kind", ["folder", "link", "fifo"])
def test_where_it_cannot_be_kept_one_warning_says_so_and_the_conversation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import os

    path, elsewhere = tmp_path / NAME, tmp_path / "elsewhere"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        elsewhere.write_text("mine\n")
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)
    model = Model("A1", "A2")
    said = talk(tmp_path, monkeypatch, model, "one", "two")
    assert said.stderr.count("what is typed is not remembered") == 1
    assert model.asked == [["one"], ["one", "A1", "two"]]
    assert kind != "link" or elsewhere.read_text() == "mine\n"


@pytest.mark.parametrize("what", ["a hole", "empty lines", "no end of a line"])
def test_a_file_that_another_made_huge_costs_no_more_than_the_largest_of_ours(
    tmp_path: Path, what: str
) -> None:
    path = tmp_path / "history"
    QuestionHistory(str(path)).add("old")
    with path.open("ab") as file:
        if what == "a hole":
            file.truncate(1 << 33)
        else:
            file.write((b"\n" if what == "empty lines" else b"x") * (1 << 26))
    with path.open("ab") as file:
        file.write(b'\n"new"\n')
    history = QuestionHistory(str(path))
    peak = peak_memory(history.entries)
    assert history.entries() == ["new"]
    assert peak < 1 << 27
    history.add("newest")
    assert history.entries() == ["new", "newest"]
    assert path.stat().st_size < 100
