"""Commands and groups of commands as typer has them, with pages of help of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _Paged:
    """What typer calls for the text of --help."""

    def get_help(self, ctx: Any) -> str:
        from pipechat.commands.help_page import page_of, terminal_width

        return page_of(self, ctx, terminal_width())


class PagedCommand(_Paged, TyperCommand):
    """A command; `-model x` is no `-m odel`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(word[:1] == "-" and word[1:3].isalpha() and len(word) > 2 for word in args):
            from pipechat.commands.mistakes import check_dashes

            check_dashes(self.get_params(ctx), args, ctx.command_path)
        return super().parse_args(ctx, args)


class PagedGroup(_Paged, TyperGroup):
    """A group of commands."""


class App(typer.Typer):
    """A group whose commands, and which itself, have these pages."""

    def __init__(self, name: str | None = None, *, help: str) -> None:
        super().__init__(
            name=name,
            cls=PagedGroup,
            help=help,
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            suggest_commands=False,
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def command(self, name: str | None = None, **more: Any) -> Callable[[Any], Any]:
        def register(function: Any) -> Any:
            epilog = getattr(function, "epilog", None)
            return super(App, self).command(name, cls=PagedCommand, epilog=epilog, **more)(function)

        return register


def _show_variables(context: typer.Context, wanted: bool) -> None:
    if wanted:
        from pipechat.commands.help_env import page_of_variables
        from pipechat.commands.help_page import terminal_width

        typer.echo(page_of_variables(context.command_path, terminal_width()))
        raise typer.Exit


HELP_ENV = typer.Option(
    "--help-env",
    help="Show the variable of each option, and its name in config.toml, and exit.",
    callback=_show_variables,
    is_eager=True,
    expose_value=False,
    rich_help_panel="Help",
)
