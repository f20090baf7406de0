"""The loopback server, a process of its own: `python -m benching.server SECONDS`.

Prints its port, then answers POST …/chat/completions as `answers` says. It ends when its stdin
ends, so with whoever started it, and after SECONDS in any case. For a model `bench-N` the whole
response is rendered beforehand, one HTTP chunk an event, and handed to the kernel in one piece:
what is measured is who reads it.
"""

import asyncio
import json
import os
import sys
import time
from functools import lru_cache

from benching.answers import (
    PACE_S,
    STAMP,
    closing,
    framed,
    opening,
    pieces,
    text_event,
    whole_completion,
    whole_stream,
)

_CONNECTIONS = 256
_MOST_CHUNKS = 200_000
_LARGEST_REQUEST = 16 * 1024 * 1024
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\n"
    b"x-request-id: req_bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_END = b"0\r\n\r\n"


@lru_cache(maxsize=16)
def _rendered(kind: str, count: int, with_usage: bool) -> bytes:
    events = whole_stream(pieces(kind, count), with_usage=with_usage)
    return b"".join((_HEAD, *map(framed, events), _END))


@lru_cache(maxsize=16)
def _whole(count: int) -> bytes:
    body = json.dumps(whole_completion(count)).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


async def _send_paced(writer: asyncio.StreamWriter, count: int, with_usage: bool) -> None:
    writer.write(b"".join((_HEAD, *map(framed, opening()))))
    before, after = text_event("\0").split(b"\\u0000")
    loop = asyncio.get_running_loop()
    started = loop.time()
    for index in range(count):
        # By the clock, not one pause after the other: those would add up.
        await asyncio.sleep(started + index * PACE_S - loop.time())
        writer.write(framed(before + STAMP % time.monotonic_ns() + after))
        await writer.drain()
    writer.write(b"".join((*map(framed, closing(count, with_usage=with_usage)), _END)))


async def _answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer the next request; False where it is the last."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    if length > _LARGEST_REQUEST:
        return False
    request = json.loads(await reader.readexactly(length) or b"{}")
    kind, _, number = str(request.get("model", "")).partition("-")
    if kind not in ("bench", "paced", "json") or not number.isdigit() or int(number) > _MOST_CHUNKS:
        body = b'{"error":{"message":"no such model","code":"model_not_found"}}'
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    else:
        with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        if kind == "paced":
            await _send_paced(writer, int(number), with_usage)
        elif not request.get("stream"):
            writer.write(_whole(int(number)))
        else:
            writer.write(_rendered(kind, int(number), with_usage))
    await writer.drain()
    return b"connection: close" not in head


async def _serve(seconds: float) -> None:
    room = asyncio.Semaphore(_CONNECTIONS)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with room:
            try:
                while await _answer_one(reader, writer):
                    pass
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
                pass  # the client left, or spoke no HTTP
            finally:
                writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        print("the bench's server ends: its time is over", file=sys.stderr)
    os._exit(0)  # whoever is still connected is not waited for


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
