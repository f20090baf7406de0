"""`pipechat models`: what the endpoint serves."""

from __future__ import annotations

import time
from typing import Any

import typer

from pipechat import jsonl
from pipechat.client.model_list import PATH, list_models
from pipechat.commands import options as opt
from pipechat.commands.calling import check_online, make_calls
from pipechat.commands.columns import table
from pipechat.commands.history_output import look_of, open_page
from pipechat.commands.loading import load_settings
from pipechat.commands.wiring import cache_of, with_key
from pipechat.environment import Environment
from pipechat.errors import PipechatError
from pipechat.settings.cached_note import ListedEnds
from pipechat.settings.resolve import Settings
from pipechat.text import visible_line
from pipechat.wire.model_list import ServedModel

_HEADING = ("model", "context", "owner", "until")


@opt.with_options("models")
def models(context: typer.Context, **given: Any) -> int:
    """List what the endpoint serves: model, context window, owner, and the day of its shutdown.

    Sorted by name. Aligned on a terminal; elsewhere separated by tabs, without a heading. What
    the endpoint does not tell is `-`.
    """
    env: Environment = context.obj
    settings = load_settings(env, given, "models")
    check_online(settings, "only the endpoint itself tells what it serves")
    served = _served(env, settings)
    if folder := cache_of(env):
        ends = {each.id: each.shutdown_date for each in served if each.shutdown_date}
        ListedEnds(folder, settings.endpoint.url).write(ends)  # `ask` warns of them
    if not served:
        env.warn(f"{settings.host} lists no model")
    with open_page(env) as page:
        if settings.list_format != "text":
            records = (jsonl.dumps(each._asdict()) for each in served)
            page.records(records, settings.list_format)
        elif not env.stdout.is_terminal:
            page.write("".join("\t".join(_row(each)) + "\n" for each in served).encode())
        elif served:
            heading, *rows = table([_HEADING, *map(_row, served)], env.stdout.columns())
            page.write(f"{look_of(env).dim(heading)}\n".encode())
            page.write("".join(f"{row}\n" for row in rows).encode())
    return 0


def _served(env: Environment, settings: Settings) -> list[ServedModel]:
    """The models, asked for until they are told or the retries are used up."""
    from pipechat.batch.patience import Patience
    from pipechat.client.advice import advise

    ends_at = None if settings.timeout_s is None else time.monotonic() + settings.timeout_s
    settings = with_key(env, settings)

    def advise_of_models(error: PipechatError) -> None:
        advise(error, settings, PATH)
        if error.code == "not_found" and settings.endpoint.path:
            error.hint = "Does this server list its models? Check the base URL."

    calls = make_calls(env, settings, ends_at, advise_of_models)
    tell = env.stderr.note if env.verbose else lambda _: None
    return Patience(settings.retries, ends_at, tell).until_done(lambda: list_models(calls))


def _row(model: ServedModel) -> tuple[str, ...]:
    return tuple("-" if value is None else visible_line(str(value)) for value in model)
