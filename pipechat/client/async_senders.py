"""Who carries requests on an event loop, of what is installed and what is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipechat.client import aio_sender
from pipechat.client.aio_sender import AioSender, Head, write_head
from pipechat.client.async_exchange import AsyncSender, ThreadedSender
from pipechat.client.lazy_openai import load_openai
from pipechat.settings.resolve import Settings

NO_HEADS: Mapping[str, Head] = {}


def network_sender(
    settings: Settings,
    environ: Mapping[str, str],
    jobs: int,
    heads: Mapping[str, Head] = NO_HEADS,
    *,
    rarely: bool = False,
) -> AsyncSender:
    """A sender over the network: aiohttp's client where it is installed and no proxy is in
    between, else the plain one in threads.

    Args:
        heads: what `heads_of` had of the sender of another process, by path: the SDK, which takes
            0.1 s to import, is then left alone.
        rarely: it may never be asked, and aiohttp, which takes as long, is imported then.

    Raises:
        SetupError: what the environment says of certificates or accounts is wrong.
    """

    async def write(path: str) -> Head:
        return await write_head(settings, environ, load_openai(environ), path)

    if not heads:
        load_openai(environ)
    if aio_sender.is_available(settings):
        if not rarely:
            import aiohttp  # noqa: F401 — else in the time of the first item
        return AioSender(settings, environ, jobs, write, heads)
    from pipechat.client.sdk_sender import SdkSender

    return ThreadedSender(SdkSender(settings, environ, load_openai(environ)))


async def heads_of(sender: AsyncSender, paths: Iterable[str]) -> dict[str, Head]:
    """The heads of the requests that `sender` sends to `paths`, where it has such."""
    if not isinstance(sender, AioSender):
        return {}
    return {path: await sender.head(path) for path in paths}
