"""What the SDK and its HTTP library import and a plain question does not use: later, or never.

Owns which modules these are. Nothing is replaced by a likeness: a module that waits is the real
one as soon as anything of it is asked for, and a part that is left out is one that its library
can do without, and says so itself (`except ImportError`).
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType

from pipechat.late_imports import close_package, waiting

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
# Imported at the top of files whose functions alone use it. (anyio reads its own source to learn
# what it offers: 2 ms.)
_WAITING = frozenset(
    {
        "anyio",
        "asyncio",
        "truststore",
        "idna",
        "email.parser",
        "locale",
        "email.base64mime",
        "importlib.resources",
        "mimetypes",
        "secrets",
    }
)
_METADATA = "importlib.metadata"
# A version as the folder of an installed package can only mean it.
_INSTALLED = r"{name}-([0-9]+(?:\.[0-9]+)*)\.dist-info"


@contextmanager
def parts_put_off() -> Iterator[None]:
    """While it is entered, imports leave out and put off what is named above; what is imported
    already stays."""
    if _METADATA not in sys.modules:
        sys.modules[_METADATA] = _quick_metadata()
        # Where `import importlib.metadata` puts what it loads, now or at any time after.
        vars(importlib).setdefault("metadata", sys.modules[_METADATA])
    try:
        with waiting(_WAITING, _LEFT_OUT):
            yield
    finally:
        if isinstance(sys.modules.get(_METADATA), _QuickMetadata):
            del sys.modules[_METADATA]
        # Until here one submodule is wanted alone: `asyncio.coroutines`, by typing_extensions.
        for name in _WAITING:
            close_package(name)


def leave_processor_unknown() -> None:
    """Let no process be started for the name of the processor, which the SDK asks for beside the
    system's, and drops: `uname -p`, 4 ms with the import of what starts it. "" is Python's own
    word for one that is not known; where its class takes no other, the process is started."""
    with suppress(AttributeError):
        platform.uname().processor = ""  # type: ignore[misc]  # because it is cached, not computed


def serve_socks() -> None:
    """Put the SOCKS proxy of httpcore2 where its own import would have, had it not been left out.

    Raises:
        ImportError: the package that speaks SOCKS is not installed.
    """
    for way, name in (("_sync", "SOCKSProxy"), ("_async", "AsyncSOCKSProxy")):
        proxy = getattr(import_module(f"httpcore2.{way}.socks_proxy"), name)
        setattr(import_module(f"httpcore2.{way}"), name, proxy)
        setattr(import_module("httpcore2"), name, proxy)


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
