"""The program: command line in, exit status out."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any, NoReturn

import typer

from pipechat import __version__
from pipechat.commands.wiring import report
from pipechat.environment import Environment
from pipechat.errors import BugError, ExitCode, PipechatError, ReaderLeft, UsageError
from pipechat.signals import die_by

_COMMANDS = ("ask", "chat", "history", "schema")

# typer ≥ 0.25 carries a click of its own; its errors are reached through typer, whose name for
# them stays.
_CommandLineError: Any = typer.BadParameter.__mro__[2]


def run_and_exit() -> NoReturn:
    """Run the program and end the process with its status."""
    env = Environment.of_process()
    status = run(env, sys.argv[1:])
    if status == ExitCode.READER_LEFT:
        die_by(status - 128)
    # Nothing is left to tidy up, and the interpreter takes 20 ms to do it.
    os._exit(status)


def run(env: Environment, arguments: list[str]) -> int:
    """Run one command; its exit status."""
    try:
        return _run_command(env, arguments)
    except ReaderLeft as error:  # as quiet as any filter whose reader has had enough
        return int(error.exit_code)
    except PipechatError as error:
        report(env, error)
        return int(error.exit_code)
    except Exception as error:
        report(env, BugError(error))
        return int(ExitCode.BUG)


def _run_command(env: Environment, arguments: list[str]) -> int:
    command = typer.main.get_command(_make_app(_named(arguments)))
    # Help and version are typer's own words: caught, and written as everything else is.
    shown = StringIO()
    try:
        with redirect_stdout(shown):
            status = command.main(arguments, "pipechat", standalone_mode=False, obj=env)
    except typer.Abort:
        return int(ExitCode.USAGE)
    except _CommandLineError as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "pipechat"
        raise UsageError("usage", error.format_message(), f"See {path} --help.") from error
    if text := shown.getvalue():
        env.stdout.write(text.encode())
    return int(status or 0)


def _named(arguments: list[str]) -> tuple[str, ...]:
    """The command that the arguments name, else all of them: for --help, and to say which
    there are. What is not run need be neither imported nor built."""
    first = next((word for word in arguments if not word.startswith("-")), None)
    return (first,) if first in _COMMANDS else _COMMANDS


def _make_app(names: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        help="The Unix filter for chat models.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name in names:
        command = getattr(import_module(f"pipechat.commands.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command)
        else:
            app.command()(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pipechat {__version__}")
        raise typer.Exit


def _global_options(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    """The Unix filter for chat models: a script can trust it."""
