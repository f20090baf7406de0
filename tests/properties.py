"""What the property tests share: their profile, cuts of bytes, and an answer's whole outcome."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st

from pipechat.client.chat_client import ChatClient
from pipechat.errors import PipechatError
from pipechat.events import Chunk, End, Error, Event, Step, TerminalEvent, TextChunk, Together
from pipechat.messages import ChatRequest
from pipechat.turn.reducer import TurnReducer
from pipechat.wire.body import BodyDecoder
from pipechat.wire.dialect import dialect_of

MODEST = settings(deadline=None, max_examples=60)
"""The dose of every property: enough to find a slip again, quick enough to run each time."""

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
"""Any string at all, lone surrogates included, as JSON escapes can make them."""


def cut(data: bytes, points: Iterable[int]) -> list[bytes]:
    """`data` in segments, cut at `points` (taken modulo its length)."""
    ends = sorted({point % (len(data) + 1) for point in points} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


cut_points = st.lists(st.integers(0, 1 << 16), max_size=12)


@dataclass(frozen=True)
class Outcome:
    """What became of an answer: its text as shown, and the terminal event without its times."""

    text: str
    terminal: TerminalEvent

    @property
    def error(self) -> Error:
        assert isinstance(self.terminal, Error)
        return self.terminal


def timeless(terminal: TerminalEvent) -> TerminalEvent:
    """A terminal event with its clock readings blotted out."""
    first = None if terminal.first_token_s is None else 0.0
    return replace(terminal, first_token_s=first, total_s=0.0)


def reduce(steps: Iterable[Step], *, allow_truncated: bool = False) -> list[Event]:
    """The events of a turn, by the reducer alone; what `steps` raises ends it."""
    return _reduced(TurnReducer(lambda: 0.0, allow_truncated=allow_truncated), steps)


def answered(client: ChatClient, request: ChatRequest) -> list[Event]:
    """The events of a turn that the client answers."""
    reducer = TurnReducer(lambda: 0.0)
    return _reduced(reducer, client.answer(request, reducer))


def read_body(
    segments: Iterable[bytes], *, content_type: str, host: str, api: str = "chat"
) -> Iterator[Chunk]:
    """The chunks of a body in the dialect of `api`."""
    reader = dialect_of(api).reader(host, {})
    decoder = BodyDecoder(reader, content_type=content_type, host=host)
    for segment in segments:
        yield from decoder.feed(segment)
        if decoder.finished:
            return
    yield from decoder.close()


def _reduced(reducer: TurnReducer, steps: Iterable[Step]) -> list[Event]:
    events: list[Event] = []
    try:
        for step in steps:
            for each in step.chunks if isinstance(step, Together) else [step]:
                events += reducer.feed(each)
    except PipechatError as cause:
        return [*events, *reducer.fail(cause)]
    return [*events, *reducer.close()]


def shown(events: Sequence[Event]) -> str:
    """The chunk texts joined."""
    return "".join(event.text for event in events if isinstance(event, TextChunk))


def outcome_of(
    segments: Iterable[bytes], *, content_type: str = "text/event-stream", api: str = "chat"
) -> Outcome:
    """What a response with this body comes to."""
    events = reduce(read_body(segments, content_type=content_type, host="host", api=api))
    terminal = events[-1]
    assert isinstance(terminal, End | Error)
    return Outcome(shown(events), timeless(terminal))
