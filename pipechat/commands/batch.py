"""`pipechat batch`: many questions, one command, nothing asked twice."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipechat.commands import options as opt
from pipechat.commands.loading import load_settings
from pipechat.environment import Environment

batch = typer.Typer(name="batch", no_args_is_help=True, help="Ask many questions.")


@batch.command("run")
@opt.with_options("batch run")
def run(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="[IN|-]",
            help='The items, one a line: {"id": …, "question": …} and more; CSV or TSV with a '
            "header; plain lines. `-`, or nothing, is stdin.",
            show_default=False,
        ),
    ] = "-",
    **given: Any,
) -> int:
    """Ask every item of IN; what OUT has already is not asked again."""
    env: Environment = context.obj
    settings = load_settings(env, given, "batch run")
    from pipechat.commands.batch_run import run_batch

    return run_batch(env, settings, source)
