"""Names that do not resolve, without asking the network for them."""

import socket
from collections.abc import Callable
from typing import Any


def no_names(look_up: Callable[..., Any]) -> Callable[..., Any]:
    """`look_up` for this machine, by number or as localhost; for any other name, its failure."""

    def getaddrinfo(host: str | bytes | None, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or name == "localhost" or ":" in name or name.replace(".", "").isdigit():
            return look_up(host, *arguments, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    return getaddrinfo
