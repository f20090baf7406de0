"""Where values come from: the layers of settings by strength, each value with its origin. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from pipechat.errors import SetupError, UsageError
from pipechat.settings.endpoint import read_azure_endpoint
from pipechat.settings.table import BY_NAME, OPTIONS, Option
from pipechat.text import did_you_mean, nearest

_OURS = "PIPECHAT_"
# Those that stand for no option; the last ones are those of the start and of scripts/.
_OTHER_VARIABLES = (
    "PIPECHAT_API_KEY", "PIPECHAT_HOME", "PIPECHAT_PAGER", "PIPECHAT_PLAIN_IMPORT",
    "PIPECHAT_PYTHON", "PIPECHAT_TEST_WORKERS",
)  # fmt: skip

# Of `--key` alone: so llm calls the key of the endpoint.
_NO_API_KEY = (
    "An API key is never an option: set OPENAI_API_KEY, or api_key_command in config.toml."
)

# Families of variables that are others' as well: each may name an endpoint and the key of it.
OPENAI, AZURE = "OPENAI_*", "AZURE_OPENAI_*"
_FAMILIES = {
    OPENAI: {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL"},
    AZURE: {"api_key": "AZURE_OPENAI_API_KEY", "base_url": "AZURE_OPENAI_ENDPOINT"},
}


class Layer(NamedTuple):
    """Values from one place: `kind` is `flag`, `variable`, `profile` or `file`; `where` is what
    stands before a setting's name in a message, or which family the variables are."""

    kind: str
    values: Mapping[str, Any]
    where: str = ""
    variables: Mapping[str, str] | None = None

    def origin(self, name: str) -> str:
        """Who set `name`, in the words of whoever did."""
        if self.kind == "flag":
            return BY_NAME[name].flags[0] if BY_NAME[name].flags else name
        if self.variables is not None:
            return self.variables[name]
        return f"{self.where}{name}"

    def read(self, option: Option) -> Any:
        """The value of `option` here, None where there is none.

        Raises:
            UsageError: it is wrong, on the command line or in a PIPECHAT_* variable.
            SetupError: it is wrong, in another variable or in the file.
        """
        value = self.values.get(option.name)
        if value is None:
            return None
        try:
            if self.kind in ("flag", "variable") and isinstance(value, str):
                value = option.text(value)
            if self.where == AZURE and option.name == "base_url":
                return read_azure_endpoint(value)
            return option.read(value)
        except ValueError as error:
            self.complain(option.name, str(error), error)

    def complain(self, name: str, what: str, cause: Exception | None = None) -> NoReturn:
        """Raise the error for a value that is wrong, naming where it stands."""
        origin = self.origin(name)
        message = f"{origin}: {what}"
        if self.kind == "flag" or origin.startswith("PIPECHAT_"):
            raise UsageError("bad_option", message) from cause
        raise SetupError("bad_config", message) from cause


def make_layers(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config: Mapping[str, Any],
    config_name: str,
) -> list[Layer]:
    """The layers, strongest first: flags, PIPECHAT_*, OPENAI_*, AZURE_OPENAI_*, the
    profile, the file.

    Raises:
        SetupError: `unknown_profile`; `bad_config`: a setting that there is not.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    layers = [Layer("flag", given), *_from_environment(environ)]
    in_file = Layer("file", config, f"{config_name}: ")
    check_names(config, in_file.where)
    for name, table in profiles_of(config).items():
        check_names(table, f"{config_name}: profiles.{name}.")
    profile = next((layer for layer in [*layers, in_file] if layer.values.get("profile")), None)
    if profile is not None:
        layers.append(_profile(profile, config, config_name))
    return [*layers, in_file]


def _from_environment(environ: Mapping[str, str]) -> Iterator[Layer]:
    ours = {
        option.name: option.variable
        for option in OPTIONS
        if option.variable and environ.get(option.variable)
    }
    if environ.get("PIPECHAT_API_KEY"):
        ours["api_key"] = "PIPECHAT_API_KEY"
    yield _of_variables(ours, environ)
    for family, names in _FAMILIES.items():
        there = {name: variable for name, variable in names.items() if environ.get(variable)}
        yield _of_variables(there, environ, family)


def _of_variables(names: Mapping[str, str], environ: Mapping[str, str], where: str = "") -> Layer:
    values: dict[str, Any] = {name: environ[variable] for name, variable in names.items()}
    return Layer("variable", values, where, variables=names)


def _profile(chosen: Layer, config: Mapping[str, Any], config_name: str) -> Layer:
    name = chosen.read(BY_NAME["profile"])
    tables = profiles_of(config)
    if name not in tables:
        hint = did_you_mean(name, tables) or f"Add [profiles.{name}] to config.toml."
        message = f"{chosen.origin('profile')}: there is no profile {name!r}"
        raise SetupError("unknown_profile", message, hint)
    return Layer("profile", tables[name], f"{config_name}: profiles.{name}.")


def profiles_of(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The profiles of the file, by name."""
    profiles = config.get("profiles")
    named = profiles.items() if isinstance(profiles, dict) else ()
    return {name: table for name, table in named if isinstance(table, dict)}


def check_names(values: Mapping[str, Any], where: str) -> None:
    """Refuse what is no setting. Raises SetupError."""
    known = {*(option.name for option in OPTIONS if option.in_file), "profiles"}
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            if not hint and isinstance(values[name], dict):
                hint = "A profile is a table [profiles.NAME]."
            message = f"{where.rstrip(' .:')}: there is no setting {name!r}"
            raise SetupError("bad_config", message, hint)


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each PIPECHAT_* variable that is set and that nothing reads."""
    ours = [name for name, value in environ.items() if name.startswith(_OURS) and value]
    known = {*(option.variable for option in OPTIONS if option.variable), *_OTHER_VARIABLES}
    for name in ours:
        if name not in known:
            near = {each.removeprefix(_OURS) for each in known}  # all of them begin alike
            found = nearest(name.removeprefix(_OURS), near)
            hint = f"Did you mean {_OURS + found!r}?" if found else ""
            yield f"{name} is no variable of pipechat. {hint}".rstrip()


def check_needs(origins: Mapping[str, str]) -> None:
    """Refuse a flag that changes an option which is not there."""
    there = {*origins, *(BY_NAME[name].stands_for for name in origins if name in BY_NAME)}
    for option in OPTIONS:
        origin = origins.get(option.name, "")
        if option.needs and option.needs not in there and origin.startswith("--"):
            needed = BY_NAME[option.needs].flags[0]
            hint = _NO_API_KEY if option.name == "client_key" else ""
            raise UsageError("bad_option", f"{origin} needs a {needed}", hint)


def check_at_odds(origins: Mapping[str, str], name: str, other: str) -> None:
    """Refuse two options of one call that say the opposite; the file's gives way to it."""
    said = [origins[each] for each in (name, other)]
    if all(origin.startswith(("--", "PIPECHAT_")) for origin in said):
        raise UsageError("bad_option", f"{' and '.join(said)}: one or the other")
