"""scripts/man, put together."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import typer
from page import manual_page
from tables import MarkerError, with_tables

from pipechat.commands.command_tree import KnownCommand, known_commands
from pipechat.errors import ExitCode
from pipechat.main import make_command

_ROOT = Path(__file__).resolve().parent.parent.parent
_KEPT = Path(__file__).resolve().parent / "pipechat.1"


def main() -> int:
    """Do what is asked; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/man", description="The manual of pipechat.")
    parser.add_argument("-o", metavar="FILE", type=Path, help="write the page to FILE")
    parser.add_argument("--readme", action="store_true", help="write what is kept of it")
    parser.add_argument("--check", action="store_true", help="say whether what is kept is right")
    wanted = parser.parse_args()
    try:
        return _make(wanted)
    except MarkerError as error:
        parser.error(str(error))
    except BrokenPipeError:
        return ExitCode.READER_LEFT
    except OSError as error:
        # A full disk has no name of the file with it.
        name = error.filename or wanted.o or "stdout"
        hint = "Name a file that you may write to with -o."
        if wanted.readme or wanted.check:
            hint = "Copy the folder to one of your own."
        sys.stderr.write(f"scripts/man: {name}: {error.strerror}. {hint}\n")
        return ExitCode.OUTPUT


def _make(wanted: argparse.Namespace) -> int:
    commands = all_commands()
    page = manual_page(commands)
    if wanted.o is not None:
        wanted.o.write_text(page, encoding="utf-8")
    elif not (wanted.readme or wanted.check):
        # Closed here: what could not be written is told now, and not once more at the exit.
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
            stdout.write(page)
    if not (wanted.readme or wanted.check):
        return 0
    readme = _ROOT / "README.md"
    right = {readme: with_tables(readme.read_text(encoding="utf-8"), commands), _KEPT: page}
    return _keep(right, write=wanted.readme)


def all_commands() -> list[KnownCommand]:
    """The commands of the program, as typer has read them."""
    command = make_command()
    return list(known_commands(command, typer.Context(command, info_name="pipechat")))


def _keep(right: dict[Path, str], *, write: bool) -> int:
    wrong = [path for path, text in right.items() if not path.exists() or path.read_text() != text]
    for path in wrong:
        if write:
            path.write_text(right[path], encoding="utf-8")
        name = path.relative_to(_ROOT)
        sys.stderr.write(
            f"{name}: {'written' if write else 'not as scripts/man --readme has it'}\n"
        )
    return 0 if write or not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
