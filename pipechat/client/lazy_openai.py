"""The way in to the openai SDK: the SDK itself, without the models nobody asked for.

Owns how `openai` is imported, and nothing else; it must not know what is asked of the SDK.

Most of a plain `import openai` goes to the package files under `openai.types`, which import
several hundred pydantic models only to offer them under a second name. Here such a file is read
for what it offers, and each name is imported when it is first asked for (PEP 562). Every object
served is the SDK's own, from the SDK's own submodule; only the moment of its import moves.

Rules:
- Only a file that does nothing but re-export is put off. Any other runs as it is written.
- Should the quick way fail, all of it is forgotten and the SDK is imported the plain way.
- `PIPECHAT_PLAIN_IMPORT=1` asks for the plain way.
- The lazy imports of Python 3.15 (PEP 810) are not used: the SDK's files do not ask for them, and
  `sys.set_lazy_imports` with its filter is a switch of the whole process. This works there too.
"""

import __future__

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType, SimpleNamespace
from typing import NamedTuple

from pipechat.client.certificates import check_tls_files
from pipechat.client.put_off import leave_processor_unknown, parts_put_off

# `openai.lib` offers two schema functions and, beside them, the parsers of all chat models.
# `openai.providers` is left out: its names are also those of its submodules.
_PUT_OFF = ("openai.types", "openai.lib")
# The SDK's client over aiohttp, which a plain `import openai` brings where that is installed.
AIOHTTP_CLIENT = "openai._vendor.httpx_aiohttp"
# What a failed quick import may have left half made.
_IMPORTED_ANEW = frozenset({"openai", "httpx2", "httpcore2"})


def load_openai(environ: Mapping[str, str]) -> ModuleType:
    """Import the SDK, quickly where its files look as expected, otherwise the plain way.

    Args:
        environ: the environment; `PIPECHAT_PLAIN_IMPORT=1` in it asks for the plain import.

    Returns:
        The module `openai`; as it is, where it was imported before.

    Raises:
        SetupError: as `check_tls_files`.
        ImportError: the SDK is not installed, or cannot be imported the plain way either.
    """
    check_tls_files(environ)
    openai = _import_openai(environ)
    _silence()
    return openai


def _silence() -> None:
    """Let the SDK log nothing, whatever OPENAI_LOG says: stderr is ours, and what it would tell
    there are questions and answers. What stands below it logs by itself at no level that shows."""
    import logging  # which the SDK has brought

    log = logging.getLogger("openai")
    log.setLevel(logging.CRITICAL + 1)
    log.propagate = False


def _import_openai(environ: Mapping[str, str]) -> ModuleType:
    if "openai" in sys.modules or environ.get("PIPECHAT_PLAIN_IMPORT") == "1":
        return import_module("openai")
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        with parts_put_off():
            openai = import_module("openai")
            import_module("httpcore2")  # which it brings as soon as a client is made
            leave_processor_unknown()
            return openai
    except Exception:
        # Whatever it was, it may be ours: let the plain import decide, from a clean start.
        _forget_openai()
    finally:
        # Packages put off by now resolve their names without it, and one that is first imported
        # later can as well be imported plainly: no hook outlives the import.
        sys.meta_path.remove(finder)
    return import_module("openai")


def _forget_openai() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in _IMPORTED_ANEW]:
        del sys.modules[name]


class _Finder:
    """Gives the packages of `_PUT_OFF` a loader of ours; finds nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == AIOHTTP_CLIENT:
            # An optional extra of the SDK's, which costs more than the SDK itself: it is asked for
            # by its own name where it is used.
            raise ModuleNotFoundError(name=fullname)
        if not any(fullname == root or fullname.startswith(f"{root}.") for root in _PUT_OFF):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.submodule_search_locations is None:
            return None
        if type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _PackageLoader(spec.loader.name, spec.loader.path)
        return spec


class _PackageLoader(SourceFileLoader):
    """Loads a package that only re-exports without importing what it re-exports."""

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        names = None if code is None else _read_names(code)
        if names is None or self._has_submodule_among(names):
            super().exec_module(module)
        else:
            _serve_on_first_use(module, names)

    def _has_submodule_among(self, names: Mapping[str, object]) -> bool:
        # Importing a submodule binds its name in the package, over the re-export of that name.
        folder = os.listdir(os.path.dirname(self.path))
        return any(entry.partition(".")[0] in names for entry in folder)


class _Export(NamedTuple):
    """`from .submodule import name`: noted, not done."""

    submodule: str
    name: str


class _NotAReexportError(Exception):
    pass


def _read_names(code: CodeType) -> dict[str, object] | None:
    """The names a package file would leave behind, or None where it does more than re-export.

    The compiled file is run where nothing exists but an import that takes notes. It is already
    compiled, so this costs microseconds where parsing the source costs milliseconds, and it
    reads the statements as Python does; a file that does more trips over what is missing, or
    leaves behind something that is no note.
    """
    names: dict[str, object] = {"__builtins__": {"__import__": _note_import}}
    try:
        exec(code, names)
    except Exception:
        return None
    del names["__builtins__"]
    for name, value in names.items():
        expected = isinstance(value, _Export) or value is getattr(__future__, name, None)
        if not expected and name not in ("__doc__", "__all__"):
            return None
    return names


def _note_import(
    name: str,
    globals: object = None,  # noqa: ARG001 — because `__import__` is called with it
    locals: object = None,  # noqa: ARG001 — because `__import__` is called with it
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> object:
    """Stands in for `__import__`: notes `from .submodule import name`, refuses all others."""
    if name == "__future__":
        return __future__
    if level != 1 or not name or not fromlist or "*" in fromlist:
        raise _NotAReexportError(name)
    return SimpleNamespace(**{exported: _Export(name, exported) for exported in fromlist})


def _serve_on_first_use(module: ModuleType, names: Mapping[str, object]) -> None:
    package = module.__name__
    exports = {name: note for name, note in names.items() if isinstance(note, _Export)}
    # A plain import also leaves the submodules themselves in the package: `openai.types.batch`.
    submodules = {export.submodule.partition(".")[0] for export in exports.values()}

    def serve(name: str) -> object:
        if name in exports:
            source = import_module(f".{exports[name].submodule}", package)
            value = getattr(source, exports[name].name)
            setattr(module, name, value)
            return value
        if name in submodules:
            return import_module(f".{name}", package)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names_served() -> list[str]:
        return sorted({*vars(module), *exports, *submodules})

    # `import *` takes what is in the module already, unless `__all__` says what to ask for.
    vars(module)["__all__"] = [name for name in exports if not name.startswith("_")]
    vars(module).update({name: value for name, value in names.items() if name not in exports})
    vars(module).update(__getattr__=serve, __dir__=names_served)
