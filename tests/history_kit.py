"""What the tests of `history` share: sessions written as they stand in a file, a terminal."""

import os
import pty
import resource
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipechat import jsonl
from pipechat.messages import Turn
from tests.program import Program, Result
from tests.pseudo_terminal import read_to_end


def turn(number: int, question: str = "why?", answer: str = "so", **others: Any) -> Turn:
    """Turn `number`, a minute after the one before."""
    fields: dict[str, Any] = {
        "id": f"01a20632-3269-7831-b7d6-{number:012x}",
        "time": f"2026-11-23T{number // 60:02}:{number % 60:02}:30.250Z",
        "status": "complete",
        "model": "gpt-5.4-mini",
        **others,
    }
    return Turn(question=question, answer=answer, **fields)


def line(turn: Turn) -> bytes:
    """The line that a turn stands in."""
    return jsonl.dumps(turn.record()) + b"\n"


def write_session(program: Program, name: str, turns: Iterable[Turn | bytes]) -> Path:
    """A session of `turns`; bytes stand as they are."""
    folder = program.home / "sessions"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"".join(each if isinstance(each, bytes) else line(each) for each in turns))
    path.chmod(0o600)
    return path


def on_a_terminal(
    program: Program, *arguments: str, typed: bytes = b"", env: Mapping[str, str] | None = None
) -> Result:
    """Run with a terminal on all three streams; what is on the screen is stdout, with \\n."""
    ours, theirs = pty.openpty()
    environ: dict[str, str | None] = {"TERM": "xterm", "TZ": "UTC-1", "NO_COLOR": None, "PAGER": ""}
    environ |= env or {}
    process = program.start(
        *arguments, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, typed)
    screen = read_to_end(ours)
    os.close(ours)
    result = program.finish(process)
    return Result(result.status, screen.replace(b"\r\n", b"\n"), b"")


def limit_memory() -> None:
    """Let this process have 64 MiB of memory of its own, files aside."""
    resource.setrlimit(resource.RLIMIT_DATA, (64 << 20, 64 << 20))
