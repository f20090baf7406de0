"""Who carries requests on an event loop, of what is installed and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from pipechat.client.async_exchange import AsyncSender, ThreadedSender
from pipechat.client.lazy_openai import load_openai
from pipechat.settings.resolve import Settings


def network_sender(settings: Settings, environ: Mapping[str, str], jobs: int) -> AsyncSender:
    """A sender over the network: aiohttp's client where it is installed and no proxy is in
    between, else the plain one in threads.

    Raises:
        SetupError: what the environment says of certificates or accounts is wrong.
    """
    from pipechat.client import aio_sender

    openai = load_openai(environ)
    if aio_sender.is_available(settings):
        return aio_sender.AioSender(settings, environ, openai, jobs)
    from pipechat.client.sdk_sender import SdkSender

    return ThreadedSender(SdkSender(settings, environ, openai))
