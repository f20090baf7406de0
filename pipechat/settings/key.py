"""The key: the command that prints it, what it may hold, and where it may go."""

import os
import select
import signal
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from pipechat.errors import SetupError

if TYPE_CHECKING:
    from subprocess import Popen

    from pipechat.settings.resolve import Settings

KEY_BESIDE_URL = "Name this base URL beside the key, or both in a profile."
"""What to try where a key is another endpoint's."""
_BY_HAND = "Run it by hand; `pipechat config show` tells where it stands."

_KEY_COMMAND_S = 60.0
_LONGEST_KEY = 64 * 1024
_LONGEST_WAIT_S = 0.25  # then whoever waits is asked whether it still does


def run_key_command(
    command: str,
    timeout_s: float | None = None,
    waits: AbstractContextManager[object] = nullcontext(),  # noqa: B008 — it holds nothing
) -> str:
    """The key that `command` prints: its first line. It runs in the shell, as git runs its
    credential helpers; its stderr is the user's. Its pipe is not waited for beyond the limit: what
    it started may keep that open.

    Args:
        timeout_s: the limit of the whole turn; 60 s are the most in any case.
        waits: where it waits for the command.

    Raises:
        SetupError: `no_key`: it failed, took too long, or printed nothing.
    """
    import subprocess

    limit_s = _KEY_COMMAND_S if timeout_s is None else min(_KEY_COMMAND_S, timeout_s)
    alone = not _has_terminal()  # there it stays in our group: it may ask, and Ctrl-C ends it
    with subprocess.Popen(
        command,
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        bufsize=0,
        process_group=0 if alone else None,
    ) as process:
        try:
            said, status = _outcome(process, time.monotonic() + limit_s, waits)
        except TimeoutError:
            _kill(process, alone=alone)
            took = f"took longer than {limit_s:.3g} s"
            raise SetupError("no_key", f"api_key_command {took}") from None
    if status:
        raise SetupError("no_key", f"api_key_command failed with status {status}", _BY_HAND)
    key = said.decode("utf-8", "replace").partition("\n")[0].strip()
    if not key:
        raise SetupError("no_key", "api_key_command printed nothing", _BY_HAND)
    return key


def _outcome(
    process: "Popen[bytes]", ends_at: float, waits: AbstractContextManager[object]
) -> tuple[bytes, int]:
    """What it prints, and its status. Raises TimeoutError."""
    from subprocess import TimeoutExpired

    assert process.stdout is not None
    said = _read_until(process.stdout.fileno(), ends_at, waits)
    while True:
        left = _left(ends_at)
        try:
            with waits:
                return said, process.wait(left)
        except TimeoutExpired:
            if not left:
                raise TimeoutError from None


def _kill(process: "Popen[bytes]", *, alone: bool) -> None:
    if alone:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _read_until(fd: int, ends_at: float, waits: AbstractContextManager[object]) -> bytes:
    """What comes until the end of the pipe, the beginning of it kept. Raises TimeoutError."""
    said = b""
    while True:
        left = _left(ends_at)
        with waits:
            is_there = select.select([fd], [], [], left)[0]
        if is_there:
            part = os.read(fd, _LONGEST_KEY)
            if not part:
                return said
            said = (said + part)[:_LONGEST_KEY]
        elif not left:
            raise TimeoutError


def _left(ends_at: float) -> float:
    """Seconds that it may be waited for at once."""
    return max(min(ends_at - time.monotonic(), _LONGEST_WAIT_S), 0.0)


def check_key(key: str, origin: str) -> None:
    """A key goes into a header: printable ASCII without blanks. `origin`: who gave it.

    Raises:
        SetupError: `bad_key`.
    """
    if not (key.isascii() and key.isprintable()) or " " in key:
        message = f"{origin} holds characters that no key has (a newline, a blank, an accent)"
        raise SetupError("bad_key", message, f"Set {origin} again.")


def check_key_is_safe(settings: "Settings") -> None:
    """Refuse to send a key in the clear over a network, on the way to a proxy or behind it.

    Raises:
        SetupError: `insecure_http`.
    """
    endpoint, proxy = settings.endpoint, settings.proxy
    leaves = not endpoint.is_loopback or (proxy is not None and not proxy.is_loopback)
    exposed = endpoint.scheme == "http" and leaves
    secret = _what_is_secret(settings)
    if (
        secret
        and exposed
        and not (settings.insecure_http or settings.offline or settings.only_replays)
    ):
        raise SetupError(
            "insecure_http",
            f"{secret} would go to {settings.host}{settings.by_way_of} unencrypted",
            "Use https, or --insecure-http if that network is yours.",
        )


def _what_is_secret(settings: "Settings") -> str:
    """What of a request is nobody else's business, as a message says it; "" of none."""
    if settings.api_key:
        return "the key"
    if settings.headers:
        return f"the headers ({settings.headers[0].origin})"
    return "the query of the base URL" if settings.endpoint.query_secrets else ""
