"""`.bench/`: the virtual environment with all that is compared, and a folder for each run.

All parties run from one Python, and every module of theirs is compiled beforehand: what is
compiled anew at each start (PYTHONDONTWRITEBYTECODE) says little about a program.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benching.far import CERTIFICATE, make_certificate

_SERVER_S = 6 * 3600
_SCRIPTS = Path(__file__).parent.parent
# pip is to install into the environment, and to compile what it installs.
_NOT_FOR_PIP = ("PYTHONDONTWRITEBYTECODE", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONPATH")


class SetUpError(Exception):
    """Nothing can be measured: the message says why."""


@dataclass(frozen=True)
class Home:
    """Where the parties are installed, and a folder that is removed after the run."""

    root: Path
    bin: Path
    folder: Path
    port: int
    far_port: int
    """Of the server that is far away; 0 where there is none."""

    @property
    def far_url(self) -> str:
        return f"https://127.0.0.1:{self.far_port}/v1"

    @property
    def far_certificate(self) -> str:
        return str(self.folder / CERTIFICATE)

    def environ(self) -> dict[str, str]:
        """What every measured process gets, and nothing else: no PYTHON* and no proxy among it."""
        return {
            "PATH": f"{self.bin}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "OPENAI_API_KEY": "no-key-is-needed",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.port}/v1",
            "PIPECHAT_HOME": str(self.folder / "pipechat"),
            "LLM_USER_PATH": str(self.folder / "llm"),
        }

    def tool(self, name: str) -> str:
        """The full path of a command, or its bare name where there is none."""
        return shutil.which(name, path=self.environ()["PATH"]) or name


@contextmanager
def open_home(root: Path, say: Callable[[str], None]) -> Iterator[Home]:
    """Install what is not installed, start the server; afterwards nothing runs and nothing but
    `.bench/venv` is left. One bench at a time.

    Raises:
        SetUpError
    """
    bench = root / ".bench"
    with _locked(bench):
        with _told_as_set_up(bench):
            for left in bench.glob("run-*"):  # by one that was killed
                shutil.rmtree(left)
            _install(root, bench, say)
            folder_of_run = tempfile.TemporaryDirectory(prefix="run-", dir=bench)
        with (
            folder_of_run as folder,
            _server("server") as port,
            _far(port, Path(folder)) as far_port,
        ):
            yield Home(root, bench / "venv/bin", Path(folder), port, far_port)


@contextmanager
def _locked(bench: Path) -> Iterator[None]:
    with _told_as_set_up(bench):
        bench.mkdir(exist_ok=True)
        (bench / ".gitignore").write_text("*\n")
        lock = (bench / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SetUpError("another bench runs here") from error
        yield


@contextmanager
def _told_as_set_up(bench: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "Copy the project to a folder of your own, without .bench."
        raise SetUpError(f"{error.filename or bench}: {error.strerror}. {hint}") from error


@contextmanager
def _far(port: int, folder: Path) -> Iterator[int]:
    """The port of the server when it is far away, 0 where there is no certificate to be had."""
    try:
        make_certificate(folder)
    except OSError:
        yield 0
        return
    with _server("far", str(port), str(folder)) as far_port:
        yield far_port


@contextmanager
def _server(kind: str, *arguments: str) -> Iterator[int]:
    """The port of a server of this bench. It ends when its stdin does, so with this process at
    last."""
    command = [sys.executable, "-m", f"benching.{kind}", str(_SERVER_S), *arguments]
    environ = {"PATH": os.environ.get("PATH", os.defpath)}
    with subprocess.Popen(
        command,
        cwd=_SCRIPTS,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline() or b"0")
        finally:
            server.kill()


def _install(root: Path, bench: Path, say: Callable[[str], None]) -> None:
    venv = bench / "venv"
    stamp = bench / "installed"
    made_of = _fingerprint(root)
    was = stamp.read_text().splitlines() if stamp.exists() else []
    if was[:2] == made_of:
        return
    stamp.unlink(missing_ok=True)
    python = str(venv / "bin/python")
    if was[:1] != made_of[:1]:
        say(f"installing llm and pipechat with the openai SDK into {venv} (once)")
        _call([sys.executable, "-m", "venv", "--clear", str(venv)])
        _call([python, "-m", "pip", "install", "-q", "llm", f"{root}[all]"])
    else:
        say("installing this pipechat anew")
        again = ["--no-deps", "--force-reinstall"]
        _call([python, "-m", "pip", "install", "-q", *again, str(root)])
    _call([python, "-m", "compileall", "-q", "-j", "0", str(venv / "lib")], can_fail=True)
    stamp.write_text("\n".join(made_of) + "\n")


def install_commit(root: Path, revision: str, say: Callable[[str], None]) -> tuple[str, Path]:
    """The short name of a commit, and the folder of commands of an environment that holds its
    pipechat, with the dependencies of today's.

    Raises:
        SetUpError
    """
    commit = _called(["git", "-C", str(root), "rev-parse", "--short", f"{revision}^{{commit}}"])
    name = commit.decode().strip()
    venv = root / ".bench" / f"venv-{name}"
    python = str(venv / "bin/python")
    if (venv / "installed").exists():
        return name, venv / "bin"
    say(f"installing pipechat of {name} into {venv} (once)")
    _call([sys.executable, "-m", "venv", "--clear", str(venv)])
    today = str(root / ".bench/venv/bin/python")
    with tempfile.TemporaryDirectory(dir=root / ".bench") as folder:
        sources, pins = Path(folder, "sources"), Path(folder, "pins.txt")
        archive = _called(["git", "-C", str(root), "archive", name])
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(sources, filter="data")
        pinned = _called([today, "-m", "pip", "freeze", "--exclude", "pipechat"])
        pins.write_bytes(pinned)
        _call([python, "-m", "pip", "install", "-q", "-c", str(pins), f"{sources}[all]"])
    _call([python, "-m", "compileall", "-q", "-j", "0", str(venv / "lib")], can_fail=True)
    (venv / "installed").touch()
    return name, venv / "bin"


def _fingerprint(root: Path) -> list[str]:
    """Of what the environment is made: the Python and the dependencies; pipechat's sources."""
    base = hashlib.sha256(f"{root} {sys.version} {os.path.realpath(sys.executable)}".encode())
    base.update((root / "pyproject.toml").read_bytes())
    sources = hashlib.sha256()
    for path in sorted((root / "pipechat").rglob("*.py")):
        sources.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return [base.hexdigest(), sources.hexdigest()]


def _call(command: list[str], *, can_fail: bool = False) -> None:
    _called(command, can_fail=can_fail)


def _called(command: list[str], *, can_fail: bool = False) -> bytes:
    """What the command wrote."""
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_PIP}
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0 and not can_fail:
        words = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise SetUpError(f"{' '.join(command)} failed:\n{words[-2000:]}")
    return done.stdout
