"""A server far away: `python -m benching.far SECONDS PORT FOLDER`, a process of its own.

Prints the port at which the bench's server on PORT is reached by TLS, and as if it were 40 ms from
here: every byte is that long on its way, either way, and a connection takes as long as SYN and its
answer would. FOLDER gets the certificate, `far.pem`. It ends when its stdin ends, and after
SECONDS in any case.
"""

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

DELAY_S = 0.040
CERTIFICATE = "far.pem"
_KEY = "far.key"
_BLOCK = 1 << 16

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Pass = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def make_certificate(folder: Path) -> None:
    """A certificate of this machine, valid for a day, and its key. Raises OSError."""
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    files = ("-keyout", str(folder / _KEY), "-out", str(folder / CERTIFICATE))
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    command = ("openssl", "req", "-x509", *kind, "-subj", "/CN=localhost", "-addext", names, *files)
    done = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise OSError(done.stderr.decode("utf-8", "replace"))


async def _at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        while True:
            at, data = await under_way.get()
            await asyncio.sleep(at - loop.time())
            if not data:
                return writer.write_eof()
            writer.write(data)

    arriving = asyncio.create_task(arrive())
    data = b"begun"
    while data:
        data = await reader.read(_BLOCK)
        under_way.put_nowait((loop.time() + DELAY_S, data))
    await arriving


async def _listen(dial: Dial, carry: Pass, wait_s: float, tls: ssl.SSLContext | None) -> int:
    """A port whose connections are carried on to what `dial` reaches."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(wait_s)
        with suppress(OSError):
            behind, before = await dial()
            await asyncio.gather(
                carry(reader, before), carry(behind, writer), return_exceptions=True
            )
            before.close()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _serve(seconds: float, port: int, folder: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / CERTIFICATE, folder / _KEY)
    near = await _listen(lambda: asyncio.open_connection("127.0.0.1", port), _at_once, 0, tls)
    far = await _listen(
        lambda: asyncio.open_connection("127.0.0.1", near), _delayed, 2 * DELAY_S, None
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    print(far, flush=True)
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds)
    os._exit(0)  # whoever is still connected is not waited for


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
