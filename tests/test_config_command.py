"""`pipechat config`: where the file is, what holds and who set it, and a file to begin with."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipechat.settings.explained import first_file
from pipechat.settings.resolve import resolve_settings
from pipechat.settings.table import OPTIONS
from tests.program import Program
from tests.pseudo_terminal import AtTerminal

pytestmark = pytest.mark.in_process
KEY = "sk-one-that-must-not-be-seen"


def write(program: Program, text: str) -> Path:
    path = program.home / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def shown(program: Program, *arguments: str, **env: str | None) -> dict[str, tuple[Any, str]]:
    command = ("config", "show", "--output-format", "json", *arguments)
    result = program.run(*command, env=env)
    assert result.status == 0, result.stderr
    settings = json.loads(result.stdout)["settings"]
    return {each["name"]: (each["value"], each["origin"]) for each in settings}


def test_each_setting_is_told_with_who_set_it(program: Program) -> None:
    path = str(write(program, 'model = "in-file"\nretries = 5\n[profiles.p]\nretries = 7\n'))
    said = shown(program, PIPECHAT_TIMEOUT="90s", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert said["model"] == ("in-file", f"{path}: model")
    assert said["retries"] == (5, f"{path}: retries")
    assert said["timeout"] == (90.0, "PIPECHAT_TIMEOUT")
    assert said["base_url"] == ("http://127.0.0.1:9/v1", "OPENAI_BASE_URL")
    assert said["idle_timeout"] == (120.0, "default")
    assert shown(program, "--profile", "p")["retries"] == (7, f"{path}: profiles.p.retries")
    assert shown(program, PIPECHAT_PROFILE="p")["retries"] == (7, f"{path}: profiles.p.retries")


def test_text_says_the_same_a_line_each(program: Program) -> None:
    write(program, 'model = "in-file"\nwhole_reasons = ["fini"]\n')
    lines = program.run("config", "show").stdout.decode().splitlines()
    table = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    assert table["model"][0] == "in-file"
    assert table["whole_reasons"][0] == '["fini"]'
    assert table["proxy"] == ["-", "default"]
    assert set(table) == set(shown(program))


@pytest.mark.in_process(False)
def test_on_a_terminal_it_stands_in_columns(program: Program) -> None:
    path = write(program, f'model = "模型"\nsystem = "{"long " * 12}"\n')
    with AtTerminal(program, "config", "show", env={}) as terminal:
        terminal.leave()
    lines = terminal.screen.decode().splitlines()
    assert not [line for line in lines if "\t" in line]
    assert len(lines) >= len(shown(program))
    begins = {line.split()[0]: line for line in lines}
    column = begins["retries"].index("default")
    # A wide letter takes two columns; a long value moves what stands behind it.
    assert begins["existing"].index("default") == column
    assert begins["system"].split()[1] == "long"
    assert begins["last_turns"].index("20") == begins["retries"].index("2")
    assert begins["model"].split() == ["model", "模型"]  # where it is set goes beyond the line
    assert f"    {path}: model" in lines


@pytest.mark.in_process(False)
def test_on_a_narrow_terminal_who_set_it_stands_below(program: Program) -> None:
    write(program, 'model = "m"\n')
    env: dict[str, str | None] = {"PIPECHAT_SYSTEM": "word " * 9}
    with AtTerminal(program, "config", "show", columns=40, env=env) as terminal:
        terminal.leave()
    lines = terminal.screen.decode().splitlines()
    assert "    PIPECHAT_SYSTEM" in lines
    assert [line for line in lines if line.startswith("retries") and line.endswith("default")]


@pytest.mark.parametrize(
    ("env", "text", "origin"),
    [
        ({"OPENAI_API_KEY": KEY}, "", "OPENAI_API_KEY"),
        ({"PIPECHAT_API_KEY": KEY}, "", "PIPECHAT_API_KEY"),
        ({"OPENAI_API_KEY": None}, f'api_key = "{KEY}"\n', "api_key"),
        ({"OPENAI_API_KEY": None}, f'api_key_command = "echo {KEY}"\n', "api_key_command"),
    ],
)
def test_a_key_is_told_of_and_never_shown(
    program: Program, env: dict[str, str | None], text: str, origin: str
) -> None:
    write(program, text)
    for output_format in ("text", "json"):
        result = program.run("config", "show", "--output-format", output_format, env=env)
        assert result.status == 0
        assert KEY.encode() not in result.stdout + result.stderr
    said = shown(program, **env)
    name = "api_key_command" if "command" in text else "api_key"
    assert said[name][0] == "set"
    assert said[name][1].endswith(origin)


def test_a_password_of_a_proxy_is_not_shown(program: Program) -> None:
    env = {"HTTPS_PROXY": f"http://user:{KEY}@proxy.invalid:8080"}
    result = program.run("config", "show", env=env)
    assert b"proxy\thttp://proxy.invalid:8080\tHTTPS_PROXY\n" in result.stdout
    assert KEY.encode() not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("retries = -1", "profiles.idle.retries"),
        ("retris = 1", "retris"),
        ('base_url = "ftp://x"', "profiles.idle.base_url"),
        ('proxy = "nonsense"', "profiles.idle.proxy"),
    ],
)
def test_what_is_wrong_in_a_profile_that_nobody_selected_is_told(
    program: Program, fault: str, named: str
) -> None:
    write(program, f'model = "m"\n[profiles.good]\nmodel = "n"\n[profiles.idle]\n{fault}\n')
    result = program.run("config", "show")
    assert (result.status, result.code) == (3, "bad_config")
    assert named in result.stderr.decode()


def test_a_file_that_holds_nothing_wrong_is_no_failure_without_a_file_either(
    program: Program,
) -> None:
    assert shown(program)["model"][1] == "default"


def test_path_is_where_the_file_is_looked_for(program: Program, tmp_path: Path) -> None:
    assert program.run("config", "path").stdout == f"{program.home / 'config.toml'}\n".encode()
    env = {"PIPECHAT_HOME": None, "XDG_CONFIG_HOME": str(tmp_path / "x")}
    there = program.run("config", "path", env=env).stdout.decode()
    assert there == f"{tmp_path}/x/pipechat/config.toml\n"


def test_init_writes_a_file_that_changes_nothing_and_is_ours_alone(program: Program) -> None:
    before = shown(program)
    result = program.run("config", "init")
    path = program.home / "config.toml"
    assert (result.status, result.stdout) == (0, b"")
    assert str(path) in result.stderr.decode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert shown(program) == before
    assert os.listdir(program.home) == ["config.toml"]


@pytest.mark.parametrize("kind", ["file", "empty", "folder", "link", "dangling"])
def test_init_never_writes_over_what_is_there(program: Program, tmp_path: Path, kind: str) -> None:
    path, other = program.home / "config.toml", tmp_path / "other"
    if kind in ("file", "empty"):
        path.write_text("model = 'm'\n" if kind == "file" else "")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
        if kind == "link":
            other.write_text("")
    result = program.run("config", "init")
    assert (result.status, result.code) == (3, "config_exists")
    assert kind != "file" or path.read_text() == "model = 'm'\n"
    assert kind != "link" or other.read_text() == ""
    assert kind != "dangling" or not other.exists()
    assert os.listdir(program.home) == ["config.toml"]


def test_every_setting_stands_in_that_file_with_a_value_that_is_taken() -> None:
    text = first_file()
    # What is left when each `#` before a setting is gone.
    live = "\n".join(re.findall(r"^# ((?:[a-z_]+ = |\[).*)$", text, re.MULTILINE))
    config = tomllib.loads(live)
    assert '"TEXT"' not in text
    names = {option.name for option in OPTIONS if option.in_file}
    assert set(config) == names | {"profiles"}
    assert resolve_settings({"profile": "local"}, {}, config).model == "llama3.2"
    assert tomllib.loads(text) == {}


@pytest.mark.parametrize("output_format", ["ndjson", "yaml", ""])
def test_a_format_that_there_is_not_is_wrong_usage(program: Program, output_format: str) -> None:
    result = program.run("config", "show", "--output-format", output_format)
    assert (result.status, result.code) == (2, "bad_option")
