"""`pipechat schema`: the JSON Schema of what pipechat writes."""

from __future__ import annotations

from typing import Annotated

import typer

from pipechat.commands.history_output import open_page
from pipechat.environment import Environment
from pipechat.errors import UsageError
from pipechat.text import not_one_of


def schema(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="event: a line of `ask --output-format ndjson`; turn: a record of a session.",
            metavar="event|turn",
        ),
    ],
) -> int:
    """Print the JSON Schema (draft 2020-12) of what pipechat writes."""
    env: Environment = context.obj
    import json

    from pipechat.show.schema import event_schema, turn_schema

    schemas = {"event": event_schema, "turn": turn_schema}
    if what not in schemas:
        raise UsageError("bad_option", f"schema: {not_one_of(what, schemas)}")
    with open_page(env) as page:
        page.write(json.dumps(schemas[what](), ensure_ascii=False, indent=2).encode() + b"\n")
    return 0
