"""Ray, an extra: a cluster, and actors on its nodes that ask.

Runs in the bridge alone (`ray_bridge`), and on the nodes. Knows nothing of items or records.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pipechat.batch.asking import Asked, LocalWorker, WorkerLostError
from pipechat.batch.ray_plan import ACCOUNT, Answer, Plan, Question
from pipechat.client.async_exchange import AsyncSender, ThreadedSender
from pipechat.client.async_senders import network_sender
from pipechat.environment import take_variables
from pipechat.errors import PipechatError, TryLaterError
from pipechat.events import Event
from pipechat.settings.resolve import Settings
from pipechat.text import visible_line

_START_S = 60.0  # a worker process, and pipechat's imports in it
_KNOCK_S = 10.0
_STORE_BYTES = 128 << 20  # for answers beyond 100 kB; the default is a third of the memory
_LONGEST = 300
# Sockets are below it, and a socket's path may have 107 bytes: no place for a longer TMPDIR.
_FOLDERS = "/tmp"


class Asker:
    """The actor: asks as the process of a local run does. Raises nothing: what Ray makes of an
    exception is not what was raised."""

    async def begin(self, plan: bytes) -> bytes:
        """Make ready; None, or why not, pickled."""
        try:
            told: Plan = pickle.loads(plan)
            settings = told.own_settings()
            environ = take_variables(ACCOUNT, told.account)
            self._worker = LocalWorker(settings, _sender(settings, environ), told.wanted)
        except PipechatError as error:
            return pickle.dumps(error)
        return pickle.dumps(None)

    async def ask(self, question: bytes) -> bytes:
        """An Answer to a Question, both pickled."""
        asked: Question = pickle.loads(question)
        shown: list[Event] = []
        came: Asked = await self._worker.ask(asked.job, shown.append if asked.is_shown else None)
        return pickle.dumps(Answer(came, shown))


def _sender(settings: Settings, environ: Mapping[str, str]) -> AsyncSender:
    if not settings.offline:
        return network_sender(settings, environ, settings.jobs)
    from pipechat.client.offline import OfflineSender

    return ThreadedSender(OfflineSender())


class RayActor:
    """An Asker somewhere, as an `Actor`."""

    def __init__(self, ray: Any, remote: Any, node: str, cluster: RayCluster) -> None:
        self._ray = ray
        self._remote = remote
        self._node = node
        self._cluster = cluster

    async def begin(self, plan: bytes) -> None:
        """Make it ready. Raises WorkerLostError, or what it says is wrong."""
        try:
            async with asyncio.timeout(_START_S):
                wrong = pickle.loads(await self._remote.begin.remote(plan))
        except (self._ray.exceptions.RayError, TimeoutError) as error:
            raise self._lost(error) from error
        if wrong is not None:
            raise wrong

    async def ask(self, job: bytes) -> bytes:
        """As `Actor.ask`."""
        came = self._remote.ask.remote(job)
        try:
            answer: bytes = await came
        except asyncio.CancelledError:
            self._ray.cancel(came)
            raise
        except self._ray.exceptions.RayError as error:
            raise self._lost(error) from error
        return answer

    def end(self) -> None:
        """As `Actor.end`."""
        self._cluster.left(self._node)
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._remote)

    def _lost(self, error: Exception) -> WorkerLostError:
        self._cluster.lost(self._node)
        return WorkerLostError(_in_short(error))


class RayCluster:
    """A cluster that this process is connected to; starts actors on its nodes.

    Args:
        plan: what each actor has to know, pickled.
        jobs: how many an actor may have at once.
    """

    def __init__(self, ray: Any, plan: bytes, jobs: int) -> None:
        self._ray = ray
        self._plan = plan
        self._jobs = jobs
        self._losses: Counter[str] = Counter()
        self._actors: Counter[str] = Counter()

    @property
    def nodes(self) -> list[str]:
        """Those that may run actors, by their ids: one without CPUs is kept free by its owner."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        able = [node for node in alive if node["Resources"].get("CPU")]
        return [node["NodeID"] for node in able or alive]

    async def start(self) -> RayActor:
        """One more actor, where fewest were lost: a node that died is taken for alive for a
        while. Raises as `Spreader` wants it."""
        try:
            actor = self._new_actor()
        except (self._ray.exceptions.RayError, LookupError) as error:
            raise WorkerLostError(_in_short(error)) from error
        try:
            await actor.begin(self._plan)
        except BaseException:
            actor.end()
            raise
        return actor

    def _new_actor(self) -> RayActor:
        from ray.util.scheduling_strategies import (  # type: ignore[import-not-found]  # an extra, too large for every environment of tests
            NodeAffinitySchedulingStrategy,
        )

        nodes = sorted(self.nodes, key=lambda each: (self._losses[each], self._actors[each]))
        if not nodes:
            raise LookupError("no node is alive")
        remote = self._ray.remote(Asker).options(
            num_cpus=0,
            max_concurrency=self._jobs + 1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[0], soft=False),
        )
        actor = RayActor(self._ray, remote.remote(), nodes[0], self)
        self._actors[nodes[0]] += 1
        return actor

    def lost(self, node: str) -> None:
        """An actor on `node` was lost."""
        self._losses[node] += 1

    def left(self, node: str) -> None:
        """An actor on `node` has ended."""
        self._actors[node] -= 1


@contextmanager
def connected(address: str | None, plan: bytes, jobs: int) -> Iterator[RayCluster]:
    """The cluster at `address`, or one of our own on this machine, which ends with it.

    Raises:
        TryLaterError: `ray_failed`.
    """
    import ray  # type: ignore[import-not-found]  # as above

    with tempfile.TemporaryDirectory(prefix="pipechat-ray-", dir=_FOLDERS) as folder:
        own = {
            "include_dashboard": False,
            "num_cpus": 1,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": folder,
        }
        try:
            if address is not None:
                _knock(address)
            ray.init(address=address or "local", log_to_driver=False, **({} if address else own))
        except Exception as error:
            where = f"at {address}" if address else "on this machine"
            message = f"no Ray cluster {where}: {_in_short(error)}"
            hint = "-v shows what Ray says."
            raise TryLaterError("ray_failed", message, hint) from error
        try:
            yield RayCluster(ray, plan, jobs)
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody is there: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()


def _in_short(error: Exception) -> str:
    """The last line of what Ray says, where the cause stands."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = visible_line(lines[-1].strip()) if lines else ""
    return f"{type(error).__name__}: {text}"[:_LONGEST]
