"""The way of a request: to which endpoint, by way of whom, and what goes along. Pure."""

from collections.abc import Mapping
from typing import Any

from pipechat.settings.destination import find_destination
from pipechat.settings.layers import Layer
from pipechat.settings.proxy import find_proxy
from pipechat.settings.secrets import Secret, account_may_go_to, secrets_beside_the_key


def find_way(
    layers: list[Layer],
    found: Mapping[str, Any],
    origins: dict[str, str],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """The fields of `Settings` that say it; `origins` says who gave them from then on.

    Raises:
        UsageError, SetupError: what is said of it is wrong.
    """
    offline, going = found["offline"], find_destination(layers)
    endpoint, key = going.endpoint, going.api_key
    for name in ("headers", "auth", "api_version", *going.beside):
        origins.pop(name, None)
    origins |= {**going.origins, "api_key": going.key_origin}
    named_by = origins.get("proxy", "--proxy")
    proxy = None if offline else find_proxy(endpoint, found["proxy"], named_by, environ)
    return {
        **going.beside,
        "endpoint": endpoint,
        "api_key": Secret("offline") if offline else Secret(key) if key else None,
        "api_key_command": None if offline else going.api_key_command,
        "key_withheld": "" if offline else going.withheld,
        "auth": going.auth,
        "headers": () if offline else going.headers,
        "proxy": proxy,
        "other_secrets": secrets_beside_the_key(endpoint, proxy and proxy.url, environ),
        "tells_account": account_may_go_to(endpoint, environ),
    }
