"""What is imported quickly is what Python would import; what is not that plain is left to it."""

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipechat import quick_imports

ROOT = Path(__file__).resolve().parent.parent
CHECKED = py_compile.PycInvalidationMode.CHECKED_HASH
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


def compiled(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def write(
    folder: Path,
    name: str,
    text: str = "x = 1\n",
    by: py_compile.PycInvalidationMode = py_compile.PycInvalidationMode.TIMESTAMP,
) -> Path:
    """A module, and what is compiled of it beside it."""
    source = folder / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    py_compile.compile(str(source), doraise=True, invalidation_mode=by)
    return source


def found(name: str, path: list[str], parent: str = "") -> tuple[ModuleSpec | None, Any]:
    """What the quick finder finds, and what Python's does."""
    importlib.invalidate_caches()
    fullname = f"{parent}.{name}" if parent else name
    quick = quick_imports._Finder().find_spec(fullname, path)
    return quick, PathFinder.find_spec(fullname, path)


def assert_same(quick: ModuleSpec, plain: ModuleSpec) -> None:
    assert isinstance(quick.loader, SourceFileLoader)
    assert isinstance(plain.loader, SourceFileLoader)
    for field in ("name", "origin", "cached", "submodule_search_locations", "has_location"):
        assert getattr(quick, field) == getattr(plain, field), field
    assert quick.parent == plain.parent
    assert quick.loader.path == plain.loader.path
    code = plain.loader.get_code(plain.name)
    # The first time it is what was read to find it, and after that what is there then.
    assert quick.loader.get_code(quick.name) == code == quick.loader.get_code(quick.name)


def test_every_module_of_a_question_is_found_where_python_finds_it() -> None:
    script = """
    import json, os, sys
    from importlib.machinery import PathFinder, SourceFileLoader
    from pipechat.quick_imports import _Finder, import_quickly
    import_quickly()
    sys.argv = ["pipechat", "--version"]
    import pipechat.main, pipechat.commands.ask, pipechat.client.chat_client
    from pipechat.client.lazy_openai import load_openai
    load_openai({})
    finder = next(finder for finder in sys.meta_path if type(finder) is _Finder)
    wrong, quickly = [], 0
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.name != name or not isinstance(spec.loader, SourceFileLoader):
            continue
        above = sys.modules.get(name.rpartition(".")[0])
        path = above.__path__ if above else None
        quick, plain = finder.find_spec(name, path), PathFinder.find_spec(name, path)
        if quick is None:
            continue
        quickly += 1
        for field in ("origin", "cached", "submodule_search_locations", "has_location"):
            if getattr(quick, field) != getattr(plain, field):
                wrong.append([name, field])
        if quick.loader.get_code(name) != plain.loader.get_code(name):
            wrong.append([name, "code"])
    print(json.dumps([quickly, wrong]))
    """
    # Compiled beforehand, as what is installed is.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True)
    quickly, wrong = json.loads(done.stdout)
    assert quickly > 200
    assert wrong == []


LAYOUTS: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "module": (lambda at: write(at, "m.py"), True),
    "large module": (lambda at: write(at, "m.py", f"x = {'y' * 400_000!r}\n"), True),
    "a byte less than a read": (lambda at: sized(at, -1), True),
    "of one read": (lambda at: sized(at, 0), True),
    "a byte more than a read": (lambda at: sized(at, 1), True),
    "of two reads": (lambda at: sized(at, quick_imports._MOST_BYTES), True),
    "empty module": (lambda at: write(at, "m.py", ""), True),
    "package": (lambda at: write(at, "m/__init__.py"), True),
    "package before module": (lambda at: (write(at, "m.py"), write(at, "m/__init__.py")), True),
    "module beside a folder": (lambda at: (write(at, "m.py"), folder(at / "m")), False),
    "namespace": (lambda at: (at / "m").mkdir(), False),
    "file of that name": (lambda at: (at / "m").write_text(""), False),
    "module beside a file": (lambda at: (write(at, "m.py"), (at / "m").write_text("")), False),
    "extension before module": (
        lambda at: (write(at, "m.py"), (at / f"m{EXTENSION_SUFFIXES[0]}").write_text("")),
        False,
    ),
    "plain extension": (lambda at: (write(at, "m.py"), (at / "m.so").write_text("")), False),
    "extension as package": (
        lambda at: (write(at, "m/__init__.py"), (at / "m" / "__init__.abi3.so").write_text("")),
        False,
    ),
    "not compiled": (lambda at: (at / "m.py").write_text("x = 1\n"), False),
    "compiled of another time": (lambda at: os.utime(write(at, "m.py"), (1, 1)), False),
    "compiled of another size": (
        lambda at: resized(write(at, "m.py")),
        False,
    ),
    "of another Python": (lambda at: damage(write(at, "m.py"), b"\0\0", 0), False),
    "flags to come": (lambda at: damage(write(at, "m.py"), b"\4", 4), False),
    "half of it": (
        lambda at: os.truncate(compiled(write(at, "m.py", "x = [1]\n" * 99)), 99),
        False,
    ),
    "nothing of it": (lambda at: os.truncate(compiled(write(at, "m.py")), 0), False),
    "no code in it": (lambda at: damage(write(at, "m.py"), b"N", 16), False),
    "checked by hash": (lambda at: write(at, "m.py", by=CHECKED), False),
    "never checked": (lambda at: write(at, "m.py", by=UNCHECKED), False),
    "a folder for it": (lambda at: replaced(write(at, "m.py"), Path.mkdir), False),
    "a dead link": (
        lambda at: replaced(write(at, "m.py"), lambda path: path.symlink_to("nowhere")),
        False,
    ),
    "compiled alone": (lambda at: write(at, "m.py").unlink(), False),
    "moved": (lambda at: (write(at, "old/__init__.py"), (at / "old").rename(at / "m")), False),
    "nothing": (lambda at: at.mkdir(exist_ok=True), False),
}


def folder(place: Path) -> Path:
    place.mkdir()
    return place


def sized(at: Path, more: int) -> None:
    """A module whose compiled file is by so much larger than one read."""
    wanted = quick_imports._MOST_BYTES + more
    missing = wanted - compiled(write(at, "m.py", f"x = {'y' * 60_000!r}\n")).stat().st_size
    source = write(at, "m.py", f"x = {'y' * (60_000 + missing)!r}\n")
    assert compiled(source).stat().st_size == wanted


def resized(source: Path) -> None:
    time = source.stat().st_mtime
    source.write_text("x = 11\n")
    os.utime(source, (time, time))


def damage(source: Path, data: bytes, at: int) -> None:
    with compiled(source).open("r+b") as file:
        file.seek(at)
        file.write(data)


def replaced(source: Path, make: Callable[[Path], object]) -> None:
    compiled(source).unlink()
    make(compiled(source))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_plain_is_found_as_python_does_and_what_is_not_is_left_to_it(
    tmp_path: Path, layout: str
) -> None:
    make, quickly = LAYOUTS[layout]
    make(tmp_path)
    for parent in ("", "above") if quickly else ("",):
        quick, plain = found("m", [str(tmp_path)], parent)
        assert (quick is not None) == quickly
        if quick is not None:
            assert_same(quick, plain)


@pytest.mark.parametrize(
    "first", ["zip", "no zip", "unreadable", "relative", "", "empty", "file", "compiled alone"]
)
def test_the_first_folder_of_a_path_wins_whatever_it_is(
    tmp_path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "last", "m.py", "x = 'last'\n")
    place = tmp_path / "first"
    if first == "zip":
        with ZipFile(place, "w") as archive:
            archive.writestr("m.py", "x = 'first'\n")
    elif first == "file":
        place.write_text("")
    elif first == "empty":
        place.mkdir()
    elif first == "unreadable":
        write(place, "m.py", "x = 'first'\n")
        monkeypatch.setattr(os, "listdir", refusing(os.listdir, str(place)))
    elif first == "compiled alone":
        source = write(place, "m.py", "x = 'first'\n")
        compiled(source).rename(place / "m.pyc")
        source.unlink()
    elif first in ("relative", ""):
        write(tmp_path if not first else place, "m.py", "x = 'first'\n")
    path = [{"relative": "first", "": ""}.get(first, str(place)), str(tmp_path / "last")]
    quick, plain = found("m", path)
    if first in ("no zip", "empty"):
        assert quick is not None
        assert_same(quick, plain)
    else:
        assert quick is None


@pytest.mark.parametrize("entry", [None, b"/lib", ["/lib"], Path("/lib")], ids=repr)
def test_what_is_no_string_in_a_path_is_passed_over_as_python_does(
    tmp_path: Path, entry: Any
) -> None:
    write(tmp_path, "m.py")
    quick, plain = found("m", [entry, str(tmp_path)])
    assert quick is not None
    assert_same(quick, plain)


def test_a_module_that_came_since_is_found_once_the_caches_are_invalidated(tmp_path: Path) -> None:
    for folder in ("first", "last"):
        write(tmp_path / folder, "other.py")
    write(tmp_path / "last", "m.py")
    path, finder = [str(tmp_path / folder) for folder in ("first", "last")], quick_imports._Finder()
    before = finder.find_spec("m", path)
    sys.meta_path.append(finder)
    try:
        came = write(tmp_path / "first", "m.py")
        importlib.invalidate_caches()
    finally:
        sys.meta_path.remove(finder)
    since = finder.find_spec("m", path)
    assert before is not None
    assert before.origin == str(tmp_path / "last" / "m.py")
    assert since is not None
    assert since.origin == str(came)


def refusing(real: Callable[[str], list[str]], place: str) -> Callable[[str], list[str]]:
    def listdir(folder: str) -> list[str]:
        if folder == place:
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    return listdir


@given(
    here=st.sets(st.sampled_from(["m.py", "m/__init__.py", "m.so", "m/x.py", "n.py"])),
    there=st.sets(st.sampled_from(["m.py", "m/__init__.py", "m.abi3.so", "m/x.py", "m.txt"])),
    stale=st.booleans(),
)
@settings(max_examples=60)
def test_what_is_found_in_two_folders_is_never_another_than_python_finds(
    tmp_path_factory: pytest.TempPathFactory, here: set[str], there: set[str], stale: bool
) -> None:
    at = tmp_path_factory.mktemp("path")
    for folder, names in (("here", here), ("there", there)):
        (at / folder).mkdir()
        for name in sorted(names):
            if name.endswith(".py"):
                source = write(at / folder, name)
                if stale:
                    os.utime(source, (1, 1))
            else:
                (at / folder / name).write_text("")
    quick, plain = found("m", [str(at / "here"), str(at / "there")])
    if quick is not None:
        assert_same(quick, plain)


def test_a_folder_is_listed_once_and_of_a_module_only_what_is_compiled_is_read(
    tmp_path: Path,
) -> None:
    names = [f"m{number}" for number in range(20)]
    for name in ("__init__", *names):
        write(tmp_path / "package", f"{name}.py", f"{name} = 1\n")
    script = f"""
    import sys
    from pipechat.quick_imports import import_quickly
    import_quickly()
    sys.path.insert(0, {str(tmp_path)!r})
    seen = []
    def watch(event, given):
        if event in ("open", "os.listdir", "os.scandir") and {str(tmp_path)!r} in str(given[0]):
            seen.append((event, given[0]))
    sys.addaudithook(watch)
    {"; ".join(f"import package.{name}" for name in names)}
    opened = [place for event, place in seen if event == "open"]
    listed = [place for event, place in seen if event != "open"]
    assert len(opened) == len(set(opened)) == 21, opened
    assert all(place.endswith(".pyc") for place in opened), opened
    assert len(listed) == len(set(listed)) == 2, listed
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True)


USED = """
import importlib, importlib.resources, inspect, linecache, os, pickle, sys, traceback
from pipechat.quick_imports import import_quickly
import_quickly()
sys.path.insert(0, sys.argv[1])
import package
import package.inner as inner
assert type(inner.__loader__).__module__ == "pipechat.quick_imports"
assert inner.__file__ == inner.__spec__.origin and inner.__cached__ == inner.__spec__.cached
assert inner.__package__ == "package" and package.__path__ == [sys.argv[1] + "/package"]
assert "def fail" in inspect.getsource(inner.fail)
assert importlib.resources.files("package").joinpath("inner.py").read_text().startswith("class")
assert pickle.loads(pickle.dumps(inner.Thing)) is inner.Thing
try:
    inner.fail()
except ZeroDivisionError as error:
    assert "return 1 / 0" in traceback.format_exc()
try:
    import package.broken
except NameError:
    # Python's own frames are cut out of the way an import went wrong.
    assert "importlib" not in traceback.format_exc()
assert "package.broken" not in sys.modules
with open(inner.__file__, "a") as file:
    file.write("more = 7\\n")
assert importlib.reload(inner).more == 7
assert sys.modules["package.inner"] is inner
with open(sys.argv[1] + "/package/late.py", "w") as file:
    file.write("x = 1\\n")
importlib.invalidate_caches()
import package.late
"""


def test_what_was_imported_quickly_is_used_as_any_module(tmp_path: Path) -> None:
    write(tmp_path, "package/__init__.py")
    write(tmp_path, "package/inner.py", "class Thing: ...\n\n\ndef fail():\n    return 1 / 0\n")
    write(tmp_path, "package/broken.py", "nothing_of_that_name\n")
    subprocess.run([sys.executable, "-c", USED, str(tmp_path)], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "before",
    [
        "sys.path_hooks.insert(0, lambda place: (_ for _ in ()).throw(ImportError))",
        "sys.path_hooks.pop()",
        "sys.pycache_prefix = '/nowhere'",
        "sys.meta_path.remove(__import__('importlib.machinery').machinery.PathFinder)",
    ],
)
def test_where_imports_go_another_way_nothing_is_put_before_them(before: str) -> None:
    script = f"import sys\nfrom pipechat.quick_imports import import_quickly\n{before}\n"
    script += "hooks = list(sys.meta_path)\nimport_quickly()\nassert sys.meta_path == hooks\n"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_finders_of_others_are_asked_before_and_after_as_without_it() -> None:
    script = """
    import sys
    from importlib.machinery import PathFinder
    from pipechat.quick_imports import import_quickly
    class Other:
        @staticmethod
        def find_spec(*asked):
            return None
    sys.meta_path.insert(0, Other)
    sys.meta_path.append(Other)
    hooks = list(sys.meta_path)
    import_quickly()
    ours = sys.meta_path.pop(sys.meta_path.index(PathFinder) - 1)
    assert type(ours).__module__ == "pipechat.quick_imports" and sys.meta_path == hooks
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True)
