"""`pipechat` as a script of a test runs it, where its processes are warm (`tests/warm_command.py`).

Asks the process of the tests for one that has these arguments, streams, folder, environment and
umask; passes signals on to it, and ends as it ends. It is started anew for each command, so it
imports next to nothing.
"""

import _socket
import marshal
import os
import signal
import sys
from array import array

HEAD_BYTES = 8
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(name: str, *words: str) -> None:
    """Run it. `name`: of the abstract socket at which it is asked for."""
    if any(signal.getsignal(each) is signal.SIG_IGN for each in _PASSED_ON):
        os.execv(sys.executable, [sys.executable, "-m", "pipechat", *words])
    asked = _socket.socket(_socket.AF_UNIX)
    asked.connect(f"\0{name}")
    umask = os.umask(0)
    request = marshal.dumps((words, dict(os.environ), os.getcwd(), umask))
    streams = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", range(3)))
    asked.sendmsg([len(request).to_bytes(HEAD_BYTES)], [streams])
    asked.sendall(request)
    for each in _PASSED_ON:
        signal.signal(each, lambda signum, _frame: asked.sendall(bytes([signum])))
    answer = asked.recv(HEAD_BYTES, _socket.MSG_WAITALL)
    assert len(answer) == HEAD_BYTES, "the process of the tests has ended"
    status = int.from_bytes(answer, signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
