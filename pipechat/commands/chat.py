"""`pipechat chat`: the tutorial's loop, on the same turns as `ask`."""

from __future__ import annotations

from typing import Any

import typer

from pipechat.commands import options as opt
from pipechat.commands.accounts import open_accounts
from pipechat.commands.loading import blaming, load_settings
from pipechat.commands.stores import open_keeper
from pipechat.commands.wiring import make_client
from pipechat.environment import Environment


@opt.with_options("chat")
def chat(
    context: typer.Context,
    **given: Any,
) -> int:
    """Talk to the model, question by question; /help tells more, Ctrl-D or QUIT leaves.

    Ctrl-C stops an answer, keeps what came, and goes on. Without --session the conversation is
    forgotten at the end. From a pipe, every line is a question but QUIT, and the exit status is
    that of the last turn that failed.
    """
    env: Environment = context.obj
    settings = load_settings(env, given, "chat")
    env.stdout.check_open()
    with blaming(settings, "session"):
        kept = open_keeper(env, settings.session)
    accounts = open_accounts(env, settings)
    client = make_client(env, settings, accounts=accounts)
    from pipechat.commands.chat_turns import converse  # what it brings, `--version` need not

    return converse(env, settings, kept, client, accounts)
