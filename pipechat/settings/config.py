"""config.toml and the folders: where settings and sessions live."""

import os
import stat
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipechat.errors import SessionError, SetupError
from pipechat.settings.headers import stands_for_a_key
from pipechat.settings.named_file import open_named, read_open

_MOST_BYTES = 1 << 20
_LONGEST_S = 2.0  # for what is no plain file, since --timeout may stand in it


class Folders(NamedTuple):
    """Where things are: the config file and the folder of the sessions, as paths."""

    config_file: str
    sessions: str

    @property
    def ledger(self) -> str:
        """The folder of what requests took."""
        return os.path.join(os.path.dirname(self.sessions), "ledger")


def find_folders(environ: Mapping[str, str]) -> Folders:
    """PIPECHAT_HOME holds both; without it the XDG folders do, on macOS too.

    Raises:
        SetupError: `no_home`: no HOME, and the user has no entry in the password database.
        SessionError: the current folder, from which PIPECHAT_HOME is named, was deleted.
    """
    home = environ.get("PIPECHAT_HOME")
    if home:
        try:
            home = os.path.abspath(home)
        except OSError as error:
            message = f"PIPECHAT_HOME: {home}: the current folder was deleted"
            raise SessionError("session_unreadable", message, "Name it from / on.") from error
        return Folders(os.path.join(home, "config.toml"), os.path.join(home, "sessions"))
    config = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    data = _xdg(environ, "XDG_DATA_HOME", os.path.join(".local", "share"))
    return Folders(
        os.path.join(config, "pipechat", "config.toml"), os.path.join(data, "pipechat", "sessions")
    )


def find_cache(environ: Mapping[str, str]) -> str:
    """The folder of what can be deleted at any time. Raises SetupError `no_home`."""
    home = environ.get("PIPECHAT_HOME")
    if home:
        return os.path.join(home, "cache")
    return os.path.join(_xdg(environ, "XDG_CACHE_HOME", ".cache"), "pipechat")


def _xdg(environ: Mapping[str, str], name: str, default: str) -> str:
    path = environ.get(name, "")
    # The XDG specification: a path that is not absolute is invalid and to be ignored.
    return path if os.path.isabs(path) else os.path.join(_home(environ), default)


def _home(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME")
    if home:
        return home
    import pwd  # cron may start without HOME

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        hint = "Set HOME or PIPECHAT_HOME."
        raise SetupError("no_home", "this user has no home folder", hint) from None


def read_config(path: str) -> dict[str, Any]:
    """The config file, decoded; an empty dict where there is none.

    Raises:
        SetupError: `bad_config`: unreadable, no TOML, or it holds a key and others may read it.
    """
    try:
        fd = open_named(path)
        try:
            data = read_open(fd, _MOST_BYTES, time.monotonic() + _LONGEST_S)
            status = os.fstat(fd)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as error:
        hint = "Look at its owner and mode, and whose HOME, XDG_CONFIG_HOME or PIPECHAT_HOME says."
        raise SetupError("bad_config", f"{path}: {error.strerror}", hint) from error
    except OSError as error:
        raise SetupError("bad_config", f"{path}: {error.strerror or error}") from error
    import tomllib  # only where there is a file: the parser is not free

    try:
        config = tomllib.loads(data.decode("utf-8-sig"))  # Windows' editors begin with a BOM
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{path}: it is not UTF-8: byte 0x{data[error.start]:02x} in line {line}"
        raise SetupError("bad_config", message, "Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:  # no TOML, or absurdly deep
        hint = 'Text stands in quotes: model = "NAME".'
        raise SetupError("bad_config", f"{path}: {error}", hint) from error
    _check_trust(path, status, config)
    return config


# Who sets one of these runs a command, or decides where a key goes and how.
_TRUSTED = (
    "api_key", "api_key_command", "base_url", "proxy", "insecure_http", "headers", "cacert",
    "client_cert", "client_key", "ray_address",
)  # fmt: skip


def _check_trust(path: str, status: os.stat_result, config: Mapping[str, Any]) -> None:
    """Refuse, as ssh does, a key that others may read, and a command that others may write."""
    mode = stat.S_IMODE(status.st_mode)
    secret = "a key" if _holds(config, "api_key") else "a header's value"
    if mode & 0o077 and (_holds(config, "api_key") or _holds_header(config)):
        message = f"{path} holds {secret} and others may read it (mode {mode:04o})"
        is_own = status.st_uid == os.geteuid()
        hint = f"chmod 600 {path}" if is_own else "It is another user's: make it your own first."
        raise SetupError("bad_config", message, hint)
    if not any(_holds(config, name) for name in _TRUSTED):
        return
    if status.st_uid not in (0, os.geteuid()):
        message = f"{path} names a key, a command or where a key goes, and is another user's"
        raise SetupError("bad_config", message, "Make it your own, or take them out of it.")
    if mode & 0o022:
        message = (
            f"{path} names a command or where a key goes, and others may write it (mode {mode:04o})"
        )
        raise SetupError("bad_config", message, f"chmod 600 {path}")


def _holds(config: Mapping[str, Any], name: str) -> bool:
    return any(name in table for table in _tables(config))


def _holds_header(config: Mapping[str, Any]) -> bool:
    """Whether it holds the value of a header, and not only where that is."""
    for table in _tables(config):
        headers = table.get("headers")
        values = headers.values() if isinstance(headers, dict) else ()
        if any(isinstance(value, str) and stands_for_a_key(value) for value in values):
            return True
    return False


def _tables(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    profiles = config.get("profiles")
    named = profiles.values() if isinstance(profiles, dict) else ()
    return [config, *(table for table in named if isinstance(table, dict))]
