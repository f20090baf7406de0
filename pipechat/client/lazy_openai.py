"""The way in to the openai SDK: the SDK itself, without the models nobody asked for.

Owns how `openai` is imported, and nothing else; it must not know what is asked of the SDK.

Most of a plain `import openai` goes to the package files under `openai.types`, which import
several hundred pydantic models only to offer them under a second name. Here such a file is read
for what it offers, and each name is imported when it is first asked for (PEP 562). Every object
served is the SDK's own, from the SDK's own submodule; only the moment of its import moves.

`openai` itself begins with what everyone uses and goes on to the clients of other vendors and to
one that is kept in the module: all of that waits until anything beyond its beginning is asked for.

Rules:
- Only a file that does nothing but re-export is put off. Any other runs as it is written, whole.
- Should the quick way fail, all of it is forgotten and the SDK is imported the plain way.
- `PIPECHAT_PLAIN_IMPORT=1` asks for the plain way.
- The lazy imports of Python 3.15 (PEP 810) are not used: the SDK's files do not ask for them, and
  `sys.set_lazy_imports` with its filter is a switch of the whole process. This works there too.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from pipechat.client.certificates import check_tls_files
from pipechat.client.put_off import leave_processor_unknown, parts_put_off
from pipechat.client.reexports import (
    front_of,
    serve_on_first_use,
    served_first,
    submodules_of,
    whole_of,
)
from pipechat.late_imports import wait

_SDK = "openai"
# `openai.lib` offers two schema functions and, beside them, the parsers of all chat models.
# `openai.providers` is left out: its names are also those of its submodules.
_PUT_OFF = ("openai.types", "openai.lib")
# The SDK's client over aiohttp, which a plain `import openai` brings where that is installed.
AIOHTTP_CLIENT = "openai._vendor.httpx_aiohttp"
# What a failed quick import may have left half made.
_IMPORTED_ANEW = frozenset({_SDK, "httpx2", "httpcore2"})


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
    if _SDK in sys.modules or environ.get("PIPECHAT_PLAIN_IMPORT") == "1":
        return import_module(_SDK)
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        with parts_put_off():
            openai = import_module(_SDK)
            getattr(openai, "OpenAI", None)  # brings what a question uses, while parts are put off
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
    return import_module(_SDK)


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
        put_off = any(fullname == root or fullname.startswith(f"{root}.") for root in _PUT_OFF)
        if not put_off and fullname != _SDK:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.submodule_search_locations is None:
            return None
        if type(spec.loader) is not SourceFileLoader:
            return None
        loader = _PackageLoader if put_off else _FrontLoader
        spec.loader = loader(spec.loader.name, spec.loader.path)
        return spec


class _PackageLoader(SourceFileLoader):
    """Loads a package that only re-exports without importing what it re-exports."""

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        names = None if code is None else whole_of(code)
        # Importing a submodule binds its name in the package, over the re-export of that name.
        if names is None or not submodules_of(module).isdisjoint(names):
            super().exec_module(module)
        else:
            serve_on_first_use(module, names)


class _FrontLoader(SourceFileLoader):
    """Loads a package so that what it re-exports first is imported without the rest."""

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        front = {} if code is None else front_of(code)
        wait(module, super().exec_module, served_first(module, front))
