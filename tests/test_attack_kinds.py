"""What an attacker tried, by kind: secrets, errors that vanish, work without a bound, files."""

import asyncio
import base64
import errno
import json
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipechat.client.async_exchange import ThreadedSender, read_response
from pipechat.client.deadlines import Deadlines, Limits
from pipechat.client.exchange import Request as Sent
from pipechat.client.exchange import Response, in_one
from pipechat.client.reading import ResponseReading
from pipechat.client.record_replay import RecordingSender
from pipechat.errors import OutputError, UsageError, as_ours
from pipechat.events import Chunk
from pipechat.turn.reducer import TurnReducer
from pipechat.turn.template import compile_template
from pipechat.wire.chat_completions import ChatCompletions
from tests.program import PLANTED_KEY, Program, Result
from tests.servers import (
    ChatServer,
    Reply,
    Request,
    Stall,
    answer,
    chunk,
    completion,
    error_reply,
    http_reply,
    json_reply,
    sse,
    stream_reply,
)

FORMATS = ("text", "ndjson")

PASSWORD = "Hunter2!passw0rd"
ENCODED = "Hunter2%21passw0rd"
BASIC = base64.b64encode(f"proxyuser:{PASSWORD}".encode()).decode()
HEADER_SECRET = "tok-0f1e2d3c4b5a"
SECRETS = (PASSWORD, ENCODED, BASIC, HEADER_SECRET)
STOP = chunk(finish_reason="stop")


def _said(status: int) -> Callable[[str], Reply]:
    return lambda said: http_reply(status, said.encode(), content_type="text/plain")


ECHOES: dict[str, Callable[[str], Reply]] = {
    "403": _said(403),
    "407": _said(407),
    "502": _said(502),
    "finish reason": lambda said: stream_reply(chunk("Hi"), chunk(finish_reason=said)),
    "usage": lambda said: stream_reply(chunk("Hi"), chunk(finish_reason="stop", usage={"x": said})),
    "request id": lambda said: stream_reply(
        chunk("Hi"), STOP, headers={"x-request-id": said.replace("\n", " ")}
    ),
}


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("where", ECHOES)
def test_no_secret_that_goes_along_is_shown_or_kept_in_any_form_that_is_said_back(
    program: Program, where: str, output_format: str
) -> None:
    def echo(request: Request) -> Reply:
        basic = request.headers["proxy-authorization"].partition(" ")[2]
        login = base64.b64decode(basic).decode()
        assert login == f"proxyuser:{PASSWORD}"
        return ECHOES[where](f"{basic} {login} {ENCODED} {request.headers['x-token']}")

    with ChatServer(echo) as server:
        result = program.run(
            "ask", "--insecure-http", "--retries", "0",
            "--session", "s", "--record", f"{program.home}/rec", "--output-format", output_format,
            "-v", "hello",
            env={
                "HTTP_PROXY": f"http://proxyuser:{ENCODED}@127.0.0.1:{server.port}",
                "OPENAI_CUSTOM_HEADERS": f"x-token: {HEADER_SECRET}",
                "OPENAI_BASE_URL": "http://elsewhere.test/v1",
            },
        )  # fmt: skip
        assert len(server.requests) == 1
    check_hidden(program, result)


BASIC_KINDS = {
    "user and password": f"proxyuser:{PASSWORD}",
    "password alone": f":{PASSWORD}",
    "token as the user": f"{PASSWORD}:",
    "no colon": PASSWORD,
}


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("user and password", "authorization"),
        ("password alone", "x-gateway"),
        ("token as the user", "OPENAI_CUSTOM_HEADERS"),
        ("no colon", "authorization"),
    ],
)
def test_what_a_basic_header_encodes_is_as_secret_as_the_header(
    program: Program, kind: str, place: str, output_format: str
) -> None:
    said = f"Basic {base64.b64encode(BASIC_KINDS[kind].encode()).decode()}"
    given = ("-H", f"{place}: {said}") if place.islower() else ()
    env = {} if given else {place: f"x-gateway: {said}"}
    name = place if given else "x-gateway"

    def echo(request: Request) -> Reply:
        basic = request.headers[name].partition(" ")[2]
        login = base64.b64decode(basic).decode()
        assert login == BASIC_KINDS[kind]
        return _said(403)(f"{basic} {basic.rstrip('=')} {login} {ENCODED} is no login of ours")

    with ChatServer(echo) as server:
        result = program.run(
            "ask", *given, "--session", "s", "--record", f"{program.home}/rec",
            "--output-format", output_format, "-v", "hello",
            env={**env, "OPENAI_BASE_URL": server.url},
        )  # fmt: skip
        assert len(server.requests) == 1
    assert b"is no login of ours" in result.stderr
    encoded = said.partition(" ")[2].rstrip("=")
    check_hidden(program, result, encoded)


def check_hidden(program: Program, result: Result, *more: str) -> None:
    """None of the secrets is in what a run wrote."""
    kept = [path.read_bytes() for path in program.home.rglob("*") if path.is_file()]
    assert kept, "nothing was kept that could hold one"
    for written in (result.stdout, result.stderr, *kept):
        for secret in (*SECRETS, *more):
            assert secret.encode() not in written


def small_files() -> None:
    """In the child: no file grows beyond a kilobyte, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))


# Else Python would write what it compiled, cut at the limit, for all that run after it.
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
LONG = "A long answer. " * 20_000
UNRECORDED: dict[str, tuple[Reply, tuple[str, ...]]] = {
    "short": (answer("Hi" * 1000), ()),
    "long": (answer(LONG, pieces=200), ()),
    "in one piece": (json_reply(200, completion(LONG)), ("--no-stream",)),
    "open at its end": (stream_reply(chunk(LONG), STOP, Stall()), ()),
}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kind", UNRECORDED)
def test_a_recording_that_cannot_be_written_is_told_however_the_answer_ended(
    program: Program, kind: str, output_format: str
) -> None:
    reply, more = UNRECORDED[kind]
    record = program.home / "rec"
    with ChatServer(reply) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--record", str(record), *more,
            "--output-format", output_format, "hello", preexec_fn=small_files,
            env={**NO_BYTECODE, **program.shorter(after_end=0.3)},
        )  # fmt: skip
    assert (result.status, result.code) == (11, "recording_unwritable")
    assert b"--record" in result.stderr
    if output_format == "ndjson":
        assert (result.events[-1]["exit_code"], result.events[-1]["status"]) == (11, "partial")


class Canned:
    """A sender whose response is there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def send(self, request: Sent) -> Response:
        assert request.path == "/x"
        headers = {"content-type": "text/event-stream"}
        return Response(200, headers, in_one(self._body))


@pytest.mark.parametrize("text", ["Hi", LONG, ""])
def test_on_an_event_loop_a_recording_that_cannot_be_written_is_told_as_well(text: str) -> None:
    def append(block: bytes) -> None:
        raise OutputError("recording_unwritable", f"no room for {len(block)} bytes")

    chunks: list[Chunk] = []

    async def read() -> None:
        recorder = RecordingSender(Canned(sse(chunk(text), STOP)), append, ())
        sender = ThreadedSender(recorder)
        reducer = TurnReducer(time.monotonic)
        reading = ResponseReading(
            ChatCompletions(), {}, Deadlines(Limits(60, None, None), time.monotonic), reducer,
            host="here", secrets=(), own_parameters=(),
        )  # fmt: skip
        try:
            await read_response(sender, Sent("/x", {}), reading, chunks.append)
        finally:
            await sender.aclose()

    with pytest.raises(OutputError, match="no room"):
        asyncio.run(read())


def doubling(keyword: str, reference: str, levels: int, **named: str) -> dict[str, Any]:
    """A schema that comes to one place in 2 ** `levels` ways."""
    definitions: dict[str, Any] = {f"d{levels}": {"type": "string", **_of(named, levels)}}
    for level in range(levels):
        step = {"$ref": reference.format(level + 1)}
        alternatives: Any = [step, dict(step)]
        if keyword == "if":
            parts: dict[str, Any] = {"if": step, "then": dict(step)}
        elif keyword == "properties":
            parts = {"anyOf": [{"properties": {"x": each}} for each in alternatives]}
        else:
            parts = {keyword: alternatives}
        definitions[f"d{level}"] = {**parts, **_of(named, level)}
    return {"$defs": definitions, "$ref": reference.format(0)}


def _of(named: dict[str, str], level: int) -> dict[str, str]:
    return {keyword: text.format(level) for keyword, text in named.items()}


POINTER = "#/$defs/d{}"
EXPLODING = {
    "anyOf": doubling("anyOf", POINTER, 28),
    "oneOf": doubling("oneOf", POINTER, 28),
    "allOf": doubling("allOf", POINTER, 28),
    "if": doubling("if", POINTER, 28),
    "properties": doubling("properties", POINTER, 28),
    "anchors": doubling("anyOf", "#d{}", 28, **{"$anchor": "d{}"}),
}


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kind", EXPLODING)
def test_a_schema_that_takes_for_ever_is_refused_before_anything_is_sent(
    program: Program, kind: str, output_format: str
) -> None:
    with ChatServer(answer("1")) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--schema", json.dumps(EXPLODING[kind]),
            "--output-format", output_format, "hello",
        )  # fmt: skip
        assert server.requests == []
    assert (result.status, result.code) == (2, "bad_schema")


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
        }
    },
}


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("schema", "said", "status"),
    [
        (TREE, {"left": {"right": {}}}, 0),
        (TREE, {"left": {"right": 1}}, 7),
        ({"anyOf": [{"const": number} for number in range(5000)]}, 4999, 0),
        (doubling("anyOf", POINTER, 10), "x", 0),
        (doubling("anyOf", POINTER, 10), 1, 7),
    ],
)
def test_a_schema_with_references_and_many_alternatives_is_judged_as_ever(
    program: Program, schema: dict[str, Any], said: Any, status: int
) -> None:
    with ChatServer(answer(json.dumps(said))) as server:
        where = ("--base-url", server.url, "--schema", json.dumps(schema))
        assert program.run("ask", *where, "hello").status == status


def itself(*keywords: str) -> dict[str, Any]:
    """A schema that refers to itself, at each level of an answer as often as there are keywords."""
    node: dict[str, Any] = {"type": ["object", "array", "null"]}
    for number, keyword in enumerate(keywords):
        again = {"properties": {"a": {"$ref": "#/$defs/n"}}, "minProperties": number % 2}
        node = {"allOf": [node, {keyword: [again, {**again, "title": "the same"}]}]}
    return {"$ref": "#/$defs/n", "$defs": {"n": node}}


def nested(levels: int, inner: Any) -> Any:
    return {"a": nested(levels - 1, inner)} if levels else inner


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "schema",
    [itself("anyOf", "anyOf"), itself("allOf", "allOf"), itself("anyOf", "allOf", "oneOf")],
    ids=["anyOf", "allOf", "mixed"],
)
def test_a_schema_that_grows_with_the_answer_is_judged_within_the_time(
    program: Program, schema: dict[str, Any], output_format: str
) -> None:
    with ChatServer(answer(json.dumps(nested(60, "x")))) as server:
        where = ("--base-url", server.url, "--schema", json.dumps(schema))
        result = program.run("ask", *where, "--output-format", output_format, "hello")
    assert (result.status, result.code) == (7, "schema_mismatch")


# A tenth of what would come to the limit, for a tenth of the limit.
NUMBERS, TEXT = "{% set a = range(10000)|list %}", "{% set a = 'x' * 100000 %}"
UNENDING = {
    "in a list": NUMBERS + "{% for i in range(3000) %}{{ -i in a }}{% endfor %}",
    "in a text": TEXT + "{% for i in range(3000) %}{{ 'xy' in a }}{% endfor %}",
    "equal": NUMBERS + "{% set b = a[:] %}{% for i in range(3000) %}{{ b == a }}{% endfor %}",
    "a test": NUMBERS + "{% for i in range(3000) %}{{ -1 is in(a) }}{% endfor %}",
    "sort": NUMBERS + "{% for i in range(3000) %}{{ (a|sort)[0] }}{% endfor %}",
    "max": NUMBERS + "{% for i in range(3000) %}{{ a|max }}{% endfor %}",
    "select": NUMBERS + "{% for i in range(3000) %}{{ a|select('eq', -1)|list }}{% endfor %}",
    "maps": NUMBERS + "{% set b = a" + "|map('abs')" * 40 + "|list %}",
    "replace": TEXT + "{% for i in range(3000) %}{{ a|replace('x', '') }}{% endfor %}",
    "split": TEXT + "{% for i in range(3000) %}{{ a.split('y')|length }}{% endfor %}",
    "find": TEXT + "{% for i in range(3000) %}{{ a.find('xy') }}{% endfor %}",
    "count": NUMBERS + "{% for i in range(3000) %}{{ a.count(-1) }}{% endfor %}",
    "changed": NUMBERS + "{% for i in range(3000) %}{{ loop.changed(a) }}{% endfor %}",
}


@pytest.mark.parametrize("kind", UNENDING)
def test_a_template_is_bounded_by_what_it_looks_at_as_by_what_it_makes(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipechat.turn.template_limits.MOST_STEPS", 200_000)
    template = compile_template(UNENDING[kind])
    with pytest.raises(UsageError, match="more than 200000 steps"):
        template.render({})


def test_a_template_that_looks_at_a_large_input_is_rendered() -> None:
    source = "{{ 'needle' in input }} {{ input|wordcount }} {{ input.split('n')|length }}"
    assert compile_template(source).render({"input": "hay " * 1_000_000 + "needle"}) == (
        "True 1000001 2"
    )


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_template_without_an_end_is_a_usage_error(program: Program, output_format: str) -> None:
    unending = UNENDING["in a list"].replace("000)", "0000)")
    given = ("--offline", "--output-format", output_format, "--template", unending)
    result = program.run("ask", *given)
    assert (result.status, result.code) == (2, "template_failed")
    assert b"more than 2000000 steps" in result.stderr


class Threadless:
    """In the process of the tests: the first `count` threads of an exchange cannot be started."""

    def __init__(self, count: int) -> None:
        self.left = count

    def start(self, thread: threading.Thread) -> None:
        if thread.name == "exchange" and self.left:
            self.left -= 1
            raise RuntimeError("can't start new thread")
        _START(thread)


_START = threading.Thread.start


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("missing", "retries", "status"), [(1, 0, 5), (9, 1, 5), (1, 1, 0)])
def test_where_no_thread_is_to_be_had_it_is_tried_again_and_then_later(
    program: Program, monkeypatch: pytest.MonkeyPatch, missing: int, retries: int, status: int,
    output_format: str,
) -> None:  # fmt: skip
    threadless = Threadless(missing)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: threadless.start(thread))
    with ChatServer(answer("Hi")) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--retries", str(retries),
            "--output-format", output_format, "hello",
        )  # fmt: skip
    assert (result.status, result.code) == (status, "no_thread" if status else "")


def short_of_memory(mebibytes: int) -> Callable[[], None]:
    """In the child: no more address space than that."""
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))


@pytest.mark.parametrize("mebibytes", [100, 120, 200])
@pytest.mark.parametrize(
    ("given", "output_format"),
    [("stdin", "text"), ("stdin", "ndjson"), ("--system", "ndjson"), ("-f", "text")],
)
def test_where_memory_is_short_the_run_ends_by_itself_and_says_so(
    program: Program, tmp_path: Path, given: str, mebibytes: int, output_format: str
) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 16_000_000)
    more = {"--system": ("--system", f"@{large}"), "-f": ("-f", str(large))}.get(given, ())
    with large.open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        result = program.run(
            "ask", "--offline", "-q", "--output-format", output_format, *more,
            *(("--no-stdin", "hello") if more else ()), env=NO_BYTECODE, stdin=stdin,
            stdout=stdout, input=None, preexec_fn=short_of_memory(mebibytes),
        )  # fmt: skip
    assert (result.status, result.code) in [(0, ""), (5, "no_memory"), (6, "no_memory")]
    if output_format == "ndjson":
        last = json.loads((tmp_path / "out").read_bytes().rstrip().rpartition(b"\n")[2])
        assert last["type"] == ("error" if result.status else "end")


LACKING: list[tuple[Exception, str]] = [
    (MemoryError(), "no_memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "no_memory"),
    (ImportError("x.so: failed to map segment from shared object"), "no_memory"),
    (ImportError("x.so: cannot open shared object file: Cannot allocate memory"), "no_memory"),
    (OSError(errno.EMFILE, "Too many open files", "x.py"), "no_descriptor"),
    (OSError(errno.ENFILE, "Too many open files in system"), "no_descriptor"),
    (ImportError("x.so: cannot open shared object file: Too many open files"), "no_descriptor"),
    (RuntimeError("can't start new thread"), "no_thread"),
]


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("error", "code"), LACKING, ids=[str(error) for error, _ in LACKING])
def test_what_the_machine_has_too_little_of_is_no_bug(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
    output_format: str,
) -> None:
    def lacks(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipechat.client.lazy_openai.load_openai", lacks)
    given = ("--base-url", "http://127.0.0.1:9/v1", "--output-format", output_format)
    result = program.run("ask", "hello", *given)
    assert (result.status, result.code) == (5, code), result.stderr


def test_bugs_are_bugs_and_what_is_ours_stays() -> None:
    others = (
        KeyError("Too many open files"), RuntimeError("x"), ImportError("x"),
        OSError(errno.EIO, "Input/output error", "Too many open files"),
    )  # fmt: skip
    assert {(as_ours(error).code, as_ours(error).exit_code) for error in others} == {("bug", 1)}
    ours = UsageError("bad", "so")
    assert as_ours(ours) is ours


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("status", "exit_code"), [(206, 5), (201, 0), (203, 0)])
def test_a_part_of_an_answer_is_not_taken_for_the_whole(
    program: Program, status: int, exit_code: int, stream: bool, output_format: str
) -> None:
    body = sse(chunk("Hi"), STOP) if stream else json.dumps(completion("Hi")).encode()
    kind = "text/event-stream" if stream else "application/json"
    with ChatServer(http_reply(status, body, content_type=kind)) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--output-format", output_format, "hello"
        )
        assert len(server.requests) == 1
    assert (result.status, result.code) == (exit_code, "partial_content" if exit_code else "")


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("said", ["true", "null", '"x"', "1", "-2.5e3", "false ", '["a"]'])
@pytest.mark.parametrize("by", ["value", "file"])
def test_a_json_value_that_is_no_object_is_no_schema(
    program: Program, tmp_path: Path, said: str, by: str, output_format: str
) -> None:
    if by == "file":
        (tmp_path / "schema").write_text(said)
        said = f"@{tmp_path}/schema"
    given = ("--offline", "--output-format", output_format, "--schema", said)
    result = program.run("ask", *given, "hello")
    assert (result.status, result.code) == (2, "bad_schema")
    assert b"--schema" in result.stderr
    assert b"no JSON object" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("said", ["true str", "null?", '"x" int', "nothing", "true, false"])
def test_words_that_begin_as_json_does_are_the_short_form(program: Program, said: str) -> None:
    assert program.run("ask", "--dry-run", "--schema", said, "hello").status == 0


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("option", ["--schema", "--system", "--template"])
def test_stdin_is_the_questions_and_no_file_of_an_option(
    program: Program, option: str, output_format: str
) -> None:
    given = ("--offline", "--output-format", output_format, option, "@-")
    result = program.run("ask", *given, "hello", input=b"data")
    assert (result.status, result.code) == (2, "unreadable_input")
    assert option.encode() in result.stderr
    assert b"stdin" in result.stderr


OF_THE_ACCOUNT = {
    "OPENAI_ORG_ID": "org-mine",
    "OPENAI_PROJECT_ID": "proj-mine",
    "OPENAI_CUSTOM_HEADERS": "x-token: mine\nAuthorization: Bearer mine\nX-Team:mine",
}


@pytest.mark.in_process
@pytest.mark.parametrize("base_url", ["named", "another", ""])
@pytest.mark.parametrize("command", ["ask", "batch"])
def test_the_account_is_told_to_the_endpoint_that_it_stands_beside_and_to_no_other(
    program: Program, base_url: str, command: str
) -> None:
    with ChatServer(answer("Hi")) as server:
        named = {"named": server.url + "/", "another": "https://gateway.test/v1"}.get(base_url)
        env = {**OF_THE_ACCOUNT, "OPENAI_BASE_URL": named, "PIPECHAT_API_KEY": PLANTED_KEY}
        where = ("--base-url", server.url)
        if command == "ask":
            assert program.run("ask", *where, "hello", env=env).status == 0
        else:
            given = ("batch", "run", "--input-format", "lines", *where)
            assert program.run(*given, input=b"hello\n", env=env).status == 0
        headers = server.requests[0].headers
    told = [name for name, value in headers.items() if "mine" in value]
    if base_url == "named":
        assert set(told) >= {"openai-organization", "openai-project", "x-token", "x-team"}
    else:
        assert told == []
        assert headers["authorization"] == f"Bearer {PLANTED_KEY}"


@pytest.mark.parametrize(
    ("level", "plain", "output_format"),
    [("debug", "0", "text"), ("info", "0", "ndjson"), ("debug", "1", "ndjson")],
)
def test_the_sdk_says_nothing_on_stderr(
    program: Program, level: str, plain: str, output_format: str
) -> None:
    with ChatServer([error_reply(500, "no"), answer("Hi")]) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--output-format", output_format, "hello",
            env={"OPENAI_LOG": level, "PIPECHAT_PLAIN_IMPORT": plain},
        )  # fmt: skip
    assert (result.status, result.stderr) == (0, b"")


@pytest.mark.in_process
def test_a_long_line_for_chat_is_read_in_time_and_within_max_input_mib(program: Program) -> None:
    def chat(line: bytes) -> tuple[Result, float]:
        began = time.process_time()
        return program.run("chat", "--offline", "-q", input=line + b"\nmore\n"), (
            time.process_time() - began
        )

    config = program.home / "config.toml"
    config.write_text("max_input_mib = 1")
    refused, _ = chat(b"x" * 1_100_000)
    assert (refused.status, refused.code) == (2, "input_too_large")
    assert b"a line of stdin holds more than 1 MiB" in refused.stderr
    config.write_text("max_input_mib = 100")
    whole, took = chat(b"x" * 20_000_000)
    assert (whole.status, whole.stdout.count(b"x")) == (0, 20_000_000)
    assert took < 10


@pytest.mark.parametrize("command", ["chat", "ask"])
def test_a_full_disk_under_stdout_is_told_once(program: Program, command: str) -> None:
    with open("/dev/full", "wb") as full:
        process = program.start(command, "--offline", "-q", stdout=full)
        result = program.finish(process, b"hello\n")
    assert (result.status, result.code) == (11, "output_failed")
    assert result.stderr.count(b"\n") == 1


ADDRESSES = [
    "{{ range }}", "{{ range ~ '' }}", "{{ range|string }}", "{{ [range]|join }}", "{{ [range] }}",
    "{{ 'a'.upper }}", "{{ 'a'.upper|upper }}", "{{ {'a': 1}.items }}", "{{ input.split }}",
    "{{ [1]|map('abs') }}", "{{ [1]|map('abs') ~ '' }}", "{{ [1]|select|string }}",
    "{{ [[1]|map('abs')]|join }}", "{{ [1]|reverse }}",
    "{% for i in [1] %}{{ loop.cycle }}{% endfor %}",
    "{{ range|replace('a', 'b') }}", "{{ range|tojson }}", "{{ range|lower }}",
    "{{ [1]|map('abs')|trim }}",
]  # fmt: skip


@pytest.mark.in_process
@pytest.mark.parametrize("template", ADDRESSES)
def test_a_template_prints_no_address_of_what_has_no_text(program: Program, template: str) -> None:
    result = program.run(
        "ask", "--dry-run", "--template", template + "{{ input and '' }}x", "hello"
    )
    assert (result.status, result.code) == (2, "template_failed")
    assert b"0x" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ [1, 2]|map('abs')|list }}", "[1,2]"),
        ("{{ [2, 1]|map('abs')|sort|join('-') }}", "1-2"),
        ("{% for i in range(3)|select('odd') %}{{ i }}{% endfor %}", "1"),
        ("{{ 'a'.upper() }}{{ 3|string }}{{ none }}{{ true ~ 1.5 }}", "A3NoneTrue1.5"),
        ("{{ (range(4)|map('string')|join) }}{{ [3]|map('abs')|first }}", "01233"),
    ],
)
def test_what_has_a_text_is_printed_as_ever(template: str, text: str) -> None:
    assert compile_template(template).render({}) == text


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C.UTF-8"},
    ],
)
def test_every_argument_is_utf_8_whatever_the_locale(
    program: Program, tmp_path: Path, locale: dict[str, str | None]
) -> None:
    notes, out = tmp_path / "né.txt", tmp_path / "né.out"
    notes.write_text("ü")
    with ChatServer(answer('{"né":1}')) as server:
        result = program.run(
            "ask", "--base-url", server.url, "--session", "é", "-m", "modèle", "--schema", "né int",
            "--system", f"@{notes}", "-O", "a=ö", "-f", str(notes), "-o", str(out), "héllo",
            env=locale,
        )  # fmt: skip
        assert (result.status, result.stderr) == (0, b"")
        body = server.requests[0].body
    assert (body["model"], body["a"], body["messages"][0]["content"][:1]) == ("modèle", "ö", "ü")
    assert "né" in json.dumps(body, ensure_ascii=False)
    assert out.read_bytes() == '{"né":1}\n'.encode()
    assert program.records("é")[0]["question"] == "héllo"


@pytest.mark.in_process
@pytest.mark.parametrize(
    "option", ["--session", "-m", "--system", "--schema", "--template", "-O", "--extract"]
)
def test_an_argument_that_is_not_utf_8_is_refused(program: Program, option: str) -> None:
    value = b"a=\xff" if option == "-O" else b"\xff"
    result = program.run("ask", "--offline", option, value, "hello")
    assert result.status == 2
    assert result.stderr.count(b"\n") == 1
