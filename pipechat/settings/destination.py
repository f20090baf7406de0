"""Where requests go, and what may go there: a key, headers, a certificate of one's own. Pure.

What was given for one endpoint goes to no other: a place that names an endpoint (a profile, the
file, the variables of one family) keeps what it names beside it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pipechat.errors import PipechatError
from pipechat.settings.endpoint import Endpoint
from pipechat.settings.headers import Header
from pipechat.settings.layers import AZURE, OPENAI, Layer
from pipechat.settings.table import BY_NAME

# Settings that count for the endpoint beside which they stand.
_BESIDE = ("cacert", "client_cert", "client_key")
_OF_AZURE = "AZURE_OPENAI_ENDPOINT, else Azure's hosts,"


class Destination(NamedTuple):
    """`key_origin`: who gave the key, or the command that prints it. `auth`: how the key goes out,
    `bearer` or `api-key`. `beside`: further settings by name, None where there is none; `origins`:
    who gave those that there are. `withheld`: where no key goes, whose there is for another
    endpoint, as a message says it."""

    endpoint: Endpoint
    api_key: str | None
    api_key_command: str | None
    key_origin: str
    auth: str
    headers: tuple[Header, ...]
    beside: dict[str, Any]
    origins: dict[str, str]
    withheld: str


def find_destination(layers: list[Layer]) -> Destination:
    """Where the requests of these layers go.

    Raises:
        UsageError, SetupError: what stands in a layer is wrong.
    """
    endpoint, holder = _endpoint(layers)
    of_this = [layer for layer in layers if not _is_of_another(endpoint, layer)]
    endpoint = endpoint.with_api_version(_first(of_this, "api_version"))
    auth = _first(of_this, "auth") or "auto"
    if auth == "auto":
        is_azure = endpoint.is_azure or any(layer.where == AZURE for layer in of_this)
        auth = "api-key" if is_azure else "bearer"
    key, command, origin = _key(of_this, holder)
    headers = _headers(of_this)
    slots = ("authorization", auth)  # what stands there already is how one is known
    for header in headers:
        if header.name.lower() in slots:
            key, command, origin = None, None, header.origin
    beside = {name: _first(of_this, name) for name in _BESIDE}
    origins = dict(_origins(of_this, (*_BESIDE, "headers", "auth", "api_version")))
    withheld = "" if origin else _withheld(layers, of_this)
    return Destination(endpoint, key, command, origin, auth, headers, beside, origins, withheld)


def _endpoint(layers: list[Layer]) -> tuple[Endpoint, Layer | None]:
    for layer in layers:
        value = layer.read(BY_NAME["base_url"])
        if value is not None:
            return value, layer
    default: Endpoint = BY_NAME["base_url"].default
    return default, None


def _key(layers: list[Layer], holder: Layer | None) -> tuple[str | None, str | None, str]:
    """The key, or the command that prints it, and who gave it. The place that named the endpoint
    is asked first where it is a file's, and Azure's variables before the vendor's: they are
    among the layers only where the endpoint is theirs."""
    own = [holder] if holder is not None and holder.kind in ("profile", "file") else []
    for layer in [*own, *_azure_first(layers, holder)]:
        for name in ("api_key", "api_key_command"):
            if value := layer.read(BY_NAME[name]):
                key, command = (value, None) if name == "api_key" else (None, value)
                return key, command, layer.origin(name)
    return None, None, ""


def _withheld(layers: list[Layer], of_this: list[Layer]) -> str:
    """The strongest key that stays where it is, since it is another endpoint's; "" of none."""
    for layer in layers:
        names = [name for name in ("api_key", "api_key_command") if layer.values.get(name)]
        if names and layer not in of_this:
            named = layer.origin("base_url") if layer.values.get("base_url") else _OF_AZURE
            return f"{layer.origin(names[0])} is for {named} alone"
    return ""


def _azure_first(layers: list[Layer], holder: Layer | None) -> Iterator[Layer]:
    azure = [layer for layer in layers if layer.where == AZURE]
    if holder is not None and holder.where == OPENAI:
        azure = []
    for layer in layers:
        if layer.where == OPENAI:
            yield from azure
        if layer not in azure:
            yield layer


def _headers(layers: list[Layer]) -> tuple[Header, ...]:
    """Those of all layers; of one name the strongest."""
    found: dict[str, Header] = {}
    for layer in layers:
        for name, value in (layer.read(BY_NAME["headers"]) or {}).items():
            found.setdefault(name.lower(), Header(name, value, layer.origin("headers")))
    return tuple(found.values())


def _first(layers: list[Layer], name: str) -> Any:
    values = (layer.read(BY_NAME[name]) for layer in layers)
    return next((value for value in values if value is not None), None)


def _origins(layers: list[Layer], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        for layer in layers:
            if layer.read(BY_NAME[name]) is not None:
                yield name, layer.origin(name)
                break


def _is_of_another(endpoint: Endpoint, layer: Layer) -> bool:
    if not layer.values.get("base_url"):
        # A key of Azure's is none of a gateway's, even where no resource is named.
        return layer.where == AZURE and not endpoint.is_azure
    try:
        return not endpoint.is_at(layer.read(BY_NAME["base_url"]))
    except PipechatError:  # it names none, and a stronger layer's counts
        return True
