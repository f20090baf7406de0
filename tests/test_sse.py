"""What the event decoder promises: the standard's lines and fields, however the bytes are cut."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import TryLaterError
from pipechat.wire import sse
from pipechat.wire.sse import ServerEvent, SSEDecoder
from tests.properties import MODEST, cut, cut_points


def decode(segments: Iterable[bytes]) -> list[ServerEvent]:
    decoder = SSEDecoder()
    events = [event for segment in segments for event in decoder.feed(segment)]
    return events + decoder.close()


def decode_by_the_book(stream: bytes) -> list[ServerEvent]:
    """The same, slowly and all at once: the standard's own words as code."""
    events: list[ServerEvent] = []
    data: list[bytes] = []
    name = ""
    for line in [*re.split(b"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        field, _, value = line.partition(b":")
        if not line:
            joined = b"\n".join(data)
            if joined.strip(b" \t\n\x0b\x0c"):
                events.append(ServerEvent(joined, name))
            data, name = [], ""
        elif field == b"data" and b":" in line:
            data.append(value.removeprefix(b" "))
        elif field == b"event" and b":" in line:
            name = value.strip().decode("utf-8", "replace")
        elif field == b"error" and b":" in line:  # not the standard's; a server's own
            events.append(ServerEvent(value.strip(), "error"))
    return events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\n", [(b"one", "")]),
        (b"data:one\n\ndata: two\n\n", [(b"one", ""), (b"two", "")]),
        (b"data:  two blanks\n\n", [(b" two blanks", "")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [(b"a", ""), (b"b", ""), (b"c", "")]),
        (b"data: a\ndata: b\n\n", [(b"a\nb", "")]),
        (b"data: a\r\ndata: b\rdata: c\n\r\n", [(b"a\nb\nc", "")]),
        (b": keep-alive\n\ndata: a\n: OPENROUTER PROCESSING\n\n", [(b"a", "")]),
        (b"id: 7\nretry: 10\nevent: delta\ndata: a\n\n", [(b"a", "delta")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [(b"a", "error"), (b"b", "")]),
        (b"event: error\n\ndata: b\n\n", [(b"b", "")]),
        (b"id: 1\n\nretry: 2\n\nevent: ping\n\n", []),
        (b"data:\n\ndata: \n\ndata\n\n", []),
        (b"data:\ndata:\n\ndata:   \n\n", []),
        (b"database: a\n\nDATA: b\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"a", "")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"a", "")]),
        ("data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(), None),
        (b"data: \x00\x1b\xff\n\n", [(b"\x00\x1b\xff", "")]),
        (b"data: a", [(b"a", "")]),
        (b"data: a\n", [(b"a", "")]),
        (b"data: a\n\ndata: b", [(b"a", ""), (b"b", "")]),
        (b"", []),
        (b"\n\n\r\r", []),
        (b"<html>\n</html>\n\n", []),
    ],
)
def test_lines_and_fields_are_taken_as_the_standard_says(
    stream: bytes, events: list[tuple[bytes, str]] | None
) -> None:
    if events is None:
        events = [(stream[6:-2], "")]
    assert decode([stream]) == events
    assert decode(bytes([byte]) for byte in stream) == events
    assert decode_by_the_book(stream) == events


lines = st.sampled_from(
    [
        b"",
        b"",
        b"",
        b"data: a",
        b"data:b",
        b"data:",
        b"data: ",
        b"data",
        b"data: [DONE]",
        b": comment",
        b"event: error",
        b"error: x",
        b"error:",
        b"event:x",
        b"id: 1",
        b"retry: 1",
        b"\xef\xbb\xbf",
        "data: \u2028\U0001f600\u0085".encode(),
        b"dat",
        b"data: \xf0\x9f",
    ]
) | st.binary(max_size=12)
streams = st.lists(
    st.tuples(lines, st.sampled_from([b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\r\r", b""])),
    max_size=20,
).map(lambda pairs: b"".join(line + end for line, end in pairs))


@MODEST
@given(streams, cut_points, st.booleans())
def test_any_cut_of_any_stream_reads_as_the_standard_says(
    stream: bytes, points: list[int], bom: bool
) -> None:
    if bom:
        stream = b"\xef\xbb\xbf" + stream
    expected = decode_by_the_book(stream)
    assert decode([stream]) == expected
    assert decode(cut(stream, points)) == expected
    assert decode(bytes([byte]) for byte in stream) == expected


def test_empty_segments_between_cr_and_lf_change_nothing() -> None:
    assert decode([b"data: a\r", b"", b"\n\r", b"", b"\n", b"data: b\n\n"]) == [
        (b"a", ""),
        (b"b", ""),
    ]


def test_a_line_of_several_megabytes_comes_whole_from_small_segments() -> None:
    text = b"x" * (6 << 20)
    line = b"data: " + text + b"\n\n"
    segments = (line[start : start + 4096] for start in range(0, len(line), 4096))
    assert decode(segments) == [(text, "")]


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 200, b": " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20, b"x" * 101],
)
def test_an_event_that_never_ends_is_given_up_as_malformed(
    stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    for segments in ([stream], cut(stream, range(0, len(stream), 7))):
        with pytest.raises(TryLaterError) as caught:
            decode(segments)
        assert caught.value.code == "malformed_stream"
        assert not caught.value.again


def test_many_small_events_are_no_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    assert len(decode([b"data: xxxxxxxxxx\n\n" * 50, b": c\n" * 50])) == 50
