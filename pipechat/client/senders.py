"""Who carries requests, by the settings: nobody (offline), the SDK in threads, or on an event loop.

For processes that have no more than settings and an environment. Recording and replaying, which
need files, are put around it where these are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    from pipechat.client.async_exchange import AsyncSender
    from pipechat.client.exchange import Sender


def make_sender(settings: Settings, environ: Mapping[str, str]) -> Sender:
    """Who carries requests in the threads of its callers."""
    if settings.offline:
        from pipechat.client.offline import OfflineSender

        return OfflineSender()
    from pipechat.client.lazy_openai import load_openai
    from pipechat.client.sdk_sender import SdkSender

    return SdkSender(settings, environ, load_openai(environ))


def make_async_sender(
    settings: Settings,
    environ: Mapping[str, str],
    in_threads: Callable[[], Sender] | None = None,
) -> AsyncSender:
    """Who carries many requests at once, on the event loop that runs: over aiohttp where it is
    installed and goes the way that is wanted, else in threads.

    Args:
        in_threads: makes the sender of these threads; None: as `make_sender`.
    """
    from pipechat.client.async_exchange import ThreadedSender  # asyncio takes 30 ms

    if not (settings.offline or settings.record or settings.replay):
        from pipechat.client.aio_sender import AioSender, is_available
        from pipechat.client.lazy_openai import load_openai

        if is_available(settings):
            return AioSender(settings, environ, load_openai(environ), settings.jobs)
    sender = in_threads() if in_threads is not None else make_sender(settings, environ)
    return ThreadedSender(sender, settings.jobs)
