"""Help: whole and readable at every width, in groups, with examples that run; what is mistyped
is answered with what was meant."""

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipechat.commands.columns import shell_command, wrapped
from pipechat.commands.examples import EXAMPLES
from pipechat.commands.help_page import GROUPS, group_of, summary_of
from pipechat.main import COMMANDS as LISTED
from pipechat.main import make_command
from pipechat.settings.table import OPTIONS, taken_by
from tests import foreign
from tests.program import PLANTED_KEY, Program
from tests.pseudo_terminal import read_to_end
from tests.servers import ChatServer
from tests.test_readme import answered, make_here, run_in_bash

pytestmark = pytest.mark.in_process


def all_commands() -> dict[str, Any]:
    """Each command as typer has it, by what is typed for it; "" is the program itself."""

    def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(f"{path} {name}".strip(), inner)

    return dict(walk("", make_command()))


COMMANDS = all_commands()
WITH_TABLE = [path for path in COMMANDS if taken_by(path)]


def page(program: Program, path: str, *flags: str, width: int = 80) -> str:
    result = program.run(*path.split(), *(flags or ("--help",)), env={"COLUMNS": str(width)})
    assert (result.status, result.stderr) == (0, b"")
    return result.stdout.decode()


def without_blanks(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("path", COMMANDS)
def test_help_is_no_wider_than_the_terminal_and_nothing_of_it_is_cut(
    program: Program, path: str, width: int
) -> None:
    text = page(program, path, width=width)
    assert max(map(len, text.splitlines())) <= width
    shown = without_blanks(text)
    command = COMMANDS[path]
    assert without_blanks(command.help) in shown
    for param in command.params:
        assert without_blanks(param.help) in shown
        assert without_blanks(param.metavar or "") in shown
        assert all(name in shown for name in param.opts if name.startswith("-"))
    for inner in getattr(command, "commands", {}).values():
        assert without_blanks(inner.help.split("\n\n")[0]) in shown


@pytest.mark.in_process(False)
@pytest.mark.parametrize("columns", [40, 72])
def test_help_is_as_wide_as_the_terminal_that_it_is_shown_on(
    program: Program, columns: int
) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 12, columns, 0, 0))
    with program.start("--help", stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = read_to_end(master)
        assert process.wait(30) == 0
    os.close(master)
    lines = shown.decode().splitlines()
    assert columns - 12 < max(map(len, lines)) <= columns


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("path", ["", *WITH_TABLE])
def test_help_env_names_the_variable_and_the_setting_of_every_option(
    program: Program, path: str, width: int
) -> None:
    text = page(program, path, "--help-env", width=width)
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    for option in taken_by(path) if path else OPTIONS:
        assert option.variable in [*words, ""]
        assert not option.in_file or option.name in words
    assert {"OPENAI_API_KEY", "PIPECHAT_HOME", "PIPECHAT_API_KEY"} <= set(words)


@pytest.mark.parametrize("path", WITH_TABLE)
def test_no_variable_is_in_the_way_of_the_help(program: Program, path: str) -> None:
    words = page(program, path).split()
    assert not [option for option in taken_by(path) if option.variable in words]


def test_the_options_of_ask_stand_in_groups(program: Program) -> None:
    text = page(program, "ask")
    headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert headings == [
        "Examples", "Question", "Session", "Model", "Answer", "Output", "Limits", "Network", "Help",
    ]  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_and_argument_is_in_a_group_that_the_page_has(path: str) -> None:
    assert {group_of(param) for param in COMMANDS[path].params} <= set(GROUPS)


def test_the_commands_are_listed_in_their_order(program: Program) -> None:
    text = page(program, "")
    places = [text.index(f"\n  {name} ") for name in COMMANDS if name and " " not in name]
    assert places == sorted(places)
    assert len(places) >= 5


@pytest.mark.parametrize("words", [(), ("history",), ("batch",)])
def test_a_group_alone_shows_its_help_on_stderr_and_exits_2(
    program: Program, words: tuple[str, ...]
) -> None:
    result = program.run(*words, env={"COLUMNS": "80"})
    assert (result.status, result.code, result.stdout) == (2, "usage", b"")
    assert result.stderr.decode().startswith(page(program, " ".join(words)))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_an_example_of_its_own(program: Program, path: str) -> None:
    name = f"pipechat {path}".strip()
    text = page(program, path)
    assert EXAMPLES[name]
    for what, line in EXAMPLES[name]:
        assert what in text
        assert line in text
        assert name in line or not path


def test_ask_has_an_example_for_each_of_five_jobs() -> None:
    lines = [line for _, line in EXAMPLES["pipechat ask"]]
    for option in ("| pipechat ask", "--session", "-f ", "--schema", "--base-url"):
        assert [line for line in lines if option in line]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_an_example_that_was_folded_is_the_same_command(width: int) -> None:
    for line in [line for examples in EXAMPLES.values() for _, line in examples]:
        folded = list(shell_command(line, width, "    "))
        assert max(map(len, folded)) <= width
        assert shlex.split("\n".join(folded).replace("\\\n", "")) == shlex.split(line)


def test_the_examples_run(program: Program, tmp_path: Path) -> None:
    here = make_here(tmp_path / "here", program)
    (here / "goods.csv").write_text("id,name\n1,kettle\n")
    (here / "answers.jsonl").touch()
    for name, value in foreign.EXAMPLES.items():
        (here / name).write_text(json.dumps(value))
    session = "pipechat ask -q --session {} 'Rain in Lyon?' >/dev/null"
    ran = 0
    with ChatServer(answered) as server:
        for name in ("trip", "lyon", "plan-b"):
            run_in_bash(program, here, server.url, session.format(name))
        for path, examples in EXAMPLES.items():
            if path.split()[-1] in ("submit", "status", "fetch", "cancel"):
                continue  # these want a server that has a batch engine
            for _, line in examples:
                if "batch submit" in line or "| source" in line:
                    continue
                command = line.replace("http://localhost:11434/v1", server.url)
                command = command.replace("rename plan-b lyon", "rename plan-b rome")
                # A fork of that name may be there.
                run_in_bash(
                    program, here, server.url, command.replace("fork trip plan-b", "fork trip b")
                )
                ran += 1
    assert ran >= 20


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_examples_are_read_alike_by_each_shell(program: Program, shell: str) -> None:
    function = 'pipechat() { printf "%s\\n" "$@"; }'
    if shell == "fish":
        function = 'function pipechat; printf "%s\\n" $argv; end'
    for line in [line for examples in EXAMPLES.values() for _, line in examples]:
        command = line.partition("|")[2] if line.startswith("git") else line
        command = re.split(r" \| | > ", command)[0]
        if "$(" in command:
            continue
        done = subprocess.run(
            [shell, "-c", f"{function}\n{command}"],
            env=program.environ(), capture_output=True, check=True, timeout=30,
        )  # fmt: skip
        assert done.stdout.decode().splitlines() == shlex.split(command)[1:]


def test_wrapped_text_loses_no_letter_and_no_line_is_too_wide() -> None:
    text = "A word " + "x" * 70 + " and another, in a line that is long enough to be folded."
    for width in (10, 20, 39):
        lines = list(wrapped(text, width, "* ", "  "))
        assert max(map(len, lines)) <= width
        assert without_blanks("".join(lines)) == "*" + without_blanks(text)
    assert list(wrapped("", 20)) == []


SLIPS = [
    (("aks", "hi"), "usage", 2, "'ask'"),
    (("histroy", "list"), "usage", 2, "'history'"),
    (("CHAT",), "usage", 2, "'chat'"),
    (("serach", "x"), "usage", 2, "'history search'"),
    (("history", "shwo"), "usage", 2, "'show'"),
    (("batch", "rnu"), "usage", 2, "'run'"),
    (("history", "list", "--quite"), "usage", 2, "'--quiet'"),
    (("--verson",), "usage", 2, "'--version'"),
    (("batch", "run", "--jbos", "3"), "usage", 2, "'--jobs'"),
    (("schema", "evnet"), "bad_option", 2, "'event'"),
    (("history", "list", "--output-format", "jsno"), "bad_option", 2, "'json'"),
    (("batch", "run", "--engine", "Ray"), "bad_option", 2, "'ray'"),
    (("history", "show", "trp"), "session_missing", 9, "'trip'"),
    (("history", "path", "TRIP"), "session_missing", 9, "'trip'"),
    (("history", "search", "x", "tripp"), "session_missing", 9, "'trip'"),
    (("history", "delete", "tri", "--yes"), "session_missing", 9, "'trip'"),
    (("history", "fork", "trpi", "new"), "session_missing", 9, "'trip'"),
    (("history", "rename", "trpi", "new"), "session_missing", 9, "'trip'"),
    (("history", "prune", "trpi", "--older-than", "1d"), "session_missing", 9, "'trip'"),
    (("history", "show", "{}/sessions/trp.jsonl"), "session_missing", 9, "/sessions/trip.jsonl'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "status", "meant"), SLIPS)
def test_a_slip_is_answered_with_what_was_meant(
    program: Program, words: tuple[str, ...], code: str, status: int, meant: str
) -> None:
    assert program.run("ask", "--offline", "-q", "--session", "trip", "hi").status == 0
    result = program.run(*(word.replace("{}", str(program.home)) for word in words))
    assert (result.status, result.code, result.stdout) == (status, code, b"")
    assert result.stderr.count(b"\n") == 1
    assert f"Did you mean {meant}" in result.stderr.decode() or meant in result.stderr.decode()
    assert "Did you mean" in result.stderr.decode()


SLIPS_OF_ASK = [
    (("--sesion", "x"), {}, "", "usage", "'--session'"),
    (("-sesion", "x"), {}, "", "usage", "'--session'"),
    (("--tiemout=3",), {}, "", "usage", "'--timeout'"),
    (("--if-busy", "wiat", "--session", "s"), {}, "", "bad_option", "'wait'"),
    (("--schema-mode", "stict", "--schema", "a"), {}, "", "bad_option", "'strict'"),
    ((), {"PIPECHAT_EXTRACT": "jsn"}, "", "bad_option", "'json'"),
    (("--profile", "lokal"), {}, "[profiles.local]\n", "unknown_profile", "'local'"),
    ((), {"PIPECHAT_PROFILE": "Local"}, "[profiles.local]\n", "unknown_profile", "'local'"),
    ((), {}, "modle = 'x'\n", "bad_config", "'model'"),
    ((), {}, "[profiles.local]\ntimeuot = 3\n", "bad_config", "'timeout'"),
    ((), {}, "schema_mode = 'promt'\n", "bad_config", "'prompt'"),
]  # fmt: skip


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize(("words", "env", "config", "code", "meant"), SLIPS_OF_ASK)
def test_a_slip_in_what_ask_is_given_has_the_same_answer_in_every_format(
    program: Program,
    words: tuple[str, ...],
    env: dict[str, str | None],
    config: str,
    code: str,
    meant: str,
    output_format: str,
) -> None:
    (program.home / "config.toml").write_text(config)
    ask = ("ask", "hi", "--offline", "--output-format", output_format, *words)
    result = program.run(*ask, env=env, events=code != "usage")
    assert (result.status, result.code) == (3 if "config" in code or "prof" in code else 2, code)
    assert result.stderr.count(b"\n") == 1
    assert f"Did you mean {meant}?" in result.stderr.decode()


def test_a_variable_that_is_mistyped_is_told_with_the_one_that_there_is(program: Program) -> None:
    result = program.run("ask", "hi", "--offline", env={"PIPECHAT_TIMOUT": "3"})
    assert b"Did you mean 'PIPECHAT_TIMEOUT'?" in result.stderr


def test_what_is_like_nothing_gets_no_guess(program: Program) -> None:
    program.run("ask", "--offline", "-q", "--session", "trip", "hi")
    for words in (("history", "show", "zzz"), ("ask", "--zzzzzz"), ("schema", "zzz")):
        assert b"Did you mean" not in program.run(*words).stderr


def test_versions_for_a_report_name_what_runs_and_no_value_that_could_be_secret(
    program: Program,
) -> None:
    env: dict[str, str | None] = {"PIPECHAT_API_KEY": PLANTED_KEY, "LC_ALL": "C.UTF-8"}
    result = program.run("--version", "--verbose", env=env)
    assert (result.status, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert text.startswith(program.run("--version").stdout.decode())
    for name in ("Python", "openai", "typer", "orjson", "httpx2", "jinja2", "jsonschema-rs", "ray"):
        assert re.search(rf"^\S*{name} .*\d|^{name} is not installed", text, re.MULTILINE)
    assert "LC_ALL=C.UTF-8" in text
    assert "OPENAI_API_KEY, PIPECHAT_API_KEY, PIPECHAT_HOME" in text
    assert str(program.home) not in text
    assert program.run("--verbose", "--version", env=env).stdout == result.stdout


def test_verbose_before_a_command_is_no_option_of_it(program: Program) -> None:
    result = program.run("--verbose", "ask", "hi")
    assert (result.status, result.code) == (2, "usage")
    assert b"Options come after the command: pipechat ask OPTIONS" in result.stderr


@pytest.mark.in_process(False)
def test_a_plain_ask_imports_nothing_of_the_help(program: Program) -> None:
    script = (
        "import os, sys; os._exit = lambda _: None; sys.argv[1:] = ['ask', '--offline', 'hi']; "
        "from pipechat.main import run_and_exit; run_and_exit(); "
        "print(*(name for name in sys.modules if name.startswith('pipechat.commands')))"
    )
    done = subprocess.run(
        [program.python, "-c", script], env=program.environ(), capture_output=True, check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    loaded = set(done.stdout.decode().split())
    assert "pipechat.commands.ask" in loaded
    of_help = ("help_page", "help_env", "columns", "examples", "mistakes", "elsewhere", "versions")
    assert not {f"pipechat.commands.{name}" for name in of_help} & loaded


def test_what_the_page_of_all_commands_says_of_one_is_what_its_own_page_begins_with() -> None:
    inner = {path: command for path, command in COMMANDS.items() if path and " " not in path}
    assert {path: summary_of(command) for path, command in inner.items()} == LISTED


@pytest.mark.parametrize("words", ["schema turn", "history list", "ask hi"])
def test_a_command_whose_module_fails_at_a_key_is_a_bug_and_not_unknown(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    def broken(_name: str) -> None:
        raise KeyError("HOME")

    monkeypatch.setattr("pipechat.commands.app.import_module", broken)
    with pytest.raises(KeyError, match="HOME"):  # and no UsageError
        make_command().main(words.split(), "pipechat", standalone_mode=False)


@pytest.mark.parametrize("command", ["ask", "chat", "batch run", "batch submit", "history show"])
def test_a_long_option_behind_one_dash_is_refused_with_the_option_that_was_meant(
    program: Program, command: str
) -> None:
    options = [name for each in COMMANDS[command].params for name in each.opts if name[:2] == "--"]
    assert len(options) > 3
    for option in options:
        for words in ((option[1:], "x"), (f"{option[1:]}=x",)):
            result = program.run(*command.split(), *words, events=False)
            assert (result.status, result.code) == (2, "usage")
            assert f"No such option: {option[1:]}. Did you mean {option!r}?" in (
                result.stderr.decode()
            )


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("-m", "-model", "hi"), "hi"),
        (("--system", "-model", "hi"), "hi"),
        (("-qm", "-model", "hi"), "hi"),
        (("--", "-model"), "-model"),
        (("-qv", "hi"), "hi"),
        (("-qmodel-x", "hi"), "hi"),
        (("-mx", "hi"), "hi"),
    ],
    ids=" ".join,
)
def test_what_only_looks_like_such_an_option_is_read_as_ever(
    program: Program, words: tuple[str, ...], asked: str
) -> None:
    result = program.run("ask", "--offline", "--no-stdin", *words, events=False)
    assert (result.status, result.stdout.decode().rpartition(": ")[2]) == (0, f"{asked}\n")
