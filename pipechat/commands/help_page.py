"""The page that --help shows: usage, what a command does, examples, its options in groups.

Made of what typer has read of a command, at any width: no line is wider, and nothing is cut.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from pipechat.commands.columns import NARROWEST, WIDEST, entry, paragraphs, shell_command, wrapped
from pipechat.commands.examples import EXAMPLES

# Those of the option table, in this order; what has no group of its own comes before them, and what
# every command has behind.
TABLE_GROUPS = (
    "Batch", "Question", "Session", "Model", "Answer", "Output", "Limits", "Network",
)  # fmt: skip
GROUPS = ("Arguments", "Options", *TABLE_GROUPS, "Help")


def terminal_width() -> int:
    """The columns of a page: COLUMNS, else those of the terminal, within what reads well."""
    return max(NARROWEST, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))


def page_of(command: Any, context: Any, width: int) -> str:
    """The page of a command, as typer has read it."""
    return "\n".join(_page(command, context, width))


def _page(command: Any, context: Any, width: int) -> Iterator[str]:
    path = context.command_path
    params = command.get_params(context)
    yield from wrapped(" ".join([path, *usage_of(command, params)]), width, "Usage: ", " " * 7)
    if command.help:
        yield ""
        yield from paragraphs(command.help, width)
    yield from _examples(path, width)
    if commands := getattr(command, "commands", None):
        yield "\nCommands:"
        for name in commands:
            summary = command.summaries.get(name) or summary_of(commands[name])
            yield from entry(name, summary, width)
    for group in GROUPS:
        inside = [each for each in params if group_of(each) == group]
        if inside:
            yield f"\n{group}:"
        for each in inside:
            yield from entry(name_of(each), each.help or "", width)
    if commands:
        yield ""
        yield from wrapped(f"Each has a page of its own: {path} COMMAND --help.", width)
    if command.epilog:
        yield ""
        yield from paragraphs(command.epilog, width)


def _examples(path: str, width: int) -> Iterator[str]:
    if path in EXAMPLES:
        yield "\nExamples:"
    for what, line in EXAMPLES.get(path, ()):
        yield from wrapped(what, width, "  ", "  ")
        yield from shell_command(line, width, "    " if what else "  ")


def usage_of(command: Any, params: list[Any]) -> list[str]:
    """What stands behind the name of a command."""
    arguments = [name_of(each) for each in params if each.param_type_name == "argument"]
    if getattr(command, "commands", None):
        arguments += ["COMMAND", "…"]
    return ["[OPTIONS]", *arguments]


def summary_of(command: Any) -> str:
    """The first paragraph of what a command does."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def group_of(param: Any) -> str:
    """Under which heading an option or an argument stands."""
    if param.param_type_name == "argument":
        return getattr(param, "rich_help_panel", None) or "Arguments"
    is_help = "--help" in param.opts
    return getattr(param, "rich_help_panel", None) or ("Help" if is_help else "Options")


def name_of(param: Any) -> str:
    """`-m, --model MODEL`; of an argument its name alone."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    names = ", ".join(sorted(param.opts, key=lambda each: each.startswith("--")))
    return names if param.is_flag else f"{names} {param.metavar or 'VALUE'}"
