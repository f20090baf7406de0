"""Where actors are put and what becomes of a lost one, on a Ray that is the test's own.

What the real one does is in `test_ray_storm.py`.
"""

import asyncio
import pickle
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipechat.batch import ray_cluster
from pipechat.batch.asking import WorkerLostError
from pipechat.batch.ray_cluster import RayCluster
from pipechat.errors import SetupError, TryLaterError


class RayError(Exception):
    """Ray's own."""


class FakeRay:
    """Nodes by name and CPUs; `answer` is what the actor on a node says, or raises."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, nodes: dict[str, int], answer: Callable[[str], Any]) -> None:
        self.placed: list[str] = []
        self.killed: list[str] = []
        self.cancelled = 0
        self.given: dict[str, Any] = {}
        self.has_shut_down = False
        self._nodes = nodes
        self._answer = answer

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": name, "Alive": cpus >= 0, "Resources": {"CPU": cpus} if cpus > 0 else {}}
            for name, cpus in self._nodes.items()
        ]

    def remote(self, _kind: type) -> Any:
        return SimpleNamespace(options=self._options)

    def kill(self, actor: Any) -> None:
        self.killed.append(actor.node)
        raise RayError("it is gone already")

    def cancel(self, _came: object) -> None:
        self.cancelled += 1

    def init(self, **given: Any) -> None:
        self.given = given

    def shutdown(self) -> None:
        self.has_shut_down = True

    def _options(self, *, scheduling_strategy: str, **_more: Any) -> Any:
        async def say() -> Any:
            said = self._answer(scheduling_strategy)
            if isinstance(said, Exception):
                raise said
            return await said if isinstance(said, Awaitable) else said

        method = SimpleNamespace(remote=lambda _content: say())
        actor = SimpleNamespace(node=scheduling_strategy, begin=method, ask=method)

        def place() -> Any:
            self.placed.append(scheduling_strategy)
            return actor

        return SimpleNamespace(remote=place)


@pytest.fixture(autouse=True)
def strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_node(node: str, *, soft: bool) -> str:
        assert not soft, "where the actor is, is ours to know"
        return node

    module: Any = ModuleType("ray.util.scheduling_strategies")
    module.NodeAffinitySchedulingStrategy = on_node
    for name in ("ray", "ray.util", "ray.util.scheduling_strategies"):
        monkeypatch.setitem(sys.modules, name, module)


READY = pickle.dumps(None)


def start(ray: FakeRay, count: int) -> list[Any]:
    cluster = RayCluster(ray, b"plan", 4)

    async def all_of_them() -> list[Any]:
        return [await cluster.start() for _ in range(count)]

    return asyncio.run(all_of_them())


def test_actors_are_spread_over_the_nodes_that_live_and_have_cpus() -> None:
    ray = FakeRay({"head": 0, "a": 1, "b": 8, "dead": -1}, lambda _node: READY)
    start(ray, 4)
    assert sorted(ray.placed) == ["a", "a", "b", "b"]


def test_where_no_node_has_cpus_all_that_live_are_taken() -> None:
    ray = FakeRay({"head": 0, "a": 0, "dead": -1}, lambda _node: READY)
    start(ray, 2)
    assert sorted(ray.placed) == ["a", "head"]


def test_a_node_on_which_one_was_lost_comes_last() -> None:
    ray = FakeRay({"a": 1, "b": 1}, lambda node: RayError("node died") if node == "a" else READY)
    cluster = RayCluster(ray, b"plan", 4)

    async def check() -> None:
        with pytest.raises(WorkerLostError, match="RayError: node died"):
            await cluster.start()
        for _ in range(3):
            await cluster.start()

    asyncio.run(check())
    assert ray.placed == ["a", "b", "b", "b"]
    assert ray.killed == ["a"]


def test_an_actor_that_does_not_start_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_START_S", 0.01)
    ray = FakeRay({"a": 1}, lambda _node: asyncio.Event().wait())
    with pytest.raises(WorkerLostError, match="TimeoutError"):
        start(ray, 1)
    assert ray.killed == ["a"]


def test_what_the_actor_says_is_wrong_is_what_is_raised() -> None:
    wrong = pickle.dumps(SetupError("bad_worker", "another version"))
    with pytest.raises(SetupError, match="another version"):
        start(FakeRay({"a": 1}, lambda _node: wrong), 1)


def test_without_a_node_an_actor_is_lost() -> None:
    with pytest.raises(WorkerLostError, match="no node is alive"):
        start(FakeRay({"dead": -1}, lambda _node: READY), 1)


def test_a_job_ends_with_its_actor_or_is_given_up_there() -> None:
    says: list[Callable[[], Any]] = [
        lambda: READY,
        lambda: RayError("first line\n\nthe cause"),
        lambda: asyncio.Event().wait(),
    ]
    ray = FakeRay({"a": 1}, lambda _node: says.pop(0)())
    cluster = RayCluster(ray, b"plan", 4)

    async def check() -> None:
        actor = await cluster.start()
        with pytest.raises(WorkerLostError, match=r"^RayError: the cause$"):
            await actor.ask(b"job")
        asked = asyncio.ensure_future(actor.ask(b"job"))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert asked.cancelled()

    asyncio.run(check())
    assert ray.cancelled == 1


@pytest.mark.parametrize("address", [None, "auto"])
def test_a_cluster_of_its_own_is_small_and_has_no_dashboard(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay({"a": 1}, lambda _node: READY)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with ray_cluster.connected(address, b"plan", 4) as cluster:
        assert cluster.nodes == ["a"]
    assert ray.has_shut_down
    assert ray.given["address"] == (address or "local")
    assert ray.given["log_to_driver"] is False
    assert ray.given.get("include_dashboard") == (False if address is None else None)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1"])
def test_a_cluster_that_is_not_there_is_told_before_ray_tries(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay({}, lambda _node: READY)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(TryLaterError) as caught, ray_cluster.connected(address, b"plan", 4):
        pass
    assert caught.value.code == "ray_failed"
    assert f"no Ray cluster at {address}: " in caught.value.message
    assert ray.given == {}
