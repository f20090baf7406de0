"""config.toml and the folders: where settings and sessions live."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipechat.errors import SetupError


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things are: the config file and the folder of the sessions, as paths."""

    config_file: str
    sessions: str


def find_folders(environ: Mapping[str, str]) -> Folders:
    """PIPECHAT_HOME holds both; without it the XDG folders do, on macOS too.

    Raises:
        SetupError: `no_home`: no HOME, and the user has no entry in the password database.
    """
    home = environ.get("PIPECHAT_HOME")
    if home:
        home = os.path.abspath(home)
        return Folders(os.path.join(home, "config.toml"), os.path.join(home, "sessions"))
    config = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    data = _xdg(environ, "XDG_DATA_HOME", os.path.join(".local", "share"))
    return Folders(
        os.path.join(config, "pipechat", "config.toml"), os.path.join(data, "pipechat", "sessions")
    )


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
        with open(path, "rb") as file:
            data = file.read()
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SetupError("bad_config", f"{path}: {error.strerror}") from error
    import tomllib  # only where there is a file: the parser is not free

    try:
        config = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or absurdly deep
        raise SetupError("bad_config", f"{path}: {error}") from error
    if mode & 0o077 and _holds_key(config):
        message = f"{path} holds a key and others may read it (mode {mode:04o})"
        raise SetupError("bad_config", message, f"chmod 600 {path}")
    return config


def _holds_key(config: Mapping[str, Any]) -> bool:
    profiles = config.get("profiles")
    tables = [config, *(profiles.values() if isinstance(profiles, dict) else ())]
    return any(isinstance(table, dict) and "api_key" in table for table in tables)
