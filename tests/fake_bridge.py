"""The bridge of `--engine ray` with a cluster of the test's own, whose actors are in its process.

A program: what RAY_SAYS, RAY_LOSES, RAY_ENDS_AFTER and RAY_WRITES in its environment ask for, it
does. All but Ray is the real thing: the process, the frames, the spreading, the actor's own code.
"""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from pipechat.batch import ray_bridge
from pipechat.batch.asking import WorkerLostError
from pipechat.batch.ray_cluster import Asker
from pipechat.errors import TryLaterError


class FakeActor:
    """An Asker here. The first of all is lost with its third job, where that is asked for."""

    def __init__(self, number: int) -> None:
        self._asker = Asker()
        self._is_to_be_lost = number == 0 and "RAY_LOSES" in os.environ
        self._count = 0

    async def begin(self, plan: bytes) -> None:
        wrong = pickle.loads(await self._asker.begin(plan))
        if wrong is not None:
            raise wrong

    async def ask(self, job: bytes) -> bytes:
        self._count += 1
        if self._is_to_be_lost and self._count >= 3:
            raise WorkerLostError("its node died")
        if self._count > int(os.environ.get("RAY_ENDS_AFTER", "1000")):
            os._exit(1)
        return await self._asker.ask(job)

    def end(self) -> None:
        """Nothing of it is elsewhere."""


class FakeCluster:
    nodes = ("one", "two")

    def __init__(self, plan: bytes) -> None:
        self._plan = plan
        self._count = 0

    async def start(self) -> FakeActor:
        actor = FakeActor(self._count)
        self._count += 1
        await actor.begin(self._plan)
        return actor


@contextmanager
def connected(address: str | None, plan: bytes, jobs: int) -> Iterator[FakeCluster]:
    assert jobs > 0
    for words in filter(None, [os.environ.get("RAY_SAYS")]):
        print(words)
        print(words, file=sys.stderr)
    sys.stdout.flush()
    if "RAY_WRITES" in os.environ:
        known = {"environ": dict(os.environ), "words": sys.argv, "folder": os.getcwd()}
        Path(os.environ["RAY_WRITES"]).write_text(json.dumps(known))
    if address == "nobody:1":
        raise TryLaterError("ray_failed", "no Ray cluster at nobody:1")
    if address == "bug:1":
        raise KeyError("of Ray's")
    yield FakeCluster(plan)


if __name__ == "__main__":
    with patch.object(ray_bridge, "connected", connected):
        ray_bridge.main()
