"""Completion, in the three shells as they really are: a line is typed, Tab and Enter pressed, and
the words that the command gets are looked at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program
from tests.shells import SHELLS, Shell

pytestmark = [pytest.mark.uncounted, pytest.mark.in_process]

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
    ("history search -i x wo", ["history", "search", "-i", "x", "work-1"]),
    ("history show ./ans", ["history", "show", "./answers.jsonl"]),
    ("ask --profile lo", ["ask", "--profile", "local"]),
    ("ask --profile my", ["ask", "--profile", "my own"]),
    ("ask --profile say", ["ask", "--profile", 'say "hi"']),
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
