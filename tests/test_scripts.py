"""scripts/pipechat and scripts/install: one command on a fresh machine, then out of the way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INSTALL_LIMIT_S = 280
TELL = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], sys.stdin.read(), os.getcwd(), os.getpid()]))
sys.exit(7)
"""


def cksum(path: Path) -> str:
    with path.open("rb") as file:
        done = subprocess.run(["cksum"], stdin=file, capture_output=True, check=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the project that is installed already: its Python tells how it was called."""
    root = tmp_path / "a project"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("bench*"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / ".venv" / "bin").mkdir(parents=True)
    python = root / ".venv" / "bin" / "python"
    python.write_text(TELL.format(python=sys.executable))
    python.chmod(0o755)
    (root / ".venv" / "installed").write_text(f"{root} run\n{cksum(root / 'pyproject.toml')}\n")
    return root


def call(
    script: Path, *arguments: str, input: str = "", **options: object
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [script, *arguments],
        input=input,
        capture_output=True,
        text=True,
        timeout=INSTALL_LIMIT_S,
        check=False,
        **options,  # type: ignore[call-overload]  # because subprocess.run has no common type
    )


def test_the_program_gets_its_arguments_stdin_and_folder_untouched(
    installed: Path, tmp_path: Path
) -> None:
    odd = ["ask", "", "two words", "*", "new\nline", "-O", "a='b'", "$HOME"]
    done = call(installed / "scripts" / "pipechat", *odd, input="data\n", cwd=tmp_path)
    arguments, stdin, folder, _ = json.loads(done.stdout)
    assert arguments == ["-m", "pipechat", *odd]
    assert (stdin, folder, done.stderr) == ("data\n", str(tmp_path), "")
    assert done.returncode == 7


def test_it_becomes_the_program_so_that_signals_reach_it(installed: Path) -> None:
    process = subprocess.Popen(
        [installed / "scripts" / "pipechat"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    stdout, _ = process.communicate(timeout=30)
    assert json.loads(stdout)[3] == process.pid


def test_it_works_through_a_link_and_after_a_touched_pyproject(
    installed: Path, tmp_path: Path
) -> None:
    link = tmp_path / "pipechat"
    link.symlink_to(installed / "scripts" / "pipechat")
    assert call(link).returncode == 7
    later = (installed / ".venv" / "installed").stat().st_mtime + 10
    os.utime(installed / "pyproject.toml", (later, later))
    done = call(link)
    assert (done.returncode, done.stderr) == (7, "")


def test_without_a_python_it_says_so_on_stderr_and_exits_3(installed: Path, tmp_path: Path) -> None:
    (installed / ".venv" / "installed").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "readlink", "mkdir", "cat", "rm", "cksum", "head", "mv", "sleep"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    done = call(installed / "scripts" / "pipechat", env={"PATH": str(tools)})
    assert (done.returncode, done.stdout) == (3, "")
    assert "no Python 3.11 or newer found" in done.stderr
    assert not (installed / ".venv.lock").exists()


@pytest.mark.storm
def test_a_fresh_clone_works_twice_at_once_and_after_a_change_and_a_break(tmp_path: Path) -> None:
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, root], check=True, timeout=60)
    script = root / "scripts" / "pipechat"
    environ = os.environ | {"PIPECHAT_HOME": str(tmp_path / "home")}
    ask: list[str | Path] = [script, "ask", "--offline", "-q", "hello"]
    both = [
        subprocess.Popen(ask, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        stdout, stderr = process.communicate(timeout=INSTALL_LIMIT_S)
        assert process.returncode == 0, stderr
        assert stdout == "offline, with no earlier turn: you asked: hello\n"
        assert "pipechat: " in stderr
    quiet = call(script, "--version", env=environ)
    assert (quiet.returncode, quiet.stderr) == (0, "")

    with (root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert "installing" in call(script, "--version", env=environ).stderr

    (root / ".venv" / "installed").unlink()
    (root / ".venv" / "bin" / "python").unlink()
    repaired = call(script, "--version", env=environ)
    assert (repaired.returncode, "installing" in repaired.stderr) == (0, True)
