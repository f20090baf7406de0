"""All commands, their options and what each takes: as typer has read them, for completion and
the manual."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipechat.commands.help_page import group_of, name_of, summary_of, usage_of

_LITERAL = re.compile(r"[a-z][a-z0-9-]*")
# What a word of a metavar stands for; `NAME` is a session's, but where the option says otherwise.
_KINDS = {
    "NAME": "session",
    "PROFILE": "profile",
    "FILE": "file",
    "IN": "file",
    "OUT": "file",
    "@FILE": "at-file",
    "MODEL": "model",
}


class Values(NamedTuple):
    """What may stand as a value: the words that may, and the kinds of others: `session`,
    `profile`, `model`, `file`, and `at-file` for a file behind an @."""

    words: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class KnownOption(NamedTuple):
    """An option. `values`: None for a switch. `shown`: as the help names it."""

    flags: tuple[str, ...]
    shown: str
    help: str
    values: Values | None
    repeats: bool
    name: str
    group: str


class KnownArgument(NamedTuple):
    """An argument; the last one may be given more than once."""

    metavar: str
    help: str
    values: Values
    repeats: bool


class KnownCommand(NamedTuple):
    """A command, or a group of them. `path`: what is typed for it, "" for the program itself."""

    path: str
    usage: str
    help: str
    summary: str
    options: tuple[KnownOption, ...]
    arguments: tuple[KnownArgument, ...]
    commands: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last word of its path."""
        return self.path.rpartition(" ")[2]


def known_commands(command: Any, context: Any, path: str = "") -> Iterator[KnownCommand]:
    """`command` and those in it, each before its own."""
    params = command.get_params(context)
    inner = getattr(command, "commands", {})
    yield KnownCommand(
        path,
        " ".join(usage_of(command, params)),
        command.help or "",
        summary_of(command),
        tuple(_option(each) for each in params if each.param_type_name == "option"),
        tuple(_argument(each) for each in params if each.param_type_name == "argument"),
        tuple(inner),
    )
    for name, each in inner.items():
        yield from known_commands(each, context, f"{path} {name}".lstrip())


def _option(param: Any) -> KnownOption:
    flags = tuple(sorted(param.opts, key=lambda each: each.startswith("--")))
    values = None if param.is_flag else values_of(param.metavar or "", flags[-1])
    repeats = bool(param.multiple)
    shown, help_text = name_of(param), param.help or ""
    return KnownOption(flags, shown, help_text, values, repeats, param.name, group_of(param))


def _argument(param: Any) -> KnownArgument:
    metavar = name_of(param)
    return KnownArgument(metavar, param.help or "", values_of(metavar), param.nargs == -1)


def values_of(metavar: str, flag: str = "") -> Values:
    """What a metavar such as `wait|fail` or `[NAME|FILE]…` allows, of the option `flag`."""
    parts = metavar.strip("[]…").split("|")
    kinds = (_KINDS[part] for part in parts if part in _KINDS)
    named = ("profile" if (kind, flag) == ("session", "--profile") else kind for kind in kinds)
    return Values(tuple(part for part in parts if _LITERAL.fullmatch(part)), tuple(named))
