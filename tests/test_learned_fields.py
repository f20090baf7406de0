"""What a server refuses is found out once for each endpoint and model, and kept in a cache."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipechat.settings import cached_note
from pipechat.settings.cached_note import CachedNote
from pipechat.settings.learned import NOTHING, Learned
from pipechat.settings.learned_api import LearnedApi
from tests.program import Program, Result
from tests.servers import Batches, ChatServer, error_reply
from tests.test_refused_fields import azure, form_of, groq, refusal, refusing, vendor

pytestmark = pytest.mark.in_process

A_MONTH_S = 31 * 86_400


def bodies(program: Program, server: ChatServer, *options: str) -> list[dict[str, Any]]:
    before = len(server.requests)
    result = ask(program, server, *options)
    assert result.status == 0, result.stderr
    return [request.body for request in server.requests[before:]]


def ask(program: Program, server: ChatServer, *options: str) -> Result:
    return program.run("ask", "--base-url", server.url, *options, "q")


def notes(program: Program) -> list[Path]:
    return sorted((program.home / "cache").glob("*"))


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize(
    ("api", "field", "options"),
    [
        ("chat", "stream_options", ()),
        ("auto", "stream_options", ()),
        ("auto", "max_tokens", ("--max-tokens", "9")),
        ("responses", "store", ()),
        ("responses", "stream", ()),
    ],
)
def test_the_next_question_pays_no_refused_request_and_v_says_so(
    program: Program, api: str, field: str, options: tuple[str, ...], output_format: str
) -> None:
    more = ("--api", api, "--output-format", output_format, *options)
    with ChatServer(refusing({field: vendor(field)})) as server:
        assert len(bodies(program, server, *more)) == 2
        assert len(bodies(program, server, *more)) == 1
        told = ask(program, server, "-v", *more).stderr
        assert len(bodies(program, server, "-m", "other", *more)) == 2
        assert {path.stat().st_mode & 0o777 for path in notes(program)} == {0o600}
        notes(program)[0].unlink()
        notes(program)[0].unlink()
        assert len(bodies(program, server, *more)) == 2
    how = "with max_completion_tokens" if field == "max_tokens" else f"without {field}"
    assert f"{how}, as learned before".encode() in told


def test_what_one_api_refuses_is_nothing_of_the_other(program: Program) -> None:
    with ChatServer(refusing({"stream_options": groq("stream_options")})) as server:
        for api in ("chat", "responses"):
            assert len(bodies(program, server, "--api", api)) == 2
        for api in ("chat", "responses", "auto"):
            assert len(bodies(program, server, "--api", api)) == 1


def test_a_server_that_learned_to_take_the_name_is_found_out(program: Program) -> None:
    more = ("--max-tokens", "9")
    with ChatServer(refusing({"max_tokens": azure("max_tokens")})) as server:
        bodies(program, server, *more)
        server.play(refusing({"max_completion_tokens": azure("max_completion_tokens")}))
        first, second = bodies(program, server, *more)
        assert ("max_completion_tokens" in first, "max_tokens" in second) == (True, True)
        (third,) = bodies(program, server, *more)
        assert "max_tokens" in third


def test_what_was_asked_for_by_name_goes_out_though_it_was_refused_before(
    program: Program,
) -> None:
    refusals = {name: vendor(name) for name in ("store", "stream")}
    with ChatServer(refusing(refusals)) as server:
        bodies(program, server, "--api", "responses")
        server.play(refusing({}))
        (body,) = bodies(program, server, "--api", "responses", "-O", "store=true")
        assert (body["store"], "stream" in body) == (True, False)
        (program.home / "config.toml").write_text("stream = true\n")
        (body,) = bodies(program, server, "--api", "responses")
        assert (body["stream"], "store" in body) == (True, False)


def test_it_is_found_out_anew_after_a_month(program: Program) -> None:
    with ChatServer(refusing({"stream_options": vendor("stream_options")})) as server:
        assert len(bodies(program, server)) == 2
        (note,) = notes(program)
        written = note.stat().st_mtime - A_MONTH_S
        os.utime(note, (written, written))
        assert len(bodies(program, server)) == 2
        assert len(bodies(program, server)) == 1


def test_nothing_is_kept_where_no_answer_came(program: Program) -> None:
    with ChatServer([vendor("stream_options"), error_reply(400, "no")]) as server:
        assert ask(program, server).status == 4
    assert notes(program) == []


@pytest.mark.parametrize("learned", ["chat", "stream_options", "max_tokens"])
def test_a_dry_run_shows_what_would_go_out_after_what_was_learned(
    program: Program, learned: str
) -> None:
    more = ("--max-tokens", "9")
    words = error_reply(400, "This model is to be had by the Responses API alone.")
    reply = words if learned == "chat" else vendor(learned)
    with ChatServer(refusing({"messages" if learned == "chat" else learned: reply})) as server:
        sent = bodies(program, server, *more)[-1]
        shown = ask(program, server, "--dry-run", *more)
        other = ask(program, server, "--dry-run", "-m", "other", *more)
    assert json.loads(shown.stdout) == sent
    assert "stream_options" in json.loads(other.stdout)
    assert "messages" in json.loads(other.stdout)


def test_the_cache_keeps_the_newest_notes_and_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_note, "_MOST_NOTES", 5)
    for number in range(9):
        CachedNote(str(tmp_path), "api", "http://h", f"m{number}").write("chat")
        path = next(tmp_path.glob(f"*m{number}"))
        os.utime(path, (number, number))
    assert len(list(tmp_path.iterdir())) == 5
    assert CachedNote(str(tmp_path), "api", "http://h", "m8").read() == "chat"
    assert CachedNote(str(tmp_path), "api", "http://h", "m3").read() is None


@pytest.mark.parametrize(
    "learned",
    [
        NOTHING,
        Learned("responses"),
        Learned(None, frozenset({"chat:max_tokens"})),
        Learned("chat", frozenset({"chat:stream_options", "responses:store"})),
    ],
)
def test_what_is_noted_is_what_is_read(tmp_path: Path, learned: Learned) -> None:
    LearnedApi(str(tmp_path), "http://h", "m").note(learned)
    assert LearnedApi(str(tmp_path), "http://h", "m").read() == learned
    assert LearnedApi(str(tmp_path), "http://h", "n").read() == NOTHING


@pytest.mark.parametrize("words", ["chat chat:model", "chat chat:messages nonsense", "x \x1b[2J:a"])
def test_a_note_makes_no_request_another_than_it_may(program: Program, words: str) -> None:
    with ChatServer(refusing({})) as server:
        (body,) = bodies(program, server, "-m", "m")
        folder = str(program.home / "cache")
        CachedNote(folder, "api", server.url, "m").write(words)
        assert bodies(program, server, "-m", "m") == [body]
        assert ask(program, server, "-m", "m", "-v").stderr.count(b"learned") == 0


LINES = b"".join(b'{"id":"%d","question":"q"}\n' % number for number in range(3))


@pytest.mark.parametrize(
    ("api", "field", "options"),
    [
        ("auto", "max_tokens", ("--max-tokens", "9")),
        ("chat", "stream_options", ("--stream",)),
        ("responses", "store", ()),
    ],
)
def test_a_batch_learns_for_the_next_one_and_for_ask(
    program: Program, api: str, field: str, options: tuple[str, ...]
) -> None:
    with ChatServer(refusing({field: vendor(field)})) as server:
        where = ("--base-url", server.url, "--api", api)
        words = ("batch", "run", "-q", "-j", "1", *where, *options)
        for asked in (4, 3):
            before = len(server.requests)
            result = program.run(*words, input=LINES, events=False)
            assert (result.status, len(server.requests) - before) == (0, asked)
        more = () if "--stream" in options else options
        assert len(bodies(program, server, "--api", api, *more)) == 1


def test_what_is_handed_to_the_provider_is_put_as_the_model_takes_it(
    program: Program, tmp_path: Path
) -> None:
    out = str(tmp_path / "out.jsonl")
    batches = Batches()
    with ChatServer(batches) as server:
        LearnedApi(str(program.home / "cache"), server.url, "m").note(
            Learned(None, frozenset({"chat:max_tokens"}))
        )
        where = ("--base-url", server.url, "-m", "m", "--max-tokens", "9", "-o", out)
        lines = b'{"question":"q"}\n{"question":"p","model":"n"}\n'
        result = program.run("batch", "submit", *where, input=lines, events=False)
    assert result.status == 0, result.stderr
    limits = {each["body"]["model"]: each["body"] for each in batches.asked}
    assert limits["m"]["max_completion_tokens"] == limits["n"]["max_tokens"] == 9


class Kept:
    """What was learned, in memory."""

    def __init__(self, learned: Learned) -> None:
        self.learned = learned

    def read(self) -> Learned:
        return self.learned

    def note(self, learned: Learned) -> None:
        self.learned = learned


def test_all_that_are_on_their_way_by_a_name_that_is_no_longer_taken_are_asked_by_the_other() -> (
    None
):
    kept = Kept(Learned(None, frozenset({"chat:max_tokens"})))
    form, request = form_of("http://127.0.0.1:1/v1", kept, max_tokens=9)
    first = refusal(form, request, azure("max_completion_tokens"))
    second = refusal(form, request, azure("max_completion_tokens"))
    assert form.otherwise(request, *first)
    assert form.otherwise(request, *second)
    assert form.body(request)["max_tokens"] == 9
    form.worked()
    assert kept.learned.refused == {"chat:max_completion_tokens"}
    assert not form.otherwise(request, *refusal(form, request, azure("max_tokens")))


@pytest.mark.parametrize("flags", [{}, {"options": ["max_tokens=9"]}])
def test_v_says_nothing_of_a_limit_that_is_not_asked_for_or_by_its_name(
    flags: dict[str, Any],
) -> None:
    kept = Kept(Learned(None, frozenset({"chat:max_tokens", "chat:stream_options"})))
    told: list[str] = []
    form_of("http://127.0.0.1:1/v1", kept, told.append, **flags)
    assert told == ["asking by Chat Completions without stream_options, as learned before"]
