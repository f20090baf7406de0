"""A model that its endpoint says will be gone is warned of once a day; nothing else changes."""

import json
from pathlib import Path

import pytest

from pipechat.wire.deprecation import told_end
from tests.program import Program, Result
from tests.servers import ChatServer, answer

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
        ({"deprecation": "@1688169599"}, "is deprecated since 2023-06-30"),
        ({"deprecation": "true"}, "is deprecated"),
        ({"deprecation": "Thu, 31 Dec 2026 23:59:59 GMT"}, "is deprecated since 2026-12-31"),
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
