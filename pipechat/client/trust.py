"""Which certificates a request trusts, and shows: those that are named, else the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipechat.client.certificates import tls_context
from pipechat.settings.resolve import Settings

if TYPE_CHECKING:
    import ssl


def trusted(settings: Settings, environ: Mapping[str, str]) -> ssl.SSLContext | bool:
    """What the transport is told of certificates. Raises SetupError."""
    proxy = settings.proxy
    # Loading the certificate store takes 20 ms, which plain http has no use for.
    if "https" not in (settings.endpoint.scheme, proxy.scheme if proxy is not None else ""):
        return False
    return tls_context(settings, environ) or True


def context_for_tls(settings: Settings, environ: Mapping[str, str]) -> ssl.SSLContext:
    """The context with which the SDK's client shakes hands. Raises SetupError."""
    import httpx2

    return tls_context(settings, environ) or httpx2.create_ssl_context(trust_env=False)
