"""Commands and groups of commands as typer has them, with pages of help of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

_F = TypeVar("_F", bound=Callable[..., Any])


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
    """A group of commands. `summaries`: of those that are told without being made."""

    summaries: Mapping[str, str]


class App:
    """A group of commands, or the program itself.

    None of its commands is imported or read by typer before it is asked for: `history show` needs
    neither the other ten nor their options, which take longer than what it does.
    """

    def __init__(
        self, name: str | None = None, *, help: str, callback: Callable[..., None] | None = None
    ) -> None:
        self.name = name
        self._help = help
        self._callback = callback
        self._finders: dict[str, Callable[[], Any]] = {}
        self._summaries: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What its commands are called, in the order of the help."""
        return tuple(self._finders)

    def command(self, name: str) -> Callable[[_F], _F]:
        """Add the function that stands below it."""

        def register(function: _F) -> _F:
            self._finders[name] = lambda: function
            return function

        return register

    def add(self, name: str, place: str, summary: str = "") -> None:
        """Add a command by its place, a module of this package and a function or an App in it:
        `history_list.list_sessions`. `summary`: what its help begins with, for a page that then
        lists it without importing it."""
        module, _, attribute = place.partition(".")
        self._finders[name] = lambda: getattr(
            import_module(f"pipechat.commands.{module}"), attribute
        )
        if summary:
            self._summaries[name] = summary

    def as_typer_has_it(self) -> PagedGroup:
        """The group, with its commands in waiting."""
        typed = _typer(self.name, help=self._help)
        if self._callback:
            typed.callback(help=self._help, invoke_without_command=True)(self._callback)
        group: PagedGroup = typer.main.get_group(typed)  # type: ignore[assignment]  # because `cls` says so
        group.commands = _Commands(self._finders)  # type: ignore[assignment]  # because nothing is ever added to it
        group.summaries = self._summaries
        return group


class _Commands(Mapping[str, Any]):
    """The commands of a group as typer has them, each made when it is first asked for."""

    def __init__(self, finders: Mapping[str, Callable[[], Any]]) -> None:
        self._finders = finders
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _made(name, self._finders[name]())
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._finders

    def get(self, name: str, default: Any = None) -> Any:
        # A Mapping's own takes a KeyError of the command's module for a command that is missing.
        return self[name] if name in self._finders else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._finders)

    def __len__(self) -> int:
        return len(self._finders)


def _made(name: str, found: Any) -> Any:
    if isinstance(found, App):
        return found.as_typer_has_it()
    typed = _typer()
    epilog = getattr(found, "epilog", None)
    typed.command(name, cls=PagedCommand, epilog=epilog)(found)
    return typer.main.get_command(typed)


def _typer(name: str | None = None, *, help: str | None = None) -> typer.Typer:
    return typer.Typer(
        name=name,
        cls=PagedGroup,
        help=help,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        suggest_commands=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


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
