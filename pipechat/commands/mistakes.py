"""A command line that cannot be read: what is said of it, and what to try instead."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib import import_module

import typer

_LONGEST = 60


def told_of(
    error: Exception, said: str, path: str, arguments: Sequence[str], commands: Sequence[str]
) -> tuple[str, str]:
    """What is wrong, and what to try.

    Args:
        error: what typer raised; `said`: its words.
        path: the command that it was raised for: `pipechat ask`.
        commands: those that there are.
    """
    said = said.replace("a valid int range", "a whole number")
    inner = commands if path == "pipechat" else _commands_of(path.removeprefix("pipechat "))
    named = next((word for word in arguments if word in inner), "")
    see = f"See {path if path == 'pipechat' else f'{path} {named}'.rstrip()} --help."
    if type(error).__name__ == "NoSuchOption":
        if named:
            return said, f"Options come after the command: {path} {named} OPTIONS…."
        if question := _question(str(getattr(error, "option_name", "")), arguments):
            what = f"{_shortened(question)!r} begins with a dash and is no option"
            return what, "Put `--` before a question that begins with a dash."
    elif path == "pipechat" and said.startswith("No such command"):
        if group := next((each for each in commands if arguments[0] in _commands_of(each)), ""):
            return said, f"Did you mean: pipechat {group} {arguments[0]}?"
        begin = "Or" if "Did you mean" in said else "Did you mean"
        return said, f"{begin}: pipechat ask {_shortened(shlex.join(arguments))}? {see}"
    return said, see


def _commands_of(group: str) -> Sequence[str]:
    """The commands of a group such as `history`; none of a command."""
    if " " in group:
        return ()
    app = getattr(import_module(f"pipechat.commands.{group}"), group)
    if not isinstance(app, typer.Typer):
        return ()
    known = app.registered_commands
    return [str(each.name or getattr(each.callback, "__name__", "")) for each in known]


def _question(option: str, arguments: Sequence[str]) -> str:
    """The argument that `option` was found in, where it can be none: blanks are in it, or no
    letter follows the dash."""
    for argument in arguments:
        is_cluster = argument.startswith("-") and not argument.startswith("--")
        begins = argument.startswith(option) or (is_cluster and option[1:] in argument)
        name = argument.partition("=")[0]
        if begins and (any(map(str.isspace, name)) or not name.strip("-")[:1].isalpha()):
            return argument
    return ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
