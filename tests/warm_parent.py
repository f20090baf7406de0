"""Where warm processes come from: a program that has imported what a command does, and forks.

Started by `tests/warm_start.py`, with the command and the descriptor of a socket as its arguments;
it ends when nobody holds the other end any more. It reads nothing of its environment, and has one
thread.

A process that it forks becomes what `python -m pipechat` would be: arguments, environment,
folder, umask, streams and session are those of the request, no other descriptor is open, and its
parent is whoever asked (who must be the nearest subreaper for that moment).
"""

import gc
import marshal
import os
import resource
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from tests.controlling_terminal import take_terminal

HEAD_BYTES = 8
"""The length that goes before a request, and the pid that comes back."""

# What brings all that a run of the command imports: before the SDK, and after it.
COMMANDS = {
    "ask": (["pipechat.main", "pipechat.commands.ask", "pipechat.client.chat_client"], []),
    "batch run": (
        ["pipechat.main", "pipechat.commands.batch", "pipechat.commands.batch_run"],
        ["pipechat.client.aio_sender", "aiohttp", "openai._vendor.httpx_aiohttp"],
    ),
}


def main(command: str, number: str) -> None:
    """Import, then serve until the other end is closed."""
    before, after = COMMANDS[command]
    for name in before:
        import_module(name)
    import_module("pipechat.client.lazy_openai").load_openai({})
    for name in after:
        with suppress(ModuleNotFoundError):  # it is an extra
            import_module(name)
    gc.collect()
    gc.freeze()  # what is shared with the forked stays so
    assert len(os.listdir("/proc/self/task")) == 1, "a thread would be lost in what is forked"
    # An interrupt is for whoever asks, who ends then.
    with suppress(KeyboardInterrupt), socket.socket(fileno=int(number)) as asked:
        while _serve(asked):
            continue


def _serve(asked: socket.socket) -> bool:
    head, fds, _, _ = socket.recv_fds(asked, HEAD_BYTES, 4)
    if not head:
        return False
    request = marshal.loads(asked.recv(int.from_bytes(head), socket.MSG_WAITALL))
    gate, held = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid == 0:
            os.close(held)
            _become(request, fds, gate)
        asked.sendall(pid.to_bytes(HEAD_BYTES))
        os._exit(0)
    os.waitpid(between, 0)  # from here on the other is a child of who asked
    for fd in (gate, held, *fds):
        os.close(fd)
    asked.sendall(b"\n")
    return True


def _become(request: dict[str, Any], fds: list[int], gate: int) -> NoReturn:
    """Be the program, as soon as nobody holds the gate."""
    try:
        os.read(gate, 1)
        *streams, folder = fds
        os.fchdir(folder)
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        os.closerange(len(streams), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        if request["start_new_session"]:
            os.setsid()
        if request["takes_terminal"]:
            take_terminal()
        os.umask(request["umask"])
        coerced = {b"LC_CTYPE": os.environb[b"LC_CTYPE"]} if b"LC_CTYPE" in os.environb else {}
        os.environb.clear()
        os.environb.update(coerced | request["environ"])  # PEP 538 adds it to an environment
        time.tzset()
        _begin_python([os.fsdecode(word) for word in request["arguments"]], request["first"])
        import_module("pipechat.__main__").main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)  # which the program never comes to


def _begin_python(arguments: list[str], first: list[str]) -> None:
    """What the interpreter sets as it starts. `first`: folders that PYTHONPATH has before ours."""
    sys.argv = [str(sys.modules["pipechat"].__path__[0]) + "/__main__.py", *arguments]
    sys.orig_argv = [sys.executable, "-m", "pipechat", *arguments]
    sys.path[0:1] = [os.getcwd(), *first]
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        before = getattr(sys, name)
        errors, encoding = before.errors, before.encoding
        # It stays open for as long as the process runs.
        stream = open(number, mode, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115 — as above
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if first:
        sys.modules.pop("sitecustomize", None)
        import_module("sitecustomize")


if __name__ == "__main__":
    main(*sys.argv[1:])
