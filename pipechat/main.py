"""The program: command line in, exit status out."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer

from pipechat import __version__
from pipechat.commands.ask import ask
from pipechat.commands.chat import chat
from pipechat.commands.wiring import report
from pipechat.environment import Environment
from pipechat.errors import BugError, ExitCode, OutputError, PipechatError, UsageError
from pipechat.signals import die_by

# typer ≥ 0.25 carries a click of its own; its errors are reached through typer, whose name for
# them stays.
_CommandLineError: Any = typer.BadParameter.__mro__[2]


def run_and_exit() -> NoReturn:
    """Run the program and end the process with its status."""
    env = Environment.of_process()
    status = run(env, sys.argv[1:])
    status = _flush(env, status)
    if status == ExitCode.READER_LEFT:
        die_by(status - 128)
    # Nothing is left to tidy up, and the interpreter takes 20 ms to do it.
    os._exit(status)


def run(env: Environment, arguments: list[str]) -> int:
    """Run one command; its exit status."""
    try:
        return _run_command(env, arguments)
    except PipechatError as error:
        report(env, error)
        return int(error.exit_code)
    except Exception as error:
        report(env, BugError(error))
        return int(ExitCode.BUG)


def _run_command(env: Environment, arguments: list[str]) -> int:
    command = typer.main.get_command(_make_app())
    try:
        status = command.main(arguments, "pipechat", standalone_mode=False, obj=env)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        return int(ExitCode.USAGE)
    except _CommandLineError as error:
        raise UsageError("usage", error.format_message(), "See pipechat --help.") from error
    return int(status or 0)


def _make_app() -> typer.Typer:
    app = typer.Typer(
        help="The Unix filter for chat models.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    app.command()(ask)
    app.command()(chat)
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


def _flush(env: Environment, status: int) -> int:
    """What typer printed (help, version) is still in Python's buffer."""
    if sys.stdout is None:  # the process was started without one
        return status
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return int(ExitCode.READER_LEFT)
    except (OSError, ValueError) as error:
        report(env, OutputError("output_failed", f"stdout could not be written: {error}"))
        return int(ExitCode.OUTPUT)
    return status
