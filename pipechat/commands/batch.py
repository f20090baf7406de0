"""`pipechat batch`: many questions, one command, nothing asked twice."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipechat.commands import options as opt
from pipechat.commands.app import App
from pipechat.commands.loading import load_settings
from pipechat.environment import Environment

batch = App("batch", help="Ask many questions, nothing twice.")

_Source = Annotated[
    str,
    typer.Argument(
        metavar="[IN|-]",
        help='The items, one a line: {"id": …, "question": …} and more; CSV or TSV with a '
        "header; plain lines. `-`, or nothing, is stdin.",
        show_default=False,
        rich_help_panel="Batch",
    ),
]
_Output = Annotated[
    str, typer.Argument(metavar="OUT", help="The file that `submit -o` named.", show_default=False)
]


@batch.command("run")
@opt.with_options("batch run")
def run(
    context: typer.Context,
    source: _Source = "-",
    **given: Any,
) -> int:
    """Ask every item of IN; what OUT has already is not asked again."""
    env: Environment = context.obj
    settings = load_settings(env, given, "batch run")
    from pipechat.commands.batch_run import run_batch

    return run_batch(env, settings, source)


@batch.command("submit")
@opt.with_options("batch submit")
def submit(context: typer.Context, source: _Source = "-", **given: Any) -> int:
    """Hand the items of IN to the provider's own batch engine, for OUT; fetch them later."""
    env: Environment = context.obj
    settings = load_settings(env, given, "batch submit")
    from pipechat.commands.batch_provider import submit_batch

    return submit_batch(env, settings, source)


@batch.command("status")
@opt.with_options("batch status")
def status(context: typer.Context, output: _Output, **given: Any) -> int:
    """Tell how far the provider is with what was submitted for OUT."""
    env: Environment = context.obj
    settings = load_settings(env, given, "batch status")
    from pipechat.commands.batch_provider import show_status

    return show_status(env, settings, output)


@batch.command("fetch")
@opt.with_options("batch fetch")
def fetch(context: typer.Context, output: _Output, **given: Any) -> int:
    """Add the answers of what was submitted for OUT to it, once they are there."""
    env: Environment = context.obj
    settings = load_settings(env, given, "batch fetch")
    from pipechat.commands.batch_provider import fetch_batch

    return fetch_batch(env, settings, output)


@batch.command("cancel")
@opt.with_options("batch cancel")
def cancel(context: typer.Context, output: _Output, **given: Any) -> int:
    """Cancel what was submitted for OUT; what is finished can be fetched."""
    env: Environment = context.obj
    settings = load_settings(env, given, "batch cancel")
    from pipechat.commands.batch_provider import cancel_batch

    return cancel_batch(env, settings, output)
