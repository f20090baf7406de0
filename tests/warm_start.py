"""Processes of the program that begin where a plain start has done its imports.

Most of what a process costs is the same imports each time. A `WarmProcess` is forked from one that
has done them (`tests/warm_parent.py`; two for each process of the tests) and is otherwise a process
as any: a child of ours, with a pid, signals, limits, streams, a folder and an environment of its
own. What a start itself does, it does not show: such a test says `@pytest.mark.cold`. Whatever the
fork could get wrong starts cold by itself: limits or signals that the test has changed,
a `preexec_fn`, a locale, settings of Python's or of a library's. `pytest --cold` starts all so.
"""

import atexit
import ctypes
import inspect
import marshal
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.controlling_terminal import take_terminal
from tests.warm_parent import HEAD_BYTES

_ROOT = Path(__file__).parent.parent
_COMMAND = (sys.executable, "-m", "pipechat")
# What is read when it is used, not when something is imported.
_READ_LATER = re.compile(
    r"PIPECHAT_(?!PLAIN_IMPORT|PYTHON)\w+|OPENAI_(?!LOG)\w+|AZURE_OPENAI_\w+|XDG_\w+"
    r"|(?i:(https?|all|no)_proxy)|HOME|PATH|TERM|NO_COLOR|COLUMNS|LINES|TZ|PAGER|LESS"
    r"|PWD|OLDPWD|SHLVL|_"
)
# Of subprocess itself, which has promised nobody that they stay: where they do not, all is cold.
_OPTIONS = (
    "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo",
    "creationflags", "shell", "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite",
    "restore_signals", "gid", "gids", "uid", "umask", "start_new_session", "process_group",
)  # fmt: skip
_ENDS = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
_USUAL = {
    "executable": None, "close_fds": True, "pass_fds": (), "shell": False,
    "restore_signals": True, "gid": None, "gids": None, "uid": None, "process_group": -1,
}  # fmt: skip
_PR_SET_CHILD_SUBREAPER = 36

warm_folders: set[str] = set()
"""Folders whose `sitecustomize` does after the imports what it would have done before them."""


class WarmProcess(subprocess.Popen[bytes]):
    """As Popen; `python -m pipechat` begins after its imports, where that makes no difference."""

    def _execute_child(self, *values: Any) -> None:
        options: dict[str, Any] = dict(zip(_OPTIONS, values, strict=False))
        request = _request(options) if _popen_is_known() else None
        if request is None:
            super()._execute_child(*values)  # type: ignore[misc]  # because it is private
            return
        streams = [options[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [number if fd == -1 else fd for number, fd in enumerate(streams)]
        try:
            command = "batch run" if options["args"][3:5] == ["batch", "run"] else "ask"
            with _LOCK:  # who adopts is the whole process
                self.pid = _parent(command).fork(request, streams, options["cwd"] or ".")
            self._child_created = True
        finally:
            close: Any = self._close_pipe_fds  # type: ignore[attr-defined]  # because it is private
            close(*(options[name] for name in _ENDS))


@cache
def _popen_is_known() -> bool:
    """Whether Popen is made as here, and the kernel has subreapers."""
    method = getattr(subprocess.Popen, "_execute_child", None)
    known = method is not None and tuple(inspect.signature(method).parameters)[1:] == _OPTIONS
    return known and hasattr(subprocess.Popen, "_close_pipe_fds") and sys.platform == "linux"


def _request(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the parent of the warm is asked for; None where the start must be cold."""
    words, environ = options["args"], options["env"]
    if environ is None or tuple(words[: len(_COMMAND)]) != _COMMAND or _state() != state_before():
        return None
    if any(options[name] != value for name, value in _USUAL.items()):
        return None
    if options["preexec_fn"] not in (None, take_terminal):
        return None
    first = [each for each in environ.get("PYTHONPATH", "").split(":") if each in warm_folders]
    ours = {**_ENVIRON, "PYTHONPATH": ":".join([*first, str(_ROOT)])}
    others = {name: value for name, value in environ.items() if not _READ_LATER.fullmatch(name)}
    if others != {name: value for name, value in ours.items() if not _READ_LATER.fullmatch(name)}:
        return None
    return {
        "arguments": [os.fsencode(word) for word in words[len(_COMMAND) :]],
        "environ": {os.fsencode(name): os.fsencode(value) for name, value in environ.items()},
        "first": first,
        "umask": _umask() if options["umask"] == -1 else options["umask"],
        "start_new_session": options["start_new_session"],
        "takes_terminal": options["preexec_fn"] is not None,
    }


def _umask() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)


def _state() -> tuple[object, ...]:
    """What a process inherits from ours, beside what the request says."""
    ignored = [each for each in signal.valid_signals() if signal.getsignal(each) is signal.SIG_IGN]
    limits = [resource.getrlimit(getattr(resource, name)) for name in _LIMITS]
    return sorted(ignored), signal.pthread_sigmask(signal.SIG_BLOCK, []), limits


@cache
def state_before() -> tuple[object, ...]:
    """The same as it was before any test (called for the first time then): so the parents of the
    warm have it."""
    return _state()


_LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]
_ENVIRON = {name: os.environ[name] for name in ("LANG", "TMPDIR", "PATH") if name in os.environ}
_LOCK = threading.Lock()


class _Parent:
    """The process that forks, from our end of its socket; it ends with us."""

    def __init__(self, command: str) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, _ROOT / "tests" / "warm_parent.py", command, str(number)],
                env={**_ENVIRON, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.DEVNULL, pass_fds=[number],
            )  # fmt: skip
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        self._process.wait()

    def fork(self, request: dict[str, Any], streams: Sequence[int], folder: str | bytes) -> int:
        """The pid of a new child of ours that does as requested."""
        content = marshal.dumps(request)
        cwd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._adopt(True)
            head = len(content).to_bytes(HEAD_BYTES)
            socket.send_fds(self._socket, [head], [*streams, cwd])
            self._socket.sendall(content)
            pid = int.from_bytes(self._socket.recv(HEAD_BYTES, socket.MSG_WAITALL))
            assert self._socket.recv(1), "warm_parent.py has ended"
        finally:
            self._adopt(False)
            os.close(cwd)
        # Else Popen would take it for one that ended well.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return pid

    def _adopt(self, wanted: bool) -> None:
        """Let a process whose parent ends become a child of ours: for a moment, since whom we do
        not wait for stays a zombie."""
        assert self._prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) == 0


@cache
def _parent(command: str) -> _Parent:
    parent = _Parent(command)
    atexit.register(parent.close)
    return parent
