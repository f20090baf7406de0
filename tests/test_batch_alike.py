"""What is made once for all items of a batch is as if it were made for each of them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.batch.asking import Asked, Job, LocalWorker, WorkerLostError, failed_unasked
from pipechat.batch.frames import Frames, frame
from pipechat.batch.items import Item, ItemReader
from pipechat.batch.rows import Row
from pipechat.batch.worker_process import SetUp
from pipechat.batch.workers import ProcessWorker, Workers
from pipechat.client.async_exchange import Put
from pipechat.client.exchange import Request as Asking
from pipechat.errors import TryLaterError
from pipechat.messages import AnswerFormat, ChatRequest
from pipechat.settings.resolve import resolve_settings
from pipechat.turn.request_hash import HashesOf, request_hash
from tests.program import Program
from tests.properties import MODEST, cut, cut_points
from tests.servers import (
    ChatServer,
    Close,
    RawServer,
    RefusedPort,
    Reply,
    Request,
    Reset,
    Step,
    completion,
    json_reply,
    raw_reply,
    self_signed,
)
from tests.servers.mirror import mirror
from tests.test_batch_run import items

QUESTIONS = ["one", "", "çé \N{SNOWMAN}", "\U0001f600", "\ud83d", '\x00\x1f"\\/\b', "x" * 200_000]
REQUESTS = {
    "plain": ChatRequest("m", ()),
    "options": ChatRequest("m", (), options={"z": 1e16, "a": [1.0, 10**30], "n": None}),
    "schema": ChatRequest("m", (), formats=(AnswerFormat("json_schema", {"b": 1, "a": {}}),)),
    "another name": ChatRequest("\ud83d ü", ()),
}


@pytest.mark.parametrize("text", QUESTIONS)
@pytest.mark.parametrize("of_all", REQUESTS.values(), ids=REQUESTS)
def test_the_hash_of_an_item_is_that_of_its_request_by_itself(
    of_all: ChatRequest, text: str
) -> None:
    contents: list[Any] = [text, [{"type": "text", "text": text}]]
    for content in contents:
        request = of_all._replace(
            messages=[{"role": "system", "content": "Ö"}, {"role": "user", "content": content}]
        )
        assert HashesOf("chat", of_all).of(request) == request_hash("chat", request)


def item_of(settings: dict[str, Any], value: dict[str, Any]) -> Item:
    return ItemReader(resolve_settings(settings, {}, {}), "chat").item(Row(1, value))


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"model": "m"}, {"options": {}}),
        ({"model": "m"}, {"model": "m"}),
        ({"model": "m", "temperature": 0.5}, {"model": "m", "options": {"temperature": 0.5}}),
        ({"model": "m", "system": "s"}, {"system": "s"}),
    ],
)
def test_what_an_item_says_is_hashed_as_what_all_say(
    settings: dict[str, Any], value: dict[str, Any]
) -> None:
    question = {"question": "one"}
    assert item_of(settings, question).hash == item_of(settings, {**question, **value}).hash


@MODEST
@given(contents=st.lists(st.binary(max_size=40), max_size=6), points=cut_points)
def test_frames_are_found_however_they_are_cut(contents: list[bytes], points: list[int]) -> None:
    sent = list(enumerate(contents))
    found: list[tuple[int, bytes]] = []
    frames = Frames(lambda number, content: found.append((number, content)))
    for part in cut(b"".join(frame(*each) for each in sent), points):
        frames.feed(part)
    assert found == sent


SETTINGS = resolve_settings({}, {}, {})


class Nobody:
    async def carry(self, _request: Asking, _put: Put) -> None:
        raise TryLaterError("unavailable", "asked here")

    async def aclose(self) -> None: ...


class Elsewhere(ProcessWorker):
    """Whether it comes, and stays, is said."""

    def __init__(self, *, comes: bool, stays: bool) -> None:
        super().__init__()
        self._comes, self._stays = comes, stays

    async def set_up(self, _common: SetUp) -> None:
        if not self._comes:
            raise WorkerLostError

    async def ask(self, _job: Job, _show: Any = None) -> Asked:
        if not self._stays:
            raise WorkerLostError
        return failed_unasked(SETTINGS, TryLaterError("unavailable", "asked elsewhere"))


@pytest.mark.parametrize(
    ("others", "where"),
    [
        ([], "here"),
        ([(True, True)], "elsewhere"),
        ([(False, True)], "here"),
        ([(False, True), (True, True)], "elsewhere"),
        ([(True, False)], "here"),
        ([(True, False), (True, True)], "elsewhere"),
    ],
)
def test_this_process_asks_where_no_other_can(others: list[tuple[bool, bool]], where: str) -> None:
    async def told() -> str:
        common = SetUp(SETTINGS, {}, None, 1, {})
        each = [Elsewhere(comes=comes, stays=stays) for comes, stays in others]
        workers = Workers(LocalWorker(SETTINGS, Nobody(), None), each, common, may_grow=False)
        try:
            await workers.open()
            for _ in range(len(others) + 1):
                try:
                    asked = await workers.ask(Job("chat", {"model": "m", "messages": []}, (), None))
                except WorkerLostError:
                    continue
                assert asked.cause is not None
                return asked.cause.message
            raise AssertionError
        finally:
            await workers.aclose()

    assert asyncio.run(told()) == f"asked {where}"


def test_every_process_asks_with_the_same_head(program: Program, tmp_path: Path) -> None:
    source = tmp_path / "in.ndjson"
    source.write_bytes(items(8))
    heads = []
    for workers in ("1", "2"):
        with ChatServer(mirror()) as server:
            result = program.run(
                "batch", "run", str(source), "--base-url", server.url, "--workers", workers,
                "-H", "X-Own: mine", env={"OPENAI_ORG_ID": "org-1"},
            )  # fmt: skip
            assert (result.status, len(server.requests)) == (0, 8)
            for request in server.requests:
                left_out = ("host", "content-length")
                heads.append({n: v for n, v in request.headers.items() if n not in left_out})
    assert heads[0]["x-own"] == "mine"
    assert heads[0]["authorization"].startswith("Bearer ")
    assert all(head == heads[0] for head in heads)


UNREACHED: dict[str, tuple[Callable[[], Any], str]] = {
    "nobody listens": (RefusedPort, "url"),
    "an untrusted certificate": (lambda: ChatServer(mirror(), tls=self_signed()), "url"),
    "no TLS": (lambda: RawServer(b"HTTP/1.1 400 Bad\r\n\r\n", Close()), "https_url"),
    "no HTTP": (lambda: RawServer(b"SSH-2.0-OpenSSH_9.9\r\n", Close()), "url"),
    "a reset": (lambda: ChatServer(raw_reply(Reset())), "url"),
}


@pytest.mark.in_process
@pytest.mark.parametrize(("make", "url"), UNREACHED.values(), ids=UNREACHED)
def test_a_batch_is_told_why_nothing_came_as_ask_is(
    program: Program, make: Callable[[], Any], url: str
) -> None:
    with make() as server:
        where = ("--base-url", getattr(server, url), "--retries", "0")
        asked = program.run("ask", *where, "hello", "--output-format", "ndjson")
        result = program.run("batch", "run", "-q", *where, input=b'{"question":"hello"}\n')
    [record] = [json.loads(line) for line in result.stdout.splitlines()]
    assert record["error"]["code"] == asked.events[-1]["code"]
    assert (asked.status, result.status) == (5, 10)


LINE = b"HTTP/1.1 200 OK\r\n"
HEADS = {
    "a long header": LINE + b"x: " + b"y" * 60_000 + b"\r\n",
    "several": LINE + b"".join(b"x-%d: %b\r\n" % (n, b"y" * 9_000) for n in range(6)),
    "a long reason": LINE.replace(b"OK", b"O" * 9_000),
    "no number": LINE + b"content-length: abc\r\n",
    "no version": LINE.replace(b"1.1", b"one"),
    "no colon": LINE + b"no colon\r\n",
}


@pytest.mark.in_process
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_batch_reads_of_a_head_what_ask_reads(program: Program, head: bytes) -> None:
    body = json.dumps(completion("Hi")).encode()
    fields = b"connection: close\r\ncontent-type: application/json\r\n\r\n"
    with ChatServer(raw_reply(head + fields + body, Close())) as server:
        where = ("--base-url", server.url, "--retries", "0")
        asked = program.run("ask", "--no-stream", "--output-format", "json", *where, "hello")
        result = program.run("batch", "run", "-q", *where, input=b'{"question":"hello"}\n')
    [record] = [json.loads(line) for line in result.stdout.splitlines()]
    [event] = [json.loads(line) for line in asked.stdout.splitlines()]
    assert record["answer"] == event["answer"]
    if event["status"] == "complete":
        assert (record["status"], result.status) == ("complete", 0)
    else:
        assert record["error"]["code"] == event["code"] == "connection_lost"
        lost = f"the connection to {server.host}:{server.port} was lost: "
        assert record["error"]["message"].startswith(lost)


@pytest.mark.in_process
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["closed", "reset"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_server_that_hangs_up_is_asked_again_where_it_may_not_have_been_asked_and_once(
    program: Program, end: Step, kept: bool
) -> None:
    answer = json_reply(200, completion("Hi"), {} if kept else {"connection": "close"})
    whole = Reply((*answer.steps,), keep_alive=kept)

    def choose(request: Request) -> Reply:
        return raw_reply(end) if request.question == "bad" else whole

    rows = ["good", "bad", "good again", "bad", "well"]
    source = b"".join(
        json.dumps({"id": f"{n}", "question": q}).encode() + b"\n" for n, q in enumerate(rows)
    )
    with ChatServer(choose) as server:
        result = program.run(
            "batch",
            "run",
            "-q",
            "--base-url",
            server.url,
            "-j",
            "1",
            "--retries",
            "0",
            input=source,
        )
        asked = [request.question for request in server.requests]
        connections = [
            request.connection for request in server.requests if request.question == "bad"
        ]
    found = [json.loads(line)["status"] for line in result.stdout.splitlines()]
    assert (result.status, found) == (10, ["complete", "failed"] * 2 + ["complete"])
    twice = ["bad"] * (2 if kept else 1)
    assert asked == ["good", *twice, "good again", *twice, "well"]
    assert len(set(connections)) == len(connections)
