"""The settings of --fallback: those of the question, at another profile's endpoint. Pure."""

from collections.abc import Mapping
from typing import Any

from pipechat.errors import SetupError
from pipechat.settings.endpoint import API_VERSION, Endpoint
from pipechat.settings.headers import Header
from pipechat.settings.layers import profiles_of
from pipechat.settings.resolve import OF_FIELD, TOKEN_FIELDS, Settings, resolve_settings
from pipechat.settings.secrets import Secret, account_may_go_to, secrets_beside_the_key

_KEYS = ("api_key", "api_key_command")
# What tells an endpoint who asks: a profile names its own, or goes without.
_WHO_ASKS = ("headers", "client_cert", "client_key")
_BESIDE = (*_WHO_ASKS, "cacert", "auth", "api_version")
# What names another endpoint, another model or a key: a profile is asked as it stands in the file.
_NOT_ITS_OWN = ("PIPECHAT_", "OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_")


def fallback_settings(
    asked: Settings,
    name: str,
    environ: Mapping[str, str],
    config: Mapping[str, Any],
    config_name: str,
) -> Settings:
    """`asked` with the endpoint, the key, the proxy and the model of the profile `name`, or else
    with the model `name`.

    A key goes to no endpoint but its own, nor does a header or a client certificate: a profile
    that names another `base_url` is asked with those that it names itself, or with none.

    Raises:
        SetupError: the profile is wrong, or `no_key`: it names none, where none is pointless.
    """
    table = profiles_of(config).get(name)
    if table is None:
        origins = {**asked.origins, "model": asked.origins["fallback"]}
        return asked._replace(model=name, fallback=(), origins=origins)
    plain = {key: value for key, value in environ.items() if not key.startswith(_NOT_ITS_OWN)}
    file = {key: value for key, value in config.items() if key not in _WHO_ASKS}
    own = resolve_settings({"profile": name}, plain, file, config_name)
    _check_budget(asked, own, name)
    way = _way(asked, own, table, environ)
    found = asked._replace(
        fallback=(),
        model=own.model if "model" in table else asked.model,
        api=own.api if "api" in table else asked.api,
        system_role=own.system_role if "system_role" in table else asked.system_role,
        options={**own.options, **_with_limit_for(way["endpoint"], asked.options)},
        **way,
    )
    found = found._replace(origins=_field_origins(asked, own, found))
    if found.needs_key and not (found.api_key or found.api_key_command):
        message = f"{asked.origins['fallback']}: the profile {name} names no key for {found.host}"
        raise SetupError("no_key", message, "Add an api_key_command to the profile.")
    return found


def _check_budget(asked: Settings, own: Settings, name: str) -> None:
    """Refuse a budget that holds for the profile and would not for the fallback to it."""
    is_said = asked.origins.get("budget", "").startswith(("--", "PIPECHAT_"))
    if not is_said and not set(own.budget) <= set(asked.budget):
        message = f"{asked.origins['fallback']}: the profile {name} has a budget of its own"
        raise SetupError("bad_config", message, "Put it where it holds for all, or give --budget.")


def _way(
    asked: Settings, own: Settings, table: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Where `own`, which `table` of the file says, is asked, and what goes there."""
    bound = any(name in table for name in (*_KEYS, *_WHO_ASKS, "base_url"))
    endpoint = own.endpoint if bound else _at_version(asked.endpoint, table)
    same = endpoint.is_at(asked.endpoint)
    keeps_proxy = "proxy" not in table and (same or "proxy" in asked.origins)
    proxy = None if endpoint.socket else asked.proxy if keeps_proxy else own.proxy
    auth = asked.auth if same and "auth" not in table else own.auth
    key, command, origin = _key(asked, own, table, auth, same=same)
    beside = {name: own.origins.get(name, "") for name in _BESIDE if name in table or not same}
    if "model" in table:
        beside["model"] = own.origins["model"]
    return {
        "endpoint": endpoint,
        "auth": auth,
        "headers": _headers(asked, own, ("authorization", auth), origin) if same else own.headers,
        **_certificates(asked if same else own, own, table),
        "api_key": key,
        "api_key_command": command,
        "key_withheld": "" if origin else (asked if same else own).key_withheld,
        "proxy": proxy,
        "insecure_http": own.insecure_http or (same and asked.insecure_http),
        "origins": {**asked.origins, **beside, "api_key": origin},
        "other_secrets": (
            *secrets_beside_the_key(endpoint, proxy and proxy.url, environ),
            *map(Secret, asked.secrets),
        ),
        "tells_account": account_may_go_to(endpoint, environ),
    }


def _key(
    asked: Settings, own: Settings, table: Mapping[str, Any], auth: str, *, same: bool
) -> tuple[Secret | None, str | None, str]:
    """The key, or the command that prints it, and who gave it, or the header in its place."""
    if any(name in table for name in _KEYS):
        return own.api_key, own.api_key_command, own.origins["api_key"]
    for header in own.headers:
        if header.name.lower() in ("authorization", auth):
            return None, None, header.origin
    if same:
        return asked.api_key, asked.api_key_command, asked.origins["api_key"]
    return None, None, ""


def _headers(
    asked: Settings, own: Settings, slots: tuple[str, ...], key_origin: str
) -> tuple[Header, ...]:
    """The profile's, and those of the question that it does not replace: with one of its own, or
    with its key."""
    taken = {header.name.lower() for header in own.headers}
    if key_origin != asked.origins["api_key"]:
        taken.update(slots)
    return (*own.headers, *(each for each in asked.headers if each.name.lower() not in taken))


def _certificates(beside: Settings, own: Settings, table: Mapping[str, Any]) -> dict[str, Any]:
    """Whom it trusts, and what it shows: the profile's, else those of `beside`."""
    shown = own if "client_cert" in table else beside
    return {
        "cacert": (own if "cacert" in table else beside).cacert,
        "client_cert": shown.client_cert,
        "client_key": shown.client_key,
    }


def _at_version(endpoint: Endpoint, table: Mapping[str, Any]) -> Endpoint:
    """The endpoint with the version that the profile names."""
    if "api_version" not in table:
        return endpoint
    others = tuple(field for field in endpoint.query if field[0].lower() != API_VERSION)
    return endpoint._replace(query=others).with_api_version(table["api_version"])


def _field_origins(asked: Settings, own: Settings, found: Settings) -> dict[str, str]:
    """The origins of `found`, with those of each field of its requests."""
    of_profile = {
        name: who
        for name, who in own.origins.items()
        if name.startswith(OF_FIELD) or name == "max_tokens"
    }
    renamed = {}
    for field in TOKEN_FIELDS:
        if field in asked.options:
            limit = OF_FIELD + found.endpoint.token_limit_field
            renamed[limit] = asked.origins[OF_FIELD + field]
    return {**of_profile, **found.origins, **renamed}


def _with_limit_for(endpoint: Endpoint, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the bound of an answer named as `endpoint` has it."""
    return {
        endpoint.token_limit_field if name in TOKEN_FIELDS else name: value
        for name, value in options.items()
    }
