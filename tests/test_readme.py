"""The README tells the truth: its commands run, its tables name what there is."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipechat.errors import ExitCode
from tests.program import Program, a_program
from tests.servers import Batches, ChatServer, Reply, Request, answer, json_reply, mirror

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
CRON_FIELDS = 5


def blocks(*languages: str) -> list[str]:
    """The fenced blocks of these languages, in their order."""
    return [text for name, text in BLOCKS if name in languages]


@pytest.fixture
def here(tmp_path: Path, program: Program) -> Path:
    """A folder as a user might stand in, with pipechat and scripts/pipechat at hand."""
    return make_here(tmp_path / "here", program)


def make_here(here: Path, program: Program) -> Path:
    here.mkdir()
    (here / "notes.txt").write_text("A note.\n")
    (here / "build.log").write_text("ok\n")
    (here / "list.txt").write_text("Lyon\nPorto\n")
    (here / "questions.ndjson").write_text(
        "".join(f'{{"id":"q{n}","question":"Question {n}?"}}\n' for n in range(3))
    )
    (here / "products.csv").write_text("id,product,colour\n1,kettle,red\n2,lamp,green\n")
    (here / "mails").mkdir()
    for name in ("one.txt", "two.txt"):
        (here / "mails" / name).write_text(f"Subject: {name}\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for command in (["init", "-q"], ["add", "notes.txt"], ["commit", "-qm", "1"],
                    ["add", "."], ["commit", "-qm", "2"]):  # fmt: skip
        subprocess.run([*git, *command], cwd=here, check=True)
    # Not among what is committed: they are not the same in every run.
    for name in ("bin/pipechat", "scripts/pipechat"):
        path = here / name
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\nexec {program.in_scripts()} "$@"\n')
        path.chmod(0o755)
    return here


def answered(request: Request) -> Reply:
    """The mirror's answer; where a schema is asked for, a value that matches it; its models."""
    if request.path.endswith("/models"):
        return json_reply(200, {"object": "list", "data": [{"id": "gpt-5.4-mini"}]})
    if "response_format" not in request.body:
        return mirror()(request)
    wanted = request.body["response_format"]["json_schema"]["schema"]["properties"]
    by_type = {"string": "a text", "integer": 1, "number": 1.5, "array": ["a"]}
    kinds = {name: each["type"] for name, each in wanted.items()}
    values = {
        name: by_type[kind if isinstance(kind, str) else kind[0]] for name, kind in kinds.items()
    }
    return answer(json.dumps(values))


def run_in_bash(
    program: Program, here: Path, url: str, script: str, extra: dict[str, str | None] | None = None
) -> str:
    """Run a script as a careful user would; it must succeed. Its stdout."""
    environ = program.environ({"OPENAI_BASE_URL": url, **(extra or {})})
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=here,
        env=environ | {"PATH": f"{here}/bin:{environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    program.written += [done.stdout, done.stderr]
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@dataclass(frozen=True)
class LiveRun:
    """What the commands of the README printed, where, and what was exchanged meanwhile."""

    printed: dict[str, str]
    here: Path
    recording: Path


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, warm: bool) -> LiveRun:
    """Every command of the README, run once and in its order; recorded where it does not say
    for itself what is to be."""
    folder = tmp_path_factory.mktemp("live")
    with a_program(folder) as program, ChatServer(answered) as server:
        program.warm = warm
        here, recording = make_here(folder / "here", program), folder / "recording"
        printed = {}
        for script in blocks("sh", "bash"):
            record = None if _records(script) else str(recording)
            extra: dict[str, str | None] = {"PIPECHAT_RECORD": record}
            printed[script] = run_in_bash(program, here, server.url, script, extra)
    return LiveRun(printed, here, recording)


def _records(script: str) -> bool:
    return "PIPECHAT_RECORD" in script


def test_every_command_of_the_readme_runs(live: LiveRun) -> None:
    assert len(live.printed) == len(blocks("sh", "bash")) >= 8
    everything, here = "".join(live.printed.values()), live.here
    assert "offline, with no earlier turn: you asked: What is a pipe?" in everything
    assert "echo: What is the capital of France?" in everything
    assert "answered" in everything
    assert (here / "cities.txt").read_text().count("echo: One sentence about") == 2
    assert (here / "summary.txt").read_text().startswith("echo: Summarise this file")
    assert (here / "mails.csv").read_text() == '"a text","a text",1.5\n' * 2
    assert sorted((here / "answers.csv").read_text().splitlines())[0] == '"q0","echo: Question 0?"'
    slogan = '"1","echo: A slogan for a red kettle"'
    assert (here / "slogans.csv").read_text().splitlines()[0] == slogan
    fields = [f'"mails/{name}.txt","a text","a text",1.5' for name in ("one", "two")]
    assert (here / "fields.csv").read_text().splitlines() == fields


def test_the_commands_of_the_readme_are_replayed_from_one_recording_without_network(
    program: Program, here: Path, live: LiveRun
) -> None:
    extra = {"PIPECHAT_REPLAY": str(live.recording), **program.without_names()}
    scripts = [script for script in blocks("sh", "bash") if not _records(script)]
    # No name resolves, and nobody listens at this port of this machine.
    played = {
        script: run_in_bash(program, here, "http://127.0.0.1:1/v1", script, extra)
        for script in scripts
    }
    # What tells of this machine's folders or settings is not the server's.
    local = re.compile("history|pipechat usage|pipechat config")
    asked = [script for script in scripts if not local.search(script)]
    assert len(asked) >= 6
    assert [played[script] for script in asked] == [live.printed[script] for script in asked]
    assert (here / "mails.csv").read_text() == (live.here / "mails.csv").read_text() != ""


def test_the_cron_lines_of_the_readme_run(program: Program, here: Path) -> None:
    commands = [line.split(maxsplit=CRON_FIELDS)[CRON_FIELDS] for line in blocks("crontab")]
    (program.home / "questions.ndjson").write_text('{"question":"q"}\n')
    with ChatServer(mirror()) as server:
        for command in commands:
            # To cron a bare % is a newline.
            run_in_bash(program, here, server.url, command.replace("\\%", "%"))
    assert (program.home / "today.txt").read_text() == "echo: A proverb for today\n"
    assert '"answer":"echo: q"' in (program.home / "answers.jsonl").read_text()
    assert not (program.home / "pipechat.log").exists()


def test_the_commands_of_the_providers_batch_engine_run(program: Program, here: Path) -> None:
    lines = [json.dumps({"id": each, "question": f"What is {each}?"}) for each in ("one", "two")]
    (here / "questions.ndjson").write_text("".join(f"{line}\n" for line in lines))
    (script,) = blocks("shell")
    with ChatServer(Batches(states=("validating", "in_progress", "completed"))) as server:
        out = run_in_bash(program, here, server.url, script)
    assert out.startswith("part 1: validating, 0 of 2 done")
    assert out.endswith("one\techo: What is one?\ntwo\techo: What is two?\n")


def test_the_commands_that_need_a_server_of_ones_own_are_read_as_meant(
    program: Program, here: Path
) -> None:
    for block in blocks("console"):
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            if command.startswith("pipechat ask"):
                command += " --dry-run"
            else:  # the bench takes minutes and installs, a cluster is not here: here only that
                # they take these options
                command = f"{command} --help".replace("scripts/", f"{ROOT}/scripts/")
            run_in_bash(program, here, "http://127.0.0.1:1/v1", command)


@pytest.mark.in_process
def test_the_config_of_the_readme_is_taken(program: Program) -> None:
    config, profiles = blocks("toml")
    path = program.home / "config.toml"
    path.write_text(config + profiles)
    path.chmod(0o600)
    for name in tomllib.loads(profiles)["profiles"]:
        assert program.run("ask", "--dry-run", "--profile", name, "hello").status == 0
    shown = program.run("config", "show", "--profile", "older")
    assert shown.status == 0, shown.stderr
    assert b"api_version\t2024-10-21\t" in shown.stdout
    dry = program.run("ask", "--dry-run", "--profile", "local", "hello")
    assert json.loads(dry.stdout)["model"] == "llama3.2"
    assert json.loads(dry.stdout)["seed"] == 7


def test_the_python_of_the_readme_runs(program: Program, here: Path) -> None:
    [script] = blocks("python")
    with ChatServer(answered) as server:
        run = f"{sys.executable} - <<'END'\n{script}END\n"
        output = run_in_bash(program, here, server.url, run)
    assert output == "echo: Name a river.\necho: Name a mountain.\n"


@pytest.mark.in_process
def test_every_option_of_batch_run_is_in_the_readme_and_every_one_there_exists(
    program: Program,
) -> None:
    help_text = program.run("batch", "run", "--help").stdout.decode()
    existing = set(re.findall(r"--[a-z][a-z-]+", help_text)) - {"--help", "--help-env"}
    own = set(re.findall(r"--[a-z][a-z-]+", _rows("| option of `batch run`", "The options of")))
    of_ask = set(re.findall(r"--[a-z][a-z-]+", _rows("## Options", "`pipechat chat` takes")))
    assert own <= existing
    assert existing - own <= of_ask


def _rows(first: str, last: str) -> str:
    """The first cells of the rows between two texts of the README."""
    begin = README.index(first)
    table = README[begin : README.index(last, begin)]
    return "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))


@pytest.mark.in_process
def test_every_option_of_ask_is_in_the_readme_and_every_one_there_exists(
    program: Program,
) -> None:
    help_text = program.run("ask", "--help").stdout.decode()
    existing = set(re.findall(r"--[a-z][a-z-]+", help_text)) - {"--help", "--help-env"}
    rows = _rows("## Options", "`pipechat chat` takes")
    assert set(re.findall(r"--[a-z][a-z-]+", rows)) == existing


def test_the_exit_codes_of_the_readme_are_the_programs() -> None:
    table = README[README.index("## Exit codes") : README.index("## Events")]
    named = {int(code) for code in re.findall(r"\b(\d{1,3})\b(?=[^|]*\|)", _first_cells(table))}
    assert named == {int(code) for code in ExitCode}


def _first_cells(table: str) -> str:
    return "".join(
        line.split("|")[1] + "|" for line in table.splitlines() if re.match(r"\| \d", line)
    )


@pytest.mark.in_process
def test_the_events_and_the_record_of_the_readme_have_the_keys_that_are_written(
    program: Program,
) -> None:
    events_text, record_text = blocks("json")
    shown = {each["type"]: set(each) for each in map(json.loads, events_text.splitlines())}
    arguments = ("ask", "--offline", "--session", "s", "--output-format", "ndjson")
    for event in program.run(*arguments, "hello").events:
        assert set(event) == shown[event["type"]]
    (failed,) = program.run(*arguments).events
    assert set(failed) == shown["error"]
    assert set(program.records("s")[0]) == set(json.loads(record_text))


def test_no_line_of_the_readme_means_something_else_to_another_shell() -> None:
    # At zsh's prompt `#` is a word, and `status` is read-only in zsh and fish; `!` is history.
    for text in blocks("sh", "bash") + blocks("shell") + blocks("console") + blocks("crontab"):
        bare = re.sub(r"""'[^']*'|"[^"]*\"""", "''", text)
        assert not re.search(r"(^|\s)#|\bstatus=|!", bare), text


def test_what_failed_in_a_batch_is_told_by_the_commands_of_the_readme(
    program: Program, here: Path
) -> None:
    [told] = [script for script in blocks("sh", "bash") if "reduce inputs" in script]
    run = "pipechat batch run questions.ndjson -o answers.jsonl"
    assert any(script.startswith(run) for script in blocks("sh", "bash"))
    (here / "questions.ndjson").write_text('{"id":"a","question":"one"}\n{"id":"b"}\n')
    run += " || test $? = 10"
    with ChatServer(mirror()) as server:
        run_in_bash(program, here, server.url, run)
        failed, tokens = run_in_bash(program, here, server.url, told).splitlines()
        (here / "questions.ndjson").write_text('{"id":"b","question":"two"}\n')
        run_in_bash(program, here, server.url, run)
        [more] = run_in_bash(program, here, server.url, told).splitlines()
    assert failed == "b\tbad_item\tline 2: it has no question"
    assert 0 < int(tokens) < int(more)


_STUB = """#!/bin/sh
# Says what it was given, a line each, and answers with what the rest of a pipeline can read.
{ printf '%s\\n' "$@"; echo; } >> "$TOLD"
out=
for word in "$@"; do
  case $before in -o | --output) out=$word ;; esac
  before=$word
done
[ "$1 $2" != "history path" ] || { echo products.json; exit; }
echo '{"type":"end","item":"i","settings":[],"answer":"1"}' > "${out:-/dev/stdout}"
"""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_every_line_of_the_readme_says_the_same_in_each_shell(
    program: Program, here: Path, tmp_path: Path, shell: str
) -> None:
    for name in ("bin/pipechat", "scripts/pipechat"):
        (here / name).write_text(_STUB)
    (here / "products.json").write_text("{}")
    said = {each: words_in(each, program, here, tmp_path) for each in ("bash", shell)}
    assert len(said["bash"]) > 40
    assert said[shell] == said["bash"]


def words_in(shell: str, program: Program, here: Path, tmp_path: Path) -> list[str]:
    """What pipechat is given by the README's lines in one shell."""
    told = tmp_path / shell
    for number, script in enumerate(blocks("sh")):
        home = tmp_path / f"{shell}-{number}"
        home.mkdir()
        environ = program.environ({"TOLD": str(told), "HOME": str(home)})
        done = subprocess.run(
            [shell, "-c", script],
            cwd=here,
            env=environ | {"PATH": f"{here}/bin:{environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == b"", (script, done.stderr)
    return told.read_text().split("\n\n")
