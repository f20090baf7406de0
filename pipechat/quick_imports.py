"""Imports of what is compiled already, found and read with less work than Python's own finder.

Each module of a plain question costs Python some ten system calls and a hundred lines of its own
code to find and read: a tenth of the whole. Here a folder is listed once, and a module is one
look at its source and one read of what was compiled of it. What is taken is what Python would
take, by the same rules (PEP 302, 3147): the first folder of the path, a package before an
extension before a file, and compiled code only where its header has the source's time and size.
Whatever is not that plain (archives, hooks, namespace packages, no or old compiled code, folders
that moved since) is left to Python's finder, which comes next.
"""

import marshal
import os
import sys
from collections.abc import Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.util import MAGIC_NUMBER, cache_from_source
from types import CodeType, ModuleType

# Of a compiled file: four bytes of Python's version, four of flags (0: it is checked by time and
# size), four each of the source's time in seconds and of its size.
_PLAIN = MAGIC_NUMBER + bytes(4)
_HEADER_BYTES = 16
_LOW_BITS = 0xFFFF_FFFF
# More than almost every compiled module has: one read gets all of it.
_MOST_BYTES = 64 * 1024
# Modules that Python takes though there is no source of them.
_OTHER_MODULES = (*EXTENSION_SUFFIXES, *BYTECODE_SUFFIXES)
# Python's own: one for archives, one for folders.
_HOOKS = 2


def import_quickly() -> None:
    """From now on let Python's finder of modules by path be asked second.

    Where someone else has changed how a path is searched, or where compiled files are, nothing is
    done.
    """
    if PathFinder in sys.meta_path and len(sys.path_hooks) == _HOOKS and not sys.pycache_prefix:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _Finder())


class _Folder:
    """What is in a folder: the names of all, and the modules among them that need no source."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        found = [name for name in names if name.endswith(_OTHER_MODULES)]
        self.sourceless = frozenset(name.partition(".")[0] for name in found)


class _Finder:
    def __init__(self) -> None:
        self._folders: dict[str, _Folder | None] = {}
        # Where the compiled file of `m.py` is, beside it: `/__pycache__/m.cpython-311.pyc`.
        folder, name = os.path.split(cache_from_source("/folder/m.py"))
        self._compiled = folder.removeprefix("/folder")
        self._ending = name.removeprefix("m")

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002 — because a finder is called with it
    ) -> ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        for place in sys.path if path is None else path:
            if not isinstance(place, str):
                continue  # as Python does
            folder = self._folder(place)
            if folder is None:
                return None
            if name in folder.names:
                return self._package(fullname, f"{place}/{name}")
            if name in folder.sourceless:
                return None
            if f"{name}.py" in folder.names:
                return self._module(fullname, place, name, is_package=False)
        return None

    def invalidate_caches(self) -> None:
        """Called by `importlib.invalidate_caches`: what is in the folders may have changed."""
        self._folders.clear()

    def _package(self, fullname: str, place: str) -> ModuleSpec | None:
        folder = self._folder(place)
        if folder is None or "__init__.py" not in folder.names or "__init__" in folder.sourceless:
            return None
        spec = self._module(fullname, place, "__init__", is_package=True)
        if spec is not None:
            spec.submodule_search_locations = [place]
        return spec

    def _module(
        self, fullname: str, place: str, name: str, *, is_package: bool
    ) -> ModuleSpec | None:
        source = f"{place}/{name}.py"
        compiled = f"{place}{self._compiled}/{name}{self._ending}"
        try:
            code = _code_of(source, compiled)
        except (OSError, EOFError, ValueError, TypeError):
            return None  # Python's finder says what is wrong, or compiles it anew
        if code is None:
            return None
        loader = _Loader(fullname, source)
        loader.code = code
        spec = ModuleSpec(fullname, loader, origin=source, is_package=is_package)
        spec.has_location = True
        spec.cached = compiled
        return spec

    def _folder(self, place: str) -> _Folder | None:
        """What is in a folder of a path; None where that is not known: it may be an archive."""
        try:
            return self._folders[place]
        except KeyError:
            folder = self._folders[place] = _folder(place)
            return folder


class _Loader(SourceFileLoader):
    """Python's own, which need not read again what was read to find it."""

    code: CodeType | None = None

    def get_code(self, fullname: str) -> CodeType | None:
        code, self.code = self.code, None
        return code or super().get_code(fullname)


def _folder(place: str) -> _Folder | None:
    if not place.startswith("/"):
        return None
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        names = []
    except OSError:
        return None
    return _Folder(names)


def _code_of(source: str, compiled: str) -> CodeType | None:
    """The compiled code of a source, or None where it is of another one, or another Python's.

    Raises:
        OSError
        EOFError, ValueError, TypeError: the compiled file is damaged.
    """
    status = os.stat(source)
    file = os.open(compiled, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(file, _MOST_BYTES)
        while len(data) >= _MOST_BYTES and (more := os.read(file, len(data))):
            data += more
    finally:
        os.close(file)
    time = int(status.st_mtime) & _LOW_BITS
    size = status.st_size & _LOW_BITS
    if data[:_HEADER_BYTES] != _PLAIN + time.to_bytes(4, "little") + size.to_bytes(4, "little"):
        return None
    code = marshal.loads(memoryview(data)[_HEADER_BYTES:])
    # Of a folder that was moved, Python corrects the names that a traceback shows.
    return code if isinstance(code, CodeType) and code.co_filename == source else None
