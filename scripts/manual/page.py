"""The manual page, in roff(7) with the macros of man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tables import note_of

from pipechat import __version__
from pipechat.commands.command_tree import KnownCommand, KnownOption
from pipechat.commands.examples import EXAMPLES
from pipechat.commands.help_env import OTHERS
from pipechat.commands.help_page import TABLE_GROUPS
from pipechat.errors import ExitCode
from pipechat.settings.table import BY_NAME, OPTIONS, Option, taken_by

_FILES = (
    ("config.toml", "Settings; in $PIPECHAT_HOME, else in $XDG_CONFIG_HOME/pipechat "
     "(~/.config/pipechat)."),
    ("sessions/NAME.jsonl", "A session, a turn a line; in $PIPECHAT_HOME, else in "
     "$XDG_DATA_HOME/pipechat (~/.local/share/pipechat)."),
)  # fmt: skip
# Letters that roff shows as others, or obeys.
_LETTERS = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
_STRENGTH = (
    "Strength: option, PIPECHAT_*, OPENAI_API_KEY and OPENAI_BASE_URL, profile, config.toml, "
    "default. A switch is on with 1, true, yes or on."
)


def manual_page(commands: Sequence[KnownCommand]) -> str:
    """The page, pipechat.1."""
    return "".join(f"{line}\n" for line in _page(commands))


def _page(commands: Sequence[KnownCommand]) -> Iterator[str]:
    yield '.\\" Made by scripts/man of the table of options; not to be edited.'
    yield f'.TH PIPECHAT 1 "" "pipechat {__version__}" "User Commands"'
    yield from (".nh", ".ad l")  # an option that was broken in two could not be searched for
    yield from (".SH NAME", "pipechat \\- the Unix filter for chat models", ".SH SYNOPSIS")
    runnable = [command for command in commands if not command.commands]
    for number, command in enumerate(runnable):
        if number:
            yield ".br"
        yield f"{_bold(f'pipechat {command.path}')} {_escaped(command.usage)}"
    yield from (".SH DESCRIPTION", *_paragraphs(commands[0].help))
    yield ".SH COMMANDS"
    for command in runnable:
        yield from _command(command)
    yield ".SH OPTIONS"
    yield _escaped(
        "Those of the commands that ask a model; each says which take it. All take --help."
    )
    for group in TABLE_GROUPS:
        yield f".SS {group}"
        yield from _group(group, runnable)
    yield ".SS Help"
    for option in commands[0].options:
        yield from _entry(_flags(option), option.help)
    yield ".SH SETTINGS"
    yield _escaped("Of config.toml alone; an option stands there by its name.")
    for row in OPTIONS:
        if not row.flags:
            also = f"(Also {row.variable}.)" if row.variable else ""
            yield from _entry(_bold(row.name), row.help, also)
    yield from (".SH ENVIRONMENT", _escaped(_STRENGTH))
    for name, what in OTHERS:
        yield from _entry(_bold(name), what)
    yield ".SH FILES"
    for name, what in _FILES:
        yield from _entry(_bold(name), what)
    yield from _paragraph("Settings that only config.toml has:")
    for row in OPTIONS:
        if not row.flags:
            yield from _entry(_bold(row.name), row.help)
    yield ".SH EXIT STATUS"
    for code in ExitCode:
        yield from _entry(_bold(str(int(code))), code.name.lower().replace("_", " "))
    yield ".SH EXAMPLES"
    for examples in EXAMPLES.values():
        for what, line in examples:
            yield from (*_paragraph(what), ".EX", _escaped(line), ".EE")
    yield from (".SH SEE ALSO", ".BR jq (1),", ".BR curl (1)")


def _command(command: KnownCommand) -> Iterator[str]:
    yield f".SS pipechat {_escaped(command.path)}"
    yield from _paragraphs(command.help)
    for argument in command.arguments:
        yield from _entry(_italic(argument.metavar), argument.help, note_of(command, argument))
    in_table = {option.name for option in taken_by(command.path)}
    for option in command.options:
        if option.name not in in_table and option.group != "Help":
            yield from _entry(_flags(option), option.help)
    if in_table:
        flags = [option.flags[-1] for option in command.options if option.name in in_table]
        yield from _paragraph(f"Options, see below: {', '.join(flags)}.")


def _group(group: str, commands: Sequence[KnownCommand]) -> Iterator[str]:
    """The options of a group, each once, by the first command that takes it."""
    told: set[str] = set()
    for command in commands:
        for option in command.options:
            row = BY_NAME.get(option.name)
            if row is None or not row.flags or option.group != group or option.name in told:
                continue
            if command.path not in row.commands:
                continue
            told.add(option.name)
            yield from _entry(_flags(option), option.help, note_of(command, option), _names(row))


def _names(row: Option) -> str:
    """Who takes an option, and what else it is called."""
    names = [row.variable] if row.variable else []
    if row.in_file:
        names.append(f"{row.name} in config.toml")
    also = f" Also {', '.join(names)}." if names else ""
    return f"({', '.join(row.commands)}){also}"


def _flags(option: KnownOption) -> str:
    names, _, metavar = option.shown.rpartition(" ") if option.values is not None else (
        option.shown, "", "",
    )  # fmt: skip
    flags = ", ".join(_bold(flag) for flag in names.split(", "))
    return f"{flags} {_italic(metavar)}" if metavar else flags


def _entry(head: str, *texts: str) -> Iterator[str]:
    yield from (".TP", head, _escaped(" ".join(filter(None, texts))))


def _paragraphs(text: str) -> Iterator[str]:
    for each in text.strip().split("\n\n"):
        yield from _paragraph(each)


def _paragraph(text: str) -> Iterator[str]:
    yield from (".PP", _escaped(" ".join(text.split())))


def _bold(text: str) -> str:
    return f"\\fB{_plain(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_plain(text)}\\fR"


def _escaped(text: str) -> str:
    """Text as roff shows it: what stands in backticks bold, a line that begins with a dot no
    request."""
    parts = re.split(r"`([^`]+)`", text)
    shown = "".join(_bold(part) if index % 2 else _plain(part) for index, part in enumerate(parts))
    return f"\\&{shown}" if shown[:1] in (".", "'") else shown


def _plain(text: str) -> str:
    return "".join(
        _LETTERS.get(each, each if each.isascii() else f"\\[u{ord(each):04X}]") for each in text
    )
