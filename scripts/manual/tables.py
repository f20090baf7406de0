"""The tables of options in README.md, between two markers each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from notes import NOTES

from pipechat.commands.command_tree import KnownArgument, KnownCommand, KnownOption
from pipechat.commands.help_page import TABLE_GROUPS
from pipechat.settings.table import BY_NAME

_BEGIN = "<!-- options of {}: made by scripts/man --readme -->"
_END = "<!-- end of the options -->"
# Which tables there are, by the command that they are of, and of which groups.
_TABLES = {
    "ask": tuple(group for group in TABLE_GROUPS if group != "Batch"),
    "batch run": ("Batch",),
}


class MarkerError(Exception):
    """README.md lacks a table."""


def with_tables(readme: str, commands: Iterable[KnownCommand]) -> str:
    """The README with the tables as they should be."""
    by_path = {command.path: command for command in commands}
    for path, groups in _TABLES.items():
        begin = _BEGIN.format(path)
        found = re.search(rf"{re.escape(begin)}\n.*?{re.escape(_END)}\n", readme, re.DOTALL)
        if found is None:
            raise MarkerError(f"README.md: there is no {begin}")
        lines = "".join(f"{line}\n" for line in _table(by_path[path], groups))
        table = f"{begin}\n{lines}{_END}\n"
        readme = readme[: found.start()] + table + readme[found.end() :]
    return readme


def _table(command: KnownCommand, groups: tuple[str, ...]) -> Iterator[str]:
    yield f"| option of `{command.path}` | | meaning |"
    yield "|---|---|---|"
    for argument in command.arguments:
        yield _row(f"`{argument.metavar}`", "", argument.help, note_of(command, argument))
    for group in groups:
        for option in command.options:
            if option.group == group:
                yield _row(_names(option), _setting(option), option.help, note_of(command, option))


def _row(name: str, setting: str, *texts: str) -> str:
    cells = (name, setting, " ".join(filter(None, texts)))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _names(option: KnownOption) -> str:
    *first, last = option.shown.split(", ")
    return ", ".join(f"`{each}`" for each in (*first, last))


def _setting(option: KnownOption) -> str:
    """● where config.toml has it, and its name there where that is another."""
    row = BY_NAME[option.name]
    if not row.in_file:
        return ""
    if not row.given:
        return f"● `{row.name} = false`"
    return "●" if row.name == row.flags[0][2:].replace("-", "_") else f"● `{row.name}`"


def note_of(command: KnownCommand, what: KnownOption | KnownArgument) -> str:
    """What the manual adds to the help of an option or an argument."""
    if isinstance(what, KnownOption):
        return NOTES.get(what.name, "")
    return NOTES.get(f"{command.path} {what.metavar.strip('[]…').split('|')[0].strip('…')}", "")
