"""Where the `pipechat` of a script gets warm processes from: see `tests/warm_start.py`.

A shell can start a program only by its path. That program is `tests/warm_relay.py`; here is whom it
asks, in the process of the tests: what it has of the shell is given to a `WarmProcess`.
"""

import marshal
import os
import socket
import sys
import threading
from itertools import count
from pathlib import Path

from tests.warm_relay import HEAD_BYTES
from tests.warm_start import WarmProcess

_RELAY = Path(__file__).with_name("warm_relay.py")
_NUMBERS = count()


class WarmCommand:
    """Serves the relays of one program, each in a thread, until it is closed.

    `words`: what a script of a shell writes for `pipechat`.
    """

    def __init__(self) -> None:
        name = f"pipechat-{os.getpid()}-{next(_NUMBERS)}"
        self.words = f'"{sys.executable}" -I -S "{_RELAY}" {name}'
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(f"\0{name}")
        self._socket.listen(100)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Serve no more; who is served has ended, as its shell has."""
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10.0)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                asked, _ = self._socket.accept()
            except OSError:  # it was shut down
                return
            thread = threading.Thread(target=_serve, args=(asked,), daemon=True)
            self._threads.append(thread)
            thread.start()


def _serve(asked: socket.socket) -> None:
    with asked:
        head, fds, _, _ = socket.recv_fds(asked, HEAD_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
        try:
            request = asked.recv(int.from_bytes(head), socket.MSG_WAITALL)
            words, environ, folder, umask = marshal.loads(request)
            stdin, stdout, stderr = fds
            process = WarmProcess(
                [sys.executable, "-m", "pipechat", *words], env=environ, cwd=folder, umask=umask,
                stdin=stdin, stdout=stdout, stderr=stderr,
            )  # fmt: skip
        finally:
            for fd in fds:
                os.close(fd)

        def pass_on() -> None:
            while signum := asked.recv(1):
                process.send_signal(signum[0])
            process.kill()  # nothing, where it has ended

        passing = threading.Thread(target=pass_on, daemon=True)
        passing.start()
        asked.sendall(process.wait().to_bytes(HEAD_BYTES, signed=True))
        asked.shutdown(socket.SHUT_RD)
        passing.join(10.0)
