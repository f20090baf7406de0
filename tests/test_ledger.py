"""The ledger: a line for each request that was sent, who asked and what it took, and no content."""

import json
import os
import re
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.program import PLANTED_KEY, Program
from tests.servers import (
    USAGE,
    Batches,
    ChatServer,
    Close,
    Stall,
    answer,
    answer_events,
    error_reply,
    http_reply,
    stream_reply,
)

pytestmark = pytest.mark.in_process
SECRET_WORDS = "a question that no ledger tells"


def lines(home: Path) -> list[dict[str, Any]]:
    """The ledger of a home, oldest first."""
    files = sorted((home / "ledger").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_an_ask_leaves_one_line_with_what_it_took_and_nothing_of_what_was_said(
    program: Program,
) -> None:
    with ChatServer(answer("an answer that no ledger tells")) as server:
        ask = ("ask", "--base-url", server.url, "-m", "m-1")
        assert program.run(*ask, "--session", "work", SECRET_WORDS).status == 0
        assert program.run(*ask, "--output-format", "ndjson", SECRET_WORDS).status == 0
    first, second = lines(program.home)
    host = server.url.split("/")[2]
    assert first.pop("turn") == program.records("work")[0]["id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("at"))
    assert first == {
        "v": 1,
        "session": "work",
        "host": host,
        "api": "chat",
        "model": first["model"],
        "asked": "m-1",
        "usage": USAGE,
        "status": "complete",
    }
    assert "session" not in second
    assert second["turn"] != first
    written = b"".join(file.read_bytes() for file in (program.home / "ledger").iterdir())
    assert b"no ledger tells" not in written
    assert PLANTED_KEY.encode() not in written


def test_the_ledger_is_its_owners_alone_and_a_file_a_month(program: Program) -> None:
    with ChatServer(answer("so")) as server:
        assert program.run("ask", "--base-url", server.url, "hello").status == 0
    (file,) = (program.home / "ledger").iterdir()
    (line,) = lines(program.home)
    assert file.name == line["at"][:7] + ".jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "arguments",
    [("--offline",), ("--dry-run",), ("--replay", "tape"), ("--once", "k", "--session", "s")],
    ids=lambda each: each[0],
)
def test_what_is_not_sent_leaves_no_line(program: Program, arguments: tuple[str, ...]) -> None:
    tape = str(program.home / "tape")
    words = [tape if each == "tape" else each for each in arguments]
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url)
        first = ("--record", tape) if "--replay" in words else ()
        if first or "--once" in words:
            again = words if "--once" in words else ()
            assert program.run(*ask, *first, *again, "hello").status == 0
        before = len(lines(program.home)) if (program.home / "ledger").exists() else 0
        assert program.run(*ask, *words, "hello").status == 0
        assert len(server.requests) == before
    assert (len(lines(program.home)) if before else 0) == before


def test_nothing_that_was_played_from_a_recording_leaves_a_line_where_others_are_recorded(
    program: Program,
) -> None:
    tape = str(program.home / "tape")
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "--record", tape)
        assert program.run(*ask, "one").status == 0
        for question in ("one", "two"):
            assert program.run(*ask, "--replay", tape, question).status == 0
        assert len(server.requests) == len(lines(program.home)) == 2


def test_each_request_of_a_turn_leaves_its_own_line_with_what_the_server_told(
    program: Program,
) -> None:
    refused = error_reply(503, "later")
    cut = stream_reply(*answer_events("half a")[:3], Close())
    with ChatServer([refused, answer("whole")]) as server:
        ask = ("ask", "--base-url", server.url, "--session", "s")
        assert program.run(*ask, "hello").status == 0
        server.play(cut)
        assert program.run(*ask, "hello").status == 6
    first, second, third = lines(program.home)
    assert first["turn"] == second["turn"] != third["turn"]
    assert (first["status"], first["usage"]) == ("failed", None)
    assert "bound" not in first  # a refusal costs nothing
    assert (second["status"], second["usage"]) == ("complete", USAGE)
    assert (third["status"], third["usage"]) == ("partial", None)
    question, most = third["bound"]
    size = int(server.requests[2].headers["content-length"])
    assert size // 3 <= question <= size // 3 + 1
    assert most == 4096


def test_a_server_that_cannot_be_reached_leaves_no_line(program: Program) -> None:
    ask = ("ask", "--base-url", "http://127.0.0.1:1/v1", "--retries", "0", "hello")
    assert program.run(*ask).status == 5
    assert not (program.home / "ledger").exists()


def test_of_a_socket_is_told_that_it_is_one_and_not_where(program: Program, tmp_path: Path) -> None:
    path = str(tmp_path / "llm.sock")
    with ChatServer(answer("so"), socket_path=path) as server:
        assert program.run("ask", "--base-url", server.url, "hello").status == 0
    (line,) = lines(program.home)
    assert line["host"] == "unix"
    assert path not in json.dumps(line)


def test_a_fallback_and_a_schema_that_is_asked_for_again_leave_a_line_each(
    program: Program,
) -> None:
    with ChatServer([error_reply(503, "no"), answer("so")]) as server:
        ask = ("ask", "--base-url", server.url, "--retries", "0", "-m", "first")
        assert program.run(*ask, "--fallback", "second", "hello").status == 0
        assert [line.get("asked", line["model"]) for line in lines(program.home)] == [
            "first",
            "second",
        ]
        server.play([answer("no JSON"), answer('{"name":"x"}')])
        assert program.run(*ask, "--schema", "name", "--schema-retries", "1", "hello").status == 0
    assert [line["status"] for line in lines(program.home)[2:]] == ["partial", "complete"]


def test_the_service_tier_and_the_model_that_answered_are_kept_by_either_api(
    program: Program,
) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    message = {"type": "message", "content": [{"type": "output_text", "text": "so"}]}
    named = {"model": "m-2026", "service_tier": "flex"}
    whole = {**named, "status": "completed", "output": [message], "usage": usage}
    chosen = {"message": {"content": "so"}, "finish_reason": "stop"}
    counts = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    with ChatServer(lambda request: json_of(whole if "responses" in request.path else {
        **named, "choices": [chosen], "usage": counts})) as server:  # fmt: skip
        for api in ("chat", "responses"):
            ask = ("ask", "--base-url", server.url, "-m", "m", "--no-stream", "--api", api)
            assert program.run(*ask, "hello").status == 0
    for line, api in zip(lines(program.home), ("chat", "responses"), strict=True):
        assert (line["api"], line["model"], line["asked"]) == (api, "m-2026", "m")
        assert (line["tier"], line["usage"]) == ("flex", counts)


def json_of(value: object) -> Any:
    return http_reply(200, json.dumps(value).encode(), content_type="application/json")


def test_every_line_of_a_chat_is_a_line_of_the_ledger(program: Program) -> None:
    with ChatServer(answer("so")) as server:
        chat = ("chat", "--base-url", server.url, "--session", "talk")
        assert program.run(*chat, input=b"one\ntwo\n").status == 0
    first, second = lines(program.home)
    assert first["session"] == second["session"] == "talk"
    assert first["turn"] != second["turn"]


@pytest.mark.parametrize("where", ["file", "profile", "variable"])
def test_a_ledger_that_is_off_is_not_written(program: Program, where: str) -> None:
    config = program.home / "config.toml"
    if where != "variable":
        config.write_text("ledger = false\n" if where == "file" else "[profiles.p]\nledger=false\n")
    env = {"PIPECHAT_LEDGER": "off"} if where == "variable" else {}
    profile = ("--profile", "p") if where == "profile" else ()
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, *profile, "hello")
        assert program.run(*ask, env=env).status == 0
    assert not (program.home / "ledger").exists()


def _blocked(home: Path, kind: str) -> None:
    """Make a ledger that cannot be written."""
    folder = home / "ledger"
    if kind == "a file in its place":
        folder.write_text("")
        return
    folder.mkdir()
    if kind == "read-only":
        folder.chmod(0o500)
        return
    from pipechat.messages import now

    name = folder / f"{now()[:7]}.jsonl"
    if kind == "a link":
        name.symlink_to(home / "elsewhere")
    else:
        os.mkfifo(name)


KINDS = ("a file in its place", "a link", "a FIFO", "read-only")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_an_answer_whose_line_cannot_be_kept_stays_and_is_warned_of_once(
    program: Program, kind: str, output_format: str
) -> None:
    if kind == "read-only" and os.getuid() == 0:
        kind = "a link"  # root may write anywhere
    _blocked(program.home, kind)
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "--output-format", output_format, "hello")
        result = program.run(*ask)
        assert result.status == 0
        assert b"so" in result.stdout
        assert result.stderr.count(b"\n") == 1
        assert b"the ledger" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_who_asked_for_a_ledger_that_cannot_be_written_sends_nothing(
    program: Program, kind: str, output_format: str
) -> None:
    if kind == "read-only" and os.getuid() == 0:
        kind = "a link"
    _blocked(program.home, kind)
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "--output-format", output_format, "hello")
        result = program.run(*ask, env={"PIPECHAT_LEDGER": "yes"})
        assert (result.status, result.code) == (9, "ledger_unwritable")
        assert server.requests == []
    if output_format == "ndjson":
        assert [event["type"] for event in result.events] == ["error"]


@pytest.mark.in_process(False)
def test_a_turn_that_a_signal_ends_leaves_its_line(program: Program) -> None:
    with ChatServer(stream_reply(*answer_events("half a")[:3], Stall())) as server:
        run = program.start("ask", "--no-stdin", "--base-url", server.url, "hello")
        assert run.stdout is not None
        run.stdout.read(1)
        run.send_signal(signal.SIGTERM)
        assert program.finish(run).status == 143
    (line,) = lines(program.home)
    assert (line["status"], line["usage"]) == ("partial", None)
    assert line["bound"][1] == 4096


@pytest.mark.in_process(False)
def test_a_plain_ask_imports_little_for_the_ledger(program: Program) -> None:
    with ChatServer(answer("so")) as server:
        result = program.run(
            "ask", "--base-url", server.url, "hello", env={"PYTHONPROFILEIMPORTTIME": "1"}
        )
    rows = [line.rsplit("|")[-1].strip() for line in result.stderr.decode().splitlines()]
    ours = {name for name in rows if name.startswith(("pipechat.ledger", "pipechat.store"))}
    modules = {"pipechat.ledger", "pipechat.ledger.account"}
    assert {name for name in ours if "ledger" in name} == modules
    assert ours >= {"pipechat.store.locked_file"}
    assert "pipechat.settings.budget" not in rows


def batch(*items: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_item_of_a_batch_leaves_its_lines_with_its_id_and_its_output(
    program: Program, workers: str
) -> None:
    out = program.home / "out.jsonl"
    rows = [{"id": f"i{n}", "question": f"q{n}"} for n in range(4)]
    rows[0]["session"] = "s"
    with ChatServer([error_reply(503, "later"), answer("so")]) as server:
        run = ("batch", "run", "-", "-o", out, "--base-url", server.url, "--workers", workers)
        result = program.run(*run, "-j", "2", input=batch(*rows), events=False)
        assert result.status == 0, result.stderr
        assert len(server.requests) == 5
    kept = lines(program.home)
    assert len(kept) == 5
    assert {line["item"] for line in kept} == {"i0", "i1", "i2", "i3"}
    assert {line["batch"] for line in kept} == {str(out)}
    assert {line["item"] for line in kept if "session" in line} == {"i0"}
    records = [json.loads(line) for line in out.read_text().splitlines()]
    turns = {record["item"]: record["id"] for record in records}
    assert all(turns[line["item"]] == line["turn"] for line in kept)
    assert sorted(line["status"] for line in kept) == ["complete"] * 4 + ["failed"]


def test_many_lines_of_a_batch_are_one_append(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    appends: list[int] = []
    from pipechat.store.locked_file import LockedFile

    real = LockedFile.append

    def counted(self: LockedFile, *records: bytes) -> None:
        if "ledger" in self.path:
            appends.append(len(records))
        real(self, *records)

    monkeypatch.setattr(LockedFile, "append", counted)
    with ChatServer(answer("so")) as server:
        run = ("batch", "run", "-", "--base-url", server.url, "-j", "40", "--workers", "1")
        rows = ({"id": str(n), "question": "q"} for n in range(120))
        assert program.run(*run, input=batch(*rows), events=False).status == 0
    assert sum(appends) == 120
    assert len(appends) < 100
    assert all("batch" not in line for line in lines(program.home))  # stdout is no file


@pytest.mark.in_process(False)
def test_what_a_batch_gave_up_leaves_its_line(program: Program) -> None:
    with ChatServer(stream_reply(Stall())) as server:
        run = ("batch", "run", "-", "--base-url", server.url, "--grace", "0", "-j", "1")
        batch_run = program.start(*run, stdin=-1)
        assert batch_run.stdin is not None
        batch_run.stdin.write(batch({"id": "a", "question": "q"}))
        batch_run.stdin.flush()
        server.wait_for_requests(1)
        batch_run.send_signal(signal.SIGTERM)
        program.finish(batch_run)
    (line,) = lines(program.home)
    assert (line["item"], line["status"], line["usage"]) == ("a", "failed", None)
    assert line["bound"]


def test_what_the_providers_batch_took_is_kept_where_it_is_fetched(program: Program) -> None:
    out = program.home / "out.jsonl"
    at = "--base-url"
    with ChatServer(Batches()) as server:
        rows = batch({"id": "a", "question": "q"}, {"id": "b", "question": "q"})
        submit = ("batch", "submit", "-", "-o", out, at, server.url)
        assert program.run(*submit, input=rows, events=False).status == 0
        assert not (program.home / "ledger").exists()
        fetch = ("batch", "fetch", out, "--wait", at, server.url)
        for _ in range(2):
            assert program.run(*fetch, events=False).status == 0
    kept = lines(program.home)
    assert [(line["item"], line["tier"], line["status"]) for line in kept] == [
        ("a", "batch", "complete"),
        ("b", "batch", "complete"),
    ]
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["usage"] for line in kept] == [record["usage"] for record in records]
    assert {line["batch"] for line in kept} == {str(out)}


def _no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.in_process(False)
def test_on_a_full_disk_the_answer_stays_and_under_a_budget_nothing_is_sent(
    program: Program,
) -> None:
    with ChatServer(answer("so")) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        result = program.run(*ask, preexec_fn=_no_room)
        assert (result.status, result.stdout) == (0, b"so\n")
        assert result.stderr.count(b"\n") == 1
        assert b"the ledger" in result.stderr
        budget = ("--budget", "9999tok/day")
        result = program.run(*ask[:-1], *budget, "hello", preexec_fn=_no_room)
        assert (result.status, result.code) == (9, "ledger_unwritable")
        assert len(server.requests) == 1
