"""A process that begins after its imports is one that began with them, to all that can be seen."""

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.servers import ChatServer, Stall, answer, chunk, raw_reply, stream_reply
from tests.warm_start import WarmProcess

KINDS = ("cold", "warm")
LIMIT_S = 30.0


def warmth(process: "subprocess.Popen[bytes]") -> str:
    """Whether a running process was forked, told by its command line."""
    words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    return "warm" if any(word.endswith(b"warm_parent.py") for word in words) else "cold"


def seen_of(pid: int) -> dict[str, Any]:
    """What /proc shows of a process, without what differs from one to the next."""
    here = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (here / "status").read_text().splitlines())
    alike = "PPid Umask Uid Gid Groups Threads SigBlk SigIgn SigCgt CapEff NoNewPrivs"
    stat = (here / "stat").read_text().rpartition(") ")[2].split()
    links = {}
    for each in (here / "fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            links[int(each.name)] = os.readlink(each)
    return {
        **{name: status[name] for name in alike.split()},
        "folder": os.readlink(here / "cwd"),
        "limits": (here / "limits").read_text(),
        "streams": {number: re.sub(r"\d+", "", links[number]) for number in range(3)},
        "others": sorted(re.sub(r"\d+", "", links[fd]) for fd in links if fd > 2),
        "leads a group": stat[2] == str(pid),
        "leads a session": stat[3] == str(pid),
        "terminal": stat[4],
    }


def unlike(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The names of what is not the same in both."""
    return {name for name in one if one[name] != other[name]}


@pytest.fixture
def either(program: Program) -> Any:
    """Start a process of a kind, and end it."""

    @contextmanager
    def start(kind: str, *words: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
        program.warm = kind == "warm"
        process = program.start(*words, **options)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    return start


@pytest.mark.parametrize(
    "command", [("ask",), ("batch", "run", "in.ndjson", "--workers", "1")], ids=["ask", "batch"]
)
@pytest.mark.parametrize("alone", [False, True], ids=["among ours", "in its own session"])
def test_a_warm_process_is_to_the_system_what_a_cold_one_is(
    either: Any, tmp_path: Path, command: tuple[str, ...], alone: bool
) -> None:
    (tmp_path / "in.ndjson").write_text('{"id": "a", "question": "b"}\n')
    with ChatServer(raw_reply(Stall())) as server:
        words = [*command, "--base-url", server.url, *(["hello"] if command == ("ask",) else [])]
        options: dict[str, Any] = {
            "cwd": tmp_path, "umask": 0o027, "start_new_session": alone,
            "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT,
        }  # fmt: skip
        with either("cold", *words, **options) as cold, either("warm", *words, **options) as warm:
            server.wait_for_requests(2)
            assert (warmth(cold), warmth(warm)) == KINDS
            ends_at = time.monotonic() + LIMIT_S
            # Until threads have ended that made the connection. (A batch's pools have one more or
            # less, as it happens.)
            aside = {"Threads"} if command[0] == "batch" else set()
            while other := unlike(seen_of(warm.pid), seen_of(cold.pid)) - aside:
                assert time.monotonic() < ends_at, other
                time.sleep(0.05)
            seen = seen_of(warm.pid)
    assert seen["folder"] == str(tmp_path)
    assert seen["leads a session"] is alone


def test_a_warm_process_has_the_environment_and_the_umask_that_it_was_given(
    program: Program, tmp_path: Path
) -> None:
    (program.home / "config.toml").write_text('api_key_command = "env >&2; echo key"\n')
    said = {}
    with ChatServer(answer("fine")) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        env = {"OPENAI_API_KEY": None, "XDG_DATA_HOME": "/\udcff", "NO_COLOR": ""}
        for kind in KINDS:
            program.warm = kind == "warm"
            result = program.run(*ask, "-o", kind, env=env, cwd=tmp_path, umask=0o027)
            said[kind] = sorted(result.stderr.splitlines())
            assert result.status == 0
            assert oct((tmp_path / kind).stat().st_mode)[-3:] == "640"
    assert said["warm"] == said["cold"]
    assert {b"XDG_DATA_HOME=/\xff", b"NO_COLOR="} <= set(said["warm"])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_warm_process_dies_of_a_signal_as_a_child_of_ours(
    either: Any, signum: signal.Signals
) -> None:
    with ChatServer(stream_reply(chunk("one"), Stall())) as server:
        ask = ("ask", "--base-url", server.url, "hello")
        with either("warm", *ask, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            assert process.stdout.read(3) == b"one"
            assert process.poll() is None
            process.send_signal(signum)
            assert process.wait(LIMIT_S) == -signum
            assert not Path(f"/proc/{process.pid}").exists()


COLD: dict[str, dict[str, Any]] = {
    "a setting of Python's": {"env": {"PYTHONUTF8": "1"}},
    "a locale": {"env": {"LC_ALL": "C.UTF-8"}},
    "a setting of a library's": {"env": {"OPENAI_LOG": "debug"}},
    "an import asked for": {"env": {"PIPECHAT_PLAIN_IMPORT": "1"}},
    "a path of modules": {"env": {"PYTHONPATH": f"/nowhere:{Path(__file__).parent.parent}"}},
    "a step before the program": {"preexec_fn": lambda: None},
    "a descriptor more": {"pass_fds": [0]},
    "a process group": {"process_group": 0},
}


@pytest.mark.parametrize("options", COLD.values(), ids=COLD.keys())
def test_what_a_fork_could_get_wrong_starts_cold(either: Any, options: dict[str, Any]) -> None:
    with either("warm", "ask", "--offline", **options) as process:
        assert warmth(process) == "cold"
    with either("warm", "ask", "--offline") as process:
        assert warmth(process) == "warm"


def test_where_a_test_has_changed_what_is_inherited_it_starts_cold(either: Any) -> None:
    def is_warm() -> bool:
        with either("warm", "ask", "--offline") as process:
            return warmth(process) == "warm"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert not is_warm()
    finally:
        signal.signal(signal.SIGHUP, before)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else 1, hard))
    try:
        assert not is_warm()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert is_warm()


def test_another_program_than_ours_is_started_as_ever() -> None:
    script = "print('another')"
    process = WarmProcess([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.communicate()[0] == b"another\n"
    with pytest.raises(FileNotFoundError):
        WarmProcess(["/nowhere/at/all"])


SCRIPT = """
cd {folder}
echo piped | pipechat ask --offline -q "and asked"
pipechat ask --bogus; echo $?
yes | pipechat --version | head -c 5
printf x | pipechat ask --offline -q | cat; echo ${{PIPESTATUS[@]}}
umask 027; pipechat ask --offline -q -o out hello; stat -c %a out
"""


def test_a_script_sees_of_a_warm_process_what_it_sees_of_a_cold_one(
    program: Program, tmp_path: Path
) -> None:
    said = {}
    for kind in KINDS:
        program.warm = kind == "warm"
        function = f'pipechat() {{ {program.in_scripts()} "$@"; }}'
        script = function + SCRIPT.format(folder=shlex.quote(str(tmp_path)))
        done = subprocess.run(
            ["bash", "-c", script], env=program.environ(), capture_output=True, check=True
        )
        said[kind] = done.stdout.decode(), done.stderr.decode()
    assert said["warm"] == said["cold"]
    assert "you asked: and asked\n\npiped" in said["warm"][0]
    assert said["warm"][0].endswith("640\n")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_what_a_script_started_is_one_to_the_warm_process(
    program: Program, signum: signal.Signals
) -> None:
    with ChatServer(stream_reply(chunk("one"), Stall())) as server:
        ask = ("ask", "--session", "s", "--base-url", server.url, "hello")
        process = subprocess.Popen(
            [*shlex.split(program.in_scripts()), *ask], env=program.environ(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.read(3) == b"one"
        process.send_signal(signum)
        assert process.wait(LIMIT_S) == -signum
        process.communicate()
    assert [record["status"] for record in program.records("s")] == ["partial"]


def test_of_warm_processes_that_are_started_at_once_each_tells_its_own_end(
    program: Program,
) -> None:
    def status(number: int) -> int:
        command = ["batch", "run"] if number % 2 else ["ask"]
        environ = program.environ()
        words = [sys.executable, "-m", "pipechat", *command, "--bogus"]
        process = WarmProcess(words, env=environ, stderr=subprocess.PIPE)
        process.communicate()
        return process.returncode

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(status, range(24))) == {2}
