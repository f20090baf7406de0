"""scripts/pipechat and scripts/install: one command on a fresh machine, then out of the way.

All but the storm install with a stand-in for Python, so that no test waits for a network.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIMIT_S = 60
INSTALL_LIMIT_S = 280

# Makes a .venv of itself, notes what pip is asked for, and as the program tells how it was called.
STAND_IN = """#!{python}
import json, os, shutil, sys, time
from pathlib import Path
match sys.argv[1:]:
    case ["-I", "-c", code] if "version_info" in code:
        print(os.path.realpath(__file__))
    case ["-I", "-c", code]:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    case ["-I", "-m", "venv", "--clear", folder]:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder + "/bin")
        shutil.copy(__file__, folder + "/bin/python")
    case ["-I", "-m", "pip", *_, wanted]:
        print("a word from pip")
        with Path("pip.txt").open("a") as file:
            file.write(wanted + "\\n")
        time.sleep(float(os.environ.get("STAND_IN_SLEEP", "0")))
        sys.exit(os.environ.get("STAND_IN_FAILS"))
    case ["-I", "-m", "compileall", *_]:
        pass
    case arguments:
        print(json.dumps([arguments, sys.stdin.read(), os.getcwd(), os.getpid()]))
        sys.exit(7)
"""

# As much of a Python as anyone may run (that of the tests may stand in root's home), and as comes
# before .venv is made. It cannot clear one.
ANYONES = """#!/bin/sh
case "$*" in
  *version_info*) readlink -f -- "$0" ;;
  *" venv "*) echo "Error: [Errno 13] Permission denied: 'lib'"; exit 1 ;;
esac
"""
NOBODY = 65534


class Project:
    """A copy of the scripts in a folder of their own, with the stand-in as its Python."""

    def __init__(self, root: Path, python: Path) -> None:
        self.root = root
        self.script = root / "scripts" / "pipechat"
        self.pyproject = root / "pyproject.toml"
        self.stamp = root / ".venv" / "installed"
        self.environ = os.environ | {"PIPECHAT_PYTHON": str(python)}
        self.become: list[str] = []

    def call(
        self, *arguments: str, script: Path | None = None, input: str = "", cwd: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.become, script or self.script, *arguments],
            input=input,
            cwd=cwd,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_S,
            check=False,
        )

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.script,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def installations(self) -> list[str]:
        """What pip was asked for, each time."""
        asked = self.root / "pip.txt"
        return asked.read_text().splitlines() if asked.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    root = tmp_path / "a [new] project"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("bench*"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return Project(root, python)


@pytest.fixture
def installed(project: Project) -> Project:
    assert project.call().returncode == 7
    assert project.installations() == [".[all]"]
    return project


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_first_use_says_on_stderr_what_it_does_and_then_is_the_program(project: Project) -> None:
    done = project.call("ask", input="data\n")
    arguments, stdin, _, _ = json.loads(done.stdout)
    assert (arguments, stdin) == (["-I", "-m", "pipechat", "ask"], "data\n")
    assert done.returncode == 7
    said = done.stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith(f"pipechat: installing into {project.root}/.venv")
    assert said[1] == "pipechat: installed"
    # The next start need not look closer.
    assert project.stamp.stat().st_mtime_ns == project.pyproject.stat().st_mtime_ns


def test_the_program_gets_its_arguments_stdin_and_folder_untouched(
    installed: Project, tmp_path: Path
) -> None:
    odd = ["ask", "", "two words", "*", "new\nline", "-O", "a='b'", "$HOME", "--", "-P"]
    done = installed.call(*odd, input="data\n", cwd=tmp_path)
    arguments, stdin, folder, _ = json.loads(done.stdout)
    assert arguments == ["-I", "-m", "pipechat", *odd]
    assert (stdin, folder, done.stderr) == ("data\n", str(tmp_path), "")
    assert done.returncode == 7
    assert installed.installations() == [".[all]"]


def test_it_becomes_the_program_so_that_signals_reach_it(installed: Project) -> None:
    process = installed.start()
    stdout, _ = process.communicate(timeout=LIMIT_S)
    assert json.loads(stdout)[3] == process.pid


@pytest.mark.parametrize(
    ("folder", "script"),
    [("scripts", "./pipechat"), (".", "scripts/pipechat"), ("scripts", "../scripts/pipechat")],
)
def test_it_works_from_any_folder_without_another_installation(
    installed: Project, folder: str, script: str
) -> None:
    done = subprocess.run(
        ["sh", script],
        cwd=installed.root / folder,
        env=installed.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr, installed.installations()) == (7, b"", [".[all]"])


def test_it_works_through_links_without_another_installation(
    installed: Project, tmp_path: Path
) -> None:
    link = tmp_path / "pipechat"
    link.symlink_to(installed.script)
    folder = tmp_path / "linked"
    folder.symlink_to(installed.root)
    for script in (link, folder / "scripts" / "pipechat"):
        done = installed.call(script=script)
        assert (done.returncode, done.stderr, installed.installations()) == (7, "", [".[all]"])


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_another_time_on_the_same_pyproject_is_no_reason_to_install(
    installed: Project, seconds: int
) -> None:
    changed = installed.stamp.stat().st_mtime + seconds
    os.utime(installed.pyproject, (changed, changed))
    done = installed.call()
    assert (done.returncode, done.stderr, installed.installations()) == (7, "", [".[all]"])
    # Nor to look closer again.
    assert installed.stamp.stat().st_mtime_ns == installed.pyproject.stat().st_mtime_ns


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_changed_pyproject_is_installed_whatever_its_time(
    installed: Project, seconds: int
) -> None:
    changed = installed.stamp.stat().st_mtime + seconds
    with installed.pyproject.open("a") as file:
        file.write("# changed\n")
    os.utime(installed.pyproject, (changed, changed))
    assert "installing" in installed.call().stderr
    assert installed.call().stderr == ""
    assert installed.installations() == [".[all]", ".[all]"]


def test_a_pyproject_changed_during_the_installation_is_installed_again(project: Project) -> None:
    project.environ["STAND_IN_SLEEP"] = "0.5"
    process = project.start()
    wait_for(project.installations)
    with project.pyproject.open("a") as file:
        file.write("# changed\n")
    process.communicate(timeout=LIMIT_S)
    project.environ["STAND_IN_SLEEP"] = "0"
    assert "installing" in project.call().stderr
    assert project.call().stderr == ""


def test_a_moved_or_copied_folder_is_installed_anew(installed: Project, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(installed.root, copied, symlinks=True)
    assert "installing" in installed.call(script=copied / "scripts" / "pipechat").stderr
    moved = installed.root.rename(tmp_path / "moved")
    assert "installing" in installed.call(script=moved / "scripts" / "pipechat").stderr
    assert installed.call(script=moved / "scripts" / "pipechat").stderr == ""


def test_a_python_that_was_upgraded_away_is_replaced(installed: Project) -> None:
    python = installed.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("python3.0")
    done = installed.call()
    assert (done.returncode, "installing" in done.stderr) == (7, True)


def test_what_is_there_for_testing_serves_for_running_and_stays(installed: Project) -> None:
    install = installed.root / "scripts" / "install"
    for _ in range(2):
        assert installed.call("test", script=install).returncode == 0
    assert installed.call().stderr == ""
    assert installed.installations() == [".[all]", ".[all,test]"]
    with installed.pyproject.open("a") as file:
        file.write("# changed\n")
    assert installed.call().returncode == 7
    assert installed.installations() == [".[all]", ".[all,test]", ".[all,test]"]


def test_two_at_once_install_once(project: Project) -> None:
    project.environ["STAND_IN_SLEEP"] = "0.5"
    both = [project.start(), project.start()]
    for process in both:
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, stdout.count("\n")) == (7, 1), stderr
    assert project.installations() == [".[all]"]


def test_a_failed_installation_exits_3_shows_why_and_is_not_trusted(project: Project) -> None:
    project.environ["STAND_IN_FAILS"] = "no such package"
    done = project.call()
    assert (done.returncode, done.stdout) == (3, "")
    said = done.stderr.splitlines()
    assert said[1:3] == ["a word from pip", "no such package"]
    assert said[3].startswith("pipechat: the installation failed")
    del project.environ["STAND_IN_FAILS"]
    done = project.call()
    assert (done.returncode, "installing" in done.stderr) == (7, True)


def test_an_installation_that_was_killed_blocks_nobody_and_is_not_trusted(project: Project) -> None:
    project.environ["STAND_IN_SLEEP"] = "60"
    process = project.start()
    wait_for(project.installations)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    assert (project.root / ".venv" / "bin" / "python").exists()
    project.environ["STAND_IN_SLEEP"] = "0"
    done = project.call()
    assert (done.returncode, project.installations()) == (7, [".[all]", ".[all]"])


def test_without_a_python_it_says_so_on_stderr_and_exits_3(
    project: Project, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "readlink", "cksum"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    project.environ = {"PATH": str(tools)}
    done = project.call()
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("pipechat: no Python 3.11 or newer found")
    assert done.stderr.count("\n") == 1


# Runs what it is given as a Python that says it is another version.
OLD = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[-1])"


@pytest.mark.parametrize(
    ("python", "what"),
    [
        (None, "there is no such program"),
        ("no-such-python", "there is no such program"),
        ("folder/", "it does not run as Python does"),
        ("#!/bin/sh\nexit 0\n", "it does not run as Python does"),
        ('#!/bin/sh\necho "$@"\n', "it does not run as Python does"),
        ("#!/bin/sh\nexit 3\n", "it does not run as Python does"),
        (f"#!/bin/sh\nexec {sys.executable} -c '{OLD}' \"$@\"\n", "it is Python 3.9"),
    ],
)
def test_a_named_python_that_will_not_do_is_named_and_what_is_wrong_with_it(
    project: Project, tmp_path: Path, python: str | None, what: str
) -> None:
    name = tmp_path / "my-python"
    if python is None:
        named = str(tmp_path / "missing")
    elif python.startswith("#!"):
        name.write_text(python)
        name.chmod(0o755)
        named = str(name)
    elif python.endswith("/"):
        name.mkdir()
        named = str(name)
    else:
        named = python
    project.environ["PIPECHAT_PYTHON"] = named
    done = project.call()
    assert (done.returncode, done.stdout) == (3, "")
    told = f"pipechat: PIPECHAT_PYTHON={named}: {what}. Name a Python 3.11 or newer.\n"
    assert done.stderr == told


@pytest.mark.parametrize("folder", ["/", ".", "/dev/fd"])
@pytest.mark.parametrize("arguments", [["ask"], ["ask", "hi"], ["history", "list"]])
def test_a_folder_as_stdin_is_one_line_and_exit_2(
    installed: Project, folder: str, arguments: list[str]
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" <{folder}', "sh", installed.script, *arguments],
        env=installed.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    line = "pipechat: unreadable_input: stdin is a folder. Give it a file or a pipe.\n"
    assert done.stderr == line


@pytest.mark.parametrize("redirection", ["<&-", "</dev/null", "<<.\ndata\n."])
def test_any_other_stdin_is_the_programs(installed: Project, redirection: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", installed.script, "ask"],
        env=installed.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == (1 if redirection == "<&-" else 7)  # the stand-in reads stdin


class OrdinaryProject(Project):
    """The project of a user who is not root.

    As root by becoming one, with root as the other; otherwise by an id(1) that says another number.
    """

    def __init__(self, folder: Path) -> None:
        python = folder / "python"
        python.write_text(ANYONES)
        python.chmod(0o755)
        super().__init__(folder / "a [new] project", python)
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=lambda *_: ["benching"])
        shutil.copy(ROOT / "pyproject.toml", self.root)
        self.to_own(self.root)
        if os.getuid() == 0:
            ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            self.become = ["setpriv", *ids]

    def to_own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def of_another(self, path: Path, mode: int) -> str:
        """Makes it another's, without leave to write for the user; whose it is then."""
        path.chmod(mode)
        if os.getuid() == 0:
            os.chown(path, 0, 0)
        else:
            program = self.root.parent / "id"
            program.write_text(f"#!/bin/sh\necho {NOBODY}\n")
            program.chmod(0o755)
            self.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        listed = subprocess.run(["ls", "-ld", path], capture_output=True, text=True, check=True)
        return listed.stdout.split()[2]

    def told(self) -> list[str]:
        """What is said of an installation that cannot be."""
        done = self.call(cwd=Path("/"))
        assert (done.returncode, done.stdout) == (3, "")
        return done.stderr.splitlines()


@pytest.fixture
def ordinary() -> Iterator[OrdinaryProject]:
    """Outside of pytest's folders, which are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="pipechat-"))
    folder.chmod(0o755)
    project = OrdinaryProject(folder)
    yield project
    for path in (project.root, project.root / ".venv", project.root / ".venv" / "lib"):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


COPY_IT = "copy the folder to one of your own."


@pytest.mark.parametrize("mode", [0o444, 0o000])
@pytest.mark.parametrize("name", [".venv.lock", ".venv.log", ".venv", ".venv/installed"])
def test_what_is_anothers_is_named_with_its_owner_before_anything_is_installed(
    ordinary: OrdinaryProject, name: str, mode: int
) -> None:
    path = ordinary.root / name
    if name == ".venv":
        path.mkdir()
        mode |= mode >> 2
    elif name == ".venv/installed":  # nor is its folder the user's: it would be removed
        path.parent.mkdir()
        path.write_text(f"{ordinary.root}\nrun\n0 0\n")
        shutil.copystat(ordinary.pyproject, path)
    else:
        path.touch()
    owner = ordinary.of_another(path, mode)
    if name == ".venv/installed":
        path = path.parent
        ordinary.of_another(path, 0o555)
    line = f"cannot write to {path}, which is {owner}'s: `sudo rm -rf` it, or {COPY_IT}"
    assert ordinary.told() == [f"pipechat: {line}"]


def test_a_folder_of_anothers_in_venv_is_no_lack_of_a_package(ordinary: OrdinaryProject) -> None:
    venv = ordinary.root / ".venv"
    (venv / "lib").mkdir(parents=True)
    ordinary.to_own(venv)
    owner = ordinary.of_another(venv / "lib", 0o555)
    *_, reason, line = ordinary.told()
    assert reason == "Error: [Errno 13] Permission denied: 'lib'"
    assert line.startswith(f"pipechat: cannot write to {venv}, which ")
    assert line.endswith(f" is {owner}'s: `sudo rm -rf` it, or {COPY_IT}")


@pytest.mark.parametrize("name", [".venv.lock", ".venv.log", ".venv"])
def test_what_is_the_users_own_and_protected_is_named_so(
    ordinary: OrdinaryProject, name: str
) -> None:
    path = ordinary.root / name
    if name == ".venv":
        path.mkdir()
    else:
        path.touch()
    path.chmod(0o555)
    ordinary.to_own(path)
    line = f"cannot write to {path}, though it is yours: `chmod u+w` it, or {COPY_IT}"
    assert ordinary.told() == [f"pipechat: {line}"]


@pytest.mark.parametrize("name", [".venv.lock", ".venv.log", ".venv", ".venv/installed"])
def test_what_is_no_file_or_no_folder_is_named_to_be_removed(
    ordinary: OrdinaryProject, name: str
) -> None:
    ordinary.become = []  # root is told so as well
    path = ordinary.root / name
    if name == ".venv":
        path.symlink_to("/no/such/folder")
    else:
        path.mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(ordinary.root, 0, 0)
    assert ordinary.told() == [f"pipechat: cannot write to {path}: remove it, or {COPY_IT}"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_pyproject_that_cannot_be_read_is_named(
    ordinary: OrdinaryProject, is_there: bool
) -> None:
    path = ordinary.pyproject
    if is_there:
        ordinary.of_another(path, 0o000)
    else:
        path.unlink()
    hint = "Make it readable, or get it anew."
    assert ordinary.told() == [f"pipechat: cannot read {path}, of which .venv is made. {hint}"]


def test_a_folder_that_cannot_be_written_is_named_whatever_is_in_it(
    ordinary: OrdinaryProject,
) -> None:
    root = ordinary.root
    lock = root / ".venv.lock"
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    hint = "Copy the folder to one of your own."
    line = f"pipechat: cannot write to {root}, where .venv is to be made. {hint}"
    ordinary.of_another(root, 0o555)
    assert ordinary.told() == [line]
    root.chmod(0o755)
    lock.touch()
    ordinary.to_own(lock)
    root.chmod(0o555)
    assert ordinary.told() == [line]
    python.symlink_to("/no/such/python")
    gone = f"pipechat: {python} leads to a Python that is gone, or not yours to run. {hint}"
    assert ordinary.told() == [gone]


@pytest.mark.storm
@pytest.mark.timeout(4 * INSTALL_LIMIT_S)
def test_a_fresh_copy_works_twice_at_once_and_after_a_change_and_a_break(tmp_path: Path) -> None:
    root = tmp_path / "copy"
    for name in ("pipechat", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, root)
    # The user's own modules, in the folder that the program is started from, are not the program's.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("typer", "openai", "types", "pipechat"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit('not yours')\n")
    script = root / "scripts" / "pipechat"
    environ = os.environ | {"PIPECHAT_HOME": str(tmp_path / "home")}
    environ.pop("PIPECHAT_PYTHON", None)

    def start(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [script, *arguments],
            env=environ,
            cwd=elsewhere,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def version() -> str:
        process = start("--version")
        stdout, stderr = process.communicate(timeout=INSTALL_LIMIT_S)
        assert (process.returncode, stdout.startswith("pipechat ")) == (0, True), stderr
        return stderr

    both = [start("ask", "--offline", "-q", "hello") for _ in range(2)]
    for process in both:
        stdout, stderr = process.communicate(timeout=INSTALL_LIMIT_S)
        assert process.returncode == 0, stderr
        assert stdout == "offline, with no earlier turn: you asked: hello\n"
        assert "pipechat: " in stderr
    assert version() == ""

    with (root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert "installing" in version()

    (root / ".venv" / "installed").unlink()
    (root / ".venv" / "bin" / "python").unlink()
    assert "installing" in version()
    assert version() == ""
