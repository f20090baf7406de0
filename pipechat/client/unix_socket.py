"""What is wrong with the Unix socket of a server on this machine, told by its path."""

import os
import stat

from pipechat.client.network_errors import chain_of
from pipechat.errors import NetworkError, PipechatError, SetupError


def socket_error(error: BaseException, path: str) -> PipechatError | None:
    """The error for what came of connecting to `path`; None where it is as with a network."""
    chain = list(chain_of(error))
    if any(isinstance(cause, FileNotFoundError) for cause in chain):
        hint = "Is the server running? Check --base-url."
        return NetworkError("connection_refused", f"there is no socket {path}", hint)
    if any(isinstance(cause, PermissionError) for cause in chain):
        message = f"{path} may not be opened: permission denied"
        return SetupError("bad_base_url", message, "Its owner has to let you write to it.")
    if "too long" in " ".join(map(str, chain)):
        message = f"{path} is longer than a socket's path may be"
        return SetupError("bad_base_url", message, "Use a shorter one, such as a symbolic link.")
    if _is_something_else(path):
        return SetupError("bad_base_url", f"{path} is no socket", "Check --base-url.")
    return None


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
