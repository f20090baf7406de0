"""What was asked for, resolved once: flags, environment, profile, config file, defaults.

Pure: mappings in, one frozen `Settings` out. Reads no file and no environment of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipechat.messages import SystemRole
from pipechat.settings.endpoint import Endpoint
from pipechat.settings.headers import Header
from pipechat.settings.layers import Layer, check_at_odds, check_needs, make_layers
from pipechat.settings.proxy import Proxy
from pipechat.settings.secrets import Secret, secrets_of_headers
from pipechat.settings.table import BY_NAME, OPTIONS
from pipechat.settings.values import names_said
from pipechat.settings.way import find_way

if TYPE_CHECKING:
    from pipechat.settings.budget import Budget

OFFLINE_MODEL = "offline"
MEBIBYTE = 1024 * 1024

# Settings that are fields of the request, and the fields that say the same.
TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
_SAME_FIELDS = {
    "temperature": ("temperature",),
    "effort": ("reasoning_effort", "reasoning.effort"),
    "max_tokens": (*TOKEN_FIELDS, "max_output_tokens"),
}
OF_FIELD = "options."  # in `origins`, in front of a field of the request
_LIMITS = ("timeout", "first_token_timeout", "idle_timeout")  # 0: none


class Settings(NamedTuple):
    """One set of settings. Seconds are floats, None for no limit; `options` are further fields
    of the request's body; None in `system`, `context_tokens` and the prompts: not set. `system`
    was given for this call, `default_system` stands in the config file. `origins` says, for each
    value that is no default, who set it; `key_withheld` as `Destination.withheld`."""

    model: str
    fallback: tuple[str, ...]
    api: str
    endpoint: Endpoint
    api_key: Secret | None
    api_key_command: str | None
    auth: str
    headers: tuple[Header, ...]
    cacert: str | None
    client_cert: str | None
    client_key: str | None
    proxy: Proxy | None
    insecure_http: bool
    offline: bool
    timeout_s: float | None
    first_token_timeout_s: float | None
    idle_timeout_s: float | None
    retries: int
    last_turns: int
    context_tokens: int | None
    system_role: SystemRole
    system: str | None
    default_system: str | None
    stream: bool
    options: Mapping[str, Any]
    budget: "tuple[Budget, ...]"
    budget_max_tokens: int
    ledger: bool
    allow_truncated: bool
    whole_reasons: frozenset[str]
    output_format: str
    usage: bool
    quiet: bool
    max_input_bytes: int
    user_prompt: str | None
    assistant_prompt: str | None
    chat_history: bool
    session: str | None
    continue_last: bool
    existing: bool
    if_busy: str | None
    once: str | None
    once_any: bool
    output: str | None
    no_stdin: bool
    dry_run: bool
    template: str | None
    variables: Mapping[str, str]
    files: tuple[str, ...]
    keep_files: bool
    max_file_mib: float
    schema: str | None
    schema_mode: str
    schema_retries: int
    extract: str | None
    record: str | None
    replay: str | None
    replay_pace: bool
    render: bool
    raw: bool
    lossy: bool
    verbose: bool
    batch_output: str | None
    input_format: str | None
    jobs: int
    rpm: float | None
    tpm: float | None
    ordered: bool
    fresh: bool
    retry_failed: bool
    grace: float
    max_failures: int | float | None
    events: bool
    batch_stream: bool
    workers: int
    wait: bool
    forget: bool
    engine: str
    ray_address: str | None
    prices: Mapping[str, Mapping[str, Any]]
    summary_format: str
    list_format: str
    origins: Mapping[str, str]
    other_secrets: tuple[Secret, ...] = ()
    tells_account: bool = True
    key_withheld: str = ""

    def __repr__(self) -> str:
        return f"Settings(model={self.model!r}, endpoint={self.endpoint!r})"

    @property
    def host(self) -> str:
        """Where requests go, for messages: `HOST` or `HOST:PORT`."""
        return "offline" if self.offline else self.endpoint.host

    @property
    def ledger_host(self) -> str:
        """Where requests go, as the ledger has it: of a socket not where it lies."""
        return "unix" if self.endpoint.socket else self.host

    @property
    def by_way_of(self) -> str:
        """What stands behind the host in a message, where a proxy is on the way, else ""."""
        return f" by way of {self.proxy.told}" if self.proxy else ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be shown and kept nowhere, whoever says it back: the one list of it."""
        key = (self.api_key,) if self.api_key else ()
        beside = tuple(secret.reveal() for secret in (*key, *self.other_secrets))
        return (*beside, *secrets_of_headers(self.headers))

    @property
    def own_limit_field(self) -> str:
        """The field that bounds an answer where --max-tokens asks for it, and nobody for the
        name; else ""."""
        said = self.origins.get("max_tokens")
        named = (field for field in TOKEN_FIELDS if field in self.options)
        return next((field for field in named if self.origins.get(OF_FIELD + field) == said), "")

    @property
    def only_replays(self) -> bool:
        """Whether every answer comes from a recording, so that no key is needed and none sent."""
        return self.replay is not None and self.record is None

    @property
    def hurries(self) -> bool:
        """Whether a retry waits for nobody."""
        return self.only_replays and not self.replay_pace

    @property
    def needs_key(self) -> bool:
        """Whether a request without a key is pointless: the vendor's own endpoint."""
        is_known = any(each.name.lower() == "authorization" for each in self.headers)
        nobody = self.offline or self.only_replays or is_known
        return not nobody and self.endpoint.is_vendor


def resolve_settings(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config: Mapping[str, Any],
    config_name: str = "config.toml",
) -> Settings:
    """Settings by strength: flags, PIPECHAT_*, OPENAI_*, AZURE_OPENAI_*, profile, file, defaults.

    Args:
        flags: what was given, by the names of the table; None, or False of a switch: not given.
        environ: the environment, for the variables above and those of proxies.
        config: the decoded config file, or an empty mapping.
        config_name: what it is called in messages.

    Raises:
        UsageError: a value of a flag or of a PIPECHAT_* variable is wrong.
        SetupError: a value of another variable or of the config file is.
    """
    layers = make_layers(flags, environ, config, config_name)
    found, origins = found_in(layers)
    check_needs(origins)
    if found["render"] and found["raw"]:
        check_at_odds(origins, "render", "raw")
    way = find_way(layers, found, origins, environ)
    made = {
        **way,
        "model": OFFLINE_MODEL if found["offline"] else found["model"],
        **{f"{name}_s": found[name] or None for name in _LIMITS},
        **_systems(layers),
        "options": _options(layers, way["endpoint"], origins),
        "whole_reasons": frozenset(found["whole_reasons"]),
        "max_input_bytes": int(found["max_input_mib"] * MEBIBYTE),
        "origins": origins,
    }
    # The rest is what its option says, under the same name.
    as_given = {name: found[name] for name in Settings._fields if name in found}
    return Settings(**{**as_given, **made})


def found_in(layers: list[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Each setting's value, and who set those that are no defaults."""
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option in OPTIONS:
        found[option.name] = option.default
        for layer in layers:
            if (value := layer.read(option)) is not None:
                found[option.name] = value
                origins[option.name] = layer.origin(option.name)
                break
    return found, origins


def _systems(layers: list[Layer]) -> dict[str, Any]:
    """The system message of this call, and that of the file."""
    found = {"system": None, "default_system": None}
    for layer in reversed(layers):
        if (value := layer.read(BY_NAME["system"])) is not None:
            found["system" if layer.kind in ("flag", "variable") else "default_system"] = value
    return found


def _options(layers: list[Layer], endpoint: Endpoint, origins: dict[str, str]) -> dict[str, Any]:
    """Further fields of the body, the stronger layer's last; `origins` says who gave each."""
    fields: dict[str, Any] = {}
    for layer in reversed(layers):
        more = dict(layer.read(BY_NAME["options"]) or {})
        origins |= {OF_FIELD + key: layer.origin("options") for key in more}
        for name, same in _SAME_FIELDS.items():
            value, twice = layer.read(BY_NAME[name]), names_said(more).intersection(same)
            if value is not None and twice:
                option = BY_NAME[name].flags[0]
                layer.complain("options", f"{min(twice)} is said twice, here and by {option}")
            if value is not None:
                key = endpoint.token_limit_field if name == "max_tokens" else same[0]
                more[key], origins[OF_FIELD + key] = value, layer.origin(name)
            if value is not None or twice:
                for key in same:
                    fields.pop(key, None)
        fields.update(more)
    return fields
