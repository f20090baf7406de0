"""The key: the command that prints it, and what a key may hold."""

from pipechat.errors import SetupError

_KEY_COMMAND_S = 60


def run_key_command(command: str) -> str:
    """The key that `command` prints: its first line. It runs in the shell, as git runs its
    credential helpers; its stderr is the user's.

    Raises:
        SetupError: `no_key`: it failed, took longer than 60 s, or printed nothing.
    """
    import subprocess

    try:
        done = subprocess.run(
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_KEY_COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"api_key_command took longer than {_KEY_COMMAND_S} s"
        raise SetupError("no_key", message) from None
    if done.returncode:
        raise SetupError("no_key", f"api_key_command failed with status {done.returncode}")
    key = done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
    if not key:
        raise SetupError("no_key", "api_key_command printed nothing")
    return key


def check_key(key: str) -> None:
    """A key goes into a header: printable ASCII without blanks.

    Raises:
        SetupError: `bad_key`.
    """
    if not (key.isascii() and key.isprintable()) or " " in key:
        message = "the key holds characters that no key has (a newline, a blank, an accent)"
        raise SetupError("bad_key", message, "Set OPENAI_API_KEY again.")
