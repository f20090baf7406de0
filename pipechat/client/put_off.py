"""What the SDK and its HTTP library import and a plain question does not use: later, or never.

Owns which modules these are, and how they wait. Nothing is replaced by a likeness: a module that
waits is the real one as soon as anything of it is asked for, and a part that is left out is one
that its library can do without, and says so itself (`except ImportError`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType

# Parts of httpcore2 that it can be without: other event loops' backends (found by their own
# names where a loop runs), HTTP/2, which the SDK does not speak, SOCKS (see `serve_socks`).
_LEFT_OUT = frozenset(
    {
        "httpcore2._async.http2",
        "httpcore2._async.socks_proxy",
        "httpcore2._backends.anyio",
        "httpcore2._backends.trio",
        "httpcore2._sync.http2",
        "httpcore2._sync.socks_proxy",
    }
)
# Imported at the top of files whose functions alone use it.
_WAITING = frozenset({"asyncio", "truststore"})
_LONGEST_S = 10.0
_METADATA = "importlib.metadata"
# A version as the folder of an installed package can only mean it.
_INSTALLED = r"{name}-([0-9]+(?:\.[0-9]+)*)\.dist-info"


@contextmanager
def parts_put_off() -> Iterator[None]:
    """While it is entered, imports leave out and put off what is named above; what is imported
    already stays."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    if _METADATA not in sys.modules:
        sys.modules[_METADATA] = _quick_metadata()
    try:
        yield
    finally:
        if isinstance(sys.modules.get(_METADATA), _QuickMetadata):
            del sys.modules[_METADATA]
        sys.meta_path.remove(finder)
        _close_packages()


def serve_socks() -> None:
    """Put the SOCKS proxy of httpcore2 where its own import would have, had it not been left out.

    Raises:
        ImportError: the package that speaks SOCKS is not installed.
    """
    for way, name in (("_sync", "SOCKSProxy"), ("_async", "AsyncSOCKSProxy")):
        proxy = getattr(import_module(f"httpcore2.{way}.socks_proxy"), name)
        setattr(import_module(f"httpcore2.{way}"), name, proxy)
        setattr(import_module("httpcore2"), name, proxy)


class _Finder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in _LEFT_OUT:
            raise ModuleNotFoundError(name=fullname)
        if fullname not in _WAITING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = _WaitingLoader(spec)  # type: ignore[assignment] # it has what is called
        return spec


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
        path = names["__path__"]
        runs = False

        def serve(name: str) -> object:
            nonlocal runs
            # Not for ever: who imports a part of it may hold what this one waits for.
            has_lock = self._lock.acquire(timeout=_LONGEST_S)
            try:
                if has_lock and not runs:
                    runs = True
                    names["__path__"] = path
                    self._loader.exec_module(module)
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


def _close_packages() -> None:
    """Have every later import of a submodule run its package first, as Python would.

    Until here one submodule is wanted alone: `asyncio.coroutines`, by typing_extensions.
    """
    for name in _WAITING:
        names = vars(sys.modules.get(name, ModuleType(name)))
        waits = getattr(names.get("__getattr__"), "__module__", None) == __name__
        if waits and "__path__" in names:
            del names["__path__"]


class _QuickMetadata(ModuleType):
    """`importlib.metadata` until more of it is used than the version of a package."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real_metadata(), name)


def _real_metadata() -> ModuleType:
    if isinstance(sys.modules.get(_METADATA), _QuickMetadata):
        del sys.modules[_METADATA]
    return import_module(_METADATA)


def _quick_metadata() -> _QuickMetadata:
    module = _QuickMetadata(_METADATA)
    vars(module).update(version=_version_of, entry_points=_entry_points)
    return module


def _entry_points(**params: object) -> object:
    # pydantic looks for plugins of its own: to find none, it reads what every package offers.
    return () if params == {"group": "pydantic"} else _real_metadata().entry_points(**params)


def _version_of(distribution: str) -> str:
    """The version of an installed package: `importlib.metadata.version`, without its parsers."""
    folder = re.compile(_INSTALLED.format(name=re.escape(distribution)))
    for place in sys.path:
        try:
            found = [match[1] for entry in os.listdir(place) if (match := folder.fullmatch(entry))]
        except OSError:
            continue
        if len(found) == 1:
            return found[0]
        if found:
            break
    version: str = _real_metadata().version(distribution)
    return version
