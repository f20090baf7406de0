"""The program: command line in, exit status out."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from typing import Annotated, Any, NoReturn

import typer

from pipechat import __version__
from pipechat.commands.app import HELP_ENV, App
from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, PipechatError, ReaderLeft, UsageError, as_ours
from pipechat.signals import die_by

COMMANDS = (
    "ask", "chat", "batch", "history", "usage", "models", "doctor", "config", "schema",
    "completion",
)  # fmt: skip
_HELP = "The Unix filter for chat models: a question goes in, the answer streams out."

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
    command = make_command(_named(arguments), brief=arguments in ([], ["--help"], ["-h"]))
    # Help and version are typer's own words: caught, and written as everything else is.
    shown = StringIO()
    try:
        with redirect_stdout(shown):
            status = command.main(arguments, "pipechat", standalone_mode=False, obj=env)
    except typer.Abort as abort:
        if isinstance(abort.__cause__, EOFError):  # not of a prompt, which has no cause
            raise abort.__cause__ from None
        return int(ExitCode.USAGE)
    except _CommandLineError as error:
        context = getattr(error, "ctx", None)
        named = _named(arguments)
        fallback = f"pipechat {named[0]}" if len(named) == 1 else "pipechat"
        path = context.command_path if context else fallback
        from pipechat.commands.mistakes import is_no_command, told_of

        if context and is_no_command(error):  # who says nothing asks what there is to say
            for line in context.get_help().splitlines():
                env.stderr.line(line)
        raise UsageError("usage", *told_of(error, path, arguments, COMMANDS)) from error
    if text := shown.getvalue():
        env.stdout.write(text.encode())
    return int(status or 0)


def _named(arguments: list[str]) -> tuple[str, ...]:
    """The command that the arguments name, else all of them: for --help, and to say which
    there are. What is not run need be neither imported nor built."""
    first = next((word for word in arguments if not word.startswith("-")), None)
    if first is None and "--version" in arguments:
        return ()
    # Completion tells of all of them.
    return (first,) if first in COMMANDS and first != "completion" else COMMANDS


def make_command(names: tuple[str, ...] = COMMANDS, *, brief: bool = False) -> Any:
    """The program as typer has it, with the commands of these names; `brief`: none of which can
    do more than be listed, for the page that lists them."""
    app = App(help=_HELP)
    app.callback(help=_HELP, invoke_without_command=True)(_before_commands)
    for name in names:
        command = getattr(import_module(f"pipechat.commands.{name}"), name)
        if brief:
            command = _listed(command)
        if isinstance(command, typer.Typer):
            app.add_typer(command)
        else:
            app.command()(command)
    command = typer.main.get_command(app)
    # typer has groups last.
    command.commands = {name: command.commands[name] for name in names}  # type: ignore[attr-defined]  # because it is a group
    return command


def _listed(command: Any) -> Any:
    """A command or a group with its help and without its options, which take longer to make."""
    if isinstance(command, typer.Typer):
        return App(command.info.name, help=command.info.help or "")

    def listed() -> None: ...

    listed.__name__, listed.__doc__ = command.__name__, command.__doc__
    return listed


def _before_commands(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and exit.", rich_help_panel="Help")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            help="With --version: all that a report of a bug should name.",
            rich_help_panel="Help",
        ),
    ] = False,
    help_env: Annotated[bool, HELP_ENV] = False,  # noqa: ARG001  # because typer answers it itself
) -> None:
    if version:
        typer.echo(f"pipechat {__version__}")
        if verbose:
            from pipechat.commands.versions import versions

            typer.echo("\n".join(versions(context.obj.environ)))
        raise typer.Exit
    if verbose:
        named = f"{context.invoked_subcommand or 'COMMAND'} OPTIONS…."
        hint = f"Options come after the command: pipechat {named}"
        raise UsageError("usage", "--verbose alone says nothing", hint)
    if context.invoked_subcommand is None:
        context.fail("Missing command.")
