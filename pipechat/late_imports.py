"""Modules that wait: imported by their names, and run when something of them is first asked for.

Nothing is replaced by a likeness: a module that waits is the real one as soon as anything of it is
asked for. Owns how they wait; which ones do is said by who imports what needs them.
"""

import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType

_LONGEST_S = 10.0


@contextmanager
def waiting(names: Set[str]) -> Iterator[None]:
    """While it is entered, a module of these names that is first imported waits."""
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def spec_that_waits(
    fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """For a finder of `sys.meta_path`: where a module is, so that it waits; None where the path
    has no such module."""
    spec = PathFinder.find_spec(fullname, path, target)
    if spec is not None and spec.loader is not None:
        spec.loader = _WaitingLoader(spec)  # type: ignore[assignment] # it has what is called
    return spec


def close_package(name: str) -> None:
    """Have every later import of a submodule of this package run the package first, as Python
    would, where it waits."""
    names = vars(sys.modules.get(name, ModuleType(name)))
    waits = getattr(names.get("__getattr__"), "__module__", None) == __name__
    if waits and "__path__" in names:
        del names["__path__"]


class _Finder:
    def __init__(self, names: Set[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_that_waits(fullname, path, target) if fullname in self._names else None


class _WaitingLoader:
    """Runs a module's code when something of it is first asked for (PEP 562). The standard
    library's LazyLoader does so at the second `import` of it already."""

    def __init__(self, spec: ModuleSpec) -> None:
        assert spec.loader is not None
        self._loader = spec.loader
        self._lock = RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        names = vars(module)
        path = names.get("__path__")
        runs = False

        def serve(name: str) -> object:
            nonlocal runs
            # Not for ever: who imports a part of it may hold what this one waits for.
            has_lock = self._lock.acquire(timeout=_LONGEST_S)
            try:
                if has_lock and not runs:
                    runs = True
                    before = dict(names)
                    if path is not None:
                        names["__path__"] = path
                    try:
                        self._loader.exec_module(module)
                    except BaseException:  # an interrupt, or no descriptor to read it by
                        # As a failed import: who asks again has it run again, from its beginning.
                        names.clear()
                        names.update(before)
                        runs = False
                        raise
                    # Only now: other threads that ask meanwhile wait here.
                    if names["__getattr__"] is serve:  # and not one of its own
                        del names["__getattr__"]
            finally:
                if has_lock:
                    self._lock.release()
            if name in names or names.get("__getattr__") is not serve:
                return getattr(module, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        names["__getattr__"] = serve
