"""A field that a server refuses: pipechat's own is left out, or put under its other name; one that
somebody asked for is never dropped, and the line says who asked."""

import json
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any

import pytest

from pipechat.client.refusal import look_at_fields
from pipechat.client.request_form import Memory, RequestForm, Way
from pipechat.errors import RefusedError
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import resolve_settings
from tests.program import Program, Result
from tests.servers import (
    ChatServer,
    Reply,
    Request,
    answer,
    chunk,
    done,
    error_reply,
    event,
    http_reply,
    json_reply,
    stream_reply,
)
from tests.servers.responses import spoken

pytestmark = pytest.mark.in_process

FORMATS = ("text", "ndjson")


def openai(message: str, param: str | None = None, code: str | None = None) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json_reply(400, {"error": error})


def pydantic(field: str, status: int = 422) -> Reply:
    """As Mistral has it, which repeats the value."""
    detail = {"type": "extra_forbidden", "loc": ["body", field], "input": {"store": 1, "seed": 2},
              "msg": "Extra inputs are not permitted"}  # fmt: skip
    return json_reply(status, {"object": "error", "message": {"detail": [detail]}})


def vllm(field: str) -> Reply:
    said = f"[{{'type': 'extra_forbidden', 'loc': ('body', '{field}'), 'msg': 'Extra inputs are "
    return json_reply(400, {"object": "error", "message": f"{said} not permitted'}}]", "code": 400})


def litellm(field: str) -> Reply:
    said = (
        f"litellm.UnsupportedParamsError: x does not support parameters: ['{field}'], for model=m"
    )
    return error_reply(400, f"{said}. To drop these, set `litellm.drop_params=True`")


def serde(field: str) -> Reply:
    known = "`model`, `messages`, `stream`, `stream_options`, `max_tokens`, `seed`, `temperature`"
    said = f"Failed to deserialize: unknown field `{field}`, expected one of {known} at line 1"
    return http_reply(422, said.encode(), content_type="text/plain")


def go(field: str) -> Reply:
    return error_reply(400, f'json: unknown field "{field}"')


def groq(field: str) -> Reply:
    return openai(f"property '{field}' is unsupported, did you mean something else?")


def azure(field: str) -> Reply:
    return openai(f"Unrecognized request argument supplied: {field}")


def asp_net(field: str) -> Reply:
    errors = {field: ["Additional properties are not allowed."]}
    return json_reply(400, {"title": "One or more validation errors occurred.", "errors": errors})


def zhipu(field: str) -> Reply:
    return json_reply(400, {"error": {"code": "1210", "message": f"API不支持参数{field}，请检查"}})


def gemini(field: str) -> Reply:
    said = f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.'
    error = {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}
    return json_reply(400, [{"error": error}])


def xai(field: str) -> Reply:
    return json_reply(400, {"code": "x", "error": f"Argument not supported on this model: {field}"})


def plain(field: str) -> Reply:
    return http_reply(400, f"{field} is not supported".encode(), content_type="text/plain")


def vendor(field: str) -> Reply:
    other = {"max_tokens": "max_completion_tokens"}.get(field)
    use = f" Use '{other}' instead." if other else ""
    said = f"Unsupported parameter: '{field}' is not supported with this model.{use}"
    return openai(said, field, "unsupported_parameter")


WORDINGS: tuple[Callable[[str], Reply], ...] = (
    vendor, pydantic, vllm, litellm, serde, go, groq, azure, asp_net, zhipu, gemini, xai, plain,
)  # fmt: skip


def refusing(refusals: Mapping[str, Reply]) -> Callable[[Request], Reply]:
    """A server that answers what holds none of these fields."""

    def script(request: Request) -> Reply:
        refused = next((field for field in refusals if field in request.body), None)
        if refused is not None:
            return refusals[refused]
        return spoken("Hi") if request.path.endswith("/responses") else answer("Hi")

    return script


def ask(program: Program, server: ChatServer, *options: str) -> Result:
    return program.run("ask", "--base-url", server.url, "-m", "m", *options, "q")


@pytest.mark.parametrize(("wording", "output_format"), list(zip(WORDINGS, cycle(FORMATS))))
@pytest.mark.parametrize(
    ("api", "field", "options"),
    [
        ("chat", "stream_options", ()),
        ("chat", "max_tokens", ("--max-tokens", "9")),
        ("responses", "store", ()),
    ],
)
def test_what_nobody_asked_for_by_name_is_asked_for_otherwise_once(
    program: Program,
    api: str,
    field: str,
    options: tuple[str, ...],
    wording: Callable[[str], Reply],
    output_format: str,
) -> None:
    with ChatServer(refusing({field: wording(field)})) as server:
        more = ("--api", api, "-v", "--output-format", output_format, *options)
        result = ask(program, server, *more)
        first, second = (request.body for request in server.requests)
    assert result.status == 0, result.stderr
    assert b"Hi" in result.stdout
    if field == "max_tokens":
        assert second.pop("max_completion_tokens") == 9
        assert b"asking with max_completion_tokens" in result.stderr
    else:
        assert f"asking without {field}".encode() in result.stderr
    first.pop(field)
    assert first == second


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_each_is_left_out_once_until_the_server_takes_what_is_left(
    program: Program, api: str, output_format: str
) -> None:
    # This one may be streamed to nobody, until an organization is verified.
    stream = openai("Your organization must be verified to stream this model.", "stream")
    refusals = {"store": vendor("store"), "stream_options": go("stream_options"), "stream": stream}
    with ChatServer(refusing(refusals)) as server:
        result = ask(program, server, "--api", api, "--output-format", output_format)
        asked = [refusals.keys() & request.body.keys() for request in server.requests]
    assert result.status == 0, result.stderr
    assert asked[-1] == set()
    assert len(asked) == {"chat": 3, "responses": 4}[api]


def test_a_server_that_refuses_whatever_is_left_out_is_asked_no_more(program: Program) -> None:
    said = openai("'stream_options', 'store', 'stream', 'max_tokens' are not supported")
    with ChatServer(said) as server:
        result = ask(program, server, "--max-tokens", "9")
        asked = [json.dumps(request.body, sort_keys=True) for request in server.requests]
    assert (result.status, result.code) == (4, "bad_request")
    assert len(asked) == len(set(asked)) == 4


USERS: list[tuple[str, tuple[str, ...], str, dict[str, str], str]] = [
    ("temperature", ("-t", "0.5"), "", {}, "--temperature"),
    ("temperature", (), "", {"PIPECHAT_TEMPERATURE": "0.5"}, "PIPECHAT_TEMPERATURE"),
    ("temperature", (), "temperature = 0.5\n", {}, "config.toml: temperature"),
    ("reasoning_effort", ("--effort", "low"), "", {}, "--effort"),
    ("seed", ("-O", "seed=7"), "", {}, "--option"),
    ("seed", (), "[options]\nseed = 7\n", {}, "config.toml: options"),
    ("seed", (), 'profile = "p"\n[profiles.p.options]\nseed = 7\n', {}, "profiles.p.options"),
    ("store", ("-O", "store=true"), "", {}, "--option"),
    ("topK", ("-O", "topK=3"), "", {}, "--option"),
    ("max_tokens", ("-O", "max_tokens=9"), "max_tokens = 7\n", {}, "--option"),
    ("stream", (), "stream = true\n", {}, "config.toml: stream"),
]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("field", "options", "config", "env", "origin", "wording"),
    [(*user, wording) for user, wording in zip(USERS, cycle(WORDINGS))],
)
def test_what_somebody_asked_for_is_never_dropped_and_the_line_says_who(
    program: Program,
    field: str,
    options: tuple[str, ...],
    config: str,
    env: dict[str, str],
    origin: str,
    wording: Callable[[str], Reply],
    output_format: str,
) -> None:
    (program.home / "config.toml").write_text(config)
    with ChatServer(wording(field)) as server:
        where = ("--base-url", server.url, "--output-format", output_format)
        result = program.run("ask", *where, *options, "q", env=env)
        (request,) = server.requests
    assert field in request.body
    assert (result.status, result.code) == (4, "bad_request")
    told = f"({field} comes from "
    line = result.stderr.decode()
    assert told in line
    assert origin in line[line.index(told) :]
    if output_format == "ndjson":
        assert told in result.events[-1]["message"]
        assert result.events[-1]["exit_code"] == 4


@pytest.mark.parametrize(
    ("named", "options", "origin"),
    [
        ("max_output_tokens", ("--max-tokens", "9"), "--max-tokens"),
        ("max_output_tokens", ("-O", "max_tokens=9"), "--option"),
        ("reasoning.effort", ("--effort", "low"), "--effort"),
        ("temperature", ("-t", "1"), "--temperature"),
    ],
)
def test_under_responses_too_where_the_api_has_a_name_of_its_own(
    program: Program, named: str, options: tuple[str, ...], origin: str
) -> None:
    with ChatServer(vendor(named)) as server:
        result = ask(program, server, "--api", "responses", *options)
        assert len(server.requests) == 1
    assert result.status == 4
    assert f"({named.partition('.')[0]} comes from {origin})".encode() in result.stderr


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 999. This model supports at most 4096 completion tokens.",
        "'max_tokens' or 'max_completion_tokens' must be less than or equal to 8192",
        "Unsupported value: 'max_tokens' does not support 999 with this model.",
    ],
)
def test_a_limit_whose_value_is_refused_is_under_no_other_name(
    program: Program, message: str
) -> None:
    with ChatServer(error_reply(400, message)) as server:
        result = ask(program, server, "--max-tokens", "999")
        assert len(server.requests) == 1
    assert result.status == 4
    assert b"(max_tokens comes from --max-tokens)" in result.stderr


@pytest.mark.parametrize("output_format", FORMATS)
def test_where_both_names_of_the_limit_are_refused_both_are_told(
    program: Program, output_format: str
) -> None:
    refusals = {name: azure(name) for name in ("max_tokens", "max_completion_tokens")}
    with ChatServer(refusing(refusals)) as server:
        more = ("--max-tokens", "9", "--output-format", output_format)
        result = ask(program, server, *more)
        assert len(server.requests) == 2
    assert (result.status, result.code) == (4, "bad_request")
    line = result.stderr.decode()
    assert "supplied: max_completion_tokens (max_completion_tokens comes from --max-tokens)" in line
    assert "before that, to max_tokens: " in line


def test_nothing_is_asked_again_after_text_or_where_a_word_is_no_field(program: Program) -> None:
    for words in ("We could not store or stream that", "Store is full", "No upstream; x.store.y"):
        with ChatServer(error_reply(400, words)) as server:
            for api in ("chat", "responses"):
                assert ask(program, server, "--api", api).status == 4
            assert len(server.requests) == 2


ERROR = {"message": "Unknown parameter: 'stream_options'.", "code": 400}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "reply",
    [
        json_reply(200, {"error": ERROR}),
        stream_reply(event({"error": ERROR})),
        stream_reply(chunk(""), event({"error": ERROR}), done()),
    ],
    ids=["body", "stream", "behind an empty text"],
)
def test_a_refusal_that_comes_with_status_200_is_one_as_well(
    program: Program, reply: Reply, output_format: str
) -> None:
    with ChatServer(refusing({"stream_options": reply})) as server:
        result = ask(program, server, "--output-format", output_format)
        assert len(server.requests) == 2
    assert result.status == 0, result.stderr


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("message", "text", "status"),
    [
        ("Unknown parameter: 'stream_options'.", "Once ", 6),
        ("an unknown error", "", 4),
        ("Unknown parameter: 'seed'.", "", 4),
    ],
)
def test_nothing_is_asked_again_by_a_guess_or_after_text(
    program: Program, message: str, text: str, status: int, output_format: str
) -> None:
    reply = stream_reply(chunk(text), event({"error": {"message": message, "code": 400}}))
    with ChatServer(reply) as server:
        result = ask(program, server, "-O", "seed=7", "--output-format", output_format)
        assert len(server.requests) == 1
    assert result.status == status
    assert (b"(seed comes from --option)" in result.stderr) == ("seed" in message)


@pytest.mark.parametrize("option", ["input=hello", "input=7", "messages_=x", "instructions=7"])
def test_whatever_stands_in_the_place_of_messages_a_refusal_is_one(
    program: Program, option: str
) -> None:
    with ChatServer(error_reply(400, "no system role in 'input' is supported")) as server:
        result = ask(program, server, "--api", "responses", "-O", option)
    assert (result.status, result.code) == (4, "bad_request")


def form_of(
    base_url: str,
    memory: Memory | None = None,
    tell: Callable[[str], None] = lambda _: None,
    **flags: Any,
) -> tuple[RequestForm, ChatRequest]:
    settings = resolve_settings({"base_url": base_url, "model": "m", **flags}, {}, {})
    request = ChatRequest("m", [{"role": "user", "content": "q"}], options=settings.options)
    return RequestForm(settings, tell, memory), request


def refusal(form: RequestForm, request: ChatRequest, reply: Reply) -> tuple[RefusedError, Way]:
    error = RefusedError("bad_request", "no")
    content = reply.wire[reply.head_size :]
    look_at_fields(error, content, form.body(request), form.own_parameters(request))
    return error, form.way


@pytest.mark.parametrize(
    "base_url", ["https://api.openai.com/v1", "https://x.openai.azure.com/openai/v1"]
)
@pytest.mark.parametrize("wording", WORDINGS)
def test_the_vendors_name_of_the_limit_becomes_the_older_one_where_it_is_refused(
    base_url: str, wording: Callable[[str], Reply]
) -> None:
    form, request = form_of(base_url, max_tokens=9)
    assert form.body(request)["max_completion_tokens"] == 9
    assert form.otherwise(request, *refusal(form, request, wording("max_completion_tokens")))
    body = form.body(request)
    assert (body["max_tokens"], "max_completion_tokens" in body) == (9, False)


def test_an_item_that_names_its_limit_itself_keeps_the_name() -> None:
    form, request = form_of("http://127.0.0.1:1/v1", max_tokens=9)
    own = request._replace(options={"max_tokens": 3})
    assert not form.otherwise(own, *refusal(form, own, vendor("max_tokens")))
    assert form.otherwise(request, *refusal(form, request, vendor("max_tokens")))
    assert form.body(own)["max_tokens"] == 3


def batch(
    program: Program, server: ChatServer, lines: bytes, *options: str
) -> tuple[Result, dict[str, dict[str, Any]]]:
    """A run, and its records by item."""
    out = program.home / "out.jsonl"
    where = ("--base-url", server.url, "-m", "m", "-j", "2", "-o", str(out))
    result = program.run("batch", "run", *where, *options, input=lines, events=False)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    return result, {each["item"]: each for each in records}


THREE = b"".join(b'{"id":"%d","question":"q"}\n' % number for number in range(3))


@pytest.mark.parametrize(
    ("api", "field", "options"),
    [
        ("chat", "stream_options", ("--stream",)),
        ("chat", "max_tokens", ("--max-tokens", "9")),
        ("responses", "store", ()),
    ],
)
def test_a_batch_leaves_out_what_is_refused_for_every_item(
    program: Program, api: str, field: str, options: tuple[str, ...]
) -> None:
    with ChatServer(refusing({field: vendor(field)})) as server:
        result, records = batch(program, server, THREE, "--api", api, *options)
        assert len(server.requests) <= 5  # the two that were on their way, and each once
    assert result.status == 0, result.stderr
    assert {each["answer"] for each in records.values()} == {"Hi"}


@pytest.mark.parametrize(
    ("options", "own", "origin"),
    [
        ((), '{"seed":7}', "the item"),
        (("-O", "seed=7"), "{}", "--option"),
        (("-O", "seed=5"), '{"seed":7}', "the item"),
    ],
)
def test_an_items_own_field_is_never_dropped_and_its_record_says_whose_it_is(
    program: Program, options: tuple[str, ...], own: str, origin: str
) -> None:
    line = f'{{"id":"a","question":"q","options":{own}}}\n'.encode()
    with ChatServer(vendor("seed")) as server:
        result, records = batch(program, server, line, *options)
        assert len(server.requests) == 1
    assert result.status == 10
    assert f"(seed comes from {origin})" in records["a"]["error"]["message"]
    assert f"(seed comes from {origin})".encode() in result.stderr


@pytest.mark.parametrize("second", [error_reply(400, "bad"), error_reply(404, "Not Found")])
def test_an_item_that_both_apis_refuse_says_what_both_said(program: Program, second: Reply) -> None:
    first = error_reply(400, "'what is the responses API' is too long")

    def script(request: Request) -> Reply:
        return second if request.path.endswith("/responses") else first

    with ChatServer(script) as server:
        result, records = batch(program, server, b'{"id":"a","question":"q"}\n')
        assert len(server.requests) == 2
    error = records["a"]["error"]
    assert (result.status, error["code"]) == (10, "bad_request")
    assert "is too long; by the Responses API: " in error["message"]
    assert b"is too long; by the Responses API: " in result.stderr


def test_an_item_whose_limit_is_refused_by_both_names_says_so(program: Program) -> None:
    refusals = {name: azure(name) for name in ("max_tokens", "max_completion_tokens")}
    with ChatServer(refusing(refusals)) as server:
        _, records = batch(program, server, b'{"id":"a","question":"q"}\n', "--max-tokens", "9")
    assert "; before that, to max_tokens: " in records["a"]["error"]["message"]


PROFILE = """
[profiles.other]
base_url = "{url}"
model = "n"
api_key = "of-its-own"
{more}"""


@pytest.mark.parametrize(
    ("more", "options", "refused", "origin"),
    [
        ("[profiles.other.options]\nseed = 7\n", (), "seed", "profiles.other.options"),
        ("temperature = 1\n", (), "temperature", "profiles.other.temperature"),
        ("temperature = 1\n", ("-t", "0"), "temperature", "--temperature"),
        ("", ("-O", "max_tokens=9"), "max_tokens", "--option"),
    ],
)
def test_the_refusal_of_a_fallback_names_who_asked_for_the_field(
    program: Program, more: str, options: tuple[str, ...], refused: str, origin: str
) -> None:
    config = program.home / "config.toml"
    with ChatServer(error_reply(503, "busy")) as busy, ChatServer(vendor(refused)) as other:
        config.write_text(PROFILE.format(url=other.url, more=more))
        config.chmod(0o600)
        result = ask(program, busy, "--retries", "0", "--fallback", "other", *options)
        assert len(other.requests) == 1
    assert result.status == 4
    assert f"({refused} comes from " in result.stderr.decode()
    assert f"{origin})" in result.stderr.decode()


@pytest.mark.parametrize("more", ["", "max_tokens = 5\n"])
def test_a_fallback_is_asked_by_the_name_of_the_limit_that_it_takes(
    program: Program, more: str
) -> None:
    options = () if more else ("--max-tokens", "9")
    config = program.home / "config.toml"
    refuses = refusing({"max_tokens": vendor("max_tokens")})
    with ChatServer(error_reply(503, "busy")) as busy, ChatServer(refuses) as other:
        config.write_text(PROFILE.format(url=other.url, more=more))
        config.chmod(0o600)
        result = ask(program, busy, "--retries", "0", "--fallback", "other", *options)
        last = other.requests[-1].body
    assert result.status == 0, result.stderr
    assert last["max_completion_tokens"] == (5 if more else 9)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"12", b"\xff\xfe", b'{"message": NaN}', b'{"a": 1e999}', b"[" * 5000,
     b'{"a": "\\ud800 the store"}', b'{"a":' * 3000 + b"1" + b"}" * 3000,
     b'{"a": ' + b"9" * 400 + b"}", b"store " * 100_000],
)  # fmt: skip
def test_whatever_a_refusal_holds_no_field_is_seen_where_none_is_named(content: bytes) -> None:
    error = RefusedError("bad_request", "no")
    own = ("stream_options", "store", "stream")
    look_at_fields(error, content, {"model": "m", "n": 1}, own, may_guess=False)
    assert (error.parameters, error.asked_for, error.is_unknown) == ((), (), False)
