"""A reply: the steps that answer one request, as wire bytes; and what can be done to them.

Owns HTTP/1.1 framing (a Reply's Sends are the very bytes of the wire, head and chunk sizes
included), cutting and re-segmenting. Pure; knows nothing of chat completions.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from tests.servers.steps import Close, Part, Raw, Reset, Send, Stall, Step, Wait, flatten

Framing = Literal["chunked", "content_length", "close_delimited"]
Ending = Literal["fin", "rst", "stall"]
FRAMINGS: tuple[Framing, ...] = ("chunked", "content_length", "close_delimited")
ENDINGS: tuple[Ending, ...] = ("fin", "rst", "stall")
_ENDS: dict[Ending, Step] = {"fin": Close(), "rst": Reset(), "stall": Stall()}


@dataclass(frozen=True)
class Reply:
    """Steps whose Sends are wire bytes; the connection is kept afterwards if `keep_alive`."""

    steps: tuple[Step, ...]
    keep_alive: bool = False

    @property
    def wire(self) -> bytes:
        """Everything that it sends, as one."""
        return b"".join(step.data for step in self.steps if isinstance(step, Send))

    @property
    def head_size(self) -> int:
        """Length in bytes of the status line and headers, the empty line included."""
        return self.wire.index(b"\r\n\r\n") + 4


def raw_reply(*parts: Part) -> Reply:
    """Exactly these bytes and steps, no framing: `raw_reply(Reset())`, `raw_reply(b"HTTP/…")`."""
    return Reply(flatten(parts))


def http_reply(
    status: int,
    *parts: Part,
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
    framing: Framing = "content_length",
    length: int | None = None,
) -> Reply:
    """A response with this body. The head goes out at once, then the parts in their order.

    `chunked`: each Send is one HTTP chunk, Raw goes as it is, and the last chunk follows unless a
    step ended the connection. `content_length`: the sum of the Sends, or `length` if given (a
    lie, for bodies that are cut). `close_delimited`: `Connection: close`, and FIN at the end.
    """
    body = flatten(parts)
    ended = any(step.ends for step in body)
    fields = {"content-type": content_type} if content_type else {}
    fields |= headers or {}
    if framing == "chunked":
        fields["transfer-encoding"] = "chunked"
        body = tuple(_as_chunk(step) for step in body if step != Send(b""))
        body += () if ended else (Send(b"0\r\n\r\n"),)
    elif framing == "content_length":
        size = sum(len(step.data) for step in body if isinstance(step, Send))
        fields["content-length"] = str(size if length is None else length)
    else:
        fields["connection"] = "close"
        body += () if ended else (Close(),)
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {fields[name]}" for name in fields)]
    head = Send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    closes = fields.get("connection") == "close" or length is not None
    return Reply((head, *body), keep_alive=not (ended or closes))


def _as_chunk(step: Step) -> Step:
    if isinstance(step, Send) and not isinstance(step, Raw):
        return Send(b"%x\r\n%b\r\n" % (len(step.data), step.data))
    return step


def cut(reply: Reply | bytes, at: int, how: Ending = "fin") -> Reply:
    """The first `at` wire bytes of a reply (its waits included), then FIN, RST or silence."""
    steps: list[Step] = []
    left = at
    for step in _steps(reply):
        if step.ends or left <= 0:
            break
        if isinstance(step, Send):
            step = Send(step.data[:left])
            left -= len(step.data)
        steps.append(step)
    return Reply((*steps, _ENDS[how]))


def resegment(reply: Reply | bytes, sizes: Sequence[int], pause: float = 0.0005) -> Reply:
    """The same wire bytes in segments of these sizes (cycled), `pause` seconds apart.

    Other steps stay where they are; a segment never reaches over one.
    """
    steps: list[Step] = []
    cycle = itertools.cycle(sizes)
    for sends, group in itertools.groupby(_steps(reply), lambda step: isinstance(step, Send)):
        if not sends:
            steps.extend(group)
            continue
        data = b"".join(step.data for step in group if isinstance(step, Send))
        at = 0
        while at < len(data):
            size = max(1, next(cycle))
            steps += [Send(data[at : at + size]), Wait(pause)]
            at += size
    return Reply(tuple(steps), keep_alive=isinstance(reply, Reply) and reply.keep_alive)


def _steps(reply: Reply | bytes) -> tuple[Step, ...]:
    return reply.steps if isinstance(reply, Reply) else (Send(reply),)
