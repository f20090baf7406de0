"""How much memory and reading a run takes, told by /proc while it waits for more input."""

import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LIMIT_S = 600


class Taken(NamedTuple):
    """What a run took so far: its largest resident set, and what it read."""

    peak_bytes: int
    read_bytes: int


def taken(process: "subprocess.Popen[bytes]") -> Taken:
    """What `process` took so far."""
    status = dict(line.split(":", 1) for line in _lines(process.pid, "status"))
    io = dict(line.split(":", 1) for line in _lines(process.pid, "io"))
    return Taken(int(status["VmHWM"].split()[0]) << 10, int(io["rchar"]))


def _lines(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}").read_text().splitlines()


def fed_until(
    process: "subprocess.Popen[bytes]", data: Iterable[bytes], out: Path, count: int
) -> Taken:
    """Give `data` to its stdin, which stays open; what it took once `out` has `count` records."""
    assert process.stdin is not None
    stdin = process.stdin

    def feed() -> None:
        with suppress(BrokenPipeError):
            for each in data:
                stdin.write(each)
            stdin.flush()

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    ends_at = time.monotonic() + _LIMIT_S
    seen = position = 0
    while seen < count:
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < ends_at
        if out.exists():
            with out.open("rb") as file:
                file.seek(position)
                while block := file.read(1 << 20):
                    position += len(block)
                    seen += block.count(b"\n")
        time.sleep(0.02)
    thread.join()
    return taken(process)
