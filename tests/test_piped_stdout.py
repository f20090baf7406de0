"""Of every command a pipe gets the same bytes, whoever looks at stderr, rendered or not."""

import re
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.history_kit import turn, write_session
from tests.in_process import InProcess
from tests.program import Program, Result
from tests.servers import Batches, ChatServer, Reply, Request, answer, json_reply
from tests.test_help import COMMANDS as TREE

pytestmark = pytest.mark.in_process

ANSWER = "# Title\n\nSome **bold** words.\n\n- one\n- `two`\n\n```py\nx = 1\n```\n"
ITEM = b'{"id": "a", "question": "Hi"}\n'


class Typed(NamedTuple):
    """A command as it is typed; URL stands for the server's. `first`: what is done before. `says`:
    whether it says something on stdout."""

    words: str
    input: bytes = b"Hi\n"
    first: str = ""
    status: int = 0
    says: bool = True


SUBMIT = "batch submit in.ndjson -o out.jsonl --base-url URL --output-format json"
TYPED = [
    Typed("ask --base-url URL Hi"),
    Typed("ask --base-url URL --output-format ndjson Hi"),
    Typed("ask --base-url URL --output-format json Hi"),
    Typed("ask --base-url URL -v --usage Hi"),
    Typed("ask --base-url URL --session new --if-busy wait Hi"),
    Typed("ask --base-url URL -o - Hi"),
    Typed("ask --base-url URL -o answer.md Hi", says=False),
    Typed("ask --base-url URL --extract code Hi"),
    Typed("ask --dry-run Hi"),
    Typed("ask --help"),
    Typed("ask --help-env"),
    Typed("chat --base-url URL"),
    Typed("batch run - --base-url URL -j 1", ITEM),
    Typed("batch run - --base-url URL -j 1 --events", ITEM),
    Typed("batch run in.ndjson -o out.jsonl --base-url URL -j 1 --output-format json"),
    Typed(SUBMIT),
    Typed("batch status out.jsonl --base-url URL --output-format json", first=SUBMIT),
    Typed("batch fetch out.jsonl --base-url URL --output-format json", first=SUBMIT),
    Typed("batch cancel out.jsonl --base-url URL --output-format json", first=SUBMIT),
    Typed("batch status out.jsonl --base-url URL", first=SUBMIT),
    Typed("history list"),
    Typed("history list --output-format ndjson"),
    Typed("history show kept"),
    Typed("history show kept --output-format ndjson"),
    Typed("history search bold"),
    Typed("history path kept"),
    Typed("history list -n 1 --sort name"),
    Typed("history search -c bold"),
    Typed("history export kept"),
    Typed("history export kept --format html"),
    Typed("history export kept --format messages"),
    Typed("history import talk.json --session talk"),
    Typed("history fork kept other", says=False),
    Typed("history rename kept other", says=False),
    Typed("history delete kept --yes", says=False),
    Typed("history prune kept --older-than 2020-01-01", says=False),
    Typed("history prune kept --older-than 2100-01-01 --dry-run"),
    Typed("history repair torn", says=False),
    Typed("history repair torn --dry-run"),
    Typed("usage kept"),
    Typed("usage --sessions --by session --output-format csv"),
    Typed("usage --sessions --plot"),
    Typed("models --base-url URL"),
    Typed("models --base-url URL --output-format json"),
    Typed("doctor --base-url URL --ask"),
    Typed("doctor --base-url URL --output-format json"),
    Typed("config init", says=False),
    Typed("config show"),
    Typed("config show --output-format json"),
    Typed("config path"),
    Typed("completion bash"),
    Typed("completion zsh"),
    Typed("completion fish"),
    Typed("schema event"),
    Typed("schema turn"),
    Typed("--version"),
    Typed("--version --verbose"),
    Typed("--help"),
    Typed("ask --no-such", status=2, says=False),
]
_VARIES = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}|[0-9-]{10}T[0-9:.]+Z|(?<=_s\":)[0-9.]+"
    # What is said of `render` itself.
    rb"|render\t.*|(?<=\"render\",)\"value\":\w+,\"origin\":\"[^\"]+\""
    rb"|answered in [0-9.]+ s|[0-9]+ MiB are free|\"created\":[0-9]+"
)


def serve(batches: Batches, request: Request) -> Reply:
    if request.path.endswith("/models"):
        return json_reply(200, {"data": [{"id": "gpt-5.4-mini"}, {"id": "other"}]})
    if "/files" in request.path or "/batches" in request.path:
        return batches(request)
    return answer(ANSWER, gap=0.005)


def a_home(program: Program) -> Path:
    """A home with two sessions, of which one is torn, and a folder with the items of a batch."""
    write_session(program, "kept", [turn(1, "Hi", ANSWER)])
    write_session(program, "torn", [turn(1, "Hi", ANSWER), b'{"id": "to\n'])
    folder = program.home / "folder"
    folder.mkdir()
    (folder / "in.ndjson").write_bytes(ITEM)
    (folder / "talk.json").write_bytes(
        b'[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]'
    )
    return folder


@pytest.mark.parametrize("typed", TYPED, ids=lambda typed: typed.words)
def test_a_pipe_gets_the_same_bytes_whoever_looks_at_stderr_and_whatever_is_rendered(
    program: Program, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(program, InProcess)
    monkeypatch.setattr("pipechat.show.waiting._QUIET_S", 0.0)
    monkeypatch.setattr("pipechat.commands.batch_progress._LIVE_EVERY_S", 0.01)
    found = set()
    with ChatServer(answer(ANSWER)) as server:
        folder = a_home(program)
        as_it_was = shutil.copytree(program.home, program.home.with_name("as it was"))

        def run(words: str, terminals: frozenset[str]) -> Result:
            program.terminals = terminals
            arguments = words.replace("URL", server.url).split()
            env = {"TERM": "xterm"}
            return program.run(*arguments, input=typed.input, env=env, cwd=folder, events=False)

        for terminals in (frozenset[str](), frozenset({"stderr"})):
            for render in ("", "render = true"):
                shutil.rmtree(program.home)
                shutil.copytree(as_it_was, program.home)
                if typed.words != "config init":
                    (program.home / "config.toml").write_text(render + "\n")
                server.play(partial(serve, Batches()))
                if typed.first:
                    assert run(typed.first, frozenset()).status == 0
                result = run(typed.words, terminals)
                found.add((result.status, _VARIES.sub(b"~", result.stdout)))
    assert len(found) == 1, found
    ((status, stdout),) = found
    assert (status, bool(stdout)) == (typed.status, typed.says)


def test_every_command_is_among_them() -> None:
    commands = {path for path, command in TREE.items() if not getattr(command, "commands", {})}
    typed = {each.words for each in TYPED}
    left = [path for path in commands if not any(words.startswith(path) for words in typed)]
    assert commands
    assert left == []
