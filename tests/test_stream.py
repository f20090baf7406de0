"""What makes an answer whole, and what its text is: the reducer's promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import (
    BugError,
    Interrupted,
    NetworkError,
    OutputError,
    PipechatError,
    ReaderLeft,
    RefusedError,
    SessionError,
    TryLaterError,
)
from pipechat.events import (
    Again,
    Chunk,
    End,
    Error,
    Event,
    Reasoning,
    Retry,
    Start,
    Step,
    TextChunk,
)
from pipechat.turn.reducer import TurnReducer
from tests.properties import MODEST, any_text, reduce, shown

HI = Chunk(text="Hi")
DONE = Chunk(done=True)
WHOLE = Chunk(done=True, whole=True)


def finish(reason: str) -> Chunk:
    return Chunk(finish_reason=reason)


@pytest.mark.parametrize(
    "chunks",
    [
        [HI, finish("stop")],
        [HI, finish("stop"), DONE],
        [HI, WHOLE],
        [HI, finish("end_turn")],
        [HI, finish("STOP")],
        [Chunk(text="Hi"), finish("stop"), Chunk(), DONE],
        [HI, Chunk(), WHOLE],
        [Chunk(text="H"), Chunk(text="i", finish_reason="stop")],
        [Chunk(text="Hi", finish_reason="stop"), DONE],
        [Chunk(text="H", finish_reason="stop"), Chunk(text="i", finish_reason="stop"), DONE],
        [Chunk(text="H", finish_reason="stop"), Chunk(text="i"), finish("stop"), DONE],
        [Chunk(text="H"), Chunk(text="i", finish_reason="stop"), Chunk(usage={"total_tokens": 1})],
    ],
)
def test_an_answer_is_whole_by_its_finish_reason_or_by_done_after_a_stated_null(
    chunks: list[Chunk],
) -> None:
    terminal = reduce(chunks)[-1]
    assert isinstance(terminal, End)
    assert (terminal.answer, terminal.exit_code) == ("Hi", 0)


def test_an_empty_answer_that_the_server_finished_is_whole() -> None:
    terminal = reduce([finish("stop"), DONE])[-1]
    assert isinstance(terminal, End)
    assert (terminal.answer, terminal.first_token_s) == ("", None)


@pytest.mark.parametrize(
    ("chunks", "code", "exit_code", "retryable"),
    [
        ([HI], "cut", 6, True),
        ([Chunk(text="Hi"), DONE], "cut", 6, True),
        ([HI, DONE], "cut", 6, True),
        ([], "no_answer", 5, True),
        ([DONE], "no_answer", 5, True),
        ([Chunk(reasoning="hm")], "no_answer", 5, True),
        *(([HI, finish(r)], "truncated", 6, False) for r in ("length", "LENGTH", "max_tokens")),
        *(([HI, finish(r)], "filtered", 6, False) for r in ("content_filter", "SAFETY")),
        ([HI, finish("refusal")], "refused", 6, False),
        ([Chunk(text="No", refusal=True), finish("stop")], "refused", 6, False),
        ([finish("tool_calls")], "tool_calls", 6, False),
        ([Chunk(tool_calls=True), finish("stop")], "tool_calls", 6, False),
        *(([HI, finish(r)], "stream_error", 6, True) for r in ("error", "abort", "cancelled")),
        ([finish("error")], "stream_error", 5, True),
        ([finish("length")], "truncated", 6, False),
    ],
)
def test_every_other_end_is_an_error_of_its_own(
    chunks: list[Chunk], code: str, exit_code: int, retryable: bool
) -> None:
    events = reduce(chunks)
    terminal = events[-1]
    assert isinstance(terminal, Error)
    assert (terminal.code, terminal.exit_code, terminal.retryable) == (code, exit_code, retryable)
    assert terminal.answer == shown(events)
    assert terminal.status == ("partial" if terminal.answer else "failed")


def test_a_truncated_answer_is_whole_only_where_that_is_allowed() -> None:
    chunks = [HI, finish("length")]
    allowed = reduce(chunks, allow_truncated=True)[-1]
    assert isinstance(allowed, End)
    assert allowed.finish_reason == "length"
    refused = reduce([HI, finish("content_filter")], allow_truncated=True)[-1]
    assert isinstance(refused, Error)
    refused = reduce([Chunk(text="x", refusal=True), finish("length")], allow_truncated=True)[-1]
    assert isinstance(refused, Error)


@pytest.mark.parametrize(
    ("cause", "exit_before", "exit_after"),
    [
        (TryLaterError("server_error", "x"), 5, 6),
        (RefusedError("bad_request", "x"), 4, 6),
        (NetworkError("timeout", "x"), 5, 6),
        (SessionError("session_unwritable", "x"), 9, 9),
        (OutputError("output_failed", "x"), 11, 11),
        (Interrupted(15), 143, 143),
        (Interrupted(2), 130, 130),
        (ReaderLeft(), 141, 141),
        (BugError(ValueError("x")), 1, 1),
    ],
)
def test_a_failure_exits_by_its_cause_before_text_and_by_6_after_unless_it_is_ours(
    cause: PipechatError, exit_before: int, exit_after: int
) -> None:
    for chunks, exit_code in (([], exit_before), ([HI], exit_after)):
        reducer = TurnReducer(lambda: 0.0)
        for chunk in chunks:
            reducer.feed(chunk)
        terminal = reducer.fail(cause)[-1]
        assert isinstance(terminal, Error)
        assert (terminal.exit_code, terminal.code) == (exit_code, cause.code)
        assert terminal.retryable == cause.retryable
        assert reducer.cause is cause


def test_a_connection_that_breaks_after_the_finish_reason_has_cut_nothing() -> None:
    for cause, complete in (
        (NetworkError("connection_lost", "x"), True),
        (TryLaterError("malformed_stream", "x"), False),
        (Interrupted(15), False),
    ):
        reducer = TurnReducer(lambda: 0.0)
        reducer.feed(HI)
        reducer.feed(finish("stop"))
        assert isinstance(reducer.fail(cause)[-1], End if complete else Error)
    reducer.feed(finish("length"))
    broken = reducer.fail(NetworkError("connection_lost", "x"))[-1]
    assert isinstance(broken, Error)
    assert broken.code == "truncated"


@pytest.mark.parametrize(
    ("texts", "shown_texts"),
    [
        (["\ud83d", "\ude00"], ["\U0001f600"]),
        (["a\ud83d", "\ude00b"], ["a", "\U0001f600b"]),
        (["\ud83d", "", "\ude00"], ["\U0001f600"]),
        (["\ud83d\ude00"], ["\U0001f600"]),
        (["\ud83d", "x"], ["\ufffdx"]),
        (["\ude00", "x"], ["\ufffd", "x"]),
        (["a\ud83d"], ["a", "\ufffd"]),
        (["\ud83d", "\ud83d", "\ude00"], ["\ufffd", "\U0001f600"]),
        (["\ud83d\ud83d\ude00\ude00"], ["\ufffd\U0001f600\ufffd"]),
        (["é", "日本"], ["é", "日本"]),
        (["", ""], []),
    ],
)
def test_surrogates_are_joined_over_chunks_or_replaced(
    texts: list[str], shown_texts: list[str]
) -> None:
    events = reduce([*(Chunk(text=text) for text in texts), finish("stop")])
    assert [event.text for event in events if isinstance(event, TextChunk)] == shown_texts


@MODEST
@given(st.lists(any_text, max_size=8))
def test_any_texts_are_shown_as_their_whole_would_be(texts: list[str]) -> None:
    events = reduce([*(Chunk(text=text) for text in texts), finish("stop"), DONE])
    terminal = events[-1]
    assert isinstance(terminal, End)
    whole = "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert shown(events) == terminal.answer == whole
    indexes = [event.index for event in events if isinstance(event, TextChunk)]
    assert indexes == list(range(len(indexes)))
    assert all(event.text for event in events if isinstance(event, TextChunk))


def test_reasoning_is_told_and_no_part_of_the_answer() -> None:
    events = reduce([Chunk(text="a", reasoning="hm\ud83d"), finish("stop")])
    assert events[:2] == [Reasoning("hm\ufffd"), TextChunk(0, "a")]
    assert events[-1].record()["answer"] == "a"


def test_a_retry_passes_through() -> None:
    retry = Retry(1, 0.5, 429, "rate_limited")
    assert TurnReducer(lambda: 0.0).feed(retry) == (retry,)


def test_the_last_usage_and_the_first_request_id_are_told() -> None:
    chunks = [
        Chunk(request_id="first"),
        Chunk(text="a", usage={"total_tokens": 1}, request_id="second"),
        Chunk(finish_reason="stop"),
        Chunk(usage={"total_tokens": 2}),
    ]
    end = reduce(chunks)[-1]
    assert isinstance(end, End)
    assert (end.usage, end.request_id) == ({"total_tokens": 2}, "first")


def test_the_times_are_those_of_the_first_text_and_of_the_end() -> None:
    now = [10.0]
    reducer = TurnReducer(lambda: now[0])
    now[0] = 11.0
    reducer.feed(Chunk(reasoning="hm"))
    now[0] = 12.5
    reducer.feed(HI)
    now[0] = 13.0
    reducer.feed(HI)
    now[0] = 14.25
    end = reducer.close()[-1]
    assert isinstance(end, Error)
    assert (end.first_token_s, end.total_s) == (2.5, 4.25)


@pytest.mark.parametrize(
    ("event", "record"),
    [
        (Start("i", "t", None, "m", 1, 2),
         {"type": "start", "v": 1, "id": "i", "time": "t", "session": None, "model": "m",
          "turns_sent": 1, "turns_dropped": 2, "replayed": False}),
        (Retry(1, 0.5, None, "timeout"),
         {"type": "retry", "attempt": 1, "wait_s": 0.5, "status": None, "code": "timeout"}),
        (Reasoning("hm"), {"type": "reasoning", "text": "hm"}),
        (TextChunk(0, "a"), {"type": "chunk", "index": 0, "text": "a"}),
        (End(answer="a", finish_reason="stop", first_token_s=0.1, total_s=0.2, request_id="r"),
         {"type": "end", "status": "complete", "finish_reason": "stop", "answer": "a",
          "usage": None, "first_token_s": 0.1, "total_s": 0.2, "request_id": "r",
          "extracted": None, "json": None}),
        (Error(status="failed", code="c", exit_code=5, retryable=True, message="m", answer="",
               total_s=0.2),
         {"type": "error", "status": "failed", "code": "c", "exit_code": 5, "retryable": True,
          "message": "m", "answer": "", "usage": None, "finish_reason": None,
          "first_token_s": None, "total_s": 0.2, "request_id": None}),
    ],
)  # fmt: skip
def test_an_event_is_written_with_its_documented_keys_in_order(
    event: Event, record: dict[str, object]
) -> None:
    assert list(event.record().items()) == list(record.items())


unseen_chunks = st.builds(
    Chunk,
    reasoning=st.just(""),
    finish_reason=st.none() | st.sampled_from(["stop", "length", "x", "content_filter"]),
    usage=st.none() | st.just({"total_tokens": 1}),
    refusal=st.booleans(),
    tool_calls=st.booleans(),
    done=st.booleans(),
    whole=st.booleans(),
    request_id=st.none() | st.just("first"),
    text=st.sampled_from(["", "\ud83d"]),
)
any_chunks = st.lists(
    st.builds(
        Chunk,
        text=any_text,
        reasoning=st.just("") | any_text,
        finish_reason=st.none() | st.sampled_from(["stop", "length", "x"]),
        usage=st.none() | st.just({"total_tokens": 2}),
        done=st.booleans(),
        whole=st.booleans(),
    ),
    max_size=6,
)


@MODEST
@given(
    st.lists(st.tuples(st.lists(unseen_chunks, max_size=4),
                       st.sampled_from([Again(), Retry(1, 0.5, 429, "rate_limited")])), max_size=3),
    any_chunks,
)  # fmt: skip
def test_what_failed_attempts_said_counts_for_nothing_in_the_next(
    attempts: list[tuple[list[Chunk], Again | Retry]], last: list[Chunk]
) -> None:
    for chunks, _ in attempts:  # a high half waits for the next piece, and is then shown
        del chunks[1 + next((n for n, chunk in enumerate(chunks) if chunk.text), len(chunks)) :]
    steps: list[Step] = [step for chunks, again in attempts for step in (*chunks, again)]
    events = [event for event in reduce([*steps, *last]) if not isinstance(event, Retry)]
    assert events == reduce(last)


@MODEST
@given(any_chunks)
def test_a_request_may_be_sent_again_until_anything_was_shown_and_never_after(
    chunks: list[Chunk],
) -> None:
    reducer = TurnReducer(lambda: 0.0)
    any_shown = False
    for chunk in chunks:
        assert reducer.may_send_again() == (not any_shown)
        any_shown = any_shown or bool(reducer.feed(chunk))
    assert reducer.may_send_again() == (not any_shown)
