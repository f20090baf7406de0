"""The frames of a chunked body: read as one where they came together, and as the same body as
ever, however strange they are and however the bytes are cut."""

from collections.abc import Iterable, Sequence

import h11
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.client.ahead import ConnectionAhead
from pipechat.client.frames import Frames
from pipechat.client.handed_over import transport_with
from pipechat.settings.resolve import resolve_settings
from tests.properties import MODEST, cut, cut_points
from tests.servers import ChatServer, Reply, Request, Send, http_reply

HEAD = b"HTTP/1.1 200 OK\r\nx: y\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def framed(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


class Library:
    """Who reads the response, as the client has it: what it makes of the bytes so far."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.CLIENT)
        request = h11.Request(method="POST", target="/", headers=[("host", "h")])
        self._connection.send(request)
        self._connection.send(h11.EndOfMessage())
        self.pieces: list[bytes] = []
        self.told: list[object] = []

    def read(self, data: bytes) -> None:
        if self.told[-1:] == ["broken"]:
            return
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Data):
                    self.pieces.append(bytes(event.data))
                else:
                    self.told.append(event)
                    if isinstance(event, h11.ConnectionClosed):
                        return
        except h11.RemoteProtocolError:
            self.told.append("broken")

    @property
    def knows(self) -> tuple[bytes, list[object]]:
        return b"".join(self.pieces), self.told


def read(segments: Iterable[bytes]) -> Library:
    """What is read of `segments` with the frames joined; it is the same without, at any time."""
    plain, joined, frames = Library(), Library(), Frames()
    for segment in filter(None, segments):  # an empty one would be the end
        plain.read(segment)
        joined.read(frames.joined(segment))
        assert joined.knows == plain.knows
    for library in (plain, joined):
        library.read(b"")  # the connection ends
    assert joined.knows == plain.knows
    return joined


bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
sizes = st.sampled_from([b"5", b"05", b"0000005", b"00000005", b"5;a=b", b"5 ", b"5;", b"0x5"])
strange = st.one_of(
    sizes.map(lambda size: size + b"\r\nhello\r\n"),
    st.sampled_from([
        b"", b"\r\n", b"\n", b"5\nhello\n", b"5\r\nhelloXX", b"5\r\nhello\n", b"+5\r\nhello\r\n",
        b"1_0\r\n" + b"x" * 16 + b"\r\n", b"-1\r\nx\r\n", b"A\r\n0123456789\r\n", b"ffffffff\r\n",
        b"5\r\n5\r\n\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\r\n", b"00\r\n\r\n", END, HEAD,
    ]),
    st.binary(max_size=12),
)  # fmt: skip
heads = st.sampled_from([
    HEAD, HEAD.lower().replace(b"http", b"HTTP"), HEAD.replace(b": chunked", b":chunked"),
    HEAD.replace(b"chunked", b"chunked  "), HEAD.replace(b"chunked", b"gzip"),
    HEAD.replace(b"chunked", b"chunked\r\n , x"), HEAD.replace(b"x: y", b"content-length: 7"),
    HEAD.replace(b"x: y\r\n", b"x: y\r\n\ttransfer-encoding: chunked\r\n"),
    HEAD.replace(b"x: y", b"x: y\n\nz: z"), HEAD.replace(b"\r\n", b"\n"),
    HEAD.replace(b"1.1", b"1.0"), HEAD.replace(b"200", b"204"), HEAD.replace(b"200", b"500"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, HEAD.replace(b"Transfer-Encoding: chunked", b"z: z"),
    HEAD.replace(b"x: y", b"content-length: 40").replace(b"Transfer-Encoding: chunked", b"z: z"),
])  # fmt: skip


@MODEST
@given(bodies, cut_points)
def test_the_body_is_the_same_however_its_frames_are_cut(
    bodies: Sequence[bytes], points: Sequence[int]
) -> None:
    found = read(cut(HEAD + framed(*bodies) + END, points))
    assert b"".join(found.pieces) == b"".join(bodies)
    assert any(isinstance(event, h11.EndOfMessage) for event in found.told)


@MODEST
@given(heads, st.lists(st.one_of(bodies.map(lambda each: framed(*each)), strange)), cut_points)
def test_what_is_strange_is_read_as_if_nobody_had_looked(
    head: bytes, parts: Sequence[bytes], points: Sequence[int]
) -> None:
    read(cut(head + b"".join(parts), points))


@pytest.mark.parametrize("rest", [b"", b"3", b"3\r\nab", b"x", END], ids=repr)
@pytest.mark.parametrize("before", [b"", b"a\r\n01234", b"a", b"a\r"], ids=repr)
def test_frames_that_came_together_are_one_piece(before: bytes, rest: bytes) -> None:
    whole = framed(b"0123456789") if before else b""
    found = read([HEAD + before, whole.removeprefix(before) + framed(*[b"event"] * 500) + rest])
    assert b"event" * 500 in found.pieces
    assert len(found.pieces) <= 4  # one that had begun, in two parts; one that begins


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_a_frame_that_came_alone_goes_out_as_it_came(byte_by_byte: bool) -> None:
    frames = Frames()
    stream = [HEAD, framed(b"one"), framed(b"two"), END]
    segments = [bytes([byte]) for byte in b"".join(stream)] if byte_by_byte else stream
    assert [frames.joined(segment) for segment in segments] == segments


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"200", b"500"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: 18"),
        HEAD.replace(b"chunked", b"gzip"),
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b"x: y", b"x: y\n\nz: z"),
        HEAD.replace(b"x: y", b"x: " + b"y" * 70_000),
    ],
    ids=[
        "an error",
        "HTTP/1.0",
        "a length",
        "another coding",
        "other line ends",
        "two ends",
        "no end",
    ],
)
def test_a_body_that_is_not_surely_in_frames_goes_out_as_it_came(head: bytes) -> None:
    frames = Frames()
    data = framed(b"one", b"two", b"three")
    parts = [head[:-2], head[-2:], data, data]
    assert [frames.joined(part) for part in parts] == parts


@pytest.mark.parametrize(
    "broken",
    [
        END, b"00\r\n\r\n", b"\r\n", b"\n", b"5\r\nhelloXX", b"5\nhello\n", b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"00000005\r\nhello\r\n", b"1234567", b"x",
    ],
)  # fmt: skip
def test_behind_a_frame_that_is_not_plain_everything_goes_out_as_it_came(broken: bytes) -> None:
    frames = Frames()
    data = framed(b"hello", b"hello")
    assert frames.joined(HEAD + data) == HEAD + framed(b"hellohello")
    assert [frames.joined(part) for part in (broken, data, data)] == [broken, data, data]


def test_every_response_of_a_connection_is_read_for_itself() -> None:
    replies = [
        http_reply(200, b"a", b"b", framing="chunked"),
        http_reply(200, framed(b"no", b"frames") + END),
        http_reply(404, b"c", b"d", framing="chunked"),
        http_reply(200, *[b"event"] * 500, framing="chunked"),
    ]

    def choose(request: Request) -> Reply:
        return Reply((Send(replies[request.number].wire),), keep_alive=True)

    found = []
    with ChatServer(choose) as server, ConnectionAhead() as ahead:
        ahead.begin(resolve_settings({"base_url": server.url}, {}, {}), {})
        transport = transport_with(ahead)
        for _ in replies:
            request = httpx2.Request("POST", server.url)
            response = transport.handle_request(request)
            found.append(list(response.iter_raw()))
            response.close()
        transport.close()
        assert server.connections == 1
    assert [b"".join(pieces) for pieces in found] == [
        b"ab", framed(b"no", b"frames") + END, b"cd", b"event" * 500,
    ]  # fmt: skip
    assert len(found[-1]) <= 3
