"""`pipechat batch run`: every item asked once, each told, and what is there not asked again."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.program import PLANTED_KEY, Program, Result
from tests.servers import (
    ChatServer,
    Fault,
    Reply,
    Request,
    completion,
    cut,
    error_reply,
    json_reply,
)
from tests.servers.mirror import first_tries, mirror

pytestmark = pytest.mark.in_process

WAYS = ["aio", "threads"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who carries the requests: the extra's client, or threads where it is not installed."""
    if request.param == "threads":
        monkeypatch.setattr("pipechat.client.aio_sender.is_available", lambda _settings: False)
    return str(request.param)


def items(count: int, **more: Any) -> bytes:
    return ndjson(*({"id": f"i{n}", "question": f"question {n}", **more} for n in range(count)))


def ndjson(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def run(program: Program, server: ChatServer, source: bytes, *more: str, **options: Any) -> Result:
    return program.run(
        "batch", "run", "-", "--base-url", server.url, *more, input=source, events=False, **options
    )


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def asked(server: ChatServer) -> Counter[str]:
    return Counter(request.question for request in server.requests)


def leave_as_killed(out: Path) -> None:
    """As a run leaves it that began at the beginning of time, and was killed: the lock of the run
    stays, and says since when turns are of that run."""
    out.with_name(f".{out.name}.run").write_text("0")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.usefixtures("way")
def test_every_item_is_asked_once_and_has_its_answer(program: Program, out: Path) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, items(100), "-o", str(out))
        assert asked(server) == Counter({f"question {n}": 1 for n in range(100)})
        assert not any(request.body.get("stream") for request in server.requests)
        assert {request.headers["authorization"] for request in server.requests} == {
            f"Bearer {PLANTED_KEY}"
        }
    assert result.status == 0
    assert result.stdout == b""
    found = {record["item"]: record for record in records(out)}
    assert len(found) == len(records(out)) == 100
    for n in range(100):
        record = found[f"i{n}"]
        assert record["question"] == f"question {n}"
        assert f"question {n}" in record["answer"]
        assert (record["status"], record["attempts"], record["finish_reason"]) == (
            "complete",
            1,
            "stop",
        )
        assert record["usage"]["total_tokens"] > 0
        assert record["request_id"].startswith("req-")
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("in.ndjson", b'{"id":"a","question":"one"}\n{"id":"b","question":"two"}'),
        ("in.csv", b'id,question\r\na,one\r\nb,"two"\r\n'),
        ("in.tsv", b"id\tquestion\na\tone\nb\ttwo\n"),
        ("in.jsonl", b'\xef\xbb\xbf{"id":"a","question":"one"}\n\n \n{"id":"b","question":"two"}'),
    ],
)
def test_the_format_is_told_by_the_name_of_the_input(
    program: Program, tmp_path: Path, out: Path, name: str, source: bytes
) -> None:
    (tmp_path / name).write_bytes(source)
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", str(tmp_path / name), "-o", str(out), "--base-url", server.url
        )
    assert result.status == 0
    assert {(each["item"], each["question"]) for each in records(out)} == {
        ("a", "one"),
        ("b", "two"),
    }


def test_plain_lines_are_questions_whose_id_is_the_hash_of_their_request(
    program: Program, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "in.txt").write_bytes("one\r\nçé\none\n".encode())
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", str(tmp_path / "in.txt"), "-o", str(out), "--base-url", server.url
        )
        assert asked(server) == Counter({"one": 1, "çé": 1})
    assert result.status == 0
    assert all(each["item"] == each["request"] for each in records(out))


def test_a_cell_may_hold_newlines_and_an_empty_one_says_nothing(
    program: Program, out: Path
) -> None:
    source = b'id,question,model\n1,"one\ntwo, ""three""",other\n2,four,\n'
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out), "--input-format", "csv", "-m", "m")
        assert {(each.question, each.body["model"]) for each in server.requests} == {
            ('one\ntwo, "three"', "other"),
            ("four", "m"),
        }
    assert result.status == 0


def test_an_item_may_say_what_is_its_own(program: Program, out: Path) -> None:
    own = {"system": "S", "model": "own", "options": {"temperature": 1, "max_tokens": 9}}
    with ChatServer(mirror()) as server:
        source = ndjson({"question": "q", **own}, {"question": "p"})
        result = run(
            program, server, source, "-o", str(out), "-m", "m", "--max-tokens", "5", "--system", "T"
        )
        bodies = {each.question: each.body for each in server.requests}
    assert result.status == 0
    assert bodies["q"]["messages"][0] == {"role": "system", "content": "S"}
    assert (bodies["q"]["model"], bodies["q"]["temperature"], bodies["q"]["max_tokens"]) == (
        "own",
        1,
        9,
    )
    assert "max_completion_tokens" not in bodies["q"]
    assert bodies["p"]["messages"][0] == {"role": "system", "content": "T"}
    assert {(each["system"], each["model"]) for each in records(out)} == {("S", "own"), ("T", "m")}


def test_a_line_of_the_batch_api_is_sent_as_it_is(program: Program, out: Path) -> None:
    body = {
        "model": "other",
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
        ],
        "temperature": 0,
    }
    line = {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": body}
    with ChatServer(json_reply(200, completion("so"))) as server:
        result = run(program, server, ndjson(line), "-o", str(out))
        assert server.requests[0].body == body
    assert result.status == 0
    [record] = records(out)
    assert (record["item"], record["question"], record["system"]) == ("x", "q", "S")


BAD = [
    (b"no json", "bad_item"),
    (b'"a text"', "bad_item"),
    (b"[1]", "bad_item"),
    (b'{"id":"x"}', "bad_item"),
    (b'{"question":7}', "bad_item"),
    (b'{"question":" "}', "empty_question"),
    (b'{"question":"q","id":{}}', "bad_item"),
    (b'{"question":"q","model":5}', "bad_item"),
    (b'{"question":"q","options":{"stream":true}}', "bad_item"),
    (b'{"question":"q","options":[1]}', "bad_item"),
    (b'{"question":"q","session":"a/b"}', "bad_session_name"),
    (b'{"question":"\xff"}', "not_utf8"),
    (b'{"custom_id":"c","url":"/v1/embeddings","body":{}}', "bad_item"),
    (b'{"custom_id":"c","body":{"messages":[]}}', "bad_item"),
    (b'{"custom_id":"c","body":{"messages":[{"role":"user","content":"q"}],"stream":true}}',
     "bad_item"),
    (b'{"question":"' + b"x" * 3000 + b'"}', "bad_item"),
]  # fmt: skip


def test_a_line_that_is_no_item_is_a_failed_record_and_never_the_end_of_the_job(
    program: Program, out: Path
) -> None:
    source = b"".join(line + b"\n" for line, _ in BAD) + b'{"id":"last","question":"q"}\n'
    (program.home / "config.toml").write_text("max_input_mib = 0.002\n")
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out))
        assert asked(server) == Counter({"q": 1})
        again = run(program, server, source, "-o", str(out))
        assert len(server.requests) == 1
    assert result.status == again.status == 10
    found = records(out)
    assert found[-1]["item"] == "last"
    assert found[-1]["status"] == "complete"
    errors = [each["error"] for each in found if each["error"]]
    told = {each["message"].split(":")[0]: each["code"] for each in errors}
    assert told == {f"line {number}": code for number, (_, code) in enumerate(BAD, 1)}
    assert len(found) == len(BAD) + 1, "what is no item is told once, however often it is run"


@pytest.mark.usefixtures("way")
def test_what_is_complete_is_not_asked_again_and_what_failed_is(
    program: Program, out: Path
) -> None:
    def fault(request: Request) -> Fault:
        return "500" if request.question in ("question 3", "question 7") else "none"

    with ChatServer(mirror(fault=fault)) as server:
        first = run(program, server, items(10), "-o", str(out), "--retries", "0")
        server.requests.clear()
        left = run(program, server, items(10), "-o", str(out), "--retry-failed", "no")
        assert not server.requests
        server.play(mirror())
        second = run(program, server, items(12), "-o", str(out))
        assert asked(server) == Counter(f"question {n}" for n in (3, 7, 10, 11))
        server.requests.clear()
        third = run(program, server, items(12), "-o", str(out))
        assert not server.requests
    assert (first.status, left.status, second.status, third.status) == (10, 10, 0, 0)
    statuses = Counter((each["item"], each["status"]) for each in records(out))
    assert statuses[("i3", "failed")] == statuses[("i3", "complete")] == 1
    assert sum(1 for _, status in statuses if status == "complete") == 12


def test_a_changed_question_is_asked_under_its_old_id_and_fresh_starts_over(
    program: Program, out: Path
) -> None:
    with ChatServer(mirror()) as server:
        for question in ("one", "two"):
            source = ndjson({"id": "a", "question": question})
            assert run(program, server, source, "-o", str(out)).status == 0
        assert run(program, server, source, "-o", str(out), "-m", "other").status == 0
        assert [each.question for each in server.requests] == ["one", "two", "two"]
        assert run(program, server, source, "-o", str(out), "--fresh").status == 0
    assert [each["question"] for each in records(out)] == ["two"]


def test_doubles_are_asked_once_and_one_id_for_two_questions_is_a_failure(
    program: Program, out: Path
) -> None:
    source = ndjson(
        {"id": "a", "question": "one"},
        {"question": "two"},
        {"id": "a", "question": "one"},
        {"question": "two"},
        {"id": "a", "question": "other"},
    )
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out))
        again = run(program, server, source, "-o", str(out))
        assert asked(server) == Counter({"one": 1, "two": 1})
    assert result.status == again.status == 10
    failed = [each for each in records(out) if each["status"] == "failed"]
    assert [each["error"]["code"] for each in failed] == ["double_id"]


def ended(reason: str) -> Reply:
    return json_reply(200, completion("half", finish_reason=reason))


FAULTS: dict[str, tuple[Reply, str, str]] = {
    "server": (error_reply(500, "down"), "failed", "server_error"),
    "bad": (error_reply(400, "no"), "failed", "bad_request"),
    "gone": (error_reply(404, "gone"), "failed", "not_found"),
    "cut": (ended("length"), "partial", "truncated"),
    "filtered": (ended("content_filter"), "partial", "filtered"),
    "nothing": (json_reply(200, {"choices": []}), "failed", "malformed_stream"),
    "broken": (cut(json_reply(200, completion("half")), 200, "rst"), "failed", "connection_lost"),
}


@pytest.mark.usefixtures("way")
def test_each_record_says_what_happened_and_a_second_run_asks_only_what_failed(
    program: Program, out: Path
) -> None:
    whole = mirror()

    def choose(request: Request) -> Reply:
        fault = FAULTS.get(request.question)
        return fault[0] if fault else whole(request)

    source = ndjson(*({"id": name, "question": name} for name in (*FAULTS, "good")))
    with ChatServer(choose) as server:
        result = run(program, server, source, "-o", str(out), "--retries", "1")
        counts = asked(server)
        server.requests.clear()
        run(program, server, source, "-o", str(out), "--retries", "0")
        assert set(asked(server)) == set(FAULTS)
    assert result.status == 10
    assert counts["server"] == 2, "retries are as in ask"
    assert counts["bad"] == counts["cut"] == 1
    found = {each["item"]: each for each in records(out)[: len(FAULTS) + 1]}
    for name, (_, status, code) in FAULTS.items():
        assert (found[name]["status"], found[name]["error"]["code"]) == (status, code), name
    assert found["server"]["attempts"] == 2
    assert found["cut"]["answer"] == "half"
    assert found["good"]["status"] == "complete"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (error_reply(401, "wrong key"), 3, "unauthorized"),
        (error_reply(403, "not you"), 3, "forbidden"),
        (
            json_reply(429, {"error": {"message": "no", "code": "insufficient_quota"}}),
            4,
            "insufficient_quota",
        ),
        (json_reply(402, {"error": {"message": "pay"}}), 4, "insufficient_quota"),
    ],
)
def test_what_would_fail_every_item_stops_the_run_with_its_own_code(
    program: Program, out: Path, reply: Reply, status: int, code: str
) -> None:
    with ChatServer(reply) as server:
        result = run(program, server, items(500), "-o", str(out), "-j", "4")
        assert len(server.requests) <= 8
    assert result.status == status
    assert result.code == code
    assert {each["error"]["code"] for each in records(out)} == {code}


@pytest.mark.parametrize(("most", "least_asked", "most_asked"), [("5", 6, 14), ("10%", 20, 40)])
def test_a_run_that_goes_wrong_stops_at_max_failures(
    program: Program, out: Path, most: str, least_asked: int, most_asked: int
) -> None:
    with ChatServer(error_reply(400, "no")) as server:
        result = run(program, server, items(400), "-o", str(out), "-j", "4", "--max-failures", most)
        assert least_asked <= len(server.requests) <= most_asked
    assert (result.status, result.code) == (10, "max_failures")
    assert len(records(out)) == len(server.requests)


@pytest.mark.usefixtures("way")
def test_a_rate_limit_is_no_failure_of_an_item(program: Program, out: Path) -> None:
    with ChatServer(mirror(fault=first_tries("429"))) as server:
        result = run(program, server, items(3), "-o", str(out), "--retries", "0", "-j", "3")
    assert result.status == 0
    assert {each["attempts"] for each in records(out)} == {2}


def test_items_of_one_session_are_asked_in_order_each_knowing_those_before(
    program: Program, out: Path
) -> None:
    source = ndjson(
        *({"id": f"{s}{n}", "question": f"{s} {n}", "session": s} for n in range(5) for s in "ab")
    )
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out), "-j", "8")
        seen = {each.question: len(each.body["messages"]) for each in server.requests}
    assert result.status == 0
    assert seen == {f"{s} {n}": 2 * n + 1 for n in range(5) for s in "ab"}
    for session in "ab":
        kept = program.records(session)
        assert [each["question"] for each in kept] == [f"{session} {n}" for n in range(5)]
        assert [each["item"] for each in kept] == [f"{session}{n}" for n in range(5)]
    assert not program.spools()
    with ChatServer(mirror()) as server:
        assert run(program, server, source, "-o", str(out)).status == 0
        assert not server.requests


def test_an_answer_that_only_its_session_has_is_not_asked_for_again(
    program: Program, out: Path
) -> None:
    source = ndjson({"id": "a", "question": "q", "session": "s"})
    with ChatServer(mirror()) as server:
        run(program, server, source, "-o", str(out))
        out.write_bytes(b"")
        leave_as_killed(out)
        result = run(program, server, source, "-o", str(out))
        assert len(server.requests) == 1
    assert result.status == 0
    assert [each["item"] for each in records(out)] == ["a"]
    assert len(program.records("s")) == 1


def test_ordered_records_stand_in_the_order_of_the_input(program: Program, out: Path) -> None:
    source = items(5) + b"nonsense\n" + items(40)
    with ChatServer(mirror(fault=first_tries("500"))) as server:
        result = run(program, server, source, "-o", str(out), "--ordered", "-j", "8")
    assert result.status == 10
    order = [each["item"] for each in records(out)]
    assert order == [*(f"i{n}" for n in range(5)), "line 6", *(f"i{n}" for n in range(5, 40))]


def test_records_go_to_stdout_where_no_file_is_named(program: Program) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, items(3))
    assert result.status == 0
    assert sorted(each["item"] for each in result.events) == ["i0", "i1", "i2"]
    assert all(each["status"] == "complete" for each in result.events)


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_events_are_those_of_ask_with_the_item_on_each(
    program: Program, out: Path, more: tuple[str, ...]
) -> None:
    source = items(4) + b"nonsense\n"
    with ChatServer(mirror(fault=first_tries("500"))) as server:
        result = run(program, server, source, "--events", "-o", str(out), "-j", "2", *more)
    assert result.status == 10
    by_item: dict[str, list[dict[str, Any]]] = {}
    for event in result.events:
        by_item.setdefault(event.pop("item"), []).append(event)
    assert set(by_item) == {"i0", "i1", "i2", "i3", "line 5"}
    for n in range(4):
        kinds = [event["type"] for event in by_item[f"i{n}"]]
        assert kinds[:2] == ["start", "retry"]
        assert kinds[-1] == "end"
        texts = [event["text"] for event in by_item[f"i{n}"] if event["type"] == "chunk"]
        assert "".join(texts) == by_item[f"i{n}"][-1]["answer"]
        assert (len(texts) > 1) == bool(more)
    assert [event["type"] for event in by_item["line 5"]] == ["error"]
    assert len(records(out)) == 5, "the file has its records all the same"


def test_the_summary_counts_by_status_and_code(program: Program, out: Path) -> None:
    source = items(3) + b"nonsense\n" + items(3)
    with ChatServer(mirror()) as server:
        result = run(program, server, source, "-o", str(out), "--output-format", "json")
    [summary] = result.events
    assert summary["complete"] == 3
    assert summary["failed"] == 1
    assert summary["skipped"] == {"complete": 0, "double": 3, "failed": 0}
    assert summary["codes"] == {"bad_item": 1}
    assert summary["usage"]["total_tokens"] == sum(
        each["usage"]["total_tokens"] for each in records(out) if each["usage"]
    )
    assert summary["exit_code"] == result.status == 10
    assert b"3 complete, 1 failed (1 bad_item)" in result.stderr


def test_a_template_makes_the_question_of_any_row(program: Program, out: Path) -> None:
    source = b"id,model,colour\n1,Beetle,red\n2,Duck,\n"
    with ChatServer(mirror()) as server:
        result = run(
            program, server, source, "-o", str(out), "--input-format", "csv",
            "--template", "{{ verb }} the {{ colour }} {{ model }}", "--var", "verb=Paint",
        )  # fmt: skip
        assert asked(server) == Counter({"Paint the red Beetle": 1})
    assert result.status == 10
    found = {each["item"]: each for each in records(out)}
    assert found["1"]["status"] == "complete"
    assert found["2"]["error"]["code"] == "undefined_variable"
    assert "colour" in found["2"]["error"]["message"]


def test_every_answer_is_judged_by_the_schema(program: Program, out: Path) -> None:
    def choose(request: Request) -> Reply:
        text = '{"n": 1}' if request.question == "question 0" else '{"n": "x"}'
        return json_reply(200, completion(text))

    with ChatServer(choose) as server:
        result = run(program, server, items(2), "-o", str(out), "--schema", "n int")
    assert result.status == 10
    found = {each["item"]: each for each in records(out)}
    assert (found["i0"]["status"], found["i0"]["schema"]["matched"]) == ("complete", True)
    assert (found["i1"]["error"]["code"], found["i1"]["schema"]["matched"]) == (
        "schema_mismatch",
        False,
    )


def test_a_run_is_recorded_and_replayed_without_a_network(
    program: Program, out: Path, tmp_path: Path
) -> None:
    recording = str(tmp_path / "r.ndjson")
    with ChatServer(mirror()) as server:
        url = server.url
        first = run(program, server, items(5), "-o", str(out), "--record", recording)
    replayed = program.run(
        "batch", "run", "-", "--base-url", url, "--replay", recording, input=items(5),
        env={"OPENAI_API_KEY": None},
    )  # fmt: skip
    assert first.status == replayed.status == 0
    assert {(each["item"], each["answer"]) for each in replayed.events} == {
        (each["item"], each["answer"]) for each in records(out)
    }


WRONG = [
    (("no-such-file",), "unreadable_input"),
    (("/",), "unreadable_input"),
    (("-", "--fresh"), "bad_option"),
    (("-", "--output-format", "json"), "bad_option"),
    (("-", "--var", "a=b"), "bad_option"),
    (("-", "-j", "0"), "bad_option"),
    (("-", "-j", "x"), "bad_option"),
    (("-", "--rpm", "-1"), "bad_option"),
    (("-", "--max-failures", "101%"), "bad_option"),
    (("-", "--max-failures", "many"), "bad_option"),
    (("-", "--retry-failed", "perhaps"), "bad_option"),
    (("-", "--input-format", "xml"), "bad_option"),
    (("-", "-o", ""), "bad_option"),
    (("-", "--template", "{{"), "bad_template"),
    (("-", "--schema", "[1]"), "bad_schema"),
]


@pytest.mark.parametrize(("arguments", "code"), WRONG)
def test_what_is_wrong_is_told_in_one_line_before_anything_is_asked(
    program: Program, arguments: tuple[str, ...], code: str
) -> None:
    with ChatServer(mirror()) as server:
        result = program.run("batch", "run", *arguments, "--base-url", server.url, input=items(1))
        assert not server.requests
    assert (result.status, result.code) == (2, code)
    assert result.stderr.count(b"\n") == 1
    assert result.stdout == b""


@pytest.mark.parametrize("header", [b"id,id,question", b",,", b'a,"b\n'])
def test_a_table_without_a_header_is_refused(program: Program, header: bytes) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, header + b"\n1,2,3\n", "--input-format", "csv")
        assert not server.requests
    assert (result.status, result.code) == (2, "bad_header")


def test_the_output_is_no_input_and_must_be_a_file_that_can_be_written(
    program: Program, tmp_path: Path, out: Path
) -> None:
    out.write_bytes(items(1))
    (tmp_path / "link").symlink_to(out)
    for path, source, code, status in (
        (out, out, "bad_option", 2),
        (tmp_path, None, "output_failed", 11),
        (tmp_path / "no" / "folder", None, "output_failed", 11),
        (tmp_path / "link", None, "output_failed", 11),
    ):
        with ChatServer(mirror()) as server:
            result = program.run(
                "batch", "run", str(source or "-"), "-o", str(path), "--base-url", server.url,
                input=items(1),
            )  # fmt: skip
            assert not server.requests
        assert (result.status, result.code) == (status, code), path
        assert str(path).encode() in result.stderr
    assert out.read_bytes() == items(1)
