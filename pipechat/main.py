"""The program: command line in, exit status out."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from typing import Any, NoReturn

import typer

from pipechat import __version__
from pipechat.commands.wiring import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, PipechatError, ReaderLeft, UsageError, as_ours
from pipechat.signals import die_by

_COMMANDS = ("ask", "chat", "batch", "history", "schema")

# typer ≥ 0.25 carries a click of its own; its errors are reached through typer, whose name for
# them stays.
_CommandLineError: Any = typer.BadParameter.__mro__[2]


def run_and_exit() -> NoReturn:
    """Run the program and end the process with its status."""
    env = Environment.of_process()
    _take_hooks(env)
    status = run(env, sys.argv[1:])
    if status == ExitCode.READER_LEFT:
        die_by(status - 128)
    # Nothing is left to tidy up, and the interpreter takes 20 ms to do it.
    os._exit(status)


def _take_hooks(env: Environment) -> None:
    """Let nothing of Python's print: a traceback holds keys, and escapes that a terminal obeys.

    What ends the process is told in one line. What ends a thread or a finalizer is told with -v:
    whoever waited for it says what became of the turn.
    """

    def tell(error: BaseException | None) -> None:
        if isinstance(error, Exception):
            with suppress(Exception):  # a hook that fails makes Python print after all
                report(env, as_ours(error))

    def tell_if_verbose(about: Any) -> None:
        if env.verbose:
            tell(about.exc_value)

    sys.excepthook = lambda _kind, error, _traceback: tell(error)
    threading.excepthook = tell_if_verbose
    sys.unraisablehook = tell_if_verbose
    warnings.showwarning = lambda *_about, **_options: None


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
        ours = as_ours(error)
        report(env, ours)
        return int(ours.exit_code)


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
        named = _named(arguments)
        fallback = f"pipechat {named[0]}" if len(named) == 1 else "pipechat"
        path = context.command_path if context else fallback
        from pipechat.commands.mistakes import told_of

        told = told_of(error, error.format_message(), path, arguments, _COMMANDS)
        raise UsageError("usage", *told) from error
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
            app.command(epilog=getattr(command, "epilog", None))(command)
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
