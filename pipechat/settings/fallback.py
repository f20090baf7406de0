"""The settings of --fallback: those of the question, at another profile's endpoint. Pure."""

from collections.abc import Mapping
from typing import Any

from pipechat.errors import SetupError
from pipechat.settings.endpoint import Endpoint
from pipechat.settings.layers import profiles_of
from pipechat.settings.proxy import Proxy
from pipechat.settings.resolve import TOKEN_FIELDS, Settings, resolve_settings
from pipechat.settings.secrets import Secret, account_may_go_to, secrets_beside_the_key

_KEYS = ("api_key", "api_key_command")
# What names another endpoint, another model or a key: a profile is asked as it stands in the file.
_NOT_ITS_OWN = ("PIPECHAT_", "OPENAI_API_KEY", "OPENAI_BASE_URL")


def fallback_settings(
    asked: Settings,
    name: str,
    environ: Mapping[str, str],
    config: Mapping[str, Any],
    config_name: str,
) -> Settings:
    """`asked` with the endpoint, the key, the proxy and the model of the profile `name`, or else
    with the model `name`.

    A key goes to no endpoint but its own: a profile that names another `base_url` is asked with
    the key that it names itself, or with none.

    Raises:
        SetupError: the profile is wrong, or `no_key`: it names none, where none is pointless.
    """
    table = profiles_of(config).get(name)
    if table is None:
        return asked._replace(model=name, fallback=())
    own = resolve_settings({"profile": name}, _plain(environ), config, config_name)
    has_key = not table.keys().isdisjoint(_KEYS)
    endpoint = own.endpoint if has_key or "base_url" in table else asked.endpoint
    same = endpoint == asked.endpoint
    keyed = own if has_key else asked if same else None
    proxy = own.proxy if "proxy" in table or not (same or "proxy" in asked.origins) else asked.proxy
    found = asked._replace(
        fallback=(),
        model=own.model if "model" in table else asked.model,
        api=own.api if "api" in table else asked.api,
        endpoint=endpoint,
        api_key=keyed.api_key if keyed else None,
        api_key_command=keyed.api_key_command if keyed else None,
        proxy=proxy,
        insecure_http=own.insecure_http or (same and asked.insecure_http),
        options={**own.options, **_with_limit_for(endpoint, asked.options)},
        origins={**asked.origins, "api_key": keyed.origins["api_key"] if keyed else ""},
        other_secrets=_secrets(asked, proxy, environ),
        tells_account=account_may_go_to(endpoint, environ),
    )
    return _with_a_key(found, f"{asked.origins['fallback']}: the profile {name}")


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if not key.startswith(_NOT_ITS_OWN)}


def _with_a_key(settings: Settings, who: str) -> Settings:
    if settings.needs_key and not (settings.api_key or settings.api_key_command):
        message = f"{who} names no key for {settings.host}"
        raise SetupError("no_key", message, "Add an api_key_command to the profile.")
    return settings


def _secrets(
    asked: Settings, proxy: Proxy | None, environ: Mapping[str, str]
) -> tuple[Secret, ...]:
    """What neither endpoint's answers may show."""
    own = secrets_beside_the_key(proxy and proxy.url, environ)
    key = () if asked.api_key is None else (asked.api_key,)
    return (*own, *key, *asked.other_secrets)


def _with_limit_for(endpoint: Endpoint, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the bound of an answer named as `endpoint` has it."""
    return {
        endpoint.token_limit_field if name in TOKEN_FIELDS else name: value
        for name, value in options.items()
    }
