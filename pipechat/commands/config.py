"""`pipechat config init|show|path`: the config file, and every setting with where it comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from pipechat import jsonl
from pipechat.commands.app import App
from pipechat.commands.history_output import Quiet, Verbose, open_page
from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import SetupError, UsageError
from pipechat.settings.config import find_folders, read_config
from pipechat.show.width import width
from pipechat.text import not_one_of, visible_line

_FORMATS = ("text", "json")
_WIDEST_VALUE = 32

config = App("config", help="Look at settings; begin a file of them.")

Format = Annotated[
    str,
    typer.Option(
        "--output-format", help="json: one object [text].", metavar="text|json", show_default=False
    ),
]


@config.command("show")
def show(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(help="As with this profile of the file.", metavar="NAME")
    ] = None,
    output_format: Format = "text",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Tell every setting, its value and where it comes from; the whole file is looked at.

    Aligned on a terminal; elsewhere separated by tabs. A key is not
    shown. Faults that do not count now, of other profiles too, are told: exit 3.
    """
    env = _env(context, quiet, verbose)
    if output_format not in _FORMATS:
        raise UsageError("bad_option", f"--output-format: {not_one_of(output_format, _FORMATS)}")
    from pipechat.settings.explained import explain, faults_of_file
    from pipechat.settings.layers import unknown_variables

    path = find_folders(env.environ).config_file
    file = read_config(path)
    settings = explain({"profile": profile}, env.environ, file, path)
    faults = list(faults_of_file(file, path))
    for line in unknown_variables(env.environ):
        env.warn(line)
    with open_page(env) as page:
        if output_format == "json":
            shown: Any = {"config_file": path, "settings": [each._asdict() for each in settings]}
            page.write(jsonl.dumps(shown) + b"\n")
        else:
            rows = [(name, _shown(value), origin) for name, value, origin in settings]
            aligned = env.stdout.is_terminal
            lines = _aligned(rows, env.stdout.columns()) if aligned else map("\t".join, rows)
            for line in lines:
                page.write(f"{line}\n".encode())
    for fault in faults:
        report(env, fault)
    return int(faults[0].exit_code) if faults else 0


@config.command("path")
def path(context: typer.Context, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Print where the config file is, or would be."""
    env = _env(context, quiet, verbose)
    where = find_folders(env.environ).config_file
    shown = visible_line(where) if env.stdout.is_terminal else where
    with open_page(env) as page:
        page.write(os.fsencode(shown) + b"\n")
    return 0


@config.command("init")
def init(context: typer.Context, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Write a config file in which every setting stands as a comment; never over one."""
    env = _env(context, quiet, verbose)
    from pipechat.settings.explained import first_file

    where = find_folders(env.environ).config_file
    _write_new(where, first_file().encode())
    env.warn(f"wrote {where}; `pipechat config show` tells what holds")
    return 0


def _env(context: typer.Context, quiet: bool, verbose: bool) -> Environment:
    env: Environment = context.obj
    env.quiet, env.verbose = quiet, verbose
    return env


def _aligned(rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """In columns; a value that is wider than they are moves what stands behind it, and who set it
    stands below where the terminal is not wide enough."""
    names = max(width(name) for name, _, _ in rows)
    room = columns - names - width("    default")
    values = min(max(width(value) for _, value, _ in rows), _WIDEST_VALUE, max(room, 0))
    for name, value, origin in rows:
        begins = f"{name}{' ' * (names - width(name))}  {value}"
        line = f"{begins}{' ' * (values - width(value))}  {origin}"
        if width(line) <= columns:
            yield line
        else:
            yield begins
            yield f"    {origin}"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return visible_line(value) if isinstance(value, str) else jsonl.dumps(value).decode()


def _write_new(path: str, data: bytes) -> None:
    """Write a file of our own, whole or not at all.

    Raises:
        SetupError: `config_exists`, `config_unwritable`.
    """
    beside = f"{path}.{os.urandom(6).hex()}.new"
    try:
        if os.path.lexists(path):
            raise _is_there(path)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            _name(beside, path)
        except FileExistsError as error:
            raise _is_there(path) from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(beside)
    except FileExistsError as error:
        message = f"{os.path.dirname(path)} is no folder"
        raise SetupError("config_unwritable", message, "Move it away.") from error
    except OSError as error:
        raise SetupError("config_unwritable", f"{path}: {error.strerror or error}") from error


def _name(beside: str, path: str) -> None:
    """Give what stands `beside` the name `path`; unlike a rename, it takes none that is taken.
    Raises FileExistsError, OSError."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # not every filesystem has links: an empty file holds the name meanwhile
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        os.replace(beside, path)


def _is_there(path: str) -> SetupError:
    return SetupError("config_exists", f"{path} is there already", "Edit it, or move it away.")
