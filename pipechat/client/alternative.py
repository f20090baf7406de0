"""Who is asked where all tries failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pipechat.errors import PipechatError

if TYPE_CHECKING:
    from pipechat.client.chat_client import ChatClient


class Alternative(NamedTuple):
    """Who is asked where a client's tries all failed: `name`, and what makes its client, told
    of the last failure and how many seconds of the turn are gone; None where it cannot be asked."""

    name: str
    open: Callable[[PipechatError, float], ChatClient | None]
