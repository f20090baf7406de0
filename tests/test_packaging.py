"""What is handed out: a source distribution and a wheel that build the same bytes wherever and
whenever, and a wheel that runs where nothing else of ours is."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from pipechat import __version__

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("pyproject.toml", "README.md", ".gitignore", "pipechat", "scripts", "tests")
NAME = f"pipechat-{__version__}"


def build(folder: Path, umask: int) -> dict[str, bytes]:
    """The files that a build makes of a copy of the sources in `folder`, by their names."""
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / part, ignore=ignored, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, folder / part)
    (folder / "scripts" / "pipechat").chmod(0o755)
    # Both without isolation: what builds is installed, and the network is not needed.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environ, umask=umask, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_bytes() for path in (folder / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "here"
    build(folder, 0o022)
    return folder / "dist"


def test_both_build_to_the_same_bytes_in_any_folder_at_any_time(
    built: Path, tmp_path: Path
) -> None:
    again = build(tmp_path / "elsewhere", 0o027)
    assert set(again) == {f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"}
    assert again == {path.name: path.read_bytes() for path in built.iterdir()}


def test_the_wheel_holds_the_program_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"pipechat", f"{NAME}.dist-info", f"{NAME}.data"}
    data = [name for name in names if name.startswith(f"{NAME}.data/")]
    assert data == [f"{NAME}.data/data/share/man/man1/pipechat.1"]


def test_the_source_distribution_holds_what_its_own_tests_need(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"README.md", "scripts/test", "tests/conftest.py", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith((".venv", ".bench", ".git/"))]


def _run(command: list[str | Path], **environ: str) -> str:
    bare = {"PATH": os.defpath, "HOME": "/nonexistent", **environ}
    done = subprocess.run(command, cwd="/", env=bare, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_wheel_runs_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    # The dependencies come from the tests' own environment; all of ours from the wheel.
    venv.create(tmp_path / "v", with_pip=False)
    wheel = str(built / f"{NAME}-py3-none-any.whl")
    install = ["-m", "pip", "--python", str(tmp_path / "v"), "install", "--no-index", "--no-deps"]
    _run([sys.executable, *install, "-q", wheel])
    packages = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
    environ = {"PYTHONPATH": packages, "PIPECHAT_HOME": str(tmp_path / "home")}
    program = tmp_path / "v" / "bin" / "pipechat"
    assert _run([program, "--version"], **environ) == f"pipechat {__version__}\n"
    answer = _run([program, "ask", "-q", "--offline", "--session", "s", "hi"], **environ)
    assert answer == "offline, with no earlier turn: you asked: hi\n"
    where = "import pipechat; print(pipechat.__file__)"
    python = tmp_path / "v" / "bin" / "python"
    assert _run([python, "-c", where], **environ).startswith(str(tmp_path / "v"))


@pytest.mark.storm
def test_the_wheel_installs_with_its_dependencies_into_an_empty_environment(
    built: Path, tmp_path: Path
) -> None:
    # The one test that asks a package index, the one that installed the tests' environment.
    venv.create(tmp_path / "v", with_pip=True)
    wheel = str(built / f"{NAME}-py3-none-any.whl")
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    python = tmp_path / "v" / "bin" / "python"
    _run([python, "-m", "pip", "install", "-q", f"{wheel}[all]"], **pip)
    program = tmp_path / "v" / "bin" / "pipechat"
    environ = {"PIPECHAT_HOME": str(tmp_path / "home")}
    assert (
        _run([program, "ask", "-q", "--offline", "hi"], **environ)
        == "offline, with no earlier turn: you asked: hi\n"
    )
