"""A model that its endpoint says will be gone is warned of once a day; nothing else changes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipechat.wire.deprecation import told_end
from tests.program import Program, Result
from tests.servers import ChatServer, Reply, Request, answer, json_reply

pytestmark = pytest.mark.in_process

SUNSET = {"Sunset": "Thu, 31 Dec 2026 23:59:59 GMT"}


def ask(program: Program, headers: dict[str, str], *more: str) -> Result:
    reply = answer("yes", headers=headers)
    with ChatServer(reply) as server:
        result = program.run("ask", "hi", *more, env={"OPENAI_BASE_URL": server.url})
    assert result.status == 0, result.stderr
    return result


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"deprecation": "@1688169599"}, "is deprecated from 2023-06-30 on"),
        ({"deprecation": "true"}, "is deprecated"),
        ({"deprecation": "Thu, 31 Dec 2026 23:59:59 GMT"}, "is deprecated from 2026-12-31 on"),
        ({"sunset": "Thu, 31 Dec 2026 23:59:59 GMT"}, "is gone after 2026-12-31"),
        ({"sunset": "2026-12-31"}, "is gone after 2026-12-31"),
        ({"deprecation": "true", "sunset": "2026-12-31"},
         "is deprecated, and gone after 2026-12-31"),
        ({"deprecation": "false"}, None),
        ({"deprecation": "?0", "sunset": "never"}, None),
        ({"sunset": ""}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_headers_are_read_as_their_standards_and_drafts_have_them(
    headers: dict[str, str], said: str | None
) -> None:
    assert told_end(headers) == said


@pytest.mark.parametrize("output_format", ["text", "json", "ndjson"])
def test_it_is_warned_of_once_a_day_for_each_model(program: Program, output_format: str) -> None:
    reply = answer("yes", headers=SUNSET)
    with ChatServer(reply) as server:
        env = {"OPENAI_BASE_URL": server.url}
        words = ("ask", "hi", "--output-format", output_format)
        first, again, other = (
            program.run(*words, "-m", model, env=env) for model in ("one", "one", "two")
        )
        (note,) = (program.home / "cache").glob("end-*one")
        note.write_text(note.read_text()[:-11] + "2001-01-01\n")
        tomorrow = program.run(*words, "-m", "one", env=env)
    assert first.stderr.count(b"one is gone after 2026-12-31") == 1
    assert again.stderr == b""
    assert b"two is gone" in other.stderr
    assert b"one is gone" in tomorrow.stderr
    assert {each.status for each in (first, again, other, tomorrow)} == {0}


def test_with_q_and_of_a_plain_answer_nothing_is_said_and_nothing_kept(program: Program) -> None:
    assert ask(program, SUNSET, "-q").stderr == b""
    assert ask(program, {"Sunset": "never"}).stderr == b""
    assert ask(program, {}).stderr == b""
    assert not (program.home / "cache").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "dangling"])
def test_a_cache_that_cannot_be_written_is_no_failure(
    program: Program, tmp_path: Path, kind: str
) -> None:
    cache = program.home / "cache"
    if kind == "file":
        cache.write_text("")
    elif kind == "dangling":
        cache.symlink_to(tmp_path / "nowhere" / "at" / "all")
    else:
        cache.mkdir(mode=0o500)
    result = ask(program, SUNSET)
    assert result.stdout == b"yes\n"
    assert b"is gone after" in result.stderr


def test_the_answer_is_the_same_in_its_events(program: Program) -> None:
    events = ask(program, SUNSET, "--output-format", "ndjson").events
    assert {each["type"] for each in events} == {"start", "chunk", "end"}
    assert json.dumps(events[-1]).count("2026-12-31") == 0


LISTED = [
    {"id": "one", "shutdown_date": "2027-01-02"},
    {"id": "two", "deprecation": "2027-03-04T00:00:00Z"},
    {"id": "three"},
    {"id": "o", "expiration_date": "2027-05-06"},
]


def listing(
    *entries: dict[str, str], headers: dict[str, str] | None = None
) -> Callable[..., Reply]:
    def script(request: Request) -> Reply:
        if request.path.endswith("/models"):
            return json_reply(200, {"object": "list", "data": list(entries)})
        return answer("yes", headers=headers)

    return script


@pytest.mark.parametrize("output_format", ["text", "json", "ndjson"])
def test_ask_warns_once_a_day_of_the_end_that_the_list_of_models_told(
    program: Program, output_format: str
) -> None:
    with ChatServer(listing(*LISTED)) as server:
        env = {"OPENAI_BASE_URL": server.url}
        words = ("ask", "hi", "--output-format", output_format, "-m")
        unlisted = program.run(*words, "one", env=env)
        assert program.run("models", env=env).status == 0
        first, again, other, none, near = (
            program.run(*words, model, env=env) for model in ("one", "one", "two", "three", "on")
        )
        asked = [request.method for request in server.requests]
    assert unlisted.stderr == again.stderr == none.stderr == near.stderr == b""
    assert first.stderr.count(b"says that one is gone after 2027-01-02") == 1
    assert b"says that two is gone after 2027-03-04" in other.stderr
    assert {each.status for each in (first, again, other, none, near)} == {0}
    assert asked.count("GET") == 1  # none by `ask`


def test_the_newest_list_holds_and_is_of_its_endpoint_alone(program: Program) -> None:
    with ChatServer(listing(*LISTED)) as server, ChatServer(listing()) as elsewhere:
        env = {"OPENAI_BASE_URL": server.url}
        program.run("models", env=env)
        other = program.run("ask", "hi", "-m", "one", env={"OPENAI_BASE_URL": elsewhere.url})
        server.play(listing({"id": "one"}))
        program.run("models", env=env)
        renewed = program.run("ask", "hi", "-m", "one", env=env)
    assert other.stderr == renewed.stderr == b""


def test_what_the_answer_says_of_the_end_is_stronger_than_the_list_and_said_alone(
    program: Program,
) -> None:
    with ChatServer(listing(*LISTED, headers=SUNSET)) as server:
        env = {"OPENAI_BASE_URL": server.url}
        program.run("models", env=env)
        first, again = (program.run("ask", "hi", "-m", "one", env=env) for _ in range(2))
    assert b"gone after 2026-12-31" in first.stderr
    assert b"2027" not in first.stderr + again.stderr


def test_with_q_and_in_a_replay_nothing_of_the_list_is_said(program: Program) -> None:
    recording = str(program.home / "recording")
    with ChatServer(listing(*LISTED)) as server:
        env = {"OPENAI_BASE_URL": server.url}
        program.run("models", env=env)
        quiet = program.run("ask", "hi", "-q", "-m", "one", "--record", recording, env=env)
        replayed = program.run("ask", "hi", "-m", "one", "--replay", recording, env=env)
        offline = program.run("ask", "hi", "-m", "one", "--offline", env=env)
    assert quiet.stderr == replayed.stderr == b""
    assert b"gone" not in offline.stderr


def test_of_a_long_list_the_ends_that_come_first_are_kept(program: Program) -> None:
    long = [
        {"id": f"model-{number:04}" + "x" * 60, "shutdown_date": f"{2027 + number % 7}-01-02"}
        for number in range(2000)
    ]
    with ChatServer(listing(*long)) as server:
        env = {"OPENAI_BASE_URL": server.url}
        assert program.run("models", env=env).status == 0
        (note,) = (program.home / "cache").glob("ends-*")
        assert note.stat().st_size <= 65_536
        soon, late = (program.run("ask", "hi", "-m", long[n]["id"], env=env) for n in (0, 6))
    assert b"2027-01-02" in soon.stderr
    assert late.stderr == b""


@pytest.mark.parametrize("content", [b"nonsense", b"\xff\x00", b"{url}\n\none\tsoon\n", b""])
def test_a_list_in_the_cache_that_says_nothing_is_none(program: Program, content: bytes) -> None:
    with ChatServer(listing(*LISTED)) as server:
        env = {"OPENAI_BASE_URL": server.url}
        program.run("models", env=env)
        (note,) = (program.home / "cache").glob("ends-*")
        note.write_bytes(content.replace(b"{url}", server.url.encode()))
        result = program.run("ask", "hi", "-m", "one", env=env)
    assert (result.status, result.stderr) == (0, b"")
