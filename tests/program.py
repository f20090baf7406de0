"""The real program, run as its users run it: a process of its own, real pipes, its own home.

Everything a run writes is checked: the planted key is in none of it, and every event is as
`pipechat schema event` says; `events=False` says that a run may end without any.

A process takes 200 ms, so a table's rows run in the tests' own, in 20 ms: mark the test (or, as
`pytestmark`, the file) `@pytest.mark.in_process`, and its `program` is an `InProcess` with the
same `run` and the same checks; `in_process(False)` takes one test of a marked file out. Signals,
descriptors, terminals, limits, imports, and one run per exit code take a process; `start` always
starts one. Where a test says nothing of the start itself, that one is warm: it is forked when its
imports are done (`tests/warm_start.py`). One that does is marked `@pytest.mark.cold`.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import jsonschema_rs

from tests.warm_command import WarmCommand
from tests.warm_start import WarmProcess, warm_folders

PLANTED_KEY = "sk-planted-7f3a9c51d2e84b06"
"""In the environment of every run; a test that finds it in an output has found a leak."""

PLANTED_HEADER = "planted-header-52c07be1d9"
PLANTED_QUERY = "planted query/+4f8ab7730e"
"""What a test gives as a header's value or in a base URL's query: likewise."""
_PLANTED = tuple(
    form.encode()
    for form in (
        PLANTED_KEY, PLANTED_HEADER, PLANTED_QUERY, quote(PLANTED_QUERY), quote_plus(PLANTED_QUERY)
    )
)  # fmt: skip
assert all(b"planted" in planted for planted in _PLANTED)

RUN_LIMIT_S = 60.0
WAITS = {
    "after_end": "pipechat.client.deadlines._AFTER_END_S",
    "busy": "pipechat.store.sessions._SHORT_WAIT_S",
    "last_lock": "pipechat.store.spool._LAST_WAIT_S",
    "lock": "pipechat.store.locks.PATIENCE_S",
    "quiet_lock": "pipechat.store.locks._QUIET_S",
    "quiet_reader": "pipechat.show.files._QUIET_S",
    "quiet_stdin": "pipechat.stdin.QUIET_STDIN_S",
    "settings": "pipechat.commands.doctor_checks._SETTINGS_S",
    "quiet_wait": "pipechat.show.waiting._QUIET_S",
}
"""What the program waits for of itself, by no setting of its user's."""
_EVENT_FORMATS = {"json", "ndjson", "stream-json"}
_NO_NAMES = """
import socket
from tests.no_names import no_names

socket.getaddrinfo = no_names(socket.getaddrinfo)
"""
_SHORTER = """
from tests.shorter_waits import shorten

for wait, seconds in {waits}.items():
    shorten(wait, seconds)
"""


@dataclass(frozen=True)
class Result:
    """What a run left: its exit status as a shell gives it (128 + n for a signal) and bytes."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """stdout read as NDJSON."""
        return [json.loads(line) for line in self.stdout.split(b"\n") if line]

    @property
    def code(self) -> str:
        """The code that the one line on stderr names; "" where there is none."""
        lines = [line for line in self.stderr.decode().splitlines() if line.count(": ") >= 2]
        return lines[-1].split(": ")[1] if lines else ""


class Program:
    """pipechat with a home of its own."""

    python = sys.executable
    warm = False
    """Whether its processes may begin after their imports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.written: list[bytes] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._warm_command: WarmCommand | None = None

    def environ(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The environment of a run: nothing of the user's own settings, no proxies."""
        keep = ("PATH", "LANG", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        environ = {name: os.environ[name] for name in keep if name in os.environ}
        environ |= {
            "HOME": str(self.home),
            "PIPECHAT_HOME": str(self.home),
            "OPENAI_API_KEY": PLANTED_KEY,
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "TZ": "UTC",
        }
        for name, value in (extra or {}).items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value
        return environ

    def start(
        self,
        *arguments: str | bytes | Path,
        env: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        """Start it; stdin, stdout and stderr are pipes unless said otherwise."""
        for name in ("stdin", "stdout", "stderr"):
            options.setdefault(name, subprocess.PIPE)
        command = [self.python, "-m", "pipechat", *arguments]
        kind = WarmProcess if self.warm else subprocess.Popen
        process = kind(command, env=self.environ(env), **options)
        self._started.append(process)
        return process

    def in_scripts(self) -> str:
        """What a script of a shell writes for `pipechat`."""
        if not self.warm:
            return f'"{self.python}" -m pipechat'
        self._warm_command = self._warm_command or WarmCommand()
        return self._warm_command.words

    def close(self) -> None:
        """End what a failed test left running."""
        if self._warm_command is not None:
            self._warm_command.close()
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(OSError):  # stdin may hold bytes that nobody read
                        pipe.close()

    def run(
        self,
        *arguments: str | bytes | Path,
        input: bytes | None = b"",
        env: Mapping[str, str | None] | None = None,
        events: bool = True,
        **options: Any,
    ) -> Result:
        """Run it to its end."""
        process = self.start(*arguments, env=env, **options)
        return self.finish(process, input=input, events=events)

    def finish(
        self, process: "subprocess.Popen[bytes]", input: bytes | None = None, *, events: bool = True
    ) -> Result:
        """Wait for a started run, and check what it wrote."""
        try:
            stdout, stderr = process.communicate(input, timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            raise
        status = process.returncode
        result = Result(status if status >= 0 else 128 - status, stdout or b"", stderr or b"")
        arguments = process.args
        assert isinstance(arguments, list)
        # What went to a file or a reader of the test's own is not here to be checked.
        return self.checked(result, arguments, events=events and stdout is not None)

    def checked(self, result: Result, arguments: Sequence[Any], *, events: bool) -> Result:
        """The result, with what it wrote noted, and its events checked where it has any to
        give. `events`: whether it must have."""
        self.written += [result.stdout, result.stderr]
        elsewhere = {"-o", "--output", "--dry-run", "--help"} & set(arguments)
        if _EVENT_FORMATS & set(arguments) and "ask" in arguments and not elsewhere:
            assert result.stdout or not events, "no event came"
            if result.stdout:
                check_events(result)
        return result

    def without_names(self) -> dict[str, str | None]:
        """Settings with which no host name but this machine's resolves: the look-up fails
        inside the process, and nothing asks the network for it."""
        return self.at_start("no-names", _NO_NAMES, or_later=True)

    def shorter(self, **waits: float) -> dict[str, str | None]:
        """Settings with which a process waits that long where its own `WAITS[name]` says longer."""
        code = _SHORTER.format(waits={WAITS[name]: each for name, each in waits.items()})
        return self.at_start("-".join(["shorter", *waits]), code, or_later=True)

    def without(self, package: str) -> dict[str, str | None]:
        """Settings with which a process has no such package."""
        code = f"import sys\nsys.modules[{package!r}] = None\n"
        return self.at_start(f"no-{package}", code, or_later=package == "prompt_toolkit")

    def at_start(self, name: str, code: str, *, or_later: bool = False) -> dict[str, str | None]:
        """Settings with which a process runs `code` before it runs the program. `or_later`: it
        may be after what a question imports."""
        folder = self.home / name
        folder.mkdir(exist_ok=True)
        if or_later:
            warm_folders.add(str(folder))
        (folder / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": f"{folder}:{Path(__file__).parent.parent}"}

    def records(self, session: str) -> list[dict[str, Any]]:
        """The records of a session's file, as they stand."""
        path = self.home / "sessions" / f"{session}.jsonl"
        return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]

    def spools(self) -> list[Path]:
        """The spools that stand in the folder."""
        folder = self.home / "sessions"
        found = list(folder.glob(".*.part"))
        for of_session in folder.glob(".in-flight/*"):
            with suppress(FileNotFoundError):  # it went with its last spool
                found += of_session.glob("*.part")
        return sorted(found)


@contextmanager
def a_program(folder: Path, kind: type[Program] = Program) -> Iterator[Program]:
    """The program with an empty home in `folder`; afterwards, the key must be nowhere it wrote,
    and in no file of the folder."""
    home = folder / "home"
    home.mkdir()
    program = kind(home)
    try:
        yield program
    finally:
        program.close()
    for written in program.written:
        leaked = _planted_in(written)
        assert not leaked, f"{leaked} leaked into an output"
    read: set[tuple[int, int]] = set()
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "config.toml":
            found = path.stat()
            if (found.st_dev, found.st_ino) in read:  # one more name of the same file
                continue
            read.add((found.st_dev, found.st_ino))
            path.chmod(found.st_mode | stat.S_IRUSR)  # a test took it away, and is no root
            leaked = _planted_in(path.read_bytes())
            assert not leaked, f"{leaked} leaked into {path}"


def _planted_in(content: bytes) -> list[bytes]:
    if b"planted" not in content:  # as all of them have; some tests write 100 MB
        return []
    return [planted for planted in _PLANTED if planted in content]


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    from pipechat.show.schema import event_schema

    return jsonschema_rs.Draft202012Validator(event_schema())


def check_events(result: Result) -> None:
    """There are events, each is valid, exactly one is terminal and it is the last (DESIGN §5)."""
    events = result.events
    for event in events:
        _validator().validate(event)
    terminal = [event["type"] in ("end", "error") for event in events]
    assert terminal == [False] * (len(events) - 1) + [True]
    texts = [event["text"] for event in events if event["type"] == "chunk"]
    assert len(events) == 1 or "".join(texts) == events[-1]["answer"]
    assert len(events) == 1 or events[0]["type"] == "start"
