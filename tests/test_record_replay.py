"""--record and --replay: what was exchanged comes again, without key and network."""

import errno
import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.client.exchange import Request
from pipechat.client.near_request import difference, nearest
from pipechat.client.recording import CLOSED, End, Recorded, read_recording
from pipechat.store.locked_file import LockedFile
from tests.in_process import InProcess
from tests.program import PLANTED_KEY, Program, Result
from tests.properties import MODEST
from tests.servers import (
    ChatServer,
    Close,
    Reply,
    Reset,
    Stall,
    answer,
    chunk,
    completion,
    error_reply,
    event,
    http_reply,
    json_reply,
    raw_reply,
    stream_reply,
)
from tests.servers.dialects import APIS
from tests.servers.mirror import mirror
from tests.test_start_up import imported
from tests.test_wire_end_to_end import BOTH, FIRST_CHUNKS, HI, OTHERWISE, STOP
from tests.wire_rows import ASKED_BY, Row

NO_KEY: dict[str, str | None] = {"OPENAI_API_KEY": None}
_TIMES = re.compile(rb'"(?:id|time|first_token_s|total_s|wait_s|session)":("[^"]*"|[0-9.e-]+|null)')


def timeless(result: Result) -> tuple[int, bytes, bytes]:
    """All that a run left but ids, times, and who gave the key: a replay has none."""
    said = result.stderr.replace(b" (OPENAI_API_KEY)", b"")
    return (result.status, _TIMES.sub(b"", result.stdout), said)


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in record.items()
        if key not in ("id", "time", "first_token_s", "total_s")
    }


def check_replay(program: Program, reply: Reply | list[Reply], *more: str) -> Result:
    """Record `reply` in text and ndjson, replay both, compare all; the first replay."""
    ask = ("ask", "hello", *more)
    formats = ("text", "ndjson")
    live = []
    with ChatServer(reply) as server:
        to = ("--base-url", server.url)
        for kind in formats:
            if not isinstance(reply, Reply):
                server.play(reply)
            out = ("--output-format", kind, "--session", f"live-{kind}")
            live.append(program.run(*ask, *out, *to, "--record", f"{program.home}/{kind}.rec"))
    played = [
        program.run(
            *ask, "--output-format", kind, "--session", f"played-{kind}", *to,
            "--replay", f"{program.home}/{kind}.rec", env=NO_KEY,
        )
        for kind in formats
    ]  # fmt: skip
    assert [timeless(each) for each in played] == [timeless(each) for each in live]
    for kind in formats:
        [was], [now] = program.records(f"live-{kind}"), program.records(f"played-{kind}")
        assert lasting(was) == lasting(now)
    return played[0]


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("row", "api"),
    [*zip(BOTH, itertools.cycle(APIS)), *((row, "chat") for row in [*FIRST_CHUNKS, *OTHERWISE])],
    ids=lambda each: getattr(each, "name", each),
)
def test_what_servers_send_is_replayed_as_it_came(program: Program, row: Row, api: str) -> None:
    # A row of both dialects in one of them, in turn: a recording knows of none.
    assert row.reply is not None
    more = ("--retries", "0", *ASKED_BY[api], *row.options)
    played = check_replay(program, row.reply(api), *more)
    assert (played.status, played.code) == (row.status, row.code)


FAULTS: list[tuple[str, Reply | list[Reply], tuple[str, ...], int, str]] = [
    ("a reset before any byte", raw_reply(Reset()), (), 5, "connection_lost"),
    ("a reset after text", stream_reply(HI, Reset()), (), 6, "connection_lost"),
    ("a close after text", stream_reply(HI, Close()), (), 6, "connection_lost"),
    ("a length that was a lie", http_reply(200, event(HI), length=5000), (), 6, "connection_lost"),
    ("a silence after text", stream_reply(HI, Stall()), ("--idle-timeout", "0.3"), 6,
     "idle_timeout"),
    ("a refusal, thrice", error_reply(429), ("--retries", "2"), 5, "rate_limited"),
    ("a refusal, then an answer",
     [error_reply(429, headers={"retry-after-ms": "100"}), answer("so")], ("--retries", "1"), 0,
     ""),
    ("a reset, then an answer", [raw_reply(Reset()), answer("so")], ("--retries", "1"), 0, ""),
]  # fmt: skip


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("reply", "more", "status", "code"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS]
)
def test_a_fault_is_replayed_as_a_fault(
    program: Program, reply: Reply | list[Reply], more: tuple[str, ...], status: int, code: str
) -> None:
    played = check_replay(program, reply, *("--retries", "0", *more))
    assert (played.status, played.code) == (status, code)


def record(program: Program, name: str, *arguments: str) -> Path:
    """A recording of one answer."""
    path = program.home / name
    with ChatServer(answer("Hi")) as server:
        result = program.run("ask", *arguments, "--base-url", server.url, "--record", str(path))
    assert result.status == 0
    return path


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize(
    ("other", "told"),
    [
        (("why?",), 'messages[0].content: "hello" there, "why?" here'),
        (("hello", "-m", "other"), 'model: "gpt-5.4-mini" there, "other" here'),
        (("hello", "-O", "seed=7"), "seed: nothing there, 7 here"),
        (("hello", "--no-stream"), "stream: true there, nothing here"),
    ],
)
def test_a_request_that_is_not_recorded_exits_3_and_says_how_the_nearest_differs(
    program: Program, other: tuple[str, ...], told: str, output_format: str
) -> None:
    path = record(program, "rec", "hello")
    replay = ("--replay", str(path), "--output-format", output_format)
    result = program.run("ask", *other, *replay, env=NO_KEY)
    assert (result.status, result.code) == (3, "not_recorded")
    assert told in result.stderr.decode()
    if output_format == "ndjson":
        assert result.events[-1]["exit_code"] == 3
    else:
        assert result.stdout == b""


@pytest.mark.in_process
def test_the_order_of_keys_does_not_matter(program: Program) -> None:
    path = record(program, "rec", "hello", "-O", 'x={"a": 1, "b": [{"c": 2, "d": 3}]}')

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    lines = [json.dumps(turned(json.loads(line))) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    asked = ("hello", "-O", 'x={"b": [{"d": 3, "c": 2}], "a": 1}')
    result = program.run("ask", *asked, "--replay", str(path), env=NO_KEY)
    assert (result.status, result.stdout) == (0, b"Hi\n")


@pytest.mark.in_process
def test_no_key_cookie_organization_or_user_info_reaches_a_recording(program: Program) -> None:
    org, project, password = "org-planted-51c2", "proj_planted_88a1", "planted-proxy-password"
    path = program.home / "rec"
    environ: dict[str, str | None] = {"OPENAI_ORG_ID": org, "OPENAI_PROJECT_ID": project}
    echo = f"{PLANTED_KEY} {org} {project}"
    headers = {
        "set-cookie": "session=planted-cookie",
        "openai-organization": org,
        "openai-project": project,
        "x-request-id": PLANTED_KEY,
    }
    whole = event(chunk(echo)) + event(STOP)
    parts = [whole[at : at + 9] for at in range(0, len(whole), 9)]
    replies = [
        http_reply(200, *parts, content_type="text/event-stream", headers=headers),
        error_reply(401, f"wrong key {echo}"),
        http_reply(400, f"<p>{echo}".encode(), content_type=f"text/{PLANTED_KEY}"),
    ]
    with ChatServer(replies) as server:
        for question in ("one", "two", f"three {echo}"):
            program.run(
                *("ask", question, "--base-url", server.url, "--record", str(path)),
                env={**environ, "OPENAI_BASE_URL": server.url},
                stdout=subprocess.DEVNULL,  # what a model says is its own
            )
        assert len(server.requests) == 3
    proxy = {"HTTPS_PROXY": f"http://someone:{password}@127.0.0.1:1"}
    to = ("--base-url", "https://models.example/v1", "--retries", "0")
    assert program.run("ask", "four", *to, "--record", str(path), env=proxy).status == 5
    recording = path.read_bytes()
    assert recording.count(b'"method"') == 4
    for planted in (PLANTED_KEY, org, project, password, "planted-cookie", "someone", "Bearer"):
        assert planted.encode() not in recording


@pytest.mark.in_process
def test_with_both_what_is_there_is_replayed_and_what_is_not_is_recorded(program: Program) -> None:
    path = record(program, "rec", "hello")
    both = ("--record", str(path), "--replay", str(path))
    with ChatServer(answer("new")) as server:
        to = ("--base-url", server.url)
        assert program.run("ask", "hello", *both, *to).stdout == b"Hi\n"
        assert server.requests == []
        assert program.run("ask", "other", *both, *to).stdout == b"new\n"
        assert program.run("ask", "other", *both, *to).stdout == b"new\n"
        assert len(server.requests) == 1
    alone = program.run("ask", "other", env={**NO_KEY, "PIPECHAT_REPLAY": str(path)})
    assert (alone.status, alone.stdout) == (0, b"new\n")


@pytest.mark.in_process
def test_both_with_a_file_that_is_not_there_yet_records_it(program: Program) -> None:
    path = str(program.home / "rec")
    with ChatServer(answer("new")) as server:
        both = ("--record", path, "--replay", path)
        assert program.run("ask", "hello", "--base-url", server.url, *both).status == 0
    assert program.run("ask", "hello", "--replay", path, env=NO_KEY).stdout == b"new\n"


def test_many_processes_record_into_one_file(program: Program) -> None:
    path = program.home / "rec"
    environ = {"PIPECHAT_RECORD": str(path)}
    numbers = range(8)
    with ChatServer(lambda request: answer(request.body["messages"][0]["content"])) as server:
        runs = [
            program.start("ask", f"number {n}", "--base-url", server.url, env=environ)
            for n in numbers
        ]
        assert [program.finish(run, b"").status for run in runs] == [0] * len(numbers)
    replays = InProcess(program.home)
    for n in numbers:
        result = replays.run("ask", f"number {n}", "--replay", str(path), env=NO_KEY)
        assert (result.status, result.stdout) == (0, f"number {n}\n".encode())


@pytest.mark.in_process
def test_a_chat_is_replayed_turn_by_turn(program: Program) -> None:
    path = program.home / "rec"
    with ChatServer([answer("one"), answer("two")]) as server:
        chat = ("chat", "--base-url", server.url)
        live = program.run(*chat, "--record", str(path), input=b"a\nb\n")
    played = program.run(*chat, "--replay", str(path), input=b"a\nb\n", env=NO_KEY)
    assert (played.status, played.stdout) == (live.status, live.stdout)
    assert b"two" in played.stdout


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("what", ["missing", "folder", "garbage"])
def test_a_replay_that_cannot_be_read_exits_2(
    program: Program, what: str, output_format: str
) -> None:
    path = program.home / "rec"
    if what == "folder":
        path.mkdir()
    elif what == "garbage":
        path.write_text("hello\n[1]\n{}\n")
    out = ("--output-format", output_format)
    result = program.run("ask", "hello", "--replay", str(path), *out, env=NO_KEY)
    assert (result.status, result.code) == (2, "unreadable_input")
    assert b"--replay" in result.stderr


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("what", ["no folder", "a folder", "a device"])
def test_a_recording_that_cannot_be_written_exits_11_before_anything_is_sent(
    program: Program, what: str, output_format: str
) -> None:
    paths = {"no folder": program.home / "no" / "rec", "a folder": program.home}
    path = paths.get(what, Path("/dev/null"))
    with ChatServer(answer("Hi")) as server:
        out = ("--base-url", server.url, "--output-format", output_format)
        result = program.run("ask", "hello", "--record", str(path), *out)
        assert (result.status, result.code) == (11, "recording_unwritable")
        assert server.requests == []


@pytest.mark.in_process
@pytest.mark.parametrize("torn", [b'{"v":1,"method":"PO', b'{"text":"data', b"\xff\xfe"])
def test_a_torn_exchange_is_told_and_passed_over(program: Program, torn: bytes) -> None:
    path = record(program, "rec", "hello")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\n" + torn + b"\n" + whole)
    result = program.run("ask", "hello", "--replay", str(path), env=NO_KEY)
    assert (result.status, result.stdout) == (0, b"Hi\n")
    assert b"is passed over" in result.stderr


def slowed(path: Path, seconds: int) -> None:
    """Make every wait of a recording that long."""
    path.write_text(re.sub(r'"at_s":[0-9.]+', f'"at_s":{seconds}', path.read_text()))


def test_a_replay_is_as_fast_as_it_can_unless_it_keeps_the_pace(program: Program) -> None:
    path = record(program, "rec", "hello")
    slowed(path, 500)
    replay = ("ask", "hello", "--replay", str(path))
    assert program.run(*replay, "--timeout", "100", env=NO_KEY).stdout == b"Hi\n"
    paced = program.run(*replay, "--replay-pace", "--timeout", "0.5", env=NO_KEY)
    assert (paced.status, paced.code) == (5, "timeout")


def test_a_plain_ask_imports_nothing_of_it(program: Program) -> None:
    names = {
        "pipechat.client.record_replay",
        "pipechat.client.recording",
        "pipechat.client.near_request",
        "pipechat.commands.recordings",
    }
    path = record(program, "rec", "hello")
    assert not names & imported(program, "ask", "--offline", "hello")
    replaying = imported(program, "ask", "hello", "--replay", str(path))
    assert names <= replaying
    assert not {"openai", "httpx2"} & replaying


SEGMENTS = st.lists(st.tuples(st.floats(0, 1e6).map(lambda s: round(s, 3)), st.binary()))


@MODEST
@given(SEGMENTS, st.lists(st.binary(max_size=20).filter(lambda torn: b"\n" not in torn)))
def test_what_is_written_is_read_again_whatever_stands_around_it(
    segments: list[tuple[float, bytes]], torn: list[bytes]
) -> None:
    request = Request("/p", {"model": "m", "messages": ["\n", "\u2028"]})
    one = Recorded(request, 200, {"content-type": "x"}, 0.5, segments, End(CLOSED, 1.5))
    around = b"\n".join([*torn, b""])
    found, _ = read_recording(around + one.block([]) + b"\n" + around + one.block([]))
    assert [(each.request, each.segments, each.end) for each in found] == [
        (one.request, one.segments, one.end)
    ] * 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@MODEST
@given(BODIES, BODIES)
def test_two_requests_differ_in_a_line_or_not_at_all(
    there: dict[str, Any], here: dict[str, Any]
) -> None:
    told = difference(Request("/p", there), Request("/p", here))
    same = json.dumps(there, sort_keys=True) == json.dumps(here, sort_keys=True)
    assert (told == "") == same
    assert "\n" not in told
    assert len(told) < 1000
    requests = [Request("/p", {**here, "other": 1}), Request("/p", here), Request("/q", here)]
    assert nearest(Request("/p", here), requests) == 1


_FIRST: dict[str, Any] = {
    "v": 1,
    "method": "POST",
    "path": "/chat/completions",
    "body": {"model": "m"},
}
_HEAD: dict[str, Any] = {
    "status": 200,
    "headers": {"content-type": "application/json"},
    "at_s": 0.1,
}
_PART: dict[str, Any] = {"text": "{}", "at_s": 0.1}
_LAST: dict[str, Any] = {"end": "closed", "at_s": 0.2}
_FAULT: dict[str, Any] = {
    "end": "fault", "kind": "network", "code": "c", "message": "m", "hint": "h", "again": True,
    "at_s": 0.2,
}  # fmt: skip


@pytest.mark.in_process
@pytest.mark.parametrize(
    "lines",
    [
        [{**_FIRST, "body": []}, _HEAD, _PART, _LAST],
        [{**_FIRST, "body": "x"}, _HEAD, _PART, _LAST],
        [{**_FIRST, "v": 2}, _HEAD, _PART, _LAST],
        [{**_FIRST, "path": 7}, _HEAD, _PART, _LAST],
        *([_FIRST, {**_HEAD, "status": status}, _PART, _LAST] for status in (True, -1, "200", 7e9)),
        [_FIRST, {**_HEAD, "headers": {"x-request-id": 7}}, _PART, _LAST],
        [_FIRST, {**_HEAD, "headers": {"x-request-id": {}}}, _PART, _LAST],
        [_FIRST, {**_HEAD, "headers": []}, _PART, _LAST],
        *([_FIRST, {**_HEAD, "at_s": at_s}, _PART, _LAST] for at_s in (1e300, "inf", -1, True)),
        [_FIRST, _HEAD, {**_PART, "text": 7}, _LAST],
        [_FIRST, _HEAD, {**_PART, "text": []}, _LAST],
        *([_FIRST, _HEAD, _PART, {**_LAST, "end": end}] for end in ("foo", None, 7)),
        *([_FIRST, {"end": end, "at_s": 0.1}] for end in ("closed", "stopped")),
        *([_FIRST, {**_FAULT, name: 7}] for name in ("kind", "code", "message", "hint", "again")),
    ],
)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_an_exchange_with_a_value_of_another_kind_is_none(
    program: Program, tmp_path: Path, lines: list[dict[str, Any]], output_format: str
) -> None:
    path = tmp_path / "damaged"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = program.run(
        "ask", "hi", "--replay", str(path), "--replay-pace", "--output-format", output_format
    )
    assert result.status == 2
    assert result.stderr.count(b"\n") == 1
    assert b"line 1" in result.stderr


class Full(LockedFile):
    """A recording on a disk that takes `room` exchanges more, and then fails in one of the ways
    that disks have."""

    room = 0
    error = errno.ENOSPC

    def append(self, *records: bytes) -> None:
        if Full.room <= 0:
            raise OSError(Full.error, os.strerror(Full.error))
        Full.room -= 1
        super().append(*records)


@pytest.fixture(params=[errno.ENOSPC, errno.EACCES, errno.EIO], ids=errno.errorcode.__getitem__)
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Full, "error", request.param)
    monkeypatch.setattr(Full, "room", 0)
    monkeypatch.setattr("pipechat.commands.recordings.LockedFile", Full)


@pytest.mark.in_process
@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("more", [(), ("--stream",), ("-o", "out.jsonl")], ids=" ".join)
def test_a_batch_ends_with_its_recording_and_has_all_that_was_answered(
    program: Program, tmp_path: Path, more: tuple[str, ...], jobs: int
) -> None:
    Full.room = 5
    source = b"".join(b"question %d\n" % n for n in range(40))
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", "--input-format", "lines", "-j", str(jobs), *more,
            "--base-url", server.url, "--record", "rec", input=source, events=False, cwd=tmp_path,
        )  # fmt: skip
        asked = [request.question for request in server.requests]
    assert (result.status, result.code) == (11, "recording_unwritable")
    assert 5 < len(asked) <= 5 + jobs, "none is begun after the first that was not recorded"
    out = (tmp_path / "out.jsonl").read_bytes() if "-o" in more else result.stdout
    found = {each["question"]: each for each in map(json.loads, out.splitlines())}
    assert sorted(found) == sorted(asked)
    assert all(found[question]["answer"] == f"echo: {question}" for question in asked)
    codes = [each["error"] and each["error"]["code"] for each in found.values()]
    assert codes.count(None) == 5
    assert codes.count("recording_unwritable") == len(asked) - 5


@pytest.mark.in_process
@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("output_format", ["text", "json", "ndjson"])
@pytest.mark.parametrize(
    ("reply", "more"),
    [(answer("Paid for."), ()), (json_reply(200, completion("Paid for.")), ("--no-stream",))],
    ids=["streamed", "in one piece"],
)
def test_an_answer_whose_recording_fails_is_shown_and_kept(
    program: Program, tmp_path: Path, reply: Reply, more: tuple[str, ...], output_format: str
) -> None:
    with ChatServer(reply) as server:
        result = program.run(
            "ask", "hello", "--base-url", server.url, "--record", str(tmp_path / "rec"), *more,
            "--session", "s", "--output-format", output_format,
        )  # fmt: skip
    assert (result.status, result.code) == (11, "recording_unwritable")
    if output_format == "text":
        assert result.stdout.strip() == b"Paid for."
    else:
        assert result.events[-1]["answer"] == "Paid for."
    assert [turn["answer"] for turn in program.records("s")] == ["Paid for."]
