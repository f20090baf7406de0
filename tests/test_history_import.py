"""What a user may rely on of `pipechat history import`, whatever program kept the conversation."""

import copy
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat import jsonl
from pipechat.foreign.json_values import json_values
from pipechat.foreign.kinds import pieces
from pipechat.foreign.turns import Lost
from pipechat.messages import Turn
from pipechat.show.messages_page import MessagesPage
from pipechat.store.importing import Staging
from pipechat.store.sessions import SessionStore
from tests.foreign import CONVERSATIONS, MESSAGES, ROWS, conversation, message, node, row
from tests.history_kit import limit_memory, turn, write_session
from tests.program import Program, Result
from tests.properties import MODEST
from tests.servers import ChatServer, mirror

pytestmark = pytest.mark.in_process


def imported(program: Program, folder: Path, value: Any, *options: str) -> Result:
    """Import `value`, which stands in talk.json; bytes stand as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    (folder / "talk.json").write_bytes(data)
    return program.run("history", "import", "talk.json", *options, cwd=folder)


def kept(program: Program, name: str) -> list[dict[str, Any]]:
    """The records of a session."""
    lines = (program.home / "sessions" / f"{name}.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def said(program: Program, name: str) -> list[tuple[Any, ...]]:
    keys = ("system", "question", "answer", "status")
    return [tuple(record[key] for key in keys) for record in kept(program, name)]


def entries(program: Program) -> set[str]:
    """All that is in the folder of the sessions, hidden or not."""
    folder = program.home / "sessions"
    return set(os.listdir(folder)) if folder.exists() else set()


def context_sent(program: Program, server: ChatServer, session: str) -> list[Any]:
    """What goes along with a question in this session."""
    result = program.run("ask", "--session", session, "next?", env={"OPENAI_BASE_URL": server.url})
    assert result.status == 0, result.stderr
    messages: list[Any] = server.requests[-1].body["messages"]
    return messages


def test_messages_that_were_exported_and_imported_send_the_same_context(
    program: Program,
) -> None:
    turns = [
        turn(1, "Where is Lyon?", "In France.", system="Be long."),
        turn(2, "cut?", "half", status="partial", system="Be brief."),
        turn(3, "«é»?\n\n```\ncode\x1b[31m\n```", "Portugal. \u202e\u2028", system="Be brief."),
        turn(4, "left out?", "Yes.", system="Be brief."),
        turn(4, "left out?", "Yes.", system="Be brief.", context=False),
        turn(5, "last?", "Last.", system="Be brief."),
    ]  # fmt: skip
    write_session(program, "old", turns)
    for name, form in (("by-messages", "messages"), ("by-records", "ndjson")):
        exported = program.run("history", "export", "old", "--format", form)
        assert exported.status == 0
        options = ("--session", name)
        result = program.run("history", "import", "-", *options, input=exported.stdout)
        assert (result.status, result.stdout) == (0, name.encode() + b"\n")
    with ChatServer(mirror()) as server:
        wanted = context_sent(program, server, "old")
        assert [each["content"] for each in wanted][:2] == ["Be brief.", "Where is Lyon?"]
        assert len(wanted) == 2 + 2 * 3
        assert context_sent(program, server, "by-messages") == wanted
        assert context_sent(program, server, "by-records") == wanted


def test_records_that_were_exported_and_imported_are_the_same_records(
    program: Program, tmp_path: Path
) -> None:
    records = [turn(1).record() | {"rating": {"stars": 5}}, turn(2, status="failed").record()]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in records)
    assert imported(program, tmp_path, lines, "--session", "copy").status == 0
    assert kept(program, "copy") == records


WHOLE = [
    ("messages", MESSAGES, ["talk"]),
    ("body", {"model": "m", "messages": MESSAGES}, ["talk"]),
    ("rows", ROWS, ["Rivers-of-France"]),
    ("conversations", CONVERSATIONS, ["Trip-to-Lyon", "里昂"]),
    ("one conversation", CONVERSATIONS[0], ["Trip-to-Lyon"]),
    ("turns", turn(1).record(), ["talk"]),
]


@pytest.mark.parametrize(("_", "value", "names"), WHOLE, ids=[each[0] for each in WHOLE])
def test_each_conversation_is_a_session_named_after_it(
    program: Program, tmp_path: Path, _: str, value: Any, names: list[str]
) -> None:
    result = imported(program, tmp_path, value)
    assert (result.status, result.stdout.decode().split()) == (0, names)
    assert entries(program) == {f"{name}.jsonl" for name in names}
    for name in names:
        assert f"imported session {name!r}: " in result.stderr.decode()
        assert program.run("history", "show", name).status == 0
    modes = {path.stat().st_mode & 0o777 for path in (program.home / "sessions").iterdir()}
    assert modes == {0o600}
    assert b"not kept" not in result.stderr


def test_messages_become_questions_with_their_answers(program: Program, tmp_path: Path) -> None:
    imported(program, tmp_path, MESSAGES)
    assert said(program, "talk") == [
        ("Be brief.", "Where is Lyon?", "In France.", "complete"),
        ("Be brief.", "And Porto?", "In Portugal.", "complete"),
    ]


def test_a_log_of_llm_keeps_model_time_tokens_and_the_system_message_that_held(
    program: Program, tmp_path: Path
) -> None:
    older = "2026-03-01T09:15:01.250000"  # as older releases write it: UTC without saying so
    rows = [row(1, "one", "1", system="Be brief.", datetime_utc=older),
            row(2, "other", "o", conversation_id="x"), row(3, "two", "2")]  # fmt: skip
    assert imported(program, tmp_path, rows).stdout == b"Rivers-of-France\nRivers-of-France-2\n"
    first, second = kept(program, "Rivers-of-France")
    assert (first["time"], first["model"]) == ("2026-03-01T09:15:01.250Z", "gpt-5.4-mini")
    assert first["usage"] == {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    assert first["total_s"] == 1.5
    assert (first["system"], second["system"]) == ("Be brief.", "Be brief.")
    assert [each["question"] for each in kept(program, "Rivers-of-France-2")] == ["other"]


def test_of_chatgpts_tree_the_branch_that_was_shown_is_kept(
    program: Program, tmp_path: Path
) -> None:
    nodes = [
        node("s", "root", "system", ""),
        node("q1", "s", "user", "first?"),
        node("old", "q1", "assistant", "regenerated away"),
        node("a1", "q1", "assistant", "kept"),
        node("edited", "a1", "user", "edited away?"),
        node("q2", "a1", "user", "second?"),
        node("a2", "q2", "assistant", "half", metadata={"finish_details": {"type": "interrupted"}}),
    ]
    result = imported(program, tmp_path, [conversation("T", *nodes, end="a2")])
    assert said(program, "T") == [
        (None, "first?", "kept", "complete"),
        (None, "second?", "half", "partial"),
    ]
    assert kept(program, "T")[0]["model"] == "gpt-5"
    assert kept(program, "T")[0]["time"] == "2026-01-01T00:00:00.500Z"
    assert b"not kept: 2 \xc3\x97 message of another branch\n" in result.stderr
    old = node("q1", "root", "user", "?"), node("a1", "q1", "assistant", "kept")
    without_end = conversation("U", *old, end="gone")
    assert imported(program, tmp_path, without_end).status == 0
    assert said(program, "U")[0][2] == "kept"


IMAGE = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
SPOKEN = {"content_type": "audio_transcription", "text": "what?", "direction": "in"}
LOST: list[tuple[str, Any, list[str]]] = [
    (
        "messages",
        [
            message("user", [{"type": "text", "text": "what?"}, {"type": "image_url"},
                             {"type": "image_url"}]),
            message("assistant", None, tool_calls=[{"id": "1"}]),
            message("tool", "42"),
            message("assistant", "An image.", annotations=[]),
        ],
        ["2 × image_url", "1 × tool_calls", "1 × tool message"],
    ),
    (
        "an answer first",
        [message("assistant", "Hello!"), message("user", "what?"), message("user", "and?"),
         message("assistant", "An image.")],
        ["1 × answer without a question", "1 × break between two messages of the user"],
    ),
    (
        "rows",
        [row(1, "what?", "An image.", attachments=[{"type": "image/png"}] * 2,
             prompt_fragments=[{"hash": "x"}], tool_calls=[{"name": "t"}], reasoning="Hm.",
             options_json={"seed": 1})],
        ["2 × attachments", "1 × prompt_fragments", "1 × tool_calls", "1 × reasoning",
         "1 × options_json"],
    ),
    (
        "chatgpt",
        [
            conversation(
                "T",
                node("h", "root", "system", "hidden",
                     metadata={"is_visually_hidden_from_conversation": True}),
                node("q", "h", "user", {"content_type": "multimodal_text",
                                        "parts": [IMAGE, SPOKEN]}),
                node("c", "q", "assistant", {"content_type": "code", "text": "search()"},
                     recipient="browser"),
                node("t", "c", "tool", "found"),
                node("r", "t", "assistant", {"content_type": "thoughts", "thoughts": [1]}),
                node("a", "r", "assistant", "An image."),
                end="a",
            ),
            conversation("empty", end="root"),
        ],
        ["1 × image_asset_pointer", "1 × hidden message", "1 × tool call", "1 × tool message",
         "1 × thoughts", "1 × conversation without a question"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("_", "value", "told"), LOST, ids=[each[0] for each in LOST])
def test_what_a_session_has_no_place_for_is_counted_by_its_kind(
    program: Program, tmp_path: Path, _: str, value: Any, told: list[str]
) -> None:
    result = imported(program, tmp_path, value, "--session", "t")
    assert result.status == 0
    (line,) = [each for each in result.stderr.decode().splitlines() if "not kept: " in each]
    assert sorted(line.partition("not kept: ")[2].split(", ")) == sorted(told)
    ((_, question, answer, status),) = said(program, "t")
    assert question.startswith("what?")
    assert (answer, status) == ("An image.", "complete")


def test_a_question_without_an_answer_is_kept_and_sent_along_with_nothing(
    program: Program, tmp_path: Path
) -> None:
    imported(program, tmp_path, [*MESSAGES, message("user", "And Rome?")])
    assert said(program, "talk")[-1] == ("Be brief.", "And Rome?", "", "partial")
    with ChatServer(mirror()) as server:
        sent = context_sent(program, server, "talk")
    assert sent == [*MESSAGES, message("user", "next?")]


@pytest.mark.parametrize(
    "session", [[], ["--session", "Trip-to-Lyon"], ["--session", "TRIP-to-lyon"]]
)
@pytest.mark.parametrize("value", [CONVERSATIONS, CONVERSATIONS[0]], ids=["several", "one"])
def test_where_a_name_is_taken_nothing_is_imported(
    program: Program, tmp_path: Path, value: Any, session: list[str]
) -> None:
    path = write_session(program, "Trip-to-Lyon", [turn(1)])
    before = path.read_bytes()
    result = imported(program, tmp_path, value, *session)
    assert (result.status, result.code, result.stdout) == (9, "session_exists", b"")
    assert b"--session" in result.stderr or b"another name" in result.stderr
    assert entries(program) == {"Trip-to-Lyon.jsonl"}
    assert path.read_bytes() == before
    again = imported(program, tmp_path, value, "--session", "other")
    assert again.status == 0
    names = ["other", "other-2"] if value is CONVERSATIONS else ["other"]
    assert again.stdout.decode().split() == names


def test_of_conversations_with_one_title_the_second_gets_a_number(
    program: Program, tmp_path: Path
) -> None:
    twice = [conversation("A / b: 'c'?", *[node("q", "root", "user", f"{n}?")], end="q")
             for n in range(2)]  # fmt: skip
    odd = [
        conversation(t, node("q", "root", "user", "?"), end="q")
        for t in ("../..", "", "con", "é" * 99, "TALK")
    ]
    names = imported(program, tmp_path, twice + odd).stdout.decode().split()
    assert names == ["A-b-c", "A-b-c-2", "talk", "talk-2", "talk-3", "é" * 48, "TALK-4"]


TITLES = {
    "one title": ["same"] * 500,
    "no title": [""] * 500,
    "one title but for case": ["same", "SAME", "Same"] * 170,
    "titles that look like numbered ones": ["same", "same-2", "same"] * 170,
}


@pytest.mark.parametrize("titles", TITLES.values(), ids=TITLES)
def test_each_of_many_conversations_with_one_title_costs_as_much_to_name(
    titles: list[str], tmp_path: Path
) -> None:
    with Staging(SessionStore(tmp_path, print)) as staging:
        staging._taken = taken = CountedLooks(staging._taken)
        names = []
        for title in titles:
            names.append(staging.free_name(title or "imported"))
            staging.begin(names[-1])
        assert len({name.casefold() for name in names}) == len(titles)
        assert taken.looks < 6 * len(titles)


class CountedLooks(dict[str, str]):
    looks = 0

    def get(self, *args: Any) -> Any:
        self.looks += 1
        return super().get(*args)


EMPTY: dict[str, Any] = {"id": "q", "message": None, "children": []}
CUT = {
    "messages": json.dumps(MESSAGES),
    "rows": json.dumps(ROWS, indent=2),
    "conversations": json.dumps(CONVERSATIONS),
    "turns": "\n".join(json.dumps(turn(n).record()) for n in range(3)),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_torn_file_leaves_nothing_wherever_it_is_cut(
    program: Program, tmp_path: Path, kind: str
) -> None:
    whole = CUT[kind]
    for place in (len(whole) // 5, len(whole) // 2, len(whole) - 1):
        result = imported(program, tmp_path, whole[:place].encode())
        assert (result.status, result.code, result.stdout) == (2, "unreadable_input", b""), place
        assert b"talk.json cannot be imported: it ends in the middle" in result.stderr
        assert entries(program) == set()
    result = program.run("history", "import", "-", input=whole[:-1].encode())
    assert b"stdin cannot be imported: it ends in the middle" in result.stderr


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it holds neither messages, nor turns, nor conversations"),
        (b"[]", "it holds neither"),
        (b'"text"', "it holds neither"),
        (b"[[1]]", "it holds neither"),
        (b'{"a": 1}', "it holds neither"),
        (b"no JSON", "it is no JSON from character 1 on"),
        (b'[{"role": "user", "content": "a"} {}]', "it is no JSON from character 35 on"),
        (b'[{"role": "user", "content": "a"}] x', "something stands behind the array"),
        (b'[{"role": "user", "content": "caf\xe9"}]', "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'[{"role": "user", "content": "a"}, {"id": 1}]', "value 2 is no message"),
        (b'{"messages": [{"content": "a"}]}', "a message has no role"),
        (json.dumps(conversation("T", ("q", {**EMPTY, "parent": "q"}), end="q")).encode(),
         "lead in a circle"),
        (json.dumps([message("system", "only")]).encode(), "it holds no question"),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_refused_and_leaves_nothing(
    program: Program, tmp_path: Path, data: bytes, told: str
) -> None:
    result = imported(program, tmp_path, data)
    assert (result.status, result.code, result.stdout) == (2, "unreadable_input", b"")
    assert told in result.stderr.decode()
    assert entries(program) == set()


def test_a_file_that_is_not_there_is_exit_2(program: Program, tmp_path: Path) -> None:
    for name in ("nope.json", "."):
        result = program.run("history", "import", name, cwd=tmp_path)
        assert (result.status, result.code) == (2, "unreadable_input")
    result = imported(program, tmp_path, MESSAGES, "--session", "../x")
    assert (result.status, result.code) == (2, "bad_session_name")


def test_values_are_read_alike_however_the_blocks_are_cut() -> None:
    data = json.dumps([{"é\u2028": [1, 2.5e3, True, None, '\\"[]{}']}, 12, "\ud83d\ude00"]).encode()
    lines = b'\xef\xbb\xbf{"a":1}\n\n {"a":2}\r\n3 4'
    for size in (1, 2, 3, 7, 1000):
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(json_values(cut)) == json.loads(data)
        assert list(json_values(_cut(lines, size))) == [{"a": 1}, {"a": 2}, 3, 4]


def _cut(data: bytes, size: int) -> Iterable[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.in_process(False)
def test_a_large_export_is_imported_in_little_memory(program: Program, tmp_path: Path) -> None:
    one = [node("q", "root", "user", "q" * 1_000_000), node("a", "q", "assistant", "a" * 1_000_000)]
    text = json.dumps(conversation("T", *one, end="a"))
    with (tmp_path / "big.json").open("w") as file:
        file.write("[" + ",".join([text] * 50) + "]")
    assert (tmp_path / "big.json").stat().st_size > 90 << 20
    result = program.run("history", "import", "big.json", cwd=tmp_path, preexec_fn=limit_memory)
    assert (result.status, result.stdout.count(b"\n")) == (0, 50)
    assert b"imported 50 sessions: 50 turns" in result.stderr
    (tmp_path / "big.json").unlink()


@pytest.mark.in_process(False)
def test_an_import_that_was_killed_leaves_no_session_and_the_next_one_takes_its_rest_away(
    program: Program, tmp_path: Path
) -> None:
    process = program.start("history", "import", "-")
    assert process.stdin is not None
    process.stdin.write(b"[" + json.dumps(CONVERSATIONS[0]).encode() + b",")
    process.stdin.write(b" " * (1 << 20))  # more than a pipe holds: it was taken
    process.stdin.flush()
    _wait_for(lambda: any(each.endswith(".import") for each in entries(program)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert program.run("history", "list").stdout == b""
    assert [each for each in entries(program) if not each.endswith(".import")] == []
    assert imported(program, tmp_path, MESSAGES).status == 0
    assert entries(program) == {"talk.jsonl"}


def _wait_for(holds: Any) -> None:
    ends_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


@pytest.mark.in_process(False)
def test_of_two_imports_at_once_neither_takes_the_others_away(
    program: Program, tmp_path: Path
) -> None:
    first = program.start("history", "import", "-", "--session", "first")
    assert first.stdin is not None
    _wait_for(lambda: any(each.endswith(".import") for each in entries(program)))
    assert imported(program, tmp_path, MESSAGES, "--session", "second").status == 0
    out, err = first.communicate(json.dumps(MESSAGES).encode(), timeout=30)
    assert (first.returncode, out) == (0, b"first\n"), err
    assert entries(program) == {"first.jsonl", "second.jsonl"}
    same = [program.start("history", "import", "talk.json", "--session", "same", cwd=tmp_path)
            for _ in range(2)]  # fmt: skip
    ends = [each.communicate(timeout=30) for each in same]
    assert sorted(each.returncode for each in same) == [0, 9], ends
    assert len(kept(program, "same")) == 2


def test_every_record_of_an_import_is_as_the_schema_says(program: Program, tmp_path: Path) -> None:
    import jsonschema

    imported(program, tmp_path, [*MESSAGES, message("user", "?")], "--session", "m")
    imported(program, tmp_path, ROWS, "--session", "r")
    imported(program, tmp_path, CONVERSATIONS, "--session", "c")
    schema = json.loads(program.run("schema", "turn").stdout)
    for name in ("m", "r", "c", "c-2"):
        for record in kept(program, name):
            jsonschema.validate(record, schema)
            assert Turn.from_record(record).id


def test_a_full_disk_leaves_nothing(program: Program, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps([message("user", "x" * 9000), MESSAGES[2]]))
    command = f"ulimit -f 8; exec {program.python} -m pipechat history import talk.json"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=program.environ(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (9, b""), done.stderr
    assert b"session_unwritable" in done.stderr
    assert entries(program) == set()


PARTS = [message("user", [{"type": "text", "text": "a"}, {"type": "b"}]), *MESSAGES[2:3]]
ODD: list[Any] = [None, True, 0, -1, 1e300, 10**30, "", "x", [], [[]], {}, {"a": []}, [{}], ["x"]]


@pytest.mark.parametrize("sample", [PARTS, ROWS, CONVERSATIONS], ids=["messages", "rows", "tree"])
def test_values_of_any_type_in_a_file_are_counted_or_refused_and_never_a_bug(sample: Any) -> None:
    tried = 0
    for path in list(_paths(sample)):
        for odd in ODD:
            changed = copy.deepcopy(sample)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = odd
            tried += 1
            with suppress(ValueError):
                for piece in pieces(json_values([json.dumps(changed).encode()]), Lost()):
                    assert Turn.from_record(json.loads(jsonl.dumps(piece.record))).id
    assert tried > 100


def _paths(value: Any, before: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner if isinstance(value, dict | list) else ():
        yield (*before, key)
        if isinstance(each, dict | list):
            yield from _paths(each, (*before, key))


_SPOKEN = st.text(min_size=1).filter(str.strip)


@given(system=st.none() | _SPOKEN, said=st.lists(st.tuples(_SPOKEN, _SPOKEN), max_size=5))
@MODEST
def test_any_context_is_the_same_after_an_export_and_an_import(
    system: str | None, said: list[tuple[str, str]]
) -> None:
    turns = [turn(n, *each, system=system) for n, each in enumerate(said, 1)]
    exported = _messages(system, turns)
    read = pieces(json_values([exported.encode()]), Lost()) if turns else ()
    again = [Turn.from_record(piece.record) for piece in read]
    assert _messages(again[-1].system if again else system, again) == exported


def _messages(system: str | None, turns: list[Turn]) -> str:
    page = MessagesPage(system)
    return page.head() + "".join(page.turn(0, each) for each in turns) + page.foot()


@pytest.mark.storm
@pytest.mark.in_process(False)
def test_an_import_that_is_ended_at_any_moment_is_all_there_or_not_at_all(
    program: Program, tmp_path: Path
) -> None:
    count = 150
    nodes = [node("q", "root", "user", "?"), node("a", "q", "assistant", "!")]
    many = [conversation(f"T{n}", *copy.deepcopy(nodes), end="a") for n in range(count)]
    (tmp_path / "talk.json").write_text(json.dumps(many))
    seen = set()
    for run in range(40):
        process = program.start(
            "history", "import", "talk.json", "--session", f"r{run}", cwd=tmp_path
        )
        if run:
            time.sleep(random.Random(run).uniform(0.03, 0.6))
            process.send_signal(random.Random(run).choice((signal.SIGTERM, signal.SIGINT)))
        process.communicate(timeout=60)
        there = [each for each in entries(program) if each.startswith(f"r{run}")]
        assert len(there) in (0, count)
        seen.add(len(there))
        for each in there:
            (program.home / "sessions" / each).unlink()
    assert seen == {0, count}
    assert imported(program, tmp_path, MESSAGES).status == 0
    assert entries(program) == {"talk.jsonl"}


def test_a_folder_that_cannot_be_made_is_told_and_nothing_is_imported(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "talk.json").write_text(json.dumps(MESSAGES))
    home = {"PIPECHAT_HOME": str(tmp_path / "file")}
    result = program.run("history", "import", "talk.json", cwd=tmp_path, env=home)
    assert (result.status, result.code, result.stdout) == (9, "session_unwritable", b"")
    assert b"nothing can be imported: " in result.stderr
    assert b"file: what should be its folder is a file" in result.stderr


@pytest.mark.parametrize("packed", [b"PK\x03\x04\x14\x00", b"\x1f\x8b\x08\x00", b"PK\x03\x04"])
def test_an_export_that_is_packed_is_said_to_be(
    program: Program, tmp_path: Path, packed: bytes
) -> None:
    for result in (
        imported(program, tmp_path, packed),
        program.run("history", "import", "-", input=packed),
    ):
        assert (result.status, result.code) == (2, "unreadable_input")
        assert b" is packed (zip, gzip). Unpack it, and import the JSON in it" in result.stderr
        assert entries(program) == set()
