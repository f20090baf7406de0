"""--schema and --extract through the real program: what is asked, judged, written and recorded."""

import json
import signal
from typing import Any

import pytest

from tests.program import Program, Result
from tests.servers import (
    ChatServer,
    Reply,
    Stall,
    Wait,
    answer,
    chunk,
    error_reply,
    stream_reply,
)
from tests.test_start_up import imported

pytestmark = pytest.mark.in_process

SHORT = "name, age int"
GOOD = '{"name": "Ada",\n "age": 36}'
COMPACT = b'{"name":"Ada","age":36}\n'
FORMATS = ["text", "ndjson"]


def ask(program: Program, server: ChatServer, *more: str) -> Result:
    return program.run("ask", "who?", "--base-url", server.url, *more)


@pytest.mark.parametrize("more", [(), ("--no-stream",)], ids=["streamed", "at once"])
def test_a_matching_answer_is_one_line_of_json_and_a_value_in_end(
    program: Program, more: tuple[str, ...]
) -> None:
    with ChatServer(answer(GOOD)) as server:
        plain = ask(program, server, "--schema", SHORT, "--session", "s", *more)
        events = ask(program, server, "--schema", SHORT, "--output-format", "ndjson", *more).events
        sent = server.requests[0].body["response_format"]
    assert (plain.status, plain.stdout, plain.stderr) == (0, COMPACT, b"")
    assert events[-1]["json"] == {"name": "Ada", "age": 36}
    assert events[-1]["extracted"] == COMPACT.decode().strip()
    assert events[-1]["answer"] == GOOD
    assert (sent["type"], sent["json_schema"]["strict"]) == ("json_schema", True)
    assert sent["json_schema"]["schema"]["required"] == ["name", "age"]
    record = program.records("s")[0]
    assert (record["status"], record["answer"]) == ("complete", GOOD)
    assert record["schema"]["matched"] is True
    assert len(record["schema"]["sha256"]) == 64


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Ada is 36.", "it is no JSON"),
        ('{"name": "Ada", "age": "old"}', "/age"),
        ('{"name": "Ada"}', '"age" is a required property'),
        ('{"name": "Ada", "age": 36, "more": 1}', "Additional properties"),
        (f"```json\n{GOOD}\n```", "it is no JSON"),
    ],
)
def test_an_answer_that_does_not_match_exits_7_and_says_where(
    program: Program, said: str, told: str, output_format: str
) -> None:
    with ChatServer(answer(said)) as server:
        more = ("--schema", SHORT, "--session", "s", "--output-format", output_format)
        result = ask(program, server, *more)
    assert (result.status, result.code) == (7, "schema_mismatch")
    assert told in result.stderr.decode()
    [record] = program.records("s")
    assert (record["status"], record["answer"]) == ("partial", said)
    assert record["error"]["code"] == "schema_mismatch"
    assert record["schema"]["matched"] is False
    if output_format == "text":
        assert result.stdout == b""
    else:
        last = result.events[-1]
        assert (last["exit_code"], last["answer"]) == (7, said)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_cut_answer_is_cut_whatever_it_was_to_match(program: Program, output_format: str) -> None:
    with ChatServer(answer(GOOD, finish_reason="length")) as server:
        more = ("--schema", SHORT, "--schema-retries", "2", "--output-format", output_format)
        result = ask(program, server, *more, "--session", "s")
        assert len(server.requests) == 1
    assert (result.status, result.code) == (6, "truncated")
    assert program.records("s")[0]["schema"]["matched"] is None
    assert result.stdout == b"" or result.events[-1]["code"] == "truncated"


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("schema", "code", "told"),
    [
        ("name whatever", "bad_schema", "character 6"),
        ('{"type": "objekt"}', "bad_schema", "/type"),
        ('{"type": ', "bad_schema", "no JSON"),
        ('{"$ref": "http://127.0.0.1:9/x.json"}', "bad_schema", "not fetched"),
        ("./missing.json", "unreadable_input", "missing.json"),
    ],
)
def test_a_schema_that_is_none_exits_2_with_the_place_and_nothing_is_sent(
    program: Program, schema: str, code: str, told: str, output_format: str
) -> None:
    with ChatServer(answer(GOOD)) as server:
        result = ask(program, server, "--schema", schema, "--output-format", output_format)
        assert server.requests == []
    assert (result.status, result.code) == (2, code)
    assert told in result.stderr.decode()
    assert "--schema" in result.stderr.decode()


def test_a_schema_is_read_from_a_file(program: Program) -> None:
    path = program.home / "schema.json"
    path.write_text('{"type": "object", "properties": {"age": {"type": "integer"}}}')
    with ChatServer(answer(GOOD)) as server:
        assert ask(program, server, "--schema", str(path)).stdout == COMPACT
        wanted = server.requests[0].body["response_format"]["json_schema"]
    assert wanted["strict"] is False  # a property may be missing
    assert wanted["schema"] == json.loads(path.read_text())


def refusing(*kinds: str, words: str, status: int = 400) -> Any:
    """A server that refuses response formats of these types."""

    def reply(request: Any) -> Reply:
        wanted = request.body.get("response_format", {}).get("type")
        return error_reply(status, words) if wanted in kinds else answer(GOOD)

    return reply


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "words",
    [
        "response_format.type must be json_object",
        "This model does not support structured outputs",
        "Unknown field",
        "Invalid parameter: json_schema",
    ],
)
def test_a_server_that_refuses_structured_output_is_asked_another_way(
    program: Program, words: str, status: int
) -> None:
    with ChatServer(refusing("json_schema", words=words, status=status)) as server:
        result = ask(program, server, "--schema", SHORT, "-v")
        last = server.requests[-1].body
    assert (result.status, result.stdout) == (0, COMPACT)
    assert b"asking by json_object instead" in result.stderr
    assert last["response_format"] == {"type": "json_object"}
    assert '"required":["name","age"]' in last["messages"][-1]["content"]

    with ChatServer(refusing("json_schema", "json_object", words=words, status=status)) as server:
        result = ask(program, server, "--schema", SHORT, "--output-format", "ndjson")
        last = server.requests[-1].body
    assert (result.status, result.events[-1]["json"]["name"]) == (0, "Ada")
    assert "response_format" not in last
    assert last["messages"][-1]["content"].startswith("who?\n\n")


@pytest.mark.parametrize(
    ("mode", "kind"), [("strict", "json_schema"), ("json", "json_object"), ("prompt", None)]
)
def test_a_mode_that_was_asked_for_is_the_only_one(
    program: Program, mode: str, kind: str | None
) -> None:
    more = ("--schema", SHORT, f"--schema-mode={mode}")
    with ChatServer(answer(GOOD)) as server:
        assert ask(program, server, *more).stdout == COMPACT
        assert server.requests[0].body.get("response_format", {}).get("type") == kind
    if kind is not None:
        with ChatServer(refusing(kind, words="no response_format here")) as server:
            result = ask(program, server, *more, "--output-format", "ndjson")
            assert (result.status, result.code, len(server.requests)) == (4, "bad_request", 1)


def test_what_keeps_a_schema_from_being_strict_is_told(program: Program) -> None:
    loose = '{"type": "object", "properties": {"name": {"type": "string"}}}'
    with ChatServer(answer(GOOD)) as server:
        result = ask(program, server, "--schema", loose, "-v")
        assert (result.status, result.stdout) == (0, COMPACT)
        assert b"not asked for strictly" in result.stderr
        refused = ask(program, server, "--schema", loose, "--schema-mode", "strict")
        assert (refused.status, refused.code, len(server.requests)) == (2, "not_strict", 1)


@pytest.mark.parametrize("output_format", FORMATS)
def test_it_is_asked_again_told_what_is_wrong_and_each_try_is_a_record(
    program: Program, output_format: str
) -> None:
    more = ("--schema", SHORT, "--schema-retries", "2", "--output-format", output_format)
    with ChatServer([answer("Ada"), answer('{"name": 1, "age": 2}'), answer(GOOD)]) as server:
        result = ask(program, server, *more, "--session", "s")
        last = server.requests[-1].body["messages"]
        assert len(server.requests) == 3
    assert result.status == 0
    assert [message["role"] for message in last] == ["user", *["assistant", "user"] * 2]
    assert (last[1]["content"], last[3]["content"]) == ("Ada", '{"name": 1, "age": 2}')
    assert "/name" in last[4]["content"]
    records = program.records("s")
    assert [record["status"] for record in records] == ["partial", "partial", "complete"]
    assert [record["schema"]["matched"] for record in records] == [False, False, True]
    if output_format == "text":
        assert result.stdout == COMPACT
    else:
        retries = [event for event in result.events if event["type"] == "retry"]
        assert [event["code"] for event in retries] == ["schema_mismatch"] * 2
        assert result.events[0]["id"] == records[-1]["id"]
        assert result.events[-1]["answer"] == GOOD


@pytest.mark.parametrize("output_format", FORMATS)
def test_tries_that_are_used_up_exit_7(program: Program, output_format: str) -> None:
    more = ("--schema", SHORT, "--schema-retries", "1", "--output-format", output_format)
    with ChatServer([answer("one"), answer("two"), answer(GOOD)]) as server:
        result = ask(program, server, *more)
        assert len(server.requests) == 2
    assert (result.status, result.code) == (7, "schema_mismatch")
    assert result.stdout == b"" or result.events[-1]["answer"] == "two"


def test_all_tries_together_take_no_longer_than_the_timeout(program: Program) -> None:
    slow = [
        stream_reply(Wait(1.0), chunk(text), chunk(finish_reason="stop")) for text in ("no", GOOD)
    ]
    with ChatServer(slow) as server:
        more = ("--schema", SHORT, "--schema-retries", "9", "--timeout", "1.5")
        result = ask(program, server, *more)
    assert (result.status, result.code) == (5, "timeout")


def test_a_signal_in_a_try_shows_what_came_and_one_terminal_event(program: Program) -> None:
    with ChatServer([answer("no"), stream_reply(chunk("Hi"), Stall())]) as server:
        more = ("--schema", SHORT, "--schema-retries", "3", "--output-format", "ndjson")
        run = program.start(
            "ask", "who?", "--base-url", server.url, "--session", "s", *more,
            stdin=-3,  # DEVNULL
        )  # fmt: skip
        server.wait_for_requests(2)
        while not program.spools() or b"Hi" not in program.spools()[0].read_bytes():
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        result = program.finish(run)
    assert result.status == 130
    assert (result.events[-1]["code"], result.events[-1]["answer"]) == ("interrupted", "Hi")
    assert [record["status"] for record in program.records("s")] == ["partial", "partial"]


CODE = "Here:\n\n```sh\nwc -w\n```\nand\n```\nother\n```\n"
EXTRACTS = [
    ("code", CODE, "wc -w\n", None),
    ("code", "- item\n  ~~~\n  a\n  ~~~\n", "a\n", None),
    ("json", "It is [1, 2] or {}.", "[1, 2]", [1, 2]),
    ("json", f"```json\n{GOOD}\n```", GOOD, json.loads(GOOD)),
    ("json", " 7 ", "7", 7),
]


@pytest.mark.parametrize(("kind", "said", "taken", "value"), EXTRACTS)
def test_a_part_is_taken_out_and_the_record_keeps_the_whole(
    program: Program, kind: str, said: str, taken: str, value: Any
) -> None:
    with ChatServer(answer(said)) as server:
        plain = ask(program, server, f"--extract={kind}", "--session", "s")
        last = ask(program, server, f"--extract={kind}", "--output-format", "ndjson").events[-1]
        path = program.home / "out"
        assert ask(program, server, f"--extract={kind}", "-o", str(path)).status == 0
    whole = taken if taken.endswith("\n") else taken + "\n"
    assert (plain.status, plain.stdout.decode()) == (0, whole)
    assert path.read_text() == whole
    assert (last["extracted"], last["json"], last["answer"]) == (taken, value, said)
    assert program.records("s")[0]["answer"] == said


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("kind", "said"), [("code", "none"), ("code", "```\nopen"), ("json", "none {"), ("json", "[1")]
)
def test_nothing_to_take_out_exits_7(
    program: Program, kind: str, said: str, output_format: str
) -> None:
    with ChatServer(answer(said)) as server:
        result = ask(program, server, f"--extract={kind}", "--output-format", output_format)
    assert (result.status, result.code) == (7, "nothing_extracted")
    assert result.stdout == b"" or result.events[-1]["answer"] == said


def test_what_is_taken_out_is_what_the_schema_judges(program: Program) -> None:
    with ChatServer(answer(f"Sure!\n```json\n{GOOD}\n```\n")) as server:
        for kind in ("code", "json"):
            assert ask(program, server, f"--extract={kind}", "--schema", SHORT).stdout == COMPACT


@pytest.mark.parametrize(
    "more",
    [
        ("--schema-retries", "2"),
        ("--schema-mode=json",),
        ("--schema", SHORT, "-O", "response_format={}"),
        ("--schema", SHORT, "--schema-mode", "other"),
        ("--extract", "yaml"),
    ],
)
def test_options_that_do_not_go_together_exit_2(program: Program, more: tuple[str, ...]) -> None:
    for output_format in FORMATS:
        result = program.run("ask", "--offline", "who?", *more, "--output-format", output_format)
        assert (result.status, result.code) == (2, "bad_option")


def test_a_dry_run_shows_how_it_would_be_asked(program: Program) -> None:
    dry = program.run("ask", "--dry-run", "who?", "--schema", SHORT)
    assert json.loads(dry.stdout)["response_format"]["json_schema"]["strict"] is True


@pytest.mark.in_process(False)
def test_a_plain_ask_imports_nothing_of_it(program: Program) -> None:
    plain = imported(program, "ask", "--offline", "hello")
    assert not {name for name in plain if name.startswith(("pipechat.answers", "jsonschema_rs"))}
    assert "pipechat.commands.wanted" not in plain
