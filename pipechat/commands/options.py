"""The options of `ask`, `chat` and `batch`, made of the option table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Annotated, Any, get_type_hints

import typer

from pipechat.commands.app import HELP_ENV
from pipechat.errors import ExitCode
from pipechat.settings.table import Option, taken_by

_TYPES: dict[str, tuple[Any, Any]] = {
    "value": (str | None, None),
    "list": (list[str] | None, None),
    "switch": (bool, False),
}

_CODES = ", ".join(f"{int(code)} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
_EPILOG = (
    "Settings lie in config.toml in $PIPECHAT_HOME, else in $XDG_CONFIG_HOME/pipechat "
    f"(~/.config/pipechat).\n\nExit codes: {_CODES}."
)


_HELP_ENV = Parameter(
    "help_env", Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, HELP_ENV]
)


def with_options(command: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command that takes `**given` the options that the table has for it.

    What is typed is handed on as text: the table's readers look at it, since they know who to
    name where it is wrong.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        own = [
            parameter
            for parameter in signature(function).parameters.values()
            if parameter.kind is not Parameter.VAR_KEYWORD
        ]
        hints = get_type_hints(function, include_extras=True)
        taken = [*map(_parameter, taken_by(command)), _HELP_ENV]
        named = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
        function.__signature__ = signature(function).replace(  # type: ignore[attr-defined]  # because it is read, not declared
            parameters=[*named, *taken]
        )
        function.epilog = _EPILOG  # type: ignore[attr-defined]  # because main asks for it
        function.__annotations__ = {
            **{parameter.name: parameter.annotation for parameter in (*named, *taken)},
            "return": int,
        }
        return function

    return decorate


def _parameter(option: Option) -> Parameter:
    kind, default = _TYPES[option.shape]
    declared = typer.Option(
        *option.flags,
        help=option.help,
        metavar=option.metavar or None,
        show_default=False,
        rich_help_panel=option.group,
    )
    return Parameter(
        option.name,
        Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, declared],
    )


def as_given(given: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What was typed, by the names of the settings: a switch as what it sets, the rest as it is;
    None where nothing was."""
    found: dict[str, Any] = {}
    for option in taken_by(command):
        value = given[option.name]
        found[option.name] = (
            (option.given if value else None) if option.shape == "switch" else value
        )
    return found
