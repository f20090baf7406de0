"""The program: command line in, exit status out."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Annotated, Any, NoReturn

import typer

from pipechat import __version__
from pipechat.commands.app import HELP_ENV, App
from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, PipechatError, ReaderLeft, UsageError, as_ours
from pipechat.signals import die_by

# What each begins its help with; beside them the page that lists them needs none of them.
COMMANDS = {
    "ask": "Ask a question; the answer streams to stdout, and nothing else does.",
    "chat": "Talk to the model, question by question; /help tells more, Ctrl-D or QUIT leaves.",
    "batch": "Ask many questions, nothing twice.",
    "history": "What was asked and answered: sessions shown, searched and kept in order.",
    "usage": "Tell what was used, and what it cost, by model, day, month, session, batch or "
    "endpoint.",
    "models": "List what the endpoint serves: model, context window, owner, and the day of its "
    "shutdown.",
    "doctor": "Look at key, proxy, network, endpoint, model, session folder, versions and clock.",
    "config": "Look at settings; begin a file of them.",
    "schema": "Print the JSON Schema (draft 2020-12) of what pipechat writes.",
    "completion": "Print a script that completes commands, options, values, sessions and profiles.",
}
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
    command = make_command()
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
        path = context.command_path if context else _path_of(arguments)
        from pipechat.commands.mistakes import is_no_command, told_of

        if context and is_no_command(error):  # who says nothing asks what there is to say
            for line in context.get_help().splitlines():
                env.stderr.line(line)
        raise UsageError("usage", *told_of(error, path, arguments, tuple(COMMANDS))) from error
    if text := shown.getvalue():
        env.stdout.write(text.encode())
    return int(status or 0)


def _path_of(arguments: list[str]) -> str:
    """The command that the arguments name, as far as that can be told without reading them."""
    first = next((word for word in arguments if not word.startswith("-")), None)
    return f"pipechat {first}" if first in COMMANDS else "pipechat"


def make_command() -> Any:
    """The program as typer has it."""
    app = App(help=_HELP, callback=_before_commands)
    for name, summary in COMMANDS.items():
        app.add(name, f"{name}.{name}", summary)
    return app.as_typer_has_it()


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
