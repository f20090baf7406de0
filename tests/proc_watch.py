"""What /proc shows of the processes and sockets of this machine, for tests of what leaks."""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOOPBACK = {
    "tcp": ("0100007F",),
    "tcp6": ("0000000000000000FFFF00000100007F", "00000000000000000000000001000000"),
}


def raylets_that_ask(port: int) -> set[int]:
    """The parents of the actors that are connected to `port`."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) == port}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if not (process / "cmdline").read_bytes().startswith(b"ray::Asker"):
                continue
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):
                found.add(int((process / "stat").read_text().rpartition(")")[2].split()[1]))
    return found


def addresses_listened_at() -> set[str]:
    """Those in this network that are not loopback."""
    found = set()
    for name, loopback in _LOOPBACK.items():
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            row = line.split()
            if row[3] == "0A" and not row[1].startswith(loopback):
                found.add(row[1])
    return found


@contextmanager
def watched_command_lines(text: str) -> Iterator[list[str]]:
    """While it is entered, the command line of every process is looked at for `text`."""
    leaks: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    if holds(text, path):
                        leaks.append(path.read_bytes()[:200].decode("utf-8", "replace"))
            over.wait(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield leaks
    finally:
        over.set()
        thread.join()


def holds(text: str, path: Path) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:  # it has gone meanwhile, or is a socket
        return False


def bring_loopback_up() -> None:
    """`ip link set lo up`, where there is no ip(8)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, request + bytes(14))  # SIOCSIFFLAGS
