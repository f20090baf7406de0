"""Which certificates a request trusts: those that the environment names, else the usual ones."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from pipechat.client.certificates import own_authorities


def default_trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """The context that the SDK's client has. Raises SetupError."""
    import httpx2

    return own_authorities(environ) or httpx2.create_ssl_context(trust_env=False)
