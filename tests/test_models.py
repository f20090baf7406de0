"""`pipechat models`: what the endpoint serves, whatever it calls what it tells of it."""

import json
from typing import Any

import pytest

from pipechat.wire.model_list import ServedModel, read_day, read_model
from tests.in_process import InProcess
from tests.program import PLANTED_KEY, Program, Result
from tests.servers import (
    ChatServer,
    RefusedPort,
    Reply,
    Request,
    Script,
    error_reply,
    http_reply,
    json_reply,
)

pytestmark = pytest.mark.in_process

FORMATS = ("text", "json", "ndjson")
TWO = [{"id": "zeta", "owned_by": "us", "context_length": 8192}, {"id": "alpha"}]


def listed(entries: Any, **more: Any) -> Reply:
    return json_reply(200, {"object": "list", "data": entries, **more})


def run(program: Program, script: Script, *arguments: str) -> Result:
    with ChatServer(script) as server:
        return program.run("models", *arguments, env={"OPENAI_BASE_URL": server.url})


def test_what_is_served_is_told_sorted_in_each_format(program: Program) -> None:
    text = run(program, listed(TWO))
    assert (text.status, text.stderr) == (0, b"")
    assert text.stdout == b"alpha\t-\t-\t-\nzeta\t8192\tus\t-\n"
    alpha = dict.fromkeys(("context_window", "owned_by", "shutdown_date")) | {"id": "alpha"}
    zeta = alpha | {"id": "zeta", "context_window": 8192, "owned_by": "us"}
    assert json.loads(run(program, listed(TWO), "--output-format", "json").stdout) == [alpha, zeta]
    assert run(program, listed(TWO), "--output-format", "ndjson").events == [alpha, zeta]


def test_the_request_is_a_get_with_the_key_and_no_query(program: Program) -> None:
    with ChatServer(listed(TWO)) as server:
        program.run("models", env={"OPENAI_BASE_URL": server.url})
        (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/v1/models")
    assert request.headers["authorization"] == f"Bearer {PLANTED_KEY}"


def test_on_a_terminal_columns_stand_below_a_heading(program: InProcess) -> None:
    program.terminals = frozenset({"stdout"})
    lines = run(program, listed(TWO)).stdout.decode().splitlines()
    assert "model" in lines[0]
    assert "context" in lines[0]
    assert [line.split() for line in lines[1:]] == [
        ["alpha", "-", "-", "-"],
        ["zeta", "8192", "us", "-"],
    ]
    assert lines[1].index("-") == lines[2].index("8192")


@pytest.mark.parametrize(
    ("entry", "model"),
    [
        ({"id": "openrouter", "context_length": 1, "expiration_date": "2026-01-02"},
         ServedModel("openrouter", 1, None, "2026-01-02")),
        ({"id": "groq", "context_window": 2, "owned_by": "Meta"},
         ServedModel("groq", 2, "Meta", None)),
        ({"id": "vllm", "max_model_len": 3}, ServedModel("vllm", 3, None, None)),
        ({"id": "mistral", "max_context_length": 4, "deprecation": "2026-03-04T12:00:00Z"},
         ServedModel("mistral", 4, None, "2026-03-04")),
        ({"id": "together", "organization": "X"}, ServedModel("together", None, "X", None)),
        ({"id": "llama.cpp", "meta": {"n_ctx_train": 5}}, ServedModel("llama.cpp", 5, None, None)),
        ({"id": "azure", "deprecation": {"fine_tune": 1, "inference": 1767312000}},
         ServedModel("azure", None, None, "2026-01-02")),
        ({"id": "nested", "top_provider": {"context_length": 6}},
         ServedModel("nested", 6, None, None)),
        ({"name": "only-a-name"}, ServedModel("only-a-name", None, None, None)),
        # What makes no sense is not told.
        ({"id": "m", "context_length": "8k", "owned_by": 7, "shutdown_date": "soon"},
         ServedModel("m", None, None, None)),
        ({"id": "m", "context_length": True, "owned_by": "", "deprecation": True},
         ServedModel("m", None, None, None)),
        ({"id": "m", "context_length": -1, "owned_by": "a\nb", "deprecation": None},
         ServedModel("m", None, None, None)),
    ],
)  # fmt: skip
def test_each_vendors_names_are_known(entry: dict[str, Any], model: ServedModel) -> None:
    assert read_model(entry) == model


@pytest.mark.parametrize("entry", [None, "m", 7, [], {}, {"id": ""}, {"id": 7}, {"id": "a\nb"}])
def test_what_names_no_model_is_none(entry: object) -> None:
    assert read_model(entry) is None


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02"),
        (1767312000, "2026-01-02"),
        (1767312000.5, "2026-01-02"),
        (1767312000000, "2026-01-02"),
        ("1767312000", "2026-01-02"),
        (0, None),
        (-5, None),
        (1e300, None),
        (float("nan"), None),
        ("", None),
        (True, None),
        ([], None),
    ],
)
def test_a_day_is_read_however_it_is_written(said: object, day: str | None) -> None:
    assert read_day(said) == day


@pytest.mark.parametrize(
    "reply",
    [json_reply(200, TWO), json_reply(200, {"models": TWO}), listed([*TWO, *TWO, None, {}, "m"])],
)
def test_a_list_of_another_shape_says_the_same(program: Program, reply: Reply) -> None:
    assert run(program, reply).stdout == b"alpha\t-\t-\t-\nzeta\t8192\tus\t-\n"


def test_a_list_in_pages_is_read_to_its_end(program: Program) -> None:
    names = [f"m{n:03}" for n in range(250)]

    def page(request: Request) -> Reply:
        query = request.path.partition("after=")[2]
        start = names.index(query.partition("&")[0]) + 1 if query else 0
        part = [{"id": name} for name in names[start : start + 100]]
        return listed(part, has_more=start + 100 < len(names))

    result = run(program, page)
    assert [line.split("\t")[0] for line in result.stdout.decode().splitlines()] == names


@pytest.mark.parametrize(
    ("kind", "output_format"),
    [("the same page", "text"), ("always another", "ndjson"), ("empty pages", "json")],
)
def test_a_list_without_an_end_is_a_failure(
    program: Program, kind: str, output_format: str
) -> None:
    def page(request: Request) -> Reply:
        name = f"m{request.number}" if kind == "always another" else "m"
        return listed([] if kind == "empty pages" else [{"id": name}], has_more=True)

    result = run(program, page, "--retries", "0", "--output-format", output_format)
    assert (result.status, result.code, result.stdout) == (5, "incomplete_list", b"")


FAILURES = [
    (error_reply(401, "Bad key."), 3, "unauthorized"),
    (error_reply(403, "Not you."), 3, "forbidden"),
    (error_reply(404, "No such path."), 4, "not_found"),
    (error_reply(429, "Slow down."), 5, "rate_limited"),
    (error_reply(500, "Oh."), 5, "server_error"),
    (http_reply(200, b"<html>busy</html>", content_type="text/html"), 5, "malformed_stream"),
    (json_reply(200, {"object": "list"}), 5, "malformed_stream"),
    (json_reply(200, {"data": "many"}), 5, "malformed_stream"),
    (listed([{"name": ""}, 7]), 5, "malformed_stream"),
]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("reply", "status", "code"), FAILURES)
def test_each_failure_has_its_exit_code_in_each_format(
    program: Program, reply: Reply, status: int, code: str, output_format: str
) -> None:
    result = run(program, reply, "--retries", "0", "--output-format", output_format)
    assert (result.status, result.code, result.stdout) == (status, code, b"")
    assert result.stderr.count(b"\n") == 1


def test_nobody_listening_is_a_network_failure(program: Program) -> None:
    with RefusedPort() as port:
        env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port.port}/v1"}
        result = program.run("models", "--retries", "0", env=env)
    assert (result.status, result.code) == (5, "connection_refused")


def test_what_fails_for_now_is_tried_again(program: Program) -> None:
    script = [error_reply(503, "Busy."), error_reply(503, "Busy."), listed(TWO)]
    assert run(program, script).status == 0


@pytest.mark.parametrize("variable", ["OFFLINE", "REPLAY", "RECORD"])
def test_without_a_server_it_is_wrong_usage_that_names_who_said_so(
    program: Program, variable: str
) -> None:
    result = program.run("models", env={f"PIPECHAT_{variable}": "1"})
    assert (result.status, result.code) == (2, "bad_option")
    assert f"PIPECHAT_{variable}".encode() in result.stderr


def test_an_endpoint_that_lists_nothing_is_no_failure_and_is_told(program: Program) -> None:
    result = run(program, listed([]))
    assert (result.status, result.stdout) == (0, b"")
    assert b"lists no model" in result.stderr
    assert run(program, listed([]), "-q").stderr == b""
    assert run(program, listed([]), "-q", "--output-format", "json").stdout == b"[]\n"


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_key_that_a_server_says_back_is_not_shown(program: Program, output_format: str) -> None:
    entries = [{"id": f"m-{PLANTED_KEY}", "owned_by": PLANTED_KEY, "context_length": 1}]
    result = run(program, listed(entries), "--output-format", output_format)
    assert result.status == 0
    assert PLANTED_KEY.encode() not in result.stdout + result.stderr


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_gateway_is_asked_with_its_header_and_its_query(
    program: Program, output_format: str
) -> None:
    with ChatServer(listed(TWO)) as server:
        given = ("--base-url", f"{server.url}?sig=a1b", "-H", "X-Team: red")
        result = program.run("models", *given, "--output-format", output_format)
        (request,) = server.requests
    assert (result.status, result.stderr) == (0, b"")
    assert (request.path, request.headers["x-team"]) == ("/v1/models?sig=a1b", "red")
