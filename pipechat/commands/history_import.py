"""`pipechat history import`: conversations of other programs as sessions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pipechat import jsonl
from pipechat.commands.history_output import Quiet, Verbose, open_page, opened
from pipechat.environment import Environment
from pipechat.errors import UsageError
from pipechat.text import counted, visible_line

if TYPE_CHECKING:
    from pipechat.foreign.turns import Lost
    from pipechat.store.importing import Staging

_BLOCK = 1 << 18
_PACKED = (b"PK\x03\x04", b"\x1f\x8b")
_TOLD_ONE_BY_ONE = 5
_UNTITLED = "imported"


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="What is read; `-` is stdin.", metavar="FILE|-")],
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            help="The new session; of several conversations NAME, NAME-2 and so on [by title,"
            " else by FILE's name].",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make sessions of conversations that other programs kept; print their names.

    FILE is told by what it holds: messages of the API or bodies of requests, what `llm logs
    --json` prints, conversations.json of ChatGPT's export, records of our own. Each conversation
    is a session of its own. What has no place in one is told. All of it is imported, or, where a
    name is taken or FILE is torn, nothing.
    """
    env, store = opened(context, quiet, verbose)
    from pipechat.foreign.turns import Lost
    from pipechat.store.importing import Staging

    if session is not None:
        store.path(session)  # a bad name is told before anything is read
    lost = Lost()
    with open_page(env) as page:
        with Staging(store) as staging:
            _stage(staging, _unpacked(env, file), file, session, lost)
            staging.commit()
            made = staging.turns
        for name in made:
            page.write(name.encode() + b"\n")
    _tell(env, made, lost)
    return 0


def _stage(
    staging: Staging, blocks: Iterator[bytes], file: str, session: str | None, lost: Lost
) -> None:
    from pipechat.foreign.json_values import json_values
    from pipechat.foreign.kinds import pieces

    names: dict[str, str] = {}
    try:
        for piece in pieces(json_values(blocks), lost):
            name = names.get(piece.key)
            if name is None:
                name = names[piece.key] = _name(staging, piece.title, file, session)
                staging.begin(name)
            staging.add(name, jsonl.dumps(piece.record))
        if not names:
            raise ValueError("it holds no question")
    except ValueError as error:
        hint = "See pipechat history import --help for what can be."
        message = f"{_told(file)} cannot be imported: {error}"
        raise UsageError("unreadable_input", message, hint) from error


def _name(staging: Staging, title: str, file: str, session: str | None) -> str:
    """The name of the next session. One that was not asked for is refused where a session has
    it; of those that are imported together the second of a name gets a number."""
    from pipechat.store.names import name_of_title

    stem = "" if file == "-" else os.path.basename(file).partition(".")[0]
    wanted = session or name_of_title(title) or name_of_title(stem) or _UNTITLED
    return staging.free_name(wanted)


def _told(file: str) -> str:
    return "stdin" if file == "-" else visible_line(file)


def _unpacked(env: Environment, file: str) -> Iterator[bytes]:
    """What is in it. Raises UsageError where that is packed, as ChatGPT's export comes."""
    blocks = _blocks(env, file)
    first = next(blocks, b"")
    if first.startswith(_PACKED):
        hint = "Unpack it, and import the JSON in it: of ChatGPT's export, conversations.json."
        raise UsageError("unreadable_input", f"{_told(file)} is packed (zip, gzip)", hint)
    yield first
    yield from blocks


def _blocks(env: Environment, file: str) -> Iterator[bytes]:
    if file == "-":
        yield from env.stdin.blocks()
        return
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while block := os.read(fd, _BLOCK):
                yield block
        finally:
            os.close(fd)
    except OSError as error:
        message = f"{visible_line(file)} could not be read: {error.strerror}"
        hint = "Name a file in it." if isinstance(error, IsADirectoryError) else ""
        raise UsageError("unreadable_input", message, hint) from error


def _tell(env: Environment, made: dict[str, int], lost: Lost) -> None:
    turns = counted(sum(made.values()), "turn")
    if len(made) > _TOLD_ONE_BY_ONE:
        env.warn(f"imported {len(made)} sessions: {turns}")
    else:
        for name, count in made.items():
            env.warn(f"imported session {name!r}: {counted(count, 'turn')}")
    if told := lost.told():
        env.warn(f"not kept: {told}")
