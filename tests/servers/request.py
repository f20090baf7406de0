"""A request as it came in: parsed from the wire, kept for the test to look at.

Owns reading HTTP/1.1 requests (head, Content-Length and chunked bodies); answers nothing.
"""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.servers.peer import Peer


@dataclass(frozen=True)
class Head:
    """Request line and headers; header names lower-cased, repeated ones joined by `, `."""

    method: str
    target: str
    headers: dict[str, str]


@dataclass(frozen=True, eq=False)
class Request:
    """One request.

    `body` is the decoded JSON, None where it is none. `time` is `time.monotonic()` (seconds) when
    it was complete. `number` counts the server's requests from 0, `connection` its connections
    from 1. `left` is set when the client closed or reset before the reply had ended, `ended` when
    the server has nothing more to do with it.
    """

    method: str
    path: str
    headers: dict[str, str]
    raw_body: bytes
    number: int = 0
    connection: int = 0
    time: float = field(default_factory=time.monotonic)
    left: threading.Event = field(default_factory=threading.Event, repr=False)
    ended: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def body(self) -> Any:
        try:
            return json.loads(self.raw_body)
        except ValueError:
            return None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat's messages, [] where there are none."""
        body = self.body
        return body.get("messages", []) if isinstance(body, dict) else []

    @property
    def question(self) -> str:
        """The text of the last user message, "" where there is none."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message)
        return ""


def text_of(message: dict[str, Any]) -> str:
    """The text of a message whose content is a string or an array of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


class BadRequestError(Exception):
    """What came is not HTTP/1.1."""


async def read_head(peer: Peer) -> Head | None:
    """The next request's head; None when the client closed instead. Raises BadRequestError."""
    try:
        data = await peer.reader.readuntil(b"\r\n\r\n")
        first, *lines = data[:-4].decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
    except asyncio.IncompleteReadError:
        return None
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise BadRequestError from error
    if not version.startswith("HTTP/1."):
        raise BadRequestError(version)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError(line)
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(method, target, headers)


async def read_body(peer: Peer, head: Head) -> bytes:
    """The body that belongs to the head. Raises IncompleteReadError when it is cut."""
    if head.headers.get("expect", "").lower() == "100-continue":
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" not in head.headers.get("transfer-encoding", ""):
        return await peer.reader.readexactly(int(head.headers.get("content-length", "0")))
    pieces: list[bytes] = []
    while size := int((await peer.reader.readline()).split(b";")[0], 16):
        pieces.append(await peer.reader.readexactly(size))
        await peer.reader.readexactly(2)
    while (await peer.reader.readline()).strip():
        pass  # trailers
    return b"".join(pieces)
