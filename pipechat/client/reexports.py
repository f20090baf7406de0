"""What a package file offers under a second name, read from its compiled code without a run of it.

Owns how such names are read and served. Every object served is the package's own, from its own
submodule; only the moment of its import moves (PEP 562).
"""

import __future__

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dis import EXTENDED_ARG, hasjabs, hasjrel, opmap
from importlib import import_module
from importlib.machinery import all_suffixes
from types import CodeType, ModuleType, SimpleNamespace

_BINDS = {opmap["STORE_NAME"], opmap["DELETE_NAME"]}
_JUMPS = frozenset((*hasjabs, *hasjrel))
_MODULE_ENDINGS = tuple(all_suffixes())


class _Unknown:
    """What was not imported: nothing can be done to it, and no loop go on as long as it is true."""

    __slots__ = ()

    def __bool__(self) -> bool:
        raise _MoreThanReexportsError


class Export(_Unknown):
    """`from .submodule import name`: noted, not done. `name` None: `from . import submodule`."""

    # Not `name`: a file that sets a `name` of what it imported is to fail here.
    __slots__ = ("noted_name", "noted_submodule")

    def __init__(self, submodule: str, name: str | None) -> None:
        self.noted_submodule = submodule
        self.noted_name = name


class _MoreThanReexportsError(Exception):
    pass


def whole_of(code: CodeType) -> dict[str, object] | None:
    """The names a package file would leave behind, or None where it does more than re-export.

    The compiled file is run where nothing exists but an import that takes notes. It is already
    compiled, so this costs microseconds where parsing the source costs milliseconds, and it
    reads the statements as Python does; a file that does more trips over what is missing, or
    leaves behind something that is no note.
    """
    if not _JUMPS.isdisjoint(code.co_code[::2]):
        return None
    names: dict[str, object] = {"__builtins__": {"__import__": _note_reexport}}
    try:
        exec(code, names)
    except Exception:
        return None
    del names["__builtins__"]
    for name, value in names.items():
        expected = isinstance(value, Export) or value is getattr(__future__, name, None)
        if not expected and name not in ("__doc__", "__all__"):
            return None
    return names


def front_of(code: CodeType) -> dict[str, Export]:
    """What a package file re-exports before it does anything else, in the order of its imports.

    It is run as by `whole_of`, up to the first statement that uses what was imported; what comes
    after a branch does not count, since which way it goes may hang on that.
    """
    names: dict[str, object] = {"__builtins__": {"__import__": _note_any_import}}
    with suppress(Exception):  # as is to be expected: there the front ends
        exec(code, names)
    sure = _bound_for_sure(code)
    return {
        name: value for name, value in names.items() if isinstance(value, Export) and name in sure
    }


def _bound_for_sure(code: CodeType) -> set[str]:
    """What is bound before any branch at the top of a compiled file, and is not bound anew or
    taken away further on."""
    bound: list[str] = []
    first_branch = None
    above = 0
    # Two bytes each: what is done, and the lowest eight bits of what it is done to.
    for done, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        which = above | low
        above = which << 8 if done == EXTENDED_ARG else 0
        if done in _BINDS:
            bound.append(code.co_names[which])
        elif done in _JUMPS and first_branch is None:
            first_branch = len(bound)
    times = Counter(bound)
    return {name for name in bound[:first_branch] if times[name] == 1}


def _note_reexport(
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
        raise _MoreThanReexportsError(name)
    return SimpleNamespace(**{exported: Export(name, exported) for exported in fromlist})


def _note_any_import(
    name: str,
    globals: object = None,
    locals: object = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> object:
    """Stands in for `__import__`: notes what is imported from the package itself; of all others
    nothing can be used."""
    names = tuple(fromlist or ())
    if level != 1:
        return SimpleNamespace(**dict.fromkeys(names, _Unknown()))
    if not name:
        return SimpleNamespace(**{submodule: Export(submodule, None) for submodule in names})
    return _note_reexport(name, globals, locals, names, level)


def serve_on_first_use(module: ModuleType, names: Mapping[str, object]) -> None:
    """Serve what a package only re-exports: each name is imported when it is first asked for."""
    package = module.__name__
    exports = {name: note for name, note in names.items() if isinstance(note, Export)}

    def serve(name: str) -> object:
        if name in exports:
            value = _imported(exports[name], package)
            setattr(module, name, value)
            return value
        # A plain import also leaves submodules themselves in the package: `openai.types.batch`.
        if name in submodules_of(module):
            return import_module(f".{name}", package)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names_served() -> list[str]:
        return sorted({*vars(module), *exports, *submodules_of(module)})

    # `import *` takes what is in the module already, unless `__all__` says what to ask for.
    vars(module)["__all__"] = [name for name in exports if not name.startswith("_")]
    vars(module).update({name: value for name, value in names.items() if name not in exports})
    vars(module).update(__getattr__=serve, __dir__=names_served)


def served_first(
    module: ModuleType, front: Mapping[str, Export]
) -> Callable[[str], tuple[object] | None]:
    """Who serves a package that waits (`late_imports.wait`) what needs no run of it: its
    submodules, and its front, which is imported in its own order, up to what is asked for."""
    package = module.__name__

    def serve(name: str) -> tuple[object] | None:
        if name in front:
            for export in front.values():
                value = _imported(export, package)
                if export is front[name]:
                    setattr(module, name, value)
                    return (value,)
        return (import_module(f".{name}", package),) if name in submodules_of(module) else None

    return serve


def submodules_of(package: ModuleType) -> set[str]:
    """The submodules that a package has files or folders of."""
    found = set()
    for place in package.__path__:
        with os.scandir(place) as entries:
            for entry in entries:
                name, dot, _ = entry.name.partition(".")
                # Not `py.typed`, nor a licence.
                if entry.name.endswith(_MODULE_ENDINGS) or (not dot and entry.is_dir()):
                    found.add(name)
    return {name for name in found if not name.startswith("__")}


def _imported(export: Export, package: str) -> object:
    source = import_module(f".{export.noted_submodule}", package)
    return source if export.noted_name is None else getattr(source, export.noted_name)
