"""The commands of `chat`, and that what they do to the context outlives the process."""

import json
import shlex
import stat
from pathlib import Path

import pytest

from pipechat.chat.slash import COMMANDS
from pipechat.environment import Output
from pipechat.errors import NetworkError
from tests.chat_kit import CtrlC, Model, talk

Patch = pytest.MonkeyPatch
RULE = "----------\n"
CUT = "This turn will not go along with later questions; /continue sends it along.\n"
RESET = NetworkError("connection_lost", "the connection was lost")


def lines_of(folder: Path, session: str = "s") -> list[dict[str, object]]:
    path = folder / "sessions" / f"{session}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_help_names_every_command_and_how_to_leave(tmp_path: Path, monkeypatch: Patch) -> None:
    said = talk(tmp_path, monkeypatch, Model(), "/help")
    for command in COMMANDS:
        assert f"/{command.name} {command.argument}".rstrip() in said.stderr
        assert command.help in said.stderr
    assert "Ctrl-D" in said.stderr
    assert "//TEXT" in said.stderr
    assert all(len(line) <= 80 for line in said.stderr.splitlines())
    assert said.stdout == ""


@pytest.mark.parametrize("columns", [30, 40, 80])
def test_what_chat_says_itself_is_broken_between_words(
    tmp_path: Path, monkeypatch: Patch, columns: int
) -> None:
    monkeypatch.setattr(Output, "columns", lambda _: columns)
    typed = ["/help", "/hepl", "/undo", "q", "/continue", "/system", "/session"]
    said = talk(tmp_path, monkeypatch, Model(("half", RESET), "rest"), *typed)
    ours = [line for line in said.stderr.splitlines() if not line.startswith("pipechat: ")]
    assert max(map(len, ours)) <= columns
    words = "This turn will not go along with later questions; /continue sends it along."
    assert words in " ".join(said.stderr.split())


def test_what_somebody_wrote_is_shown_as_it_is(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(Output, "columns", lambda _: 20)
    text = "    def brief():\n        return 'as four blanks have it'"
    typed = [f"/system Be.\n{text}", "/system"]
    assert f"Be.\n{text}\n" in talk(tmp_path, monkeypatch, Model(), *typed).stderr
    talk(tmp_path, monkeypatch, Model(text), f"say:\n{text}", session="s")
    said = talk(tmp_path, monkeypatch, Model(), session="s")
    assert said.stderr.count(text) == 2


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/hepl", "Did you mean /help?"),
        ("/modle x", "Did you mean /model?"),
        ("/usr/bin/env", "/help shows what there is."),
        ("/", "/help shows what there is."),
        ("/Quit\nmore", "Did you mean /quit?"),
    ],
)
def test_an_unknown_command_gets_a_suggestion_and_is_not_sent(
    tmp_path: Path, monkeypatch: Patch, typed: str, told: str
) -> None:
    model = Model()
    said = " ".join(talk(tmp_path, monkeypatch, model, typed).stderr.split())
    assert "so nothing was sent" in said
    assert told in said
    assert model.requests == []


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("//help", "/help"),
        ("/say /help", "/help"),
        ("/say exit", "exit"),
        ("/say QUIT", "QUIT"),
        (" /help", " /help"),
        ("exit now", "exit now"),
        ("one\n/help\nQUIT", "one\n/help\nQUIT"),
        ("/say\ntwo lines\nof text", "two lines\nof text"),
    ],
)
def test_text_that_looks_like_a_command_can_be_sent(
    tmp_path: Path, monkeypatch: Patch, typed: str, sent: str
) -> None:
    model = Model("ok")
    talk(tmp_path, monkeypatch, model, typed)
    assert model.asked == [[sent]]


@pytest.mark.parametrize("word", ["exit", "quit", "QUIT", " QUIT ", "/quit"])
def test_a_line_that_is_only_the_word_leaves(tmp_path: Path, monkeypatch: Patch, word: str) -> None:
    model = Model()
    assert talk(tmp_path, monkeypatch, model, word, "not typed any more").left
    assert model.requests == []


def test_ctrl_c_on_an_empty_line_leaves_only_the_second_time_in_a_row(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model("ok")
    empty, half = CtrlC(""), CtrlC("half a line")
    typed = [half, half, empty, "question", empty, half, empty, empty, "not typed any more"]
    said = talk(tmp_path, monkeypatch, model, *typed)
    assert said.left == ["not typed any more"]
    assert model.asked == [["question"]]
    assert said.stderr.count("Ctrl-C again, or Ctrl-D, leaves.") == 3


@pytest.mark.parametrize("session", [None, "s"])
def test_undo_leaves_the_last_turns_out_one_by_one(
    tmp_path: Path, monkeypatch: Patch, session: str | None
) -> None:
    model = Model("A1", "A2", "A3", "A4")
    typed = ["q1", "q2", "/undo", "q3", "/undo", "/undo", "/undo", "q4"]
    said = talk(tmp_path, monkeypatch, model, *typed, session=session)
    assert model.asked == [["q1"], ["q1", "A1", "q2"], ["q1", "A1", "q3"], ["q4"]]
    left_out = [line for line in said.stderr.splitlines() if line.startswith("Left out")]
    assert [line.rpartition(" ")[2] for line in left_out] == ["q2", "q3", "q1"]
    assert "There is no turn to go back to." in said.stderr


def test_what_was_undone_stays_in_the_session_and_out_of_the_context_after_a_restart(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    talk(tmp_path, monkeypatch, Model("A1", "A2"), "q1", "q2", "/undo", session="s")
    assert [(r["question"], r["answer"], r["context"]) for r in lines_of(tmp_path)] == [
        ("q1", "A1", None),
        ("q2", "A2", None),
        ("q2", "A2", False),
    ]
    model = Model("A3")
    said = talk(tmp_path, monkeypatch, model, "q3", session="s")
    assert model.asked == [["q1", "A1", "q3"]]
    assert "session s, 1 turn goes along" in said.stderr
    assert "You: q1\nAI: A1\n" in said.stderr  # the last turn that holds, not the one undone


@pytest.mark.parametrize("session", [None, "s"])
def test_retry_asks_the_last_question_without_its_former_answer(
    tmp_path: Path, monkeypatch: Patch, session: str | None
) -> None:
    model = Model("A1", "bad", "better", "A3")
    talk(tmp_path, monkeypatch, model, "q1", "q2", "/retry", "q3", session=session)
    assert model.asked[2:] == [["q1", "A1", "q2"], ["q1", "A1", "q2", "better", "q3"]]
    if session:
        again = Model("A4")
        talk(tmp_path, monkeypatch, again, "q4", session=session)
        assert again.asked == [["q1", "A1", "q2", "better", "q3", "A3", "q4"]]


@pytest.mark.parametrize("failure", [RESET, ("hal", RESET)])
def test_where_a_retry_fails_the_former_answer_still_holds(
    tmp_path: Path, monkeypatch: Patch, failure: NetworkError | tuple[str, NetworkError]
) -> None:
    model = Model("A1", failure, "A2")
    talk(tmp_path, monkeypatch, model, "q1", "/retry", "q2", session="s")
    assert model.asked == [["q1"], ["q1"], ["q1", "A1", "q2"]]


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("end", [RESET, "length", "content_filter"])
def test_a_cut_answer_is_told_not_to_go_along_and_continue_sends_it(
    tmp_path: Path, monkeypatch: Patch, end: str | NetworkError, session: str | None
) -> None:
    model = Model("A1", ("once upon", end), "no", ("a time", end), "there was", "A5")
    typed = ["q1", "tell", "other", "tell", "/continue", "q5"]
    said = talk(tmp_path, monkeypatch, model, *typed, session=session)
    assert said.stderr.count(CUT) == 2
    before = ["q1", "A1", "other", "no"]
    assert model.asked[2] == ["q1", "A1", "other"]
    asked = [*before, "tell", "a time", "Continue where you stopped."]
    assert model.asked[4:] == [asked, [*asked, "there was", "q5"]]
    if session:
        again = Model("A6")
        talk(tmp_path, monkeypatch, again, "q6", session=session)
        assert again.asked == [[*asked, "there was", "q5", "A5", "q6"]]


def test_continue_takes_other_words_and_refuses_where_nothing_was_cut(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model(("half", "length"), "rest")
    said = talk(tmp_path, monkeypatch, model, "/continue", "q", "/continue 继续", "/continue")
    assert model.asked == [["q"], ["q", "half", "继续"]]
    assert said.stderr.count("The last answer was not cut.") == 2


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("end", [RESET, "length"])
def test_where_the_rest_did_not_come_continue_asks_for_it_again(
    tmp_path: Path, monkeypatch: Patch, end: str | NetworkError, session: str | None
) -> None:
    model = Model(("half", end), RESET, RESET, "rest", "A3")
    typed = ["q", "/continue", "/continue", "/continue", "q3"]
    said = talk(tmp_path, monkeypatch, model, *typed, session=session)
    asked = ["q", "half", "Continue where you stopped."]
    assert model.asked[1:] == [asked, asked, asked, [*asked, "rest", "q3"]]
    assert "was not cut" not in said.stderr


def test_continue_names_retry_where_the_last_question_was_not_answered(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model("A1", RESET, RESET)
    typed = ["/continue", "q1", "/continue", "q2", "/continue", "/retry", "/continue"]
    said = talk(tmp_path, monkeypatch, model, *typed)
    assert said.stderr.count("The last question was not answered; /retry asks it again.\n") == 2
    assert said.stderr.count("The last answer was not cut.\n") == 2
    assert len(model.requests) == 3


def test_a_server_that_dies_is_one_line_and_the_conversation_goes_on(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model(RESET, ("half", RESET), "A3")
    said = talk(tmp_path, monkeypatch, model, "q1", "q2", "q3")
    told = [line for line in said.stderr.splitlines() if line.startswith("pipechat: ")]
    assert told == ["pipechat: connection_lost: the connection was lost."] * 2
    # What failed before its first word is told on a line of its own, not behind the prompt.
    assert said.stdout == f"AI: \n{RULE}AI: half\n{RULE}AI: A3\n{RULE}"
    assert model.asked[2] == ["q3"]


def test_model_and_system_hold_from_the_next_question_on(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model("A1", "A2")
    typed = ["/system", "/system Be brief.\nVery.", "/system", "/model", "q1", "/model other", "q2"]
    said = talk(tmp_path, monkeypatch, model, *typed)
    assert [request.model for request in model.requests] == ["gpt-5.4-mini", "other"]
    assert [r.messages[0]["content"] for r in model.requests] == ["Be brief.\nVery."] * 2
    assert "There is no system message.\n" in said.stderr
    assert "Be brief.\nVery.\nThe model is gpt-5.4-mini.\n" in said.stderr
    assert "The model is other.\n" in said.stderr


def test_session_changes_where_turns_go_and_shows_its_last_one(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    talk(tmp_path, monkeypatch, Model("A1"), "q1", session="old")
    model = Model("A0", "A2")
    typed = ["/session", "q0", "/session ../bad", "/session old", "q2", "/session"]
    said = talk(tmp_path, monkeypatch, model, *typed)
    assert "There is no session: /session NAME.\n" in said.stderr
    assert "pipechat: bad_session_name: " in said.stderr
    assert "What was said before is not in it.\n" in said.stderr
    assert "session old, 1 turn goes along" in said.stderr
    assert "You: q1\nAI: A1\n" in said.stderr
    assert said.stderr.endswith("Session old.\n")
    assert model.asked == [["q0"], ["q1", "A1", "q2"]]
    assert [record["question"] for record in lines_of(tmp_path, "old")] == ["q1", "q2"]


def test_usage_counts_the_last_turn_and_all_of_them(tmp_path: Path, monkeypatch: Patch) -> None:
    said = talk(tmp_path, monkeypatch, Model("A1", "A2"), "/usage", "q1", "q2", "/usage")
    assert "No answer of this chat has told its usage yet.\n" in said.stderr
    assert "last (1 turn): 5 prompt + 2 completion = 7 tokens\n" in said.stderr
    assert "all (2 turns): 10 prompt + 4 completion = 14 tokens\n" in said.stderr
    named = talk(tmp_path, monkeypatch, Model(), "/session trip", "/usage")
    said_of_session = " ".join(named.stderr.split())
    assert said_of_session.endswith("`pipechat usage trip` tells that of the session.")


@pytest.mark.parametrize("session", [None, "s"])
def test_save_writes_the_conversation_to_a_new_file_alone(
    tmp_path: Path, monkeypatch: Patch, session: str | None
) -> None:
    path, taken = tmp_path / "talk.txt", tmp_path / "taken.txt"
    taken.write_text("mine")
    typed = ["第一", "two\nlines", f"/save {path}", f"/save {taken}", "/save", "/save /no/such/x"]
    model = Model("A1", "A2")
    said = talk(tmp_path, monkeypatch, model, *typed, session=session)
    assert f"2 turns are in {path}.\n" in said.stderr
    assert "pipechat: output_exists: " in said.stderr
    assert "pipechat: output_failed: " in said.stderr
    assert "which file?" in said.stderr
    assert taken.read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert [word for word in ("第一", "A1", "two\nlines", "A2") if word not in text] == []
    assert len(model.requests) == 2


def test_a_long_last_turn_is_shortened_where_a_session_goes_on(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    question = "\n".join(f"q{n}" for n in range(9))
    answer = "\n".join(f"a{n}" for n in range(30))
    talk(tmp_path, monkeypatch, Model(answer), question, session="s")
    said = talk(tmp_path, monkeypatch, Model(), session="s")
    shown = said.stderr.splitlines()[1:]
    assert shown == ["You: q0", "q1", "q2", "[…]", "AI: […]", *(f"a{n}" for n in range(20, 30))]


def test_a_last_turn_that_was_cut_or_not_answered_is_said_to_be(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    talk(tmp_path, monkeypatch, Model(RESET), "q1", session="s")
    said = talk(tmp_path, monkeypatch, Model(("half", RESET)), "/retry", session="s")
    assert "You: q1\nAI: \nIt was not answered; /retry asks again.\n" in said.stderr
    assert f"AI: half\n{CUT}" in talk(tmp_path, monkeypatch, Model(), session="s").stderr


def test_nothing_a_session_holds_moves_the_cursor(tmp_path: Path, monkeypatch: Patch) -> None:
    talk(tmp_path, monkeypatch, Model("\x1b[2Ja\rb"), "q\x1b]0;x\x07", session="s")
    said = talk(tmp_path, monkeypatch, Model(), session="s")
    assert "You: q^[]0;x^G\nAI: ^[[2Ja^Mb\n" in said.stderr


@pytest.mark.parametrize(
    ("environ", "codes"),
    [
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "", "TERM": "dumb"}, False),
        ({"NO_COLOR": "", "TERM": "xterm"}, True),
    ],
)
def test_what_nobody_asked_for_is_dim_where_the_terminal_and_its_user_allow_it(
    tmp_path: Path, monkeypatch: Patch, environ: dict[str, str], codes: bool
) -> None:
    said = talk(tmp_path, monkeypatch, Model(), "/model", environ=environ)
    line = "gpt-5.4-mini, no session. /help, or Ctrl-D to leave."
    assert said.stderr.splitlines()[0] == (f"\x1b[2m{line}\x1b[0m" if codes else line)
    assert said.stderr.splitlines()[1] == "The model is gpt-5.4-mini."


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_a_log_and_quiet_get_no_decoration_but_what_was_asked_for(
    tmp_path: Path, monkeypatch: Patch, terminal: bool, quiet: bool
) -> None:
    model = Model(("half", "length"))
    typed = [CtrlC(""), "q", "/model"]
    said = talk(tmp_path, monkeypatch, model, *typed, session="s", terminal=terminal, quiet=quiet)
    lines = said.stderr.splitlines()
    assert lines[0].startswith("pipechat: truncated: ")
    assert lines[1:] == ["The model is gpt-5.4-mini."]


def test_a_line_that_is_no_text_is_told_and_the_prompt_comes_again(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model("A1")
    said = talk(tmp_path, monkeypatch, model, "caf\udce9", "cafe")
    assert "pipechat: not_utf8: the line is not UTF-8" in said.stderr
    assert model.asked == [["cafe"]]
    lossy = Model("A1")
    talk(tmp_path, monkeypatch, lossy, "caf\udce9", lossy=True)
    assert lossy.asked == [["caf\ufffd"]]


# How an editor leaves the file that it is given, behind an option of its own.
EDITORS = {
    "appends": ("printf '\\nmore\\n' >> \"$2\"", "draft\nmore"),
    "replaces": ('printf new > "$2.new"; mv "$2.new" "$2"', "new"),
    "leaves it": ("true", "draft"),
}


@pytest.mark.parametrize("name", EDITORS)
@pytest.mark.parametrize("variable", ["VISUAL", "EDITOR"])
def test_edit_sends_what_was_written_in_the_users_editor(
    tmp_path: Path, monkeypatch: Patch, name: str, variable: str
) -> None:
    script, written = EDITORS[name]
    editor, seen = tmp_path / "my editor", tmp_path / "seen"
    editor.write_text(f'#!/bin/sh\nls -l "$2" > "{seen}"; echo "$2" >> "{seen}"\n{script}\n')
    editor.chmod(0o755)
    environ = {"TERM": "xterm", "EDITOR": "false", variable: f"'{editor}' --wait"}
    model = Model("ok")
    talk(tmp_path, monkeypatch, model, "/edit draft", environ=environ)
    assert model.asked == [[written]]
    mode, path = seen.read_text().splitlines()
    assert mode.startswith("-rw-------")
    assert not Path(path).exists()
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"TERM": "xterm", "EDITOR": "no-such-editor"}, "there is no such program"),
        ({"TERM": "xterm", "EDITOR": "/"}, "it may not be run"),
        ({"TERM": "xterm", "VISUAL": "exit 3;"}, "it ended with 3"),
        ({"TERM": "dumb", "VISUAL": "true"}, "EDITOR is not set"),
    ],
)
def test_an_editor_that_fails_is_one_line_and_the_conversation_goes_on(
    tmp_path: Path, monkeypatch: Patch, environ: dict[str, str], told: str
) -> None:
    model = Model("A1")
    said = talk(tmp_path, monkeypatch, model, "/edit x", "q1", environ=environ)
    lines = [line for line in said.stderr.splitlines() if line.startswith("pipechat: ")]
    assert len(lines) == 1
    assert lines[0].startswith("pipechat: editor_failed: ")
    assert told in lines[0]
    assert model.asked == [["q1"]]


def test_edit_that_writes_nothing_sends_nothing(tmp_path: Path, monkeypatch: Patch) -> None:
    model = Model()
    said = talk(tmp_path, monkeypatch, model, "/edit", environ={"TERM": "xterm", "EDITOR": "true"})
    assert "Nothing was written, so nothing was sent.\n" in said.stderr
    assert model.requests == []


def test_a_session_that_cannot_be_written_is_one_line_and_the_conversation_goes_on(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    talk(tmp_path, monkeypatch, Model("A1"), "q1", session="s")
    path = tmp_path / "sessions" / "s.jsonl"
    path.rename(tmp_path / "aside")
    path.mkdir()
    said = talk(tmp_path, monkeypatch, Model("A2"), "/session t", "q2", session=None)
    assert f"AI: A2\n{RULE}" in said.stdout
    said = talk(tmp_path, monkeypatch, Model("A3"), "/session s", "/undo", "/session t", "q3")
    assert "pipechat: session_unreadable: " in said.stderr
    assert f"AI: A3\n{RULE}" in said.stdout


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("fails", [[RESET], [("hal", RESET)], [RESET, ("ha", "length"), RESET]])
def test_a_retry_after_one_that_failed_leaves_out_all_that_it_stands_for(
    tmp_path: Path,
    monkeypatch: Patch,
    fails: list[NetworkError | tuple[str, str | NetworkError]],
    session: str | None,
) -> None:
    model = Model("A0", "A1", *fails, "better", "A2")
    retries = ["/retry"] * (len(fails) + 1)
    talk(tmp_path, monkeypatch, model, "q0", "q", *retries, "q2", session=session)
    assert model.asked[2:-1] == [["q0", "A0", "q"]] * len(retries)
    assert model.asked[-1] == ["q0", "A0", "q", "better", "q2"]
    if session:
        again = Model("A3")
        talk(tmp_path, monkeypatch, again, "q3", session=session)
        assert again.asked == [[*model.asked[-1], "A2", "q3"]]


def test_continue_of_a_cut_retry_leaves_out_the_former_answer(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    model = Model("A1", ("hal", RESET), "f", "A2")
    talk(tmp_path, monkeypatch, model, "q", "/retry", "/continue go on", "q2", session="s")
    assert model.asked[-1] == ["q", "hal", "go on", "f", "q2"]


def test_a_session_that_cannot_be_read_is_not_taken(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "sessions" / "bad.jsonl").mkdir(parents=True)
    model = Model("A1")
    said = talk(tmp_path, monkeypatch, model, "/session bad", "/session", "q", session="s")
    assert "pipechat: session_unreadable: " in said.stderr
    assert "Session s.\n" in said.stderr
    assert lines_of(tmp_path)[-1]["answer"] == "A1"


@pytest.mark.parametrize("line", ["/save a\0b", "/save ~\0/b", "/session a\0b"])
def test_a_name_that_no_file_can_have_is_one_line_and_the_conversation_goes_on(
    tmp_path: Path, monkeypatch: Patch, line: str
) -> None:
    model = Model("A1")
    said = talk(tmp_path, monkeypatch, model, line, "q")
    assert sum(each.startswith("pipechat: bad_") for each in said.stderr.splitlines()) == 1
    assert model.asked == [["q"]]


@pytest.mark.parametrize("line", ["/9j/" + "A" * 1_000_000, "/model " + "m" * 1_000_000])
def test_a_paste_that_looks_like_a_command_is_not_said_back_whole(
    tmp_path: Path, monkeypatch: Patch, line: str
) -> None:
    assert len(talk(tmp_path, monkeypatch, Model(), line).stderr) < 1000


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("printf 'caf\\351' > \"$1\"", "not_utf8"),
        ('head -c 2000000 /dev/zero > "$1"', "input_too_large"),
    ],
)
def test_what_was_written_and_cannot_be_sent_is_not_lost(
    tmp_path: Path, monkeypatch: Patch, script: str, code: str
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    environ = {"TERM": "xterm", "EDITOR": shlex.quote(str(editor))}
    model = Model("A1")
    said = talk(
        tmp_path, monkeypatch, model, "/edit x", "q", environ=environ, max_input_bytes=1 << 20
    )
    assert f"pipechat: {code}: " in said.stderr
    path = Path(said.stderr.partition("It is still in ")[2].split("\n")[0].removesuffix("."))
    assert path.stat().st_size > 0
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.unlink()
    path.parent.rmdir()
    assert model.asked == [["q"]]


@pytest.mark.parametrize("script", ["mkfifo", "mkdir", "ln -s /dev/zero"])
def test_what_is_no_file_any_more_holds_nobody_up(
    tmp_path: Path, monkeypatch: Patch, script: str
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\nrm "$1"; {script} "$1"\n')
    editor.chmod(0o755)
    environ = {"TERM": "xterm", "EDITOR": shlex.quote(str(editor))}
    model = Model("A1")
    said = talk(tmp_path, monkeypatch, model, "/edit x", "q", environ=environ)
    assert "pipechat: editor_failed: " in said.stderr
    assert model.asked == [["q"]]
