"""What was asked for, resolved once: flags, environment, profile, config file, defaults.

Pure: mappings in, one frozen `Settings` out. Reads no file and no environment of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipechat.errors import SetupError, UsageError
from pipechat.settings.urls import host_of, is_loopback
from pipechat.settings.values import DEFAULT_BASE_URL, OPTION_READERS, READERS

OFFLINE_MODEL = "offline"
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """One set of settings. Seconds are floats, None for no limit; `options` are further fields
    of the request's body; None in `system`, `context_tokens` and the prompts: not set. `system`
    was given for this call, `default_system` stands in the config file."""

    model: str
    base_url: str
    api_key: str | None
    api_key_command: str | None
    proxy: str | None
    insecure_http: bool
    offline: bool
    timeout_s: float | None
    first_token_timeout_s: float | None
    idle_timeout_s: float | None
    retries: int
    last_turns: int
    context_tokens: int | None
    system: str | None
    default_system: str | None
    stream: bool
    options: Mapping[str, Any]
    allow_truncated: bool
    output_format: str
    usage: bool
    quiet: bool
    max_input_bytes: int
    user_prompt: str | None
    assistant_prompt: str | None

    @property
    def host(self) -> str:
        """Where requests go, for messages: `HOST` or `HOST:PORT`."""
        return "offline" if self.offline else host_of(self.base_url)

    @property
    def needs_key(self) -> bool:
        """Whether a request without a key is pointless: the vendor's own endpoint."""
        return not self.offline and self.base_url == DEFAULT_BASE_URL


def resolve_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], config: Mapping[str, Any]
) -> Settings:
    """Settings by strength: flags (and PIPECHAT_*, which the command line takes as flags),
    OPENAI_*, the profile, the config file, the defaults.

    Args:
        flags: what was given, by the names of the config file; None or False: not given.
        environ: the environment, for OPENAI_API_KEY, OPENAI_BASE_URL, PIPECHAT_API_KEY.
        config: the decoded config file, or an empty mapping.

    Raises:
        UsageError: a flag's value is wrong.
        SetupError: a value of the environment or the config file is.
    """
    layers = _layers(flags, environ, config)
    found = {name: _value(name, layers) for name in READERS}
    offline = found["offline"]
    key, key_command = _key(layers)
    return Settings(
        model=OFFLINE_MODEL if offline else found["model"],
        base_url=found["base_url"],
        api_key="offline" if offline else key,
        api_key_command=None if offline else key_command,
        proxy=found["proxy"],
        insecure_http=found["insecure_http"],
        offline=offline,
        timeout_s=found["timeout"] or None,
        first_token_timeout_s=found["first_token_timeout"] or None,
        idle_timeout_s=found["idle_timeout"] or None,
        retries=found["retries"],
        last_turns=found["last_turns"],
        context_tokens=found["context_tokens"],
        system=_value("system", layers[:1]),
        default_system=_value("system", layers[1:]),
        stream=found["stream"],
        options=_options(found, layers),
        allow_truncated=found["allow_truncated"],
        output_format=found["output_format"],
        usage=found["usage"],
        quiet=found["quiet"],
        max_input_bytes=int(found["max_input_mib"] * MEBIBYTE),
        user_prompt=found["user_prompt"],
        assistant_prompt=found["assistant_prompt"],
    )


def check_key_is_safe(settings: Settings) -> None:
    """Refuse to send a key in the clear over a network.

    Raises:
        SetupError: `insecure_http`.
    """
    exposed = settings.base_url.startswith("http:") and not is_loopback(settings.base_url)
    if settings.api_key and exposed and not (settings.insecure_http or settings.offline):
        raise SetupError(
            "insecure_http",
            f"the key would go to {settings.host} unencrypted",
            "Use https, or --insecure-http if that network is yours.",
        )


Layer = tuple[str, Mapping[str, Any]]


def _layers(
    flags: Mapping[str, Any], environ: Mapping[str, str], config: Mapping[str, Any]
) -> list[Layer]:
    # Not `in (None, False)`: 0 equals False, and --retries 0 is a wish like any other.
    given = {
        name: value for name, value in flags.items() if value is not None and value is not False
    }
    named = {
        "api_key": environ.get("PIPECHAT_API_KEY") or environ.get("OPENAI_API_KEY") or None,
        "base_url": environ.get("OPENAI_BASE_URL") or None,
    }
    layers: list[Layer] = [("flag", given), ("environment", named)]
    profile = given.get("profile") or config.get("profile")
    if profile is not None:
        profiles = config.get("profiles")
        values = None
        if isinstance(profile, str) and isinstance(profiles, dict):
            values = profiles.get(profile)
        if not isinstance(values, dict):
            hint = f"Add [profiles.{profile}] to config.toml."
            raise SetupError("unknown_profile", f"there is no profile {profile!r}", hint)
        layers.append((f"profile {profile}", values))
    layers.append(("config.toml", config))
    for origin, values in layers[2:]:
        _check_names(origin, values)
    return layers


def _check_names(origin: str, values: Mapping[str, Any]) -> None:
    known = {*READERS, "options", "temperature", "max_tokens", "profile", "profiles"}
    for name in values:
        if name not in known:
            raise SetupError("bad_config", f"{origin}: there is no setting {name!r}")


def _value(name: str, layers: list[Layer]) -> Any:
    read, default = READERS[name]
    for origin, values in layers:
        value = values.get(name)
        if value is not None:
            try:
                return read(value)
            except ValueError as error:
                _complain(origin, name, str(error), error)
    return default


def _key(layers: list[Layer]) -> tuple[str | None, str | None]:
    """The key, or the command that prints it, of the strongest layer that has either."""
    for layer in layers:
        key, command = _value("api_key", [layer]), _value("api_key_command", [layer])
        if key or command:
            return key, None if key else command
    return None, None


def _complain(origin: str, name: str, what: str, cause: Exception) -> None:
    if origin == "flag":
        option = "--" + name.replace("_", "-")
        raise UsageError("bad_option", f"{option}: {what}") from cause
    raise SetupError("bad_config", f"{origin}: {name}: {what}") from cause


def _options(found: Mapping[str, Any], layers: list[Layer]) -> dict[str, Any]:
    """Further fields of the body, the stronger layer's last."""
    options: dict[str, Any] = {}
    # Newer models of the vendor refuse `max_tokens`; other servers know nothing else.
    openai = host_of(found["base_url"]).endswith(("openai.com", "openai.azure.com"))
    for origin, values in reversed(layers):
        for name, key in (
            ("temperature", "temperature"),
            ("max_tokens", "max_completion_tokens" if openai else "max_tokens"),
        ):
            if values.get(name) is not None:
                try:
                    options[key] = OPTION_READERS[name](values[name])
                except ValueError as error:
                    _complain(origin, name, str(error), error)
        more = values.get("options")
        if more is not None:
            if not isinstance(more, dict):
                raise SetupError("bad_config", f"{origin}: options: not a table")
            options.update(more)
    return options
