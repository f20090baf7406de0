"""The manual and the README's tables are made of the option table, and are kept as it is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipechat.errors import ExitCode
from pipechat.settings.table import OPTIONS
from tests.test_help import COMMANDS

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "scripts" / "manual" / "pipechat.1"


def run_manual(*arguments: str, root: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, root / "scripts" / "manual", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "scripts" / "manual", root / "scripts" / "manual")
    shutil.copy(ROOT / "README.md", root)
    return root


def test_the_readme_and_the_page_are_as_the_option_table_has_them() -> None:
    done = run_manual("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run_manual().stdout == KEPT.read_text()


def test_what_differs_is_named_and_can_be_written(copy: Path) -> None:
    right = (copy / "README.md").read_text()
    (copy / "README.md").write_text(re.sub(r"\| `--lossy`.*\n", "", right))
    (copy / "scripts/manual/pipechat.1").unlink()
    done = run_manual("--check", root=copy)
    assert done.returncode == 1
    for name in ("README.md", "scripts/manual/pipechat.1"):
        assert f"{name}: not as scripts/man --readme has it" in done.stderr
    assert run_manual("--readme", root=copy).returncode == 0
    assert (copy / "README.md").read_text() == right
    assert run_manual("--check", root=copy).returncode == 0


def test_a_readme_without_the_place_for_a_table_is_told_so(copy: Path) -> None:
    (copy / "README.md").write_text("nothing\n")
    done = run_manual("--readme", root=copy)
    assert done.returncode == 2
    assert "there is no <!-- options of ask" in done.stderr


def test_the_page_goes_to_a_file(tmp_path: Path) -> None:
    done = run_manual("-o", str(tmp_path / "page"))
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "page").read_text() == KEPT.read_text()


@pytest.mark.parametrize("name", ["folder", "folder/file/page", "missing/page", "/dev/full"])
def test_a_file_that_cannot_be_written_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    done = run_manual("-o", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (ExitCode.OUTPUT, "")
    assert done.stderr.startswith(f"scripts/man: {tmp_path / name}: ")
    assert done.stderr.endswith(". Name a file that you may write to with -o.\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_a_stdout_that_takes_nothing_is_one_line(redirection: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "manual")]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.OUTPUT
    assert done.stderr.startswith("scripts/man: stdout: ")
    assert done.stderr.count("\n") == 1


def rendered() -> str:
    """The page as a person reads it, without bold and italics."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-c", "-P-b", "-P-u", KEPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return re.sub(r".\x08", "", done.stdout)


def test_groff_has_nothing_to_say_of_the_page_and_shows_all_of_it() -> None:
    shown = "".join(rendered().split())
    for option in OPTIONS:
        assert all(flag in shown for flag in option.flags)
        assert "".join(option.help.replace("`", "").split()) in shown
        assert option.variable in shown
    for path, command in COMMANDS.items():
        assert f"pipechat{path}".replace(" ", "") in shown
        for param in command.params:
            assert "".join((param.help or "").replace("`", "").split()) in shown
    for code in ExitCode:
        assert code.name.lower().replace("_", "") in shown


def test_the_page_has_the_sections_that_man_pages_have() -> None:
    headings = re.findall(r"^\.SH (.*)$", KEPT.read_text(), re.MULTILINE)
    assert headings == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "SETTINGS", "ENVIRONMENT",
        "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO",
    ]  # fmt: skip


def test_the_notes_are_of_options_that_there_are() -> None:
    code = (
        "import sys; sys.path[0] = sys.argv[1]; from notes import NOTES; print(*NOTES, sep='\\n')"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code, ROOT / "scripts" / "manual"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    options = {name for name in listed if " " not in name}
    assert options <= {option.name for option in OPTIONS}
    arguments = {name.rpartition(" ")[0] for name in listed if " " in name}
    assert arguments <= set(COMMANDS)
    readme = (ROOT / "README.md").read_text()
    assert "among the words is where stdin stands" in readme  # one of an argument


@pytest.mark.parametrize("script", ["man"])
def test_the_script_is_a_way_to_it(script: str) -> None:
    text = (ROOT / "scripts" / script).read_text()
    assert text.startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", ROOT / "scripts" / script], check=False).returncode == 0
