"""A response cut at every byte, in each framing, by each end: a cut answer never looks whole."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from pipechat.client.chat_client import ChatClient
from pipechat.client.lazy_openai import load_openai
from pipechat.client.sdk_sender import SdkSender
from pipechat.events import End, TextChunk
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import Settings, resolve_settings
from tests.program import Program
from tests.properties import answered
from tests.servers import (
    ENDINGS,
    FRAMINGS,
    ChatServer,
    Ending,
    Framing,
    Reply,
    Request,
    answer,
    chunk,
    cut,
    event,
)

TEXT = "Grüße, 世界!"
PIECES = 5
QUIET_S = 0.25
THREADS = 24
FINISH = event(chunk(finish_reason="stop")).rstrip(b"\n")


@cache
def whole(framing: Framing) -> Reply:
    return answer(TEXT, pieces=PIECES, usage=False, framing=framing)


def script(request: Request) -> Reply:
    """The question says which cut is wanted: `FRAMING ENDING BYTES`."""
    framing, ending, at = request.question.split()
    # Both are words of the question, so of any type:
    return cut(whole(framing), int(at), ending)  # type: ignore[arg-type]  # because of that


def settings_for(url: str) -> Settings:
    flags: Mapping[str, Any] = {
        "base_url": url,
        "retries": 0,
        "timeout": 20.0,
        "first_token_timeout": QUIET_S,
        "idle_timeout": QUIET_S,
    }
    return resolve_settings(flags, {}, {})


def cases(step: int) -> Iterator[tuple[Framing, Ending, int]]:
    """Every `step`-th cut of each framing and ending, each in turn beginning elsewhere."""
    for row, (framing, ending) in enumerate((f, e) for f in FRAMINGS for e in ENDINGS):
        for at in range(row % step, len(whole(framing).wire), step):
            yield framing, ending, at


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.storm)])
def test_a_response_cut_at_any_byte_never_looks_whole(step: int) -> None:
    chosen = list(cases(step))
    with ChatServer(script) as server, ThreadPoolExecutor(THREADS) as pool:
        settings = settings_for(server.url)
        openai = load_openai({})
        client = ChatClient(settings, SdkSender(settings, {}, openai))

        def outcome(case: tuple[Framing, Ending, int]) -> str:
            question = " ".join(map(str, case))
            request = ChatRequest("m", [{"role": "user", "content": question}])
            return judge(case, answered(client, request))

        seen = Counter(pool.map(outcome, chosen))
    assert seen.total() == len(chosen) >= 3000 // step
    print(f"cuts: {len(chosen)}, {dict(seen)}")


def judge(case: tuple[Framing, Ending, int], events: list[Any]) -> str:
    """Hold what came of a cut against the bytes that were sent; what it came to."""
    framing, ending, at = case
    wire = whole(framing).wire
    finished = wire.index(FINISH) + len(FINISH)
    terminal = events[-1]
    shown = "".join(each.text for each in events if isinstance(each, TextChunk))
    assert shown == terminal.answer
    assert TEXT.startswith(shown), case
    if isinstance(terminal, End):
        assert at >= finished, case  # the server's own word was there
        assert shown == TEXT, case
        return "whole"
    # A machine that is busy may let a deadline pass before it reads what came.
    if (ending, framing) == ("fin", "close_delimited") and "timeout" not in terminal.code:
        assert at < finished, case
        # Nothing of what came is missing: every event whose end had come is shown.
        came = wire[:at].count(b'"content":"') - wire[:at].count(b'"content":""')
        assert sum(isinstance(each, TextChunk) for each in events) in (came, came - 1), case
    assert terminal.exit_code == (6 if shown else 5), case
    return f"exit {terminal.exit_code}"


@pytest.mark.in_process
def test_what_the_client_says_is_what_the_program_does(program: Program) -> None:
    sample = [case for number, case in enumerate(cases(197)) if number % 4 == 0]
    with ChatServer(script) as server:
        limits = ("--idle-timeout", str(QUIET_S), "--first-token-timeout", str(QUIET_S))
        ask = ("ask", "--base-url", server.url, "--retries", "0", "--timeout", "1", *limits)
        for case in sample:
            result = program.run(*ask, " ".join(map(str, case)))
            if result.status == 0:
                assert result.stdout.decode() == TEXT + "\n"
                assert case[2] >= whole(case[0]).wire.index(FINISH) + len(FINISH)
            else:
                assert result.status == (6 if result.stdout else 5)
                assert TEXT.startswith(result.stdout.decode())
