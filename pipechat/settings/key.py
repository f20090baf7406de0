"""The key: the command that prints it, and what a key may hold."""

import os
import select
import time

from pipechat.errors import SetupError

_KEY_COMMAND_S = 60.0
_LONGEST_KEY = 64 * 1024


def run_key_command(command: str, timeout_s: float | None = None) -> str:
    """The key that `command` prints: its first line. It runs in the shell, as git runs its
    credential helpers; its stderr is the user's.

    Args:
        timeout_s: the limit of the whole turn; 60 s are the most in any case.

    Raises:
        SetupError: `no_key`: it failed, took too long, or printed nothing.
    """
    import subprocess

    limit_s = _KEY_COMMAND_S if timeout_s is None else min(_KEY_COMMAND_S, timeout_s)
    # The pipe is not waited for beyond the limit: what the command started may keep it open.
    with subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        ends_at = time.monotonic() + limit_s
        try:
            said = _read_until(process.stdout.fileno(), ends_at)
            status = process.wait(max(ends_at - time.monotonic(), 0.0))
        except (TimeoutError, subprocess.TimeoutExpired):
            process.kill()
            message = f"api_key_command took longer than {limit_s:g} s"
            raise SetupError("no_key", message) from None
    if status:
        raise SetupError("no_key", f"api_key_command failed with status {status}")
    key = said.decode("utf-8", "replace").partition("\n")[0].strip()
    if not key:
        raise SetupError("no_key", "api_key_command printed nothing")
    return key


def _read_until(fd: int, ends_at: float) -> bytes:
    """What comes until the end of the pipe, the beginning of it kept. Raises TimeoutError."""
    said = b""
    while select.select([fd], [], [], max(ends_at - time.monotonic(), 0.0))[0]:
        part = os.read(fd, _LONGEST_KEY)
        if not part:
            return said
        said = (said + part)[:_LONGEST_KEY]
    raise TimeoutError


def check_key(key: str, name: str = "the key") -> None:
    """A key goes into a header: printable ASCII without blanks.

    Raises:
        SetupError: `bad_key`.
    """
    if not (key.isascii() and key.isprintable()) or " " in key:
        message = f"{name} holds characters that no key has (a newline, a blank, an accent)"
        hint = "Set OPENAI_API_KEY again." if name == "the key" else f"Set {name} again."
        raise SetupError("bad_key", message, hint)
