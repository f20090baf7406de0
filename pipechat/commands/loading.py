"""Settings as a command gets them: flags, environment and config file, and the files they name."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from pipechat.commands.options import as_given
from pipechat.environment import Environment
from pipechat.errors import OutputError, SetupError, UsageError
from pipechat.settings.config import find_folders, read_config
from pipechat.settings.headers import Header
from pipechat.settings.layers import unknown_variables
from pipechat.settings.named_file import read_named
from pipechat.settings.resolve import Settings, resolve_settings
from pipechat.text import check_argument, decode_text, in_mib, visible_line

_MOST_OF_A_HEADER = 64 * 1024
_LONGEST_S = 10.0  # for the headers' files that are FIFOs


def load_settings(
    env: Environment, given: Mapping[str, Any], command: str, longest_s: float | None = None
) -> Settings:
    """Settings from what was given on the command line, the environment and the config file.

    Args:
        longest_s: for what files that do not end may take, where that is less than --timeout.

    Raises:
        UsageError, SetupError
        SessionError: `session_missing`: of --continue and --existing.
    """
    started = time.monotonic()
    flags = as_given(given, command)
    env.quiet = bool(flags.get("quiet"))
    env.verbose = bool(flags.get("verbose"))
    path = find_folders(env.environ).config_file
    settings = resolve_settings(flags, env.environ, read_config(path), path)
    env.quiet, env.verbose = settings.quiet, settings.verbose
    for line in unknown_variables(env.environ):
        env.warn(line)
    limits = [limit for limit in (settings.timeout_s, longest_s) if limit is not None]
    ends_at = started + min(limits) if limits else None
    settings = with_header_values(env, settings, ends_at=ends_at)
    env.stderr.hide(*settings.secrets)
    _check_files_differ(settings)
    if settings.continue_last or settings.existing:
        from pipechat.commands.stores import in_session_that_is

        settings = in_session_that_is(env, settings)
    if settings.system is not None:  # the other one is not even read
        system = text_or_file(settings, "system", settings.system, ends_at)
        return settings._replace(system=system, default_system=None)
    if settings.default_system is not None:
        default = text_or_file(settings, "system", settings.default_system, ends_at)
        return settings._replace(default_system=default)
    return settings


def with_header_values(
    env: Environment,
    settings: Settings,
    known: tuple[Header, ...] = (),
    ends_at: float | None = None,
) -> Settings:
    """`settings` with what the headers' variables and files hold, where any are sent.

    Args:
        known: those of them whose values are known already.
        ends_at: when, by the monotonic clock, no file is waited for any more.
    """
    if not settings.headers or settings.dry_run or settings.only_replays:
        return settings._replace(headers=())
    from pipechat.settings.headers import settled

    longest_at = time.monotonic() + _LONGEST_S

    def read(path: str) -> bytes:
        return read_named(path, _MOST_OF_A_HEADER, min(longest_at, ends_at or longest_at))

    own = [header for header in settings.headers if header not in known]
    there = [header for header in settings.headers if header in known]
    return settings._replace(headers=(*there, *settled(own, env.environ, read)))


def _check_files_differ(settings: Settings) -> None:
    """Refuse one file for two things, of which one would write over the other."""
    out = "output" if settings.output else "batch_output"
    for name in ("record", "replay"):
        written, recording = getattr(settings, out), getattr(settings, name)
        if written and recording and written != "-" and _is_same_file(written, recording):
            message = f"{settings.origins[out]} and {settings.origins[name]} name the same file"
            hint = "One would write over the other."
            raise UsageError("bad_option", f"{message}: {written}", hint)


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.realpath(one) == os.path.realpath(other) or os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return False


@contextmanager
def blaming(settings: Settings, name: str) -> Iterator[None]:
    """Let an error that the use of a setting brings say who set it."""
    try:
        yield
    except (UsageError, OutputError) as error:
        error.message = f"{settings.origins[name]}: {error.message}"
        raise


def read_named_file(settings: Settings, path: str) -> bytes:
    """What the file that an option names holds.

    Raises:
        UsageError: `unreadable_input`.
    """
    ends_at = None if settings.timeout_s is None else time.monotonic() + settings.timeout_s
    _refuse_stdin(path)
    try:
        return _read_file(path, settings.max_input_bytes, ends_at)
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise UsageError("unreadable_input", message) from error


def _refuse_stdin(path: str) -> None:
    if path == "-":
        hint = "Name a file, ./- for one of that name; with --no-stdin, /dev/stdin is one."
        raise UsageError("unreadable_input", "`@-` is no file: stdin is the question's", hint)


def text_or_file(settings: Settings, name: str, value: str, ends_at: float | None) -> str:
    """The text itself, or for `@FILE` what the file holds, less one closing newline."""
    origin = settings.origins[name]
    if not value.startswith("@"):
        _check_no_file(origin, value)
        return check_argument(value, origin)
    path = value[1:]
    try:
        _refuse_stdin(path)
        data = _read_file(path, settings.max_input_bytes, ends_at)
        return decode_text(data, path, lossy=settings.lossy).removesuffix("\n")
    except OSError as error:
        _complain(origin, f"{origin}: {value}: {error.strerror or error}", error)
    except UsageError as error:
        _complain(origin, f"{origin}: {error.message}", error, error.hint)


def _check_no_file(origin: str, value: str) -> None:
    """A file's name alone is no text that anybody means to send."""
    if ("." in value or "/" in value) and os.path.isfile(value):
        name = visible_line(value)
        _complain(origin, f"{origin}: {name} is a file", None, f"Write @{name}.", "bad_option")


def _complain(
    origin: str,
    message: str,
    cause: Exception | None,
    hint: str = "",
    code: str = "unreadable_input",
) -> NoReturn:
    if origin.startswith(("--", "PIPECHAT_")):
        raise UsageError(code, message, hint) from cause
    raise SetupError("bad_config", message, hint) from cause


def _read_file(path: str, limit: int, ends_at: float | None) -> bytes:
    """All of a file, or of a FIFO once somebody writes to it.

    Raises:
        OSError: it cannot be read, holds more than `limit` bytes, or does not end in time.
    """
    try:
        return read_named(path, limit, ends_at)
    except TimeoutError:
        raise OSError("it did not end within --timeout") from None
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise OSError(f"it holds more than {in_mib(limit)} (max_input_mib)") from None
