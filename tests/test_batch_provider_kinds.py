"""What an attack on the provider's batch engine found, by kind: each rule with its members."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.program import Program
from tests.servers import (
    Call,
    Reply,
    Request,
    Trouble,
    answered,
    error_reply,
    http_reply,
    json_reply,
    refused,
)
from tests.test_batch_provider import ALL_COMPLETE, QUESTIONS, Desk, a_desk, only, shorten_waits

pytestmark = pytest.mark.in_process


@pytest.fixture(autouse=True)
def shorter_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_waits(monkeypatch)


@pytest.fixture
def desk(tmp_path: Path, program: Program) -> Iterator[Desk]:
    with a_desk(tmp_path, program) as desk:
        yield desk


@pytest.fixture
def three(desk: Desk) -> Desk:
    """A job of three parts that is submitted."""
    desk.items(*({"id": f"i{n}", "question": f"q{n}", "model": f"m{n}"} for n in range(3)))
    assert desk.submit().status == 0
    return desk


def body_of(reply: Reply) -> Any:
    return json.loads(reply.wire[reply.head_size :])


def instead(body: Any) -> Callable[[Reply], Reply]:
    return lambda _: json_reply(200, body)


def changed(**fields: Any) -> Callable[[Reply], Reply]:
    return lambda reply: json_reply(200, {**body_of(reply), **fields})


def content(change: Callable[[bytes], bytes]) -> Callable[[Reply], Reply]:
    return lambda reply: http_reply(200, change(reply.wire[reply.head_size :]))


ODD_LISTS = [
    {"object": "list"},
    {"data": None},
    {"data": {"batch_1": {}}},
    {"data": 3},
    {"error": {"message": "no", "code": "x"}},
    {"data": [], "has_more": True},
    {"data": [{"id": "batch_1", "input_file_id": "file-9"}], "has_more": True},
    {"data": [{"object": "batch"}], "has_more": True},
]


@pytest.mark.parametrize("output_format", ["text", "json"])
@pytest.mark.parametrize("listed", ODD_LISTS)
def test_a_list_that_does_not_say_all_is_no_proof_that_nothing_was_created(
    desk: Desk, listed: Any, output_format: str
) -> None:
    desk.batches.trouble["create"] = ["reset_after"]
    assert desk.submit("--retries", "0").status == 5
    desk.batches.altered["list_batches"] = instead(listed)
    began = time.monotonic()
    result = desk.submit("--retries", "0", "--output-format", output_format)
    assert time.monotonic() - began < 5
    assert result.status == 5
    assert len(desk.batches.batches) == 1
    del desk.batches.altered["list_batches"]
    assert desk.submit().status == 0
    assert desk.fetch().status == 0
    assert len(desk.batches.batches) == 1


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_server_without_a_list_keeps_no_other_part_back(three: Desk, status: int) -> None:
    three.items(*({"id": f"i{n}", "question": f"q{n}", "model": f"m{n}"} for n in range(4)))
    three.batches.trouble["create"] = ["reset_after"]
    three.batches.altered["list_batches"] = lambda _: error_reply(status, "No such thing.")
    assert three.submit("--retries", "0").status == 5
    assert three.submit("--retries", "0").status != 0
    assert len(three.batches.batches) == 4, "what may be there is not created again"
    assert three.fetch("--retries", "0").status != 0
    assert three.outcome() == {"i0": "complete", "i1": "complete", "i2": "complete"}
    assert three.run("cancel", "out.jsonl", "--retries", "0").status == 0
    assert three.submit().status == 0
    assert three.fetch().status == 0


@pytest.mark.parametrize("trouble", ["404", "400", "500"])
@pytest.mark.parametrize("call", ["retrieve", "content"])
def test_a_part_that_cannot_be_had_keeps_no_other_back(
    three: Desk, call: Call, trouble: Trouble
) -> None:
    three.batches.trouble[call] = [trouble]
    result = three.fetch("--retries", "0")
    assert result.status in (4, 5)
    assert set(three.outcome()) >= {"i1", "i2"}
    assert three.fetch().status == 0
    assert three.outcome() == {"i0": "complete", "i1": "complete", "i2": "complete"}


@pytest.mark.parametrize("page", [b"<html>busy</html>", b"<html>\nbusy\n</html>\n", b"busy\n", b""])
def test_a_page_in_the_place_of_a_file_is_no_result(three: Desk, page: bytes) -> None:
    three.batches.altered["content"] = content(lambda _: page)
    result = three.fetch()
    assert (result.status, result.code) == (5, "not_ready")
    assert three.records() == []
    del three.batches.altered["content"]
    assert three.fetch().status == 0
    assert three.outcome() == {"i0": "complete", "i1": "complete", "i2": "complete"}


@pytest.mark.parametrize("trouble", ["404", "400"])
def test_a_part_that_cannot_be_asked_for_is_one_line_of_the_status(
    three: Desk, trouble: Trouble
) -> None:
    three.batches.trouble["retrieve"] = [trouble]
    result = three.run("status", "out.jsonl", "--retries", "0")
    assert result.status == 4
    assert result.stdout.count(b"completed") == 2
    three.batches.trouble["retrieve"] = [trouble]
    result = three.run("status", "out.jsonl", "--retries", "0", "--output-format", "json")
    assert result.status == 4
    assert [part["state"] for part in result.events[0]["parts"]][1:] == ["completed"] * 2


@pytest.mark.parametrize("trouble", ["404", "400", "500", "reset_before"])
def test_a_part_that_cannot_be_cancelled_lets_the_others_be(three: Desk, trouble: Trouble) -> None:
    three.batches.states = ("in_progress",)
    three.batches.trouble["retrieve"] = [trouble]
    result = three.run("cancel", "out.jsonl", "--retries", "0")
    assert result.status in (4, 5)
    assert [b.cancelled for b in three.batches.batches.values()] == [False, True, True]


@pytest.mark.parametrize("tail", [b"", b'{"custom_id": "fo'])
def test_errors_do_not_make_up_for_answers_that_are_missing(desk: Desk, tail: bytes) -> None:
    desk.items(*({"id": f"i{n}", "question": f"q{n}"} for n in range(6)))
    desk.batches.result = lambda line: (answered if line["custom_id"] < "i3" else refused)(line)
    desk.submit()
    desk.run("status", "out.jsonl")
    name, whole = desk.batches.files["file-2"]
    first = whole.split(b"\n")[0] + b"\n"
    desk.batches.files["file-2"] = (name, first + tail)
    assert desk.fetch().status == 5
    desk.batches.files["file-2"] = (name, whole)
    assert desk.fetch().status == 10
    assert [desk.outcome()[f"i{n}"] for n in range(3)] == ["complete"] * 3


def test_a_file_that_ends_within_a_line_is_not_all(desk: Desk) -> None:
    desk.submit()
    desk.batches.altered["retrieve"] = changed(request_counts=None)
    desk.batches.altered["content"] = content(lambda whole: whole[:-30])
    assert desk.fetch().status == 5
    del desk.batches.altered["content"]
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_a_line_that_nobody_can_read_is_one_item_without_a_result(desk: Desk) -> None:
    desk.submit()

    def broken(whole: bytes) -> bytes:
        first, rest = whole.split(b"\n", 1)
        return first[:-9] + b"\n" + rest

    desk.batches.altered["content"] = content(broken)
    assert desk.fetch().status == 10
    assert sorted(desk.outcome().values()) == ["complete"] * 3 + ["no_result"]


DRESSES: list[Callable[[bytes], bytes]] = [
    lambda whole: b"\xef\xbb\xbf" + whole,
    lambda whole: whole.replace(b"\n", b"\r\n"),
    lambda whole: whole.replace(b"\n", b"\n\n"),
    lambda whole: whole.rstrip(b"\n"),
    lambda whole: whole + whole,
    lambda whole: b'{"custom_id": "unknown", "response": null}\n' + whole,
    lambda whole: b'[1]\n"x"\nnull\n{"custom_id": 3}\n' + whole,
]


@pytest.mark.parametrize("dress", range(len(DRESSES)))
def test_results_are_read_in_whatever_dress_they_come(desk: Desk, dress: int) -> None:
    desk.submit()
    desk.batches.altered["content"] = content(DRESSES[dress])
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def in_two(whole: bytes) -> bytes:
    """As gzip writes what is added to a file: two members."""
    half = whole.index(b"\n") + 1
    return gzip.compress(whole[:half]) + gzip.compress(whole[half:])


def zipped(pack: Callable[[bytes], bytes]) -> Callable[[Reply], Reply]:
    return lambda reply: http_reply(
        200,
        pack(reply.wire[reply.head_size :]),
        headers={"content-encoding": "gzip"},
        framing="chunked",
    )


@pytest.mark.parametrize("pack", [gzip.compress, in_two], ids=["one", "two"])
def test_a_file_that_is_encoded_unasked_is_read(desk: Desk, pack: Callable[[bytes], bytes]) -> None:
    desk.submit()
    desk.batches.altered["content"] = zipped(pack)
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def test_a_file_that_is_encoded_unasked_and_cut_is_not_all(desk: Desk) -> None:
    desk.submit()
    desk.batches.altered["retrieve"] = changed(request_counts=None)
    desk.batches.altered["content"] = zipped(lambda whole: gzip.compress(whole)[:-20])
    assert desk.fetch("--retries", "0").status == 5
    del desk.batches.altered["content"]
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


MARKS = ["b64==", "gs://bucket/a b", "batch:1", "é", "a%2Fb", "x?y#z", "a.b", "../x"]


@pytest.mark.parametrize("mark", MARKS)
def test_an_id_of_any_shape_is_asked_for_as_it_is(
    desk: Desk, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every id of the server has `mark` at its end."""
    found, create = desk.batches._found, desk.batches._create

    def without_mark(request: Request) -> Any:
        path = request.path.replace(quote(mark, safe=""), "")
        assert path != request.path or request.method == "POST"
        return found(replace(request, path=path))

    def marked(reply: Reply) -> Reply:
        ids = {key: value + mark for key, value in body_of(reply).items()
               if key in ("id", "output_file_id") and value}  # fmt: skip
        return json_reply(200, {**body_of(reply), **ids})

    monkeypatch.setattr(desk.batches, "_found", without_mark)
    monkeypatch.setattr(
        desk.batches,
        "_create",
        lambda body: create({**body, "input_file_id": body["input_file_id"].removesuffix(mark)}),
    )
    for call in ("upload", "create", "retrieve"):
        desk.batches.altered[call] = marked
    assert desk.submit().status == 0
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


@pytest.mark.parametrize("bad", ["", ".", "..", 3, None, "a\nb", "x" * 5000])
def test_an_id_that_is_none_is_never_part_of_a_path(desk: Desk, bad: Any) -> None:
    desk.batches.altered["create"] = changed(id=bad)
    result = desk.submit("--retries", "0")
    assert (result.status, result.code) == (5, "malformed_stream")
    del desk.batches.altered["create"]
    assert desk.submit().status == 0
    assert len(desk.batches.batches) == 1


@pytest.mark.parametrize("state", ["COMPLETED", "Completed", "canceled", "EXPIRED", "CANCELLED"])
def test_a_state_is_read_however_it_is_spelt(desk: Desk, state: str) -> None:
    desk.submit()
    desk.batches.altered["retrieve"] = changed(status=state)
    assert desk.fetch().status == 0


@pytest.mark.parametrize(
    "said", [{}, {"error": {"message": "gone", "code": "not_found"}}, {"status": None}]
)
def test_what_is_no_batch_is_not_waited_for(desk: Desk, said: Any) -> None:
    desk.submit()
    desk.batches.altered["retrieve"] = instead(said)
    result = desk.fetch("--wait", "--timeout", "3", "--retries", "0")
    assert result.status in (4, 5)
    assert result.code != "not_ready"


@pytest.mark.parametrize("seconds", ["1e12", "3600", "99999999999999999999"])
@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "content"])
def test_a_server_that_asks_for_hours_is_not_slept_for(
    desk: Desk, call: Call, seconds: str
) -> None:
    if call in ("retrieve", "content"):
        desk.submit()
    headers = {"retry-after": seconds}
    desk.batches.altered[call] = lambda _: error_reply(429, "later", headers=headers)
    began = time.monotonic()
    result = desk.submit() if call in ("upload", "create") else desk.fetch()
    assert time.monotonic() - began < 5
    assert (result.status, result.code) == (5, "rate_limited")


DAMAGES: list[Callable[[dict[str, Any]], None]] = [
    lambda job: job.update(endpoint=3),
    lambda job: job.update(since="x"),
    lambda job: job.update(last="x"),
    lambda job: job.update(job=None),
    lambda job: job["parts"][0].update(number="1"),
    lambda job: job["parts"][0].update(number=-1),
    lambda job: job["parts"][0].update(items="4"),
    lambda job: job["parts"][0].update(batch_id=7),
    lambda job: job["parts"][0].update(batch_id=".."),
    lambda job: job["parts"][0].update(file_id=["x"]),
    lambda job: job["parts"][0].update(batch_id=None),
    lambda job: job["parts"][0].update(model=None),
    lambda job: job["parts"][0].update(wanted=3),
    lambda job: job["parts"][0].update(step="done"),
    lambda job: job["parts"][0].update(complete=None),
    lambda job: job["parts"].append(job["parts"][0]),
    lambda job: job.update(parts={}),
    lambda job: job.update(parts=[3]),
]


@pytest.mark.parametrize("command", ["status", "fetch", "cancel", "submit"])
@pytest.mark.parametrize("damage", range(len(DAMAGES)))
def test_a_job_that_somebody_changed_is_told_and_left(
    desk: Desk, damage: int, command: str
) -> None:
    desk.submit()
    path = desk.folder / "out.jsonl.batch.json"
    job = json.loads(path.read_bytes())
    DAMAGES[damage](job)
    path.write_text(json.dumps(job))
    before = desk.batches.calls.copy()
    arguments = ("in.ndjson", "-o", "out.jsonl") if command == "submit" else ("out.jsonl",)
    result = desk.run(command, *arguments)
    assert (result.status, result.code) == (9, "unreadable_batch"), result.stderr
    assert path.read_text() == json.dumps(job)
    assert desk.batches.calls == before


@pytest.mark.parametrize("wanted", [{"x": 1}, {"schema": 3, "extract": None, "mode": "auto"}])
def test_what_answers_have_to_be_is_told_where_somebody_changed_it(desk: Desk, wanted: Any) -> None:
    desk.submit()
    path = desk.folder / "out.jsonl.batch.json"
    job = json.loads(path.read_bytes())
    job["parts"][0]["wanted"] = wanted
    path.write_text(json.dumps(job))
    result = desk.fetch()
    assert (result.status, result.code) == (9, "unreadable_batch")
    assert desk.records() == []


ITEM_DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda lines: lines[:-9],
    lambda lines: b"zzz\n" + lines,
    lambda lines: lines.replace(b'"one"', b"[1]"),
    lambda lines: lines.replace(b'"custom_id":"one"', b'"custom_id":null'),
    lambda lines: lines.split(b"\n", 1)[1],
    lambda _: b"",
]


@pytest.mark.parametrize("command", ["fetch", "submit"])
@pytest.mark.parametrize("damage", range(len(ITEM_DAMAGES)))
def test_items_that_somebody_changed_are_told(desk: Desk, damage: int, command: str) -> None:
    desk.submit()
    path = desk.folder / "out.jsonl.batch.1.items"
    path.write_bytes(ITEM_DAMAGES[damage](path.read_bytes()))
    arguments = ("in.ndjson", "-o", "out.jsonl") if command == "submit" else ("out.jsonl",)
    result = desk.run(command, *arguments)
    assert (result.status, result.code) == (9, "unreadable_batch"), result.stderr


def test_the_items_of_a_part_that_are_gone_keep_no_other_back(three: Desk) -> None:
    (three.folder / "out.jsonl.batch.1.items").unlink()
    assert three.fetch().status == 9
    assert three.outcome() == {"i1": "complete", "i2": "complete"}


@pytest.mark.parametrize(
    "said",
    [
        "Cannot find file with id file-x in this organization.",
        "The file 'file-x' is not ready: its status is pending.",
        "File file-x has not been processed yet.",
        "The input file is still being processed.",
    ],
)
def test_a_file_that_is_not_ready_is_waited_for(
    desk: Desk, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, create = iter([error_reply(400, said)]), desk.batches._create
    monkeypatch.setattr(desk.batches, "_create", lambda body: next(tries, None) or create(body))
    assert desk.submit().status == 0
    assert len(desk.batches.batches) == desk.batches.uploads == 1


RESULTS: list[Any] = [
    {"status_code": 200, "body": None},
    {"status_code": 200, "body": ""},
    {"status_code": 200, "body": []},
    {"status_code": 200, "body": "\ud800"},
    {"status_code": 200, "body": {"choices": []}},
    {"status_code": 200, "body": {"choices": [{"message": {"content": 3}}]}},
    {"status_code": 200, "request_id": "a\nb", "body": {"choices": "x"}},
    {"status_code": "200", "body": {}},
    {"status_code": 0, "body": {}},
    {"status_code": True, "body": 3},
    {"status_code": 10**30, "body": {}},
    {"status_code": 302, "body": {}},
    *({}, [], "x", 3, None),
]
ERRORS: list[Any] = [None, "x", {"code": 3}, {"code": "a b", "message": ["x"]}, [], 3]


def test_a_result_of_any_shape_fails_its_item_alone(desk: Desk) -> None:
    shapes = [(response, error) for response in RESULTS for error in ERRORS]
    desk.items(*({"id": f"i{n}", "question": f"q{n}"} for n in range(len(shapes) + 1)))

    def result(line: dict[str, Any]) -> dict[str, Any]:
        return {"custom_id": line["custom_id"], "response": None, "error": "x"}

    def shaped(whole: bytes) -> bytes:
        lines = [json.loads(line) for line in whole.splitlines()]
        for line in lines:
            number = int(line["custom_id"][1:])
            line["response"], line["error"] = shapes[number]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    desk.batches.result = only(f"q{len(shapes)}", result)
    desk.submit()
    desk.run("status", "out.jsonl")
    files = desk.batches.files
    name, errors = files["file-3"]
    files["file-3"] = (name, shaped(errors))
    assert desk.fetch().status == 10
    outcome = desk.outcome()
    assert outcome.pop(f"i{len(shapes)}") == "complete"
    assert len(outcome) == len(shapes)
    assert not {"bug", "complete"} & set(outcome.values())


def test_a_file_whose_upload_was_cut_is_not_taken_for_the_whole(desk: Desk) -> None:
    desk.batches.trouble["upload"] = ["reset_after"]
    assert desk.submit("--retries", "0").status == 5
    name, whole = desk.batches.files["file-1"]
    desk.batches.files["file-1"] = (name, whole[: whole.index(b"\n") + 1])
    assert desk.submit().status == 0
    assert desk.asked() == sorted(QUESTIONS)


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_batch_that_the_list_shows_late_is_not_created_twice(desk: Desk, late: int) -> None:
    desk.batches.trouble["create"] = ["reset_after"]
    shown = iter([json_reply(200, {"data": [], "has_more": False})] * late)
    desk.batches.altered["list_batches"] = lambda reply: next(shown, reply)
    assert desk.submit().status == 0
    assert len(desk.batches.batches) == 1


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_a_fresh_submit_starts_over_and_names_what_is_given_up(
    desk: Desk, output_format: str
) -> None:
    desk.submit()
    of_before = '{"v":1,"id":"i","status":"failed","question":"q","answer":"","item":"old"}\n'
    (desk.folder / "out.jsonl").write_text(of_before)
    result = desk.submit("--fresh", "--output-format", output_format)
    assert result.status == 0
    assert b"batch_1" in result.stderr
    assert len(desk.batches.batches) == 2
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


def damaged(desk: Desk) -> None:
    (desk.folder / "out.jsonl.batch.json").write_text("{")


def without_items(desk: Desk) -> None:
    (desk.folder / "out.jsonl.batch.1.items").unlink()


def gone(desk: Desk) -> None:
    desk.batches.altered["retrieve"] = lambda _: error_reply(404, "No such batch.")


def never_there(desk: Desk) -> None:
    desk.batches.altered["retrieve"] = changed(output_file_id=None)


@pytest.mark.parametrize("output_format", ["text", "json"])
@pytest.mark.parametrize("stuck", [damaged, without_items, gone, never_there])
def test_what_can_never_be_fetched_is_let_go_of_and_the_output_kept(
    desk: Desk, stuck: Callable[[Desk], None], output_format: str
) -> None:
    assert desk.submit().status == 0
    assert desk.fetch().status == 0
    desk.items(*({"id": question, "question": question} for question in (*QUESTIONS, "five")))
    assert desk.submit().status == 0
    stuck(desk)
    assert desk.fetch().status != 0
    assert desk.run("cancel", "out.jsonl", "--forget", "--output-format", output_format).status == 0
    assert desk.left() == ["out.jsonl"]
    assert desk.run("run", "in.ndjson", "-o", "out.jsonl").status == 0
    assert desk.outcome() == {**ALL_COMPLETE, "five": "complete"}


def test_where_nothing_was_submitted_there_is_nothing_to_forget(desk: Desk) -> None:
    result = desk.run("cancel", "out.jsonl", "--forget")
    assert (result.status, result.code) == (9, "no_batch")
    assert desk.left() == []


def test_counts_that_are_too_high_keep_nothing_back(desk: Desk) -> None:
    desk.submit()
    counts = {"total": 9, "completed": 9, "failed": 0}
    desk.batches.altered["retrieve"] = changed(request_counts=counts)
    assert desk.fetch().status == 0
    assert desk.outcome() == ALL_COMPLETE


@pytest.mark.parametrize(
    "url", ["/v1/responses", "/v1/embeddings", "https://x/v1/chat/completions"]
)
def test_a_line_for_another_endpoint_says_which(desk: Desk, url: str) -> None:
    desk.items(
        {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "m", "input": "x"}},
        {"id": "b", "question": "one"},
    )
    result = desk.submit()
    assert result.status == 10
    assert url in desk.records()[0]["error"]["message"]
