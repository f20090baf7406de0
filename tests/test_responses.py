"""The Responses API: how a request is put, when the API is chosen by itself, and what its servers
alone send. What both dialects' servers send is in `test_wire_end_to_end.py`, and that the same
conversation gives the same events and records is in `test_same_by_either_api.py`."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.servers import (
    ChatServer,
    Reply,
    Request,
    WaitFor,
    answer,
    by_path,
    chunk,
    done,
    error_reply,
    json_reply,
    stream_reply,
)
from tests.servers.responses import (
    begun,
    delta,
    ended,
    message,
    response_reply,
    spoken,
    text_done,
    text_part,
    whole,
)
from tests.wire_rows import Row, check, refusal, replied

pytestmark = pytest.mark.in_process
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
LIMIT = ("--max-tokens", "7")


def row(name: str, *parts: Any, **expected: Any) -> Row:
    return replied(name, stream_reply(*parts), **{"usage": USAGE} | expected)


def cut(name: str, *parts: Any, **expected: Any) -> Row:
    return replied(name, stream_reply(*parts), **{"status": 6, "code": "cut"} | expected)


HI = [*begun(), delta("H"), delta("i")]
REASON = {"reason": "max_output_tokens"}
TOOL = {"type": "function_call", "name": "f", "arguments": "{}"}
ODD_OUTPUTS: tuple[Any, ...] = (5, True, "x", {"a": 1}, [1, None, [], {"type": []}])
SAID = message(text_part("Hi"))


def part_done(text: str) -> dict[str, Any]:
    return {
        "type": "response.content_part.done",
        "output_index": 0,
        "content_index": 0,
        "part": text_part(text),
    }


def item_done(item: Any, index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


ENDS_OF_PARTS: dict[str, list[dict[str, Any]]] = {
    "by its part": [part_done("Hi")],
    "by its item": [item_done(message(text_part("H"), text_part("i")))],
    "by all of them": [text_done("Hi"), part_done("Hi"), item_done(SAID)],
    "by all of them without its place": [
        {"type": "response.output_text.done", "text": "Hi"},
        {"type": "response.content_part.done", "part": text_part("Hi")},
        {"type": "response.output_item.done", "item": SAID},
    ],
}
ROWS = [
    row("text in the end alone", *begun(), ended(whole("Hi"))),
    *(
        row(f"an event that is no part of the answer: {each}", *begun(), each, delta("H"), each,
            delta("i"), each, ended(whole("Hi")))
        for each in (
            {"type": "keepalive", "sequence_number": 2}, {"type": "ping"},
            {"type": "gateway:keep_alive"}, {"type": "codex.rate_limits", "limits": {}}, {},
        )
    ),
    row("end without its text", *HI, ended(whole())),
    row("two messages", *HI,
        ended(whole(output=[message(text_part("H")), message(text_part("i"))]))),
    row("reasoning and its summary",
        {"type": "response.reasoning_text.delta", "delta": "hm"},
        {"type": "response.reasoning_summary_part.added", "summary_index": 0},
        {"type": "response.reasoning_summary_text.delta", "delta": "so"},
        {"type": "response.reasoning_summary_part.added", "summary_index": 1},
        {"type": "response.reasoning_summary_text.delta", "delta": "thus"},
        *HI, ended(whole("Hi")), reasoning="hmso\n\nthus"),
    cut("[DONE] without an end", *HI, done()),
    cut("pieces that are not the answer", *HI, ended(whole("Hi there"))),
    cut("status missing", *HI, ended({"output": []})),
    cut("in progress at its end", *HI, ended(whole("Hi", status="in_progress")),
        code="unknown_finish", finish_reason="in_progress", usage=USAGE),
    *(
        cut(f"cut by the limit: {name}", *HI, end, code="truncated", finish_reason="length",
            usage=USAGE, options=LIMIT)
        for name, end in {
            "inside completed": ended(whole("Hi", status="incomplete", incomplete_details=REASON)),
            "only details": ended(whole("Hi", incomplete_details=REASON)),
            "only tokens": ended(whole("Hi")),
        }.items()
    ),
    cut("incomplete without a reason", *HI, ended(whole(status="incomplete")),
        code="unknown_finish", finish_reason="incomplete", usage=USAGE),
    cut("refused at once", *begun(),
        ended(whole(output=[message({"type": "refusal", "refusal": "No."})])),
        text="No.", code="refused", finish_reason="stop", usage=USAGE),
    cut("a tool at the end alone", *begun(), ended(whole(output=[TOOL])), text="",
        code="tool_calls", finish_reason="tool_calls", usage=USAGE),
    cut("failed", *begun(),
        ended(whole(status="failed", error={"code": "server_error", "message": "oh"}), "failed"),
        text="", status=5, code="server_error"),
    cut("failed after text", *HI,
        ended(whole(status="failed", error={"code": "server_error", "message": "oh"}), "failed"),
        code="server_error"),
    cut("failed without a word", *begun(), ended({}, "failed"), text="", status=5,
        code="server_error"),
    cut("an error event", *begun(),
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down"},
        text="", status=5, code="rate_limited"),
    cut("no event of this API", {"choices": []}, text="", status=5, code="malformed_stream"),
    *(
        cut(f"no end that says completed: {name}", *HI, end, code="unknown_finish",
            finish_reason=reason, usage=USAGE)
        for name, reason, end in (
            ("an event that says incomplete", "incomplete", ended(whole("Hi"), "incomplete")),
            ("a reason that sounds whole", "incomplete: stop",
             ended(whole("Hi", status="incomplete", incomplete_details={"reason": "stop"}))),
            ("details that sound whole", "incomplete: completed",
             ended(whole("Hi", incomplete_details={"reason": "completed"}))),
            ("details of another type", "incomplete", ended(whole("Hi", incomplete_details=7))),
            ("a reason of no letter", "incomplete",
             ended(whole("Hi", incomplete_details={"reason": ""}))),
            ("a status that sounds whole", "status finished",
             ended(whole("Hi", status="finished"))),
            ("a message that is incomplete", "incomplete",
             ended(whole(output=[message(text_part("Hi")) | {"status": "incomplete"}]))),
        )
    ),
    *(
        cut(f"cut by the limit, told as {written!r}", *HI, ended(whole("Hi", usage=given)),
            code="truncated", finish_reason="length", options=LIMIT,
            usage={"completion_tokens": written})
        for written in (7.0, "7", 9)
        for given in [{"output_tokens": written}]
    ),
    cut("a piece lost, as its own end says", *HI, text_done("H, i"), ended(whole())),
    cut("refused, as its own end says", *begun(),
        {"type": "response.refusal.done", "refusal": "No."}, ended(whole()), text="No.",
        code="refused", finish_reason="stop", usage=USAGE),
    cut("a tool that the vendor has since", *begun(), {"type": "response.output_item.added",
        "item": {"type": "apply_patch_call"}}, ended(whole()), text="", code="tool_calls",
        finish_reason="tool_calls", usage=USAGE),
    *(
        row(f"an output that is none: {output!r}", *HI, ended(whole(output=output)))
        for output in ODD_OUTPUTS
    ),
    row("only one of two parts has an end of its own",
        *begun(), delta("H"), text_done("H"), delta("i"), ended(whole())),
    row("text told at its own end alone",
        *begun(), text_done("Hi"), text_done("Hi"), ended(whole())),
    *(
        row(f"text told {name} alone", *begun(), *ends, ended(whole()))
        for name, ends in ENDS_OF_PARTS.items()
    ),
    row("reasoning in an item of its own", *begun(),
        item_done({"type": "reasoning", "content": [text_part("hm")]}), *HI, item_done(SAID, 1),
        ended(whole())),
    row("reasoning in a part of its own", *begun(), {"type": "response.content_part.done",
        "output_index": 0, "content_index": 0, "part": {"type": "reasoning_text", "text": "hm"}},
        delta("Hi"), ended(whole())),
    cut("a piece lost, as its item says", *HI, item_done(message(text_part("H, i"))),
        ended(whole())),
    cut("refused, as its item says", *begun(),
        item_done(message({"type": "refusal", "refusal": "No."})), ended(whole()), text="No.",
        code="refused", finish_reason="stop", usage=USAGE),
    cut("a tool, as its item says", *begun(), item_done(TOOL), ended(whole()), text="",
        code="tool_calls", finish_reason="tool_calls", usage=USAGE),
    row("items that are none", *HI, *(
        {"type": "response.output_item.done", "item": item} for item in ODD_OUTPUTS
    ), *({"type": "response.content_part.done", "part": part} for part in ODD_OUTPUTS),
        ended(whole())),
    row("a message whose content is text",
        *begun(), ended(whole(output=[{"type": "message", "content": "Hi"}]))),
    row("a letter in two halves", *begun(), delta("\ud83d"), delta("\ude00"), text_done("😀"),
        ended(whole("😀")), text="😀"),
    replied("a truncated document",
            response_reply("Hi", status="incomplete", incomplete_details=REASON), status=6,
            code="truncated", finish_reason="length", usage=USAGE),
    refusal("a failed document", json_reply(200, whole(status="failed", error={"message": "oh"})),
            5, "server_error"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_servers_of_the_responses_api_send_is_told_as_chat_completions_are(
    program: Program, row: Row
) -> None:
    check(program, row, "responses")


def sent(program: Program, *arguments: str) -> dict[str, Any]:
    dry = program.run("ask", "--dry-run", "--api", "responses", *arguments)
    assert dry.status == 0, dry.stderr
    body: dict[str, Any] = json.loads(dry.stdout)
    return body


def test_a_request_is_put_as_the_api_has_it(program: Program) -> None:
    body = sent(program, "--system", "S", "--max-tokens", "9", "-t", "0.5", "-m", "m", "q")
    assert body == {
        "model": "m",
        "instructions": "S",
        "input": [{"role": "user", "content": "q"}],
        "store": False,
        "stream": True,
        "stream_options": {"include_obfuscation": False},
        "max_output_tokens": 9,
        "temperature": 0.5,
    }
    assert "stream" not in sent(program, "--no-stream", "q")
    assert sent(program, "-O", "store=true", "q")["store"] is True


def test_effort_and_the_limit_mean_the_same_by_either_api(program: Program) -> None:
    options = ("--effort", "low", "--max-tokens", "9")
    other = sent(program, *options, "q")
    assert (other["reasoning"], other["max_output_tokens"]) == ({"effort": "low"}, 9)
    assert not {"reasoning_effort", "max_tokens", "max_completion_tokens"} & set(other)
    dry = program.run("ask", "--dry-run", "--base-url", "http://127.0.0.1:9/v1", *options, "q")
    chat = json.loads(dry.stdout)
    assert (chat["reasoning_effort"], chat["max_tokens"]) == ("low", 9)


@pytest.mark.parametrize(
    ("field", "flag"),
    [("max_output_tokens=5", "--max-tokens=6"), ("reasoning_effort=low", "--effort=high")],
)
def test_what_is_said_twice_is_wrong_usage(program: Program, field: str, flag: str) -> None:
    result = program.run("ask", "--api", "responses", "-O", field, flag, "q")
    assert (result.status, result.code) == (2, "bad_option")


def test_a_schema_is_the_format_of_the_text(program: Program) -> None:
    body = sent(program, "--schema", "name, age int", "q")
    wanted = body["text"]["format"]
    assert (wanted["type"], wanted["strict"]) == ("json_schema", True)
    assert set(wanted["schema"]["properties"]) == {"name", "age"}
    assert sent(program, "--schema", "name", "--schema-mode", "json", "q")["text"] == {
        "format": {"type": "json_object"}
    }


def test_pictures_and_files_are_parts_of_this_api(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7\n")
    files = ("-f", str(tmp_path / "a.png"), "-f", str(tmp_path / "b.pdf"))
    text, picture, pdf = sent(program, *files, "What is it?")["input"][0]["content"]
    assert text == {"type": "input_text", "text": "What is it?"}
    assert picture["type"] == "input_image"
    assert picture["image_url"].startswith("data:image/png;base64,")
    assert (pdf["type"], pdf["filename"]) == ("input_file", "b.pdf")


def test_a_server_that_knows_no_stream_options_is_asked_without(program: Program) -> None:
    refusal = error_reply(400, "Unknown parameter: 'stream_options'.")
    with ChatServer([refusal, spoken("Hi")]) as server:
        result = program.run("ask", "--base-url", server.url, "--api", "responses", "q")
        assert [("stream_options" in each.body) for each in server.requests] == [True, False]
    assert (result.status, result.stdout) == (0, b"Hi\n")


ASKS_FOR_THE_OTHER = [
    error_reply(404, "This model is only supported in v1/responses, not in v1/chat/completions."),
    error_reply(400, "Function tools with reasoning_effort are not supported for m in "
                     "/v1/chat/completions. Please use /v1/responses instead."),
    error_reply(400, "Use the Responses API for this model."),
]  # fmt: skip


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("refusal", ASKS_FOR_THE_OTHER, ids=["404", "use /v1/responses", "words"])
def test_auto_turns_to_the_api_that_the_server_asks_for(
    program: Program, refusal: Reply, output_format: str
) -> None:
    pages = {"/chat/completions": refusal, "/responses": spoken("Hi")}
    with ChatServer(by_path(pages)) as server:
        where = ("--base-url", server.url, "--session", "s", "--output-format", output_format)
        result = program.run("ask", *where, "-v", "--max-tokens", "90", "q")
        paths = [each.path for each in server.requests]
        assert paths == ["/v1/chat/completions", "/v1/responses"]
        assert server.requests[1].body["max_output_tokens"] == 90
    assert result.status == 0
    assert b"asking by the Responses API" in result.stderr
    assert program.records("s")[0]["api"] == "responses"


def asked_paths(program: Program, server: ChatServer, *options: str) -> list[str]:
    before = len(server.requests)
    result = program.run("ask", "--base-url", server.url, *options, "q")
    assert (result.status, result.stdout) == (0, b"Hi\n"), result.stderr
    return [each.path.rpartition("/")[2] for each in server.requests[before:]]


PAGES = {"/chat/completions": ASKS_FOR_THE_OTHER[0], "/responses": spoken("Hi")}


def test_what_was_learned_of_a_model_is_kept_for_that_model_and_may_be_deleted(
    program: Program,
) -> None:
    with ChatServer(by_path(PAGES)) as server:
        assert asked_paths(program, server) == ["completions", "responses"]
        assert asked_paths(program, server) == ["responses"]
        assert asked_paths(program, server, "-m", "other") == ["completions", "responses"]
        kept = sorted((program.home / "cache").iterdir())
        assert len(kept) == 2
        assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
        for path in kept:
            path.unlink()
        assert asked_paths(program, server) == ["completions", "responses"]


def damaged(path: Path, how: str) -> None:
    if how == "FIFO":
        path.unlink()
        os.mkfifo(path)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "of another endpoint":
        path.write_bytes(path.read_bytes().replace(b"http", b"ftp"))
    else:
        path.write_bytes(b"\xff\x00 nonsense" * 1000)


@pytest.mark.parametrize("how", ["nonsense", "FIFO", "folder", "of another endpoint"])
def test_a_note_that_says_nothing_is_none(program: Program, how: str) -> None:
    with ChatServer(by_path(PAGES)) as server:
        asked_paths(program, server)
        (path,) = (program.home / "cache").iterdir()
        damaged(path, how)
        assert asked_paths(program, server) == ["completions", "responses"]


def test_a_server_that_has_it_no_longer_is_asked_as_at_first(program: Program) -> None:
    with ChatServer(by_path(PAGES)) as server:
        asked_paths(program, server)
        server.play(by_path({"/chat/completions": answer("Hi")}))
        assert asked_paths(program, server) == ["responses", "completions"]
        assert asked_paths(program, server) == ["completions"]


def test_what_was_recorded_is_replayed_where_nothing_was_learned(
    program: Program, tmp_path: Path
) -> None:
    recording = str(tmp_path / "recording")
    with ChatServer(by_path(PAGES)) as server:
        asked_paths(program, server)
        recorded = asked_paths(program, server, "--record", recording)
        assert recorded == ["completions", "responses"]
        where = ("--base-url", server.url, "--replay", recording)
    for path in (program.home / "cache").iterdir():
        path.unlink()
    replayed = program.run("ask", *where, "q")
    assert (replayed.status, replayed.stdout) == (0, b"Hi\n")


REFUSES = error_reply(400, "bad")


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("other", [REFUSES, error_reply(404, "Not Found")], ids=["400", "404"])
def test_where_both_refuse_both_are_told_and_nothing_is_learned(
    program: Program, other: Reply, output_format: str
) -> None:
    words = error_reply(400, "'what is the responses API' is too long")
    with ChatServer(by_path({"/chat/completions": words, "/responses": other})) as server:
        where = ("--base-url", server.url, "--output-format", output_format)
        result = program.run("ask", *where, "what is the responses API")
        assert len(server.requests) == 2
        assert (result.status, result.code) == (4, "bad_request")
        assert b"is too long; by the Responses API: " in result.stderr
        assert not (program.home / "cache").exists()
        server.play(by_path({"/chat/completions": answer("Hi"), "/responses": other}))
        assert asked_paths(program, server) == ["completions"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_an_api_that_was_asked_for_by_name_is_the_only_one(program: Program, api: str) -> None:
    with ChatServer(ASKS_FOR_THE_OTHER[0]) as server:
        result = program.run("ask", "--base-url", server.url, "--api", api, "q")
        assert len(server.requests) == 1
    assert (result.status, result.code) == (4, "not_found")


def test_nothing_is_asked_again_by_the_other_api_after_text(program: Program) -> None:
    words = {"error": {"message": "Please use /v1/responses instead.", "code": 400}}
    with ChatServer(stream_reply(chunk("Once "), words)) as server:
        result = program.run("ask", "--base-url", server.url, "q")
        assert len(server.requests) == 1
    assert (result.status, result.stdout) == (6, b"Once ")


def test_an_api_that_there_is_not_is_wrong_usage(program: Program) -> None:
    result = program.run("ask", "--api", "completions", "q")
    assert (result.status, result.code) == (2, "bad_option")


def test_a_batch_is_asked_by_either_and_its_records_say_so(
    program: Program, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    lines = b'{"id":"a","question":"q"}\n{"id":"b","question":"p"}\n'
    pages = {
        "/chat/completions": ASKS_FOR_THE_OTHER[0],
        "/responses": response_reply("Hi"),
    }
    with ChatServer(by_path(pages)) as server:
        command = ("batch", "run", "-q", "-j", "1", "-o", str(out), "--base-url", server.url)
        result = program.run(*command, input=lines)
        assert [each.path.rpartition("/")[2] for each in server.requests] == [
            "completions", "responses", "responses",
        ]  # fmt: skip
    assert result.status == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(each["item"], each["answer"], each["api"]) for each in records] == [
        ("a", "Hi", "responses"),
        ("b", "Hi", "responses"),
    ]


JSON = '{"a": "b"}'
LEARNED_AT_ONCE = {
    "the API": ("/chat/completions", ASKS_FOR_THE_OTHER[0], ()),
    "stream_options": ("stream_options", error_reply(400, "unknown parameter stream_options"), ()),
    "the format": (
        '"json_schema"',
        error_reply(400, "response_format json_schema is not supported"),
        ("--schema", "a"),
    ),
}


@pytest.mark.parametrize("what", LEARNED_AT_ONCE)
def test_items_of_a_batch_that_are_refused_at_once_are_all_asked_otherwise(
    program: Program, tmp_path: Path, what: str
) -> None:
    refused, refusal, options = LEARNED_AT_ONCE[what]
    all_on_their_way = threading.Event()
    waiting: list[Request] = []

    def pages(request: Request) -> Reply:
        if refused in request.path + json.dumps(request.body):
            waiting.append(request)
            if len(waiting) == 4:
                all_on_their_way.set()
            return replace(refusal, steps=(WaitFor(all_on_their_way), *refusal.steps))
        return response_reply(JSON) if "responses" in request.path else answer(JSON)

    lines = b"".join(b'{"id":"%d","question":"q"}\n' % n for n in range(4))
    out = tmp_path / "out.jsonl"
    more = ("--stream",) if what == "stream_options" else ()
    with ChatServer(pages) as server:
        where = ("--base-url", server.url, *options, *more)
        result = program.run("batch", "run", "-q", "-j", "4", "-o", str(out), *where, input=lines)
        assert len(server.requests) == 8
    assert result.status == 0
    assert {json.loads(line)["answer"] for line in out.read_text().splitlines()} == {JSON}
