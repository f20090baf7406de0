"""`pipechat completion`: what a shell needs to complete the command line, as a script for it."""

from __future__ import annotations

from typing import Annotated

import typer

from pipechat.commands.history_output import open_page
from pipechat.environment import Environment
from pipechat.errors import UsageError
from pipechat.text import not_one_of

_SHELLS = ("bash", "zsh", "fish")


def completion(
    context: typer.Context,
    shell: Annotated[
        str, typer.Argument(help="The shell that the script is for.", metavar="bash|zsh|fish")
    ],
) -> int:
    """Print a script that completes commands, options, values, sessions and profiles.

    It knows all that does not change, and starts no program at a Tab. Print it again after an
    upgrade.
    """
    env: Environment = context.obj
    if shell not in _SHELLS:
        raise UsageError("bad_option", f"completion: {not_one_of(shell, _SHELLS)}")
    from importlib import import_module

    from pipechat.commands.command_tree import known_commands

    known = list(known_commands(context.find_root().command, context))
    script = import_module(f"pipechat.commands.complete_{shell}").script_for(known)
    with open_page(env) as page:
        page.write(script.encode())
    return 0
