"""The hash of what was asked, in every record: equal for equal requests, however they are sent."""

from typing import Any

import pytest

from pipechat.messages import ChatRequest
from pipechat.turn.request_hash import request_hash
from tests.program import Program
from tests.servers import ChatServer, answer

OPTIONS = {"temperature": 0.5, "nested": {"a": 1, "b": [{"c": 2, "d": None}]}}
ASKED = ChatRequest("m", [{"role": "user", "content": "why?"}], options=OPTIONS)


def test_the_order_of_keys_and_the_way_of_sending_change_nothing() -> None:
    turned = {"nested": {"b": [{"d": None, "c": 2}], "a": 1}, "temperature": 0.5}
    same = [
        ASKED._replace(options=turned),
        ASKED._replace(stream=False),
        ASKED._replace(messages=[{"content": "why?", "role": "user"}]),
    ]
    assert {request_hash("chat", each) for each in same} == {request_hash("chat", ASKED)}


def test_whatever_is_asked_changes_it() -> None:
    system: Any = [{"role": "system", "content": "s"}, *ASKED.messages]
    others = [
        ASKED._replace(model="n"),
        ASKED._replace(messages=[{"role": "user", "content": "why"}]),
        ASKED._replace(messages=system),
        ASKED._replace(options={}),
        ASKED._replace(options={**OPTIONS, "temperature": 0.6}),
    ]
    hashes = {request_hash("chat", each) for each in [ASKED, *others]}
    assert len({*hashes, request_hash("responses", ASKED)}) == len(others) + 2


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
def test_a_record_carries_it_whether_the_answer_is_whole_or_not(
    program: Program, output_format: str
) -> None:
    more = ("--output-format", output_format)
    with ChatServer([answer("so"), answer("s", finish_reason="length"), answer("so")]) as server:
        first = ("ask", "--base-url", server.url, "why?", *more)
        assert program.run(*first, "--session", "a").status == 0
        other_way = ("--no-stream", "--timeout", "9", "--retries", "1")
        key = {"OPENAI_API_KEY": "another"}
        assert program.run(*first, *other_way, "--session", "b", env=key).status == 6
        assert program.run(*first, "-t", "0.5", "--session", "c").status == 0
    a, b, c = (program.records(name)[0]["request"] for name in "abc")
    assert a == b != c
    assert len(a) == 64
