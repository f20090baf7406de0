"""Modules that wait: imported by their names, and run when something of them is first asked for.

Nothing is replaced by a likeness: a module that waits is the real one as soon as anything of it is
asked for. Owns how they wait; which ones do is said by who imports what needs them.
"""

import sys
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from threading import RLock, get_ident
from types import ModuleType

_LONGEST_S = 10.0
# What these cannot be without, and not every Python was built with: there they fail as they are
# imported, for which their importers are ready, and not when they are used.
_NEEDED = {"bz2": "_bz2", "lzma": "_lzma"}
# An entry of a package's path that is no folder: it is looked up where Python keeps the finders of
# such entries.
_IMPORTED = f"<{__name__}>"


@contextmanager
def waiting(names: Set[str], left_out: Set[str] = frozenset()) -> Iterator[None]:
    """While it is entered, a module of these names that is first imported waits, and those of
    `left_out` are as if they were not installed."""
    finder = _Finder(names, left_out)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def close_package(name: str) -> None:
    """Have every later import of a submodule of this package run the package first, as Python
    would, where it waits."""
    names = vars(sys.modules.get(name, ModuleType(name)))
    waits = getattr(names.get("__getattr__"), "__module__", None) == __name__
    if waits and "__path__" in names:
        del names["__path__"]


class _Finder:
    def __init__(self, names: Set[str], left_out: Set[str]) -> None:
        self._names = names
        self._left_out = left_out

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._left_out:
            raise ModuleNotFoundError(name=fullname)
        return _spec_that_waits(fullname, path, target) if fullname in self._names else None


def _spec_that_waits(
    fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """Where a module is, so that it waits; None where the path has no such module, or it could
    not be run."""
    if fullname in _NEEDED and find_spec(_NEEDED[fullname]) is None:
        return None
    spec = PathFinder.find_spec(fullname, path, target)
    if spec is not None and spec.loader is not None:
        spec.loader = _WaitingLoader(spec)  # type: ignore[assignment]  # has a loader's methods
    return spec


class _WaitingLoader:
    """Runs a module's code when something of it is first asked for (PEP 562). The standard
    library's LazyLoader does so at the second `import` of it already."""

    def __init__(self, spec: ModuleSpec) -> None:
        assert spec.loader is not None
        self._loader = spec.loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Who asks a module for its source or its files asks its loader.
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        wait(module, self._loader.exec_module)


def wait(
    module: ModuleType,
    run: Callable[[ModuleType], None],
    first: Callable[[str], tuple[object] | None] = lambda _name: None,
) -> None:
    """Have a module that was just made run when something of it is first asked for, unless
    `first` has that: then in a tuple."""
    vars(module)["__getattr__"] = _Waiting(module, run, first).serve


class _Waiting:
    def __init__(
        self,
        module: ModuleType,
        run: Callable[[ModuleType], None],
        first: Callable[[str], tuple[object] | None],
    ) -> None:
        self._module = module
        self._path = vars(module).get("__path__")
        self._run = run
        self._first = first
        self._lock = RLock()
        self._runs = False
        self._runner: int | None = None

    def serve(self, name: str) -> object:
        # Also while another thread runs it, which may wait for what this one imports; but what runs
        # finds what it would find in a plain run.
        if self._runner != get_ident() and (found := self._first(name)):
            return found[0]
        # Not for ever: who imports a part of it may hold what this one waits for.
        has_lock = self._lock.acquire(timeout=_LONGEST_S)
        try:
            if has_lock and not self._runs:
                self._run_it()
        finally:
            if has_lock:
                self._lock.release()
        names = vars(self._module)
        if name == "__path__" and self._path is not None:
            sys.path_importer_cache[_IMPORTED] = _ImportedParts()
            return [_IMPORTED, *self._path]
        if name in names or names.get("__getattr__") != self.serve:
            return getattr(self._module, name)
        raise AttributeError(f"module {self._module.__name__!r} has no attribute {name!r}")

    def _run_it(self) -> None:
        names = vars(self._module)
        before = dict(names)
        if self._path is not None:
            names["__path__"] = self._path
        self._runs = True
        self._runner = get_ident()
        kind = type(self._module)
        if self._path is None:  # as above: of a package, a part of it may ask
            self._module.__class__ = _half_run(self._lock)
        try:
            self._run(self._module)
        except BaseException:  # an interrupt, or no descriptor to read it by
            # As a failed import: who asks again has it run again, from its beginning.
            names.clear()
            names.update(before)
            self._runs = False
            raise
        finally:
            self._runner = None
            self._module.__class__ = kind
        # Only now: other threads that ask meanwhile wait here.
        if names["__getattr__"] == self.serve:  # and not one of its own
            del names["__getattr__"]


def _half_run(lock: RLock) -> type[ModuleType]:
    """What a module is while it runs: other threads that ask it for anything wait for all of it,
    as an import has them wait."""

    class HalfRun(ModuleType):
        def __getattribute__(self, name: str) -> object:
            # Python's own names are there, and an import that asks for them waits for no other.
            if not name.startswith("__") and lock.acquire(timeout=_LONGEST_S):
                lock.release()
            # And not `super()`'s: it may be of that kind no more.
            return ModuleType.__getattribute__(self, name)

    return HalfRun


class _ImportedParts:
    """Finds the parts of a package that its run has imported.

    Who imports a part of a package that waits has it run by asking for its path. Python has looked
    before that whether the part is there, and does not look again: it would be imported twice, and
    each of its classes be two.
    """

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        part = sys.modules.get(fullname)
        # With a target it is to be read again.
        if part is None or target is not None:
            return None
        return ModuleSpec(fullname, _Imported(part))  # type: ignore[arg-type]  # has a loader's methods


class _Imported:
    """Loads a module by leaving it as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 — as a loader's is
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
