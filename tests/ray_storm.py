"""A Ray cluster of two nodes on loopback, and what `batch run --engine ray` makes of it.

A program, not a test, with the Python of an environment that has Ray: `python -m tests.ray_storm
two FOLDER` in a network of its own (`unshare -n`), where every address is loopback; `own FOLDER`
anywhere. It prints, as one JSON object, what came of each run; `test_batch_ray.py` looks at it.
What it starts, it ends.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.proc_watch import (
    addresses_listened_at,
    bring_loopback_up,
    holds,
    raylets_that_ask,
    watched_command_lines,
)
from tests.servers import ChatServer, Reply, Request, Wait, error_reply, mirror

ROOT = Path(__file__).parent.parent
RUN_S = 120.0
PER_S = 50
# Of this run alone: what else runs on this machine may have the key of the tests.
KEY = f"sk-planted-{secrets.token_hex(12)}"


def on_two_nodes(folder: Path) -> dict[str, Any]:
    """Runs one after the other on one cluster; a node dies in one of them, all in the last."""
    bring_loopback_up()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_TMPDIR"] = str(folder)  # where it notes the address, in a `ray` that is there
    from ray.cluster_utils import Cluster  # type: ignore[import-not-found]  # the extra is not in the environment of the tests

    temporary = folder / "ray"
    node = {"num_cpus": 1, "include_dashboard": False, "temp_dir": str(temporary)}
    with watched_command_lines(KEY) as leaks:
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            second = cluster.add_node(num_cpus=1)
            runs = Runs(folder, cluster.address)
            report = {
                "spread": runs.spread(),
                "streamed": runs.streamed_events(),
                "limited": runs.limited(),
                "rpm": runs.slow_by_rpm(),
                "resumed": runs.resumed(),
                "terminated": runs.terminated(),
                "node_killed": runs.killed("node_killed", 300, lambda: kill(cluster, second)),
            }
            logs = [path for path in temporary.rglob("*") if path.is_file()]
            report["logs"] = {"count": len(logs), "leaks": [str(p) for p in logs if holds(KEY, p)]}
            report["cluster_killed"] = runs.killed(
                "cluster_killed", 2000, lambda: kill(cluster, cluster.head_node)
            )
        finally:
            cluster.shutdown()
    return {**report, "command_lines": leaks}


def on_its_own(folder: Path) -> dict[str, Any]:
    """Without --ray-address: where it listens, what it logs and what it leaves."""
    before, listened = set(_own_folders()), addresses_listened_at()
    leaks: set[str] = set()
    outside: set[str] = set()

    def look(_request: Request) -> None:
        outside.update(addresses_listened_at() - listened)
        for path in set(_own_folders()) - before:
            leaks.update(str(each) for each in path.rglob("*") if holds(KEY, each))

    with watched_command_lines(KEY) as command_lines, ChatServer(answered(look)) as server:
        report = Runs(folder, None).run(server, "own", 20)
    left = [*set(_own_folders()) - before, *(folder / "home").iterdir()]
    return {
        **report,
        "outside": sorted(outside),
        "leaks": [*leaks, *command_lines],
        "left": [str(path) for path in left],
    }


def _own_folders() -> Iterator[Path]:
    return Path("/tmp").glob("pipechat-ray-*")


def kill(cluster: Any, node: Any) -> None:
    cluster.remove_node(node, allow_graceful=False)


class Runs:
    """Runs over the cluster at `address`, each with an output of its own in `folder`."""

    def __init__(self, folder: Path, address: str | None) -> None:
        self.folder = folder
        self.address = address

    def start(
        self, server: ChatServer, name: str, count: int, *more: str
    ) -> "subprocess.Popen[bytes]":
        source = self.folder / f"{name}.ndjson"
        lines = [json.dumps({"id": f"i{n}", "question": f"question {n}"}) for n in range(count)]
        source.write_text("".join(f"{line}\n" for line in lines))
        command = [sys.executable, "-m", "pipechat", "batch", "run", str(source)]
        command += ["--base-url", server.url, "--engine", "ray", *more]
        if "--events" not in more:
            command += ["-o", str(self.folder / f"{name}.jsonl")]
        if self.address is not None:
            command += ["--ray-address", self.address]
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PIPECHAT_HOME": str(home),
            "OPENAI_API_KEY": KEY,
            "OPENAI_ORG_ID": "org-of-the-run",
            "OPENAI_BASE_URL": server.url,
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, cwd=self.folder
        )

    def finish(
        self, server: ChatServer, name: str, process: "subprocess.Popen[bytes]"
    ) -> dict[str, Any]:
        try:
            stdout, stderr = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
        out = self.folder / f"{name}.jsonl"
        records = (
            [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        )
        return {
            "status": process.returncode,
            "stdout": stdout.decode(),
            "stderr": stderr.decode(),
            "leaked": KEY in f"{stdout!r}{stderr!r}{records}",
            "asked": dict(Counter(request.question for request in server.requests)),
            "keys": sorted(
                {
                    request.headers["authorization"].replace(KEY, "KEY")
                    for request in server.requests
                }
            ),
            "accounts": sorted(
                {request.headers.get("openai-organization", "") for request in server.requests}
            ),
            "records": [(record["item"], record["status"]) for record in records],
        }

    def run(self, server: ChatServer, name: str, count: int, *more: str) -> dict[str, Any]:
        return self.finish(server, name, self.start(server, name, count, *more))

    def spread(self) -> dict[str, Any]:
        """300 items over both nodes; who is connected is looked at on the way."""
        nodes: set[int] = set()
        with ChatServer(answered(gap=0.05)) as server:
            process = self.start(server, "spread", 300)
            while process.poll() is None and len(nodes) < 2:
                nodes |= raylets_that_ask(server.port)
                time.sleep(0.1)
            report = self.finish(server, "spread", process)
        return {**report, "nodes": len(nodes)}

    def streamed_events(self) -> dict[str, Any]:
        with ChatServer(answered()) as server:
            return self.run(server, "streamed", 5, "--events", "--stream")

    def limited(self) -> dict[str, Any]:
        """A server that allows so many requests a second."""
        limited = Limited(PER_S)
        with ChatServer(limited) as server:
            report = self.run(server, "limited", 20 * PER_S, "-j", "64")
        first, last = limited.answered[0], limited.answered[-1]
        steady = [at for at in limited.answered if first + 4 <= at <= last - 1]
        report["per_s"] = len(steady) / (last - 1 - first - 4)
        report["refused"] = limited.refused
        return report

    def slow_by_rpm(self) -> dict[str, Any]:
        """A limit of the user's, of 20 a second."""
        with ChatServer(answered()) as server:
            report = self.run(server, "rpm", 100, "-j", "64", "--rpm", "1200")
            times = sorted(request.time for request in server.requests)
        report["per_s"] = (len(times) - 1) / (times[-1] - times[0])
        report["most_in_a_second"] = max(
            sum(1 for at in times if start <= at < start + 1) for start in times
        )
        return report

    def resumed(self) -> dict[str, Any]:
        """The output of `spread`, with as many items again."""
        for suffix in (".jsonl", ".ndjson"):
            spread = (self.folder / f"spread{suffix}").read_text()
            (self.folder / f"resumed{suffix}").write_text(spread)
        with ChatServer(answered()) as server:
            return self.run(server, "resumed", 330)

    def terminated(self) -> dict[str, Any]:
        """SIGTERM in the middle: what is in flight ends within its grace."""
        with ChatServer(answered(gap=0.5)) as server:
            process = self.start(server, "terminated", 300)
            server.wait_for_requests(40, RUN_S)
            process.send_signal(signal.SIGTERM)
            return self.finish(server, "terminated", process)

    def killed(self, name: str, count: int, kill: Callable[[], None]) -> dict[str, Any]:
        """Something dies in the middle."""
        with ChatServer(answered(gap=0.3)) as server:
            process = self.start(server, name, count)
            server.wait_for_requests(60, RUN_S)
            kill()
            return self.finish(server, name, process)


class Limited:
    """Allows so many requests in each second, and answers 429 above."""

    def __init__(self, per_s: int) -> None:
        self.answered: list[float] = []
        self.refused = 0
        self._per_s = per_s
        self._second = (0, 0)
        self._answer = mirror()

    def __call__(self, request: Request) -> Reply:
        now = time.monotonic()
        second, count = self._second
        if int(now) != second:
            second, count = int(now), 0
        self._second = (second, count + 1)
        if count >= self._per_s:
            self.refused += 1
            return error_reply(429, "Slow down.", headers={"retry-after": "1"})
        self.answered.append(now)
        return self._answer(request)


def answered(
    look: Callable[[Request], None] = lambda _request: None, gap: float = 0.0
) -> Callable[[Request], Reply]:
    """Whole answers, after `gap` seconds."""
    answer = mirror()

    def choose(request: Request) -> Reply:
        look(request)
        reply = answer(request)
        return replace(reply, steps=(Wait(gap), *reply.steps)) if gap else reply

    return choose


if __name__ == "__main__":
    made = {"two": on_two_nodes, "own": on_its_own}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(made))
