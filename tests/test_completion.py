"""Completion, in the three shells as they really are: a line is typed, Tab and Enter pressed, and
the words that the command gets are looked at."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program
from tests.shells import SHELLS, Shell

pytestmark = [pytest.mark.in_process]

CONFIG = """
model = "llama3.2"
[profiles.local]
[profiles."my own"]
model = 'gpt-own'
[ profiles . 'say "hi"' ]
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("notes.txt", "two words.txt", "answers.jsonl"):
        (folder / name).touch()
    return folder


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, program: Program, here: Path) -> Iterator[Shell]:
    sessions = program.home / "sessions"
    sessions.mkdir()
    for name in ("trip", "旅行", "work-1"):
        (sessions / f"{name}.jsonl").touch()
    (program.home / "config.toml").write_text(CONFIG)
    with Shell(request.param, program, here) as started:
        yield started


LINES = [
    ("as", ["ask"]),
    ("batch su", ["batch", "submit"]),
    ("history sh", ["history", "show"]),
    ("--vers", ["--version"]),
    ("ask --sess", ["ask", "--session"]),
    ("ask --allow", ["ask", "--allow-truncated"]),
    ("batch run --jo", ["batch", "run", "--jobs"]),
    ("history prune --old", ["history", "prune", "--older-than"]),
    ("ask --if-busy w", ["ask", "--if-busy", "wait"]),
    ("ask --output-format=nd", ["ask", "--output-format=ndjson"]),
    ("history list --output-format nd", ["history", "list", "--output-format", "ndjson"]),
    ("batch run --engine r", ["batch", "run", "--engine", "ray"]),
    ("ask --schema-mode st", ["ask", "--schema-mode", "strict"]),
    ("schema ev", ["schema", "event"]),
    ("completion fi", ["completion", "fish"]),
    ("ask --session tr", ["ask", "--session", "trip"]),
    ("chat --session=wo", ["chat", "--session=work-1"]),
    ("history show 旅", ["history", "show", "旅行"]),
    ("history fork tr", ["history", "fork", "trip"]),
    ("history fork trip tr", ["history", "fork", "trip", "tr"]),
    ("history search rain tr", ["history", "search", "rain", "trip"]),
    ("history search tr", ["history", "search", "tr"]),
    ("usage --budget tr", ["usage", "--budget", "trip"]),  # of ask it takes a value
    ("usage work-1 tr", ["usage", "work-1", "trip"]),
    ("usage --by end", ["usage", "--by", "endpoint"]),
    ("history search -i x wo", ["history", "search", "-i", "x", "work-1"]),
    ("history show ./ans", ["history", "show", "./answers.jsonl"]),
    ("history export tr", ["history", "export", "trip"]),
    ("history export trip --format ht", ["history", "export", "trip", "--format", "html"]),
    ("history export ./ans", ["history", "export", "./answers.jsonl"]),
    ("history import no", ["history", "import", "notes.txt"]),
    ("ask --profile lo", ["ask", "--profile", "local"]),
    ("ask --profile my", ["ask", "--profile", "my own"]),
    ("ask --profile say", ["ask", "--profile", 'say "hi"']),
    ("ask --fallback lo", ["ask", "--fallback", "local"]),
    ("ask --fallback gpt-o", ["ask", "--fallback", "gpt-own"]),
    ("ask -m ll", ["ask", "-m", "llama3.2"]),
    ("ask --model gpt-o", ["ask", "--model", "gpt-own"]),
    ("ask -f no", ["ask", "-f", "notes.txt"]),
    ("ask -f two", ["ask", "-f", "two words.txt"]),
    ("ask --system @no", ["ask", "--system", "@notes.txt"]),
    ("batch run an", ["batch", "run", "answers.jsonl"]),
    ("ask --timeout 5 --sess", ["ask", "--timeout", "5", "--session"]),
    ("ask -- --sess", ["ask", "--", "--sess"]),
    ("ask no", ["ask", "no"]),
    ("ask --timeout no", ["ask", "--timeout", "no"]),
]


def test_a_tab_completes_what_may_stand_there(shell: Shell) -> None:
    for typed, words in LINES:
        assert shell.typed(f"pipechat {typed}\t") == words, typed


ODD_NAMES = [
    "a b", "it's", 'q"q', "-rf", "--session", "旅 行", "\\back\\", "*", "~", "$HOME", "#x", "a&b",
    "!x", "{a,b}", "<x", "a|b", "(x)", "[x]", "$(: > pwned)", "`: > pwned`", "; : > pwned",
    "' : > pwned", "a:b", "a=b", "a@b", "%s", "é",
]  # fmt: skip


def toml(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"


def test_a_name_of_any_letters_is_put_in_as_it_is_and_never_run(
    shell: Shell, program: Program, here: Path
) -> None:
    for name in ODD_NAMES:
        if name == "~" and shell.name == "fish":
            continue  # which would put it in as the home folder, and so is not told of it
        (program.home / "config.toml").write_text(f"[profiles.{toml(name)}]\n")
        assert shell.typed("pipechat ask --profile \t") == ["ask", "--profile", name]
        folder = here / "odd"
        folder.mkdir()
        (folder / name).touch()
        assert shell.typed("pipechat ask -f odd/\t") == ["ask", "-f", f"odd/{name}"]
        (folder / name).unlink()
        folder.rmdir()
    assert not list(here.glob("**/pwned"))


@pytest.mark.parametrize("typed", ["a:", "a=", "a@"])
def test_a_name_goes_on_behind_what_bash_breaks_words_at(
    shell: Shell, program: Program, typed: str
) -> None:
    (program.home / "config.toml").write_text(f"[profiles.'{typed}b']\n")
    assert shell.typed(f"pipechat ask --profile {typed}\t") == ["ask", "--profile", f"{typed}b"]
    words = ["ask", f"--profile={typed}b"]
    assert shell.typed(f"pipechat ask --profile={typed}\t") == words


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_name_that_was_begun_in_quotes_ends_in_them(shell: Shell, quote: str) -> None:
    words = ["ask", "--profile", "my own"]
    assert shell.typed(f"pipechat ask --profile {quote}my o\t") == words


def test_what_is_no_name_of_a_session_is_not_offered(
    shell: Shell, program: Program, here: Path
) -> None:
    sessions = program.home / "sessions"
    for path in sessions.iterdir():
        path.unlink()
    for name in (*ODD_NAMES, ".hidden", "a\nb", "a\x1b[2Jb"):
        if name != "é":
            (sessions / f"{name}.jsonl").touch()
    for command in ("history show ", "ask --session "):
        assert shell.typed(f"pipechat {command}\t\t") == command.split()
    (sessions / "é.jsonl").touch()
    assert shell.typed("pipechat history show \t") == ["history", "show", "é"]
    assert not list(here.glob("**/pwned"))


def test_nothing_breaks_where_there_is_no_session_and_no_config(
    shell: Shell, program: Program
) -> None:
    for path in (program.home / "sessions").iterdir():
        path.unlink()
    (program.home / "sessions").rmdir()
    (program.home / "config.toml").unlink()
    shell.screen = b""
    for command in ("history show", "ask --profile", "ask -m"):
        assert shell.typed(f"pipechat {command} \t") == command.split()
    assert b"rror" not in shell.screen
    assert b"no match" not in shell.screen


def test_the_folders_are_those_of_the_program(shell: Shell, here: Path) -> None:
    for variable, path in (
        ("HOME", ".local/share/pipechat/sessions"),
        ("XDG_DATA_HOME", "pipechat/sessions"),
    ):
        folder = here / variable
        (folder / path).mkdir(parents=True)
        (folder / path / f"in-{variable}.jsonl").touch()
    unset = "set -e PIPECHAT_HOME" if "fish" in shell.name else "unset PIPECHAT_HOME"
    export = "set -gx {} '{}'" if "fish" in shell.name else "export {}='{}'"
    shell.typed(f"{unset}; {export.format('HOME', here / 'HOME')}; pipechat")
    assert shell.typed("pipechat history show \t") == ["history", "show", "in-HOME"]
    shell.typed(f"{export.format('XDG_DATA_HOME', here / 'XDG_DATA_HOME')}; pipechat")
    assert shell.typed("pipechat history show \t") == ["history", "show", "in-XDG_DATA_HOME"]


def test_a_tab_takes_less_than_a_tenth_of_a_second_with_a_thousand_sessions(
    shell: Shell, program: Program
) -> None:
    for number in range(1000):
        (program.home / "sessions" / f"s{number}.jsonl").touch()
    for typed in ("ask --sess", "history show tr"):
        # Whoever else works on this machine is no fault of the shell's.
        assert any(_seconds(shell, typed) < 0.1 for _ in range(30))


def _seconds(shell: Shell, typed: str) -> float:
    began = time.monotonic()
    assert shell.typed(f"pipechat {typed}\t")[-1] in ("--session", "trip")
    return time.monotonic() - began


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_works_where_the_readme_puts_it(program: Program, here: Path, name: str) -> None:
    (program.home / "sessions").mkdir()
    (program.home / "sessions" / "trip.jsonl").touch()
    with Shell(name, program, here, installed=True) as shell:
        assert shell.typed("pipechat history show t\t") == ["history", "show", "trip"]
        assert shell.typed("pipechat ask --sess\t") == ["ask", "--session"]


@pytest.mark.parametrize("shell_name", ["", "sh", "BASH", "nu"])
def test_a_shell_that_there_is_no_script_for_is_exit_2(program: Program, shell_name: str) -> None:
    result = program.run("completion", shell_name)
    assert (result.status, result.code, result.stdout) == (2, "bad_option", b"")
    assert b"is not one of bash, zsh, fish" in result.stderr
