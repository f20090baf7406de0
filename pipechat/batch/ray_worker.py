"""The worker of `--engine ray`: jobs go to a process that speaks Ray, which spreads them.

Owns that process, the bridge: starting and ending it, and what it hears of Ray. Ray itself never
comes into the process of the run, whose stdout, signals and life are its own.
"""

from __future__ import annotations

import asyncio
import pickle
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipechat.batch.asking import Asked, Job, Show
from pipechat.batch.frames import frame, next_frame
from pipechat.batch.ray_plan import ACCOUNT, Answer, Begin, Plan, Question
from pipechat.errors import PipechatError, TryLaterError
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted

_START_S = 120.0
_END_S = 15.0
_BRIDGE = "pipechat.batch.ray_bridge"


async def start_ray_worker(
    settings: Settings,
    environ: Mapping[str, str],
    wanted: Wanted | None,
    tell: Callable[[str], None],
) -> RayWorker:
    """A worker whose actors are ready.

    Args:
        tell: is told, line by line, what Ray says.

    Raises:
        PipechatError: there is no cluster, or no actor in it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = _bridge(theirs, _environ_of_bridge(settings, environ))
    worker = RayWorker(process, *await asyncio.open_connection(sock=ours), tell)
    plan = pickle.dumps(Plan.of(settings, environ, wanted))
    begin = pickle.dumps(Begin(plan, settings.ray_address, settings.jobs))
    try:
        async with asyncio.timeout(_START_S):
            await worker.exchange(begin)
    except TimeoutError as error:
        await worker.aclose()
        message = f"Ray was not ready within {_START_S:g} s"
        raise TryLaterError("ray_failed", message, "-v shows what Ray says.") from error
    except BaseException:
        await worker.aclose()
        raise
    return worker


def _bridge(theirs: socket.socket, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The process between the run and Ray, with `theirs` as stdin."""
    return subprocess.Popen(
        # Not the folder that the user stands in: its modules are not ours.
        [sys.executable, "-P", "-m", _BRIDGE],
        stdin=theirs.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        cwd="/",
        # Ctrl-C at the terminal is for the run: it lets what is in flight end.
        start_new_session=True,
    )


class RayWorker:
    """Asks through the bridge, `process`, at the other end of `reader` and `writer`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tell: Callable[[str], None],
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._tell = tell
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._count = 0
        self._ended: PipechatError | None = None
        self._tasks = [asyncio.ensure_future(self._take()), asyncio.ensure_future(self._hear())]

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """As `Worker.ask`; the events come when the answer has."""
        answer: Answer = await self.exchange(pickle.dumps(Question(job, show is not None)))
        if show is not None:
            for event in answer.shown:
                show(event)
        return answer.asked

    async def exchange(self, content: bytes) -> Any:
        """What the bridge answers to the next frame; it raises what the answer says."""
        if self._ended is not None:
            raise self._ended
        number, self._count = self._count, self._count + 1
        came = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(frame(number, content))
        try:
            with suppress(ConnectionError):  # the end of its answers says that it ended
                await self._writer.drain()
            return await came
        except asyncio.CancelledError:
            self._writer.write(frame(number, b""))
            raise
        finally:
            self._waiting.pop(number, None)

    async def aclose(self) -> None:
        """End the bridge, and a cluster of its own."""
        self._writer.close()
        try:
            await asyncio.to_thread(self._process.wait, _END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self) -> None:
        while (came := await next_frame(self._reader)) is not None:
            number, content = came
            waiting = self._waiting.get(number)
            if waiting is None or waiting.done():
                continue
            answer = pickle.loads(content)
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
        message = "the process that speaks to Ray ended: the cluster may be gone"
        self._ended = TryLaterError("ray_failed", message, "-v shows what Ray says.")
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._ended)

    async def _hear(self) -> None:
        """What the bridge says: Ray's own words."""
        said = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(said)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, self._process.stdout)
        try:
            while not said.at_eof():
                with suppress(ValueError):  # a line that nobody would read to its end
                    if line := await said.readline():
                        self._tell(line.decode("utf-8", "replace").rstrip())
        finally:
            transport.close()


def _environ_of_bridge(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """No key, no account, no password of a proxy: processes of the cluster have it as well."""
    own = {
        name: value
        for name, value in environ.items()
        if not name.startswith(ACCOUNT) and not name.lower().endswith("_proxy")
    }
    root = str(Path(__file__).parents[2])
    more = None if sys.flags.isolated else environ.get("PYTHONPATH")
    own["PYTHONPATH"] = ":".join(filter(None, (root, more)))
    own["RAY_USAGE_STATS_ENABLED"] = "0"
    if settings.ray_address is None:
        # Says 0 to "may other machines join", which is Ray's default where they could not:
        # everything listens on loopback alone. A token keeps this machine's other users out.
        own["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return own
