"""Nothing of Python's own speaks past our stderr, and no module of the user's is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipechat.environment import Messages, Output
from tests.program import PLANTED_KEY, Program

pytestmark = pytest.mark.cold

ROOT = Path(__file__).resolve().parent.parent
SECRET = f"{PLANTED_KEY} \x1b[2J"

# Put in the way of a run: what fails shows the key and an escape in what it raises.
FAULTS = {
    "thread": """
import threading
thread = threading.Thread(target=fail)
thread.start()
thread.join()
""",
    "finalizer": """
class Dying:
    def __del__(self):
        fail()
Dying()
""",
    "exit": """
sys.excepthook(*caught())
""",
    "warning": """
import warnings
warnings.simplefilter("always")
warnings.warn(secret)
""",
}
RUN = """
import os, sys
import pipechat.main as main
secret = os.environ["OPENAI_API_KEY"] + " \\x1b[2J"

def fail():
    raise RecursionError(secret)

def caught():
    try:
        fail()
    except RecursionError:
        return sys.exc_info()

run = main.run

def faulty(env, arguments):
    env.stderr.hide(os.environ["OPENAI_API_KEY"])
    env.verbose = "-v" in arguments
    {fault}
    return run(env, arguments)

main.run = faulty
main.run_and_exit()
"""


def run_with(program: Program, fault: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    lines = FAULTS[fault].strip().replace("\n", "\n    ")
    return subprocess.run(
        [program.python, "-c", RUN.replace("{fault}", lines), *arguments],
        env=program.environ(),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("loudness", ["-q", "-v"])
def test_no_hook_of_python_shows_a_key_or_an_escape(
    program: Program, fault: str, output_format: str, loudness: str
) -> None:
    ask = ("ask", "--offline", loudness, "--output-format", output_format, "hello")
    done = run_with(program, fault, *ask)
    assert done.returncode == 0
    assert b"\x1b" not in done.stderr
    assert PLANTED_KEY.encode() not in done.stderr
    lines = done.stderr.decode().splitlines()
    if loudness == "-q":
        line = "pipechat: bug: an unforeseen RecursionError."
        assert [text[: len(line)] for text in lines] == ([line] if fault == "exit" else [])
    elif fault != "warning":
        assert any("RecursionError: [key] ^[[2J" in text for text in lines)


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A folder with modules of the user's, named as those that are needed."""
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in ("typer", "orjson", "openai", "httpx2"):
        (folder / f"{name}.py").write_text("raise SystemExit('not yours')\n")
    return folder


@pytest.mark.parametrize("path", ["", ":", "/nowhere:", ":/nowhere", "."])
def test_no_module_of_the_users_folder_is_run_whatever_pythonpath_says(
    program: Program, traps: Path, path: str
) -> None:
    # As the command that pip makes does it, with the package where it is installed.
    command = "import sys; from pipechat.__main__ import main; sys.exit(main())"
    installed = os.pathsep.join((str(ROOT), path))
    script = traps.parent / "bin" / "pipechat"
    script.parent.mkdir()
    script.write_text(command)
    for arguments in ([script], ["-m", "pipechat"]):
        done = subprocess.run(
            [sys.executable, *arguments, "ask", "--offline", "-q", "hello"],
            env=program.environ({"PYTHONPATH": installed}),
            cwd=traps,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_where_pipechat_itself_stands_its_modules_are_found(program: Program) -> None:
    result = program.run("ask", "--offline", "-q", "hello", cwd=ROOT, env={"PYTHONPATH": None})
    assert result.status == 0


def test_a_folder_that_was_deleted_is_no_reason_to_fail(program: Program, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    ask = [program.python, "-P", "-m", "pipechat", "ask", "--offline", "-q", "hello"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", gone, *ask],
        env=program.environ(), capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("word", ["none", "local", "EMPTY", "1", "prompt", "not-needed", ""])
def test_what_is_no_secret_is_left_in_messages(word: str) -> None:
    reading, writing = os.pipe()
    messages = Messages(Output(writing, name="stderr"))
    messages.hide(word)
    messages.line(f"localhost:1 said prompt_tokens none EMPTY {word}")
    assert os.read(reading, 1000) == f"localhost:1 said prompt_tokens none EMPTY {word}\n".encode()
    os.close(reading)
    os.close(writing)
