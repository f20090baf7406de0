"""The parties: their commands, the session files they work on, and whether they did their work."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benching import sessions
from benching.home import Home
from benching.measuring import NotMeasuredError

QUESTION = "What is a pipe?"
_JQ = "jq --unbuffered -rj '.choices[0].delta.content // empty'"
# `sed -u` reads byte by byte; with `stdbuf` sed reads what is there and is as live.
LIVE = f"sed -u -n 's/^data: //; /^{{/p' | {_JQ}"
LIVE_BY_BLOCKS = f"stdbuf -oL sed -n 's/^data: //; /^{{/p' | {_JQ}"
_SPARE_BYTES = 2 * 10**9

# None where the output is right, else what is wrong with it.
Check = Callable[[bytes], str | None]


@dataclass(frozen=True)
class Party:
    """A command to measure. `prepare` runs before each run of it, and is not measured. `items`:
    how many requests it makes, where a row compares one of them."""

    name: str
    command: tuple[str, ...]
    check: Check
    prepare: Callable[[], None] = lambda: None
    items: int = 1


class SessionOnDisk:
    """A session file that is as it was before every run. `folder`: the PIPECHAT_HOME that it is in,
    where that is another."""

    def __init__(self, home: Home, name: str, turns: int, folder: Path | None = None) -> None:
        self._pipechat = str(home.bin / "pipechat")
        self._name = name
        self._turns = turns
        self._size = 0
        self.path = (folder or home.folder / "pipechat") / "sessions" / f"{name}.jsonl"

    def asked(self, chunks: int, *more: str) -> tuple[str, ...]:
        """A question in it, answered in `chunks` chunks."""
        model = ("-m", f"bench-{chunks}")
        return (self._pipechat, "ask", "--session", self._name, *model, *more, QUESTION)

    def shown(self, last: int) -> tuple[str, ...]:
        """Its last turns."""
        return (self._pipechat, "history", "show", self._name, "--last", str(last))

    def write(self) -> None:
        """Write it, where an earlier group has not."""
        if not self.path.exists():
            folder = self.path.parent
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            needed = self._turns * sessions.BYTES_A_TURN
            if shutil.disk_usage(folder).free < needed + _SPARE_BYTES:
                raise NotMeasuredError(f"{needed // 10**6} MB and some to spare are not free")
            sessions.write_session(self.path, self._turns)
            self._sync()
        self._size = self.path.stat().st_size

    def restore(self) -> None:
        """Take away what was appended. Synced, so that no run pays for another's writing."""
        if self.path.stat().st_size != self._size:
            os.truncate(self.path, self._size)
            self._sync()

    def _sync(self) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())


def llm(home: Home, chunks: int) -> tuple[str, ...]:
    """llm with its log, which it keeps unless told otherwise."""
    return (str(home.bin / "llm"), "-m", f"bench-{chunks}", QUESTION)


def curl(home: Home, model: str, *more: str, url: str = "") -> tuple[str, ...]:
    """The same request by curl, its stream as it comes; `url`: of another server."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
    }
    url = (url or home.environ()["OPENAI_BASE_URL"]) + "/chat/completions"
    header = ("-H", "content-type: application/json")
    return (home.tool("curl"), "-sN", *more, *header, "-d", json.dumps(body), url)


def pipeline(home: Home, chunks: int, rest: str) -> tuple[str, ...]:
    """curl's output through `rest`, a part of a shell's command line."""
    asking = curl(home, f"bench-{chunks}")
    return (home.tool("sh"), "-c", f'"$@" | {rest}', "sh", *asking)


def anything(_output: bytes) -> str | None:
    """Whatever it wrote: its exit status is enough."""
    return None


def holds(part: bytes) -> Check:
    """`part` is somewhere in the output."""
    return lambda output: None if part in output else f"its output does not hold {part!r}"


def is_text(text: str) -> Check:
    """The output is `text`, but for newlines at the end."""
    expected = text.encode().rstrip(b"\n")
    return lambda output: None if output.rstrip(b"\n") == expected else "its output is wrong"


def has_lines(count: int) -> Check:
    """The output has `count` lines."""

    def check(output: bytes) -> str | None:
        lines = output.count(b"\n")
        return None if lines == count else f"{lines} lines of output instead of {count}"

    return check


def write_questions(path: Path, count: int) -> None:
    """So many items of a batch."""
    with path.open("w") as file:
        for number in range(count):
            item = {"id": f"item-{number}", "question": f"What is question {number} about?"}
            file.write(json.dumps(item) + "\n")
