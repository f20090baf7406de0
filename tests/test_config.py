"""Where config and sessions live, who may read a key, and where a key comes from."""

import os
import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from pipechat.errors import SetupError
from pipechat.settings import key as key_module
from pipechat.settings.config import find_cache, find_folders, read_config
from pipechat.settings.key import check_key, run_key_command


@pytest.mark.parametrize(
    ("environ", "config_file", "sessions"),
    [
        ({"PIPECHAT_HOME": "/p"}, "/p/config.toml", "/p/sessions"),
        ({"PIPECHAT_HOME": "/p", "HOME": "/h", "XDG_CONFIG_HOME": "/c"},
         "/p/config.toml", "/p/sessions"),
        ({"HOME": "/h"}, "/h/.config/pipechat/config.toml", "/h/.local/share/pipechat/sessions"),
        ({"HOME": "/h", "PIPECHAT_HOME": ""},
         "/h/.config/pipechat/config.toml", "/h/.local/share/pipechat/sessions"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/c"},
         "/c/pipechat/config.toml", "/h/.local/share/pipechat/sessions"),
        ({"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"},
         "/c/pipechat/config.toml", "/d/pipechat/sessions"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "relative", "XDG_DATA_HOME": ""},
         "/h/.config/pipechat/config.toml", "/h/.local/share/pipechat/sessions"),
    ],
)  # fmt: skip
def test_pipechat_home_holds_both_else_the_xdg_folders_do(
    environ: dict[str, str], config_file: str, sessions: str
) -> None:
    assert find_folders(environ) == (config_file, sessions)


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"PIPECHAT_HOME": "/p"}, "/p/cache"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/c/pipechat"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/pipechat"),
    ],
)
def test_what_can_be_deleted_lies_in_a_folder_of_its_own(
    environ: dict[str, str], cache: str
) -> None:
    assert find_cache(environ) == cache


def test_a_relative_pipechat_home_is_one_below_the_working_folder() -> None:
    assert find_folders({"PIPECHAT_HOME": "x"}).sessions == os.path.join(os.getcwd(), "x/sessions")


def test_without_home_the_password_database_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    for environ in ({}, {"HOME": ""}):
        assert find_folders(environ).config_file == f"{home}/.config/pipechat/config.toml"

    def unknown(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(SetupError) as caught:
        find_folders({})
    assert (caught.value.code, int(caught.value.exit_code)) == ("no_home", 3)
    assert "PIPECHAT_HOME" in caught.value.hint
    assert find_folders({"PIPECHAT_HOME": "/p"}).sessions == "/p/sessions"
    assert find_folders({"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"}).sessions


def write(path: Path, text: str | bytes, mode: int = 0o600) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def test_no_file_is_an_empty_config(tmp_path: Path) -> None:
    assert read_config(str(tmp_path / "config.toml")) == {}
    file = write(tmp_path / "file", "")
    assert read_config(f"{file}/config.toml") == {}
    assert read_config(file) == {}


def test_a_config_is_read_as_toml(tmp_path: Path) -> None:
    text = 'model = "m"\ntimeout = 5\n[profiles.local]\nbase_url = "http://localhost"\n'
    assert read_config(write(tmp_path / "c", text, 0o644)) == {
        "model": "m",
        "timeout": 5,
        "profiles": {"local": {"base_url": "http://localhost"}},
    }


@pytest.mark.parametrize(
    "text",
    [
        b"model = ", b"= 1", b"a = 1\na = 2", b"\xff\xfe", b"model = 'caf\xe9'",
        b"x = " + b"[" * 20_000, b"x = " + b"9" * 5000, b"api_key = sk-secret",
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_toml_is_a_bad_config(text: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "config.toml", text)
    with pytest.raises(SetupError) as caught:
        read_config(path)
    assert (caught.value.code, int(caught.value.exit_code)) == ("bad_config", 3)
    assert caught.value.message.startswith(path)
    assert "sk-secret" not in caught.value.line()


def test_an_unreadable_config_is_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Is a directory"):
        read_config(str(tmp_path))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SetupError, match="symbolic links"):
        read_config(str(loop))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o610, 0o777])
@pytest.mark.parametrize("text", ['api_key = "sk-secret"', '[profiles.p]\napi_key = "sk-secret"'])
def test_a_key_in_a_file_that_others_may_read_is_refused(
    text: str, mode: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "config.toml", text, mode)
    with pytest.raises(SetupError) as caught:
        read_config(path)
    assert caught.value.code == "bad_config"
    assert f"{mode:04o}" in caught.value.message
    assert caught.value.hint == f"chmod 600 {path}"
    assert "sk-secret" not in caught.value.line()
    for private in (0o600, 0o400, 0o700):
        os.chmod(path, private)
        assert "sk-secret" in str(read_config(path))


@pytest.mark.parametrize("text", ['profiles = "x"', "[profiles]\np = 1", "model = 'm'"])
def test_a_config_without_a_key_may_be_open(text: str, tmp_path: Path) -> None:
    assert read_config(write(tmp_path / "c", text, 0o666))


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("echo sk-1", "sk-1"),
        ("printf sk-1", "sk-1"),
        ("printf 'sk-1\\nlogin: me\\n'", "sk-1"),
        ("printf ' sk-1 \\r\\n'", "sk-1"),
        ("echo noise >&2; echo sk-1", "sk-1"),
        ("cat; echo sk-1", "sk-1"),
    ],
)
def test_a_key_command_prints_the_key_on_its_first_line(
    command: str, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_key_command(command) == key
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo sk-secret; exit 3", "failed with status 3"),
        ("kill -9 $$", "failed with status -9"),
        ("no-such-command-of-ours 2>/dev/null", "failed with status 127"),
        ("true", "printed nothing"),
        ("echo; echo sk-secret", "printed nothing"),
        ("printf '  '", "printed nothing"),
    ],
)
def test_a_key_command_that_fails_or_prints_nothing_is_told(command: str, message: str) -> None:
    with pytest.raises(SetupError) as caught:
        run_key_command(command)
    assert caught.value.code == "no_key"
    assert message in caught.value.message
    assert "sk-secret" not in caught.value.line()


def test_a_key_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_module, "_KEY_COMMAND_S", 0.05)
    with pytest.raises(SetupError, match=r"took longer than 0\.05 s"):
        run_key_command("exec tail -f /dev/null")


def test_a_key_is_printable_ascii_without_blanks() -> None:
    for key in ("sk-proj_0.A-z", "none", "a=b/c+d"):
        check_key(key, "OPENAI_API_KEY")
    for key in ("sk 1", "sk-1\n", "\tsk", "clé", "sk-\u200b1", "sk-\x00", "“sk-1”"):
        with pytest.raises(SetupError) as caught:
            check_key(key, "OPENAI_API_KEY")
        assert (caught.value.code, int(caught.value.exit_code)) == ("bad_key", 3)
        assert key not in caught.value.line()
