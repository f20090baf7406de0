"""What the report of a bug should name: versions, the system, and what is set, without values."""

from __future__ import annotations

import locale
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version

from pipechat.text import visible_line

# `openai[aiohttp]; extra == "batch"`: what is wanted, and for which extra.
_WANTED = re.compile(r"([\w.-]+)(?:\[([\w.-]+)\])?[^;]*(?:;.*extra == ['\"](\w+)['\"])?")
_NOT_FOR_USERS = ("all", "test")


def versions(environ: Mapping[str, str]) -> Iterator[str]:
    """A line each; no value of a variable that could be a secret, and no path."""
    yield from installed()
    language = {name: environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if name in environ}
    said = " ".join(f"{name}={value}" for name, value in language.items())
    encoding = f"{sys.getfilesystemencoding()}, {locale.getencoding()}"
    yield visible_line(f"encoding: {encoding}; {said}".rstrip("; "))
    ours = sorted(name for name in environ if name.startswith(("PIPECHAT_", "OPENAI_")))
    yield visible_line(f"set: {', '.join(ours) or 'nothing'}")


def installed() -> Iterator[str]:
    """Python, the system, and each package that is used, with its version."""
    yield f"{platform.python_implementation()} {platform.python_version()}"
    yield platform.platform()
    for name, extra in _wanted():
        what = _version_of(name)
        yield f"{name} {what}" + (f" (extra {extra})" if extra else "")


def _wanted() -> Iterator[tuple[str, str]]:
    """The packages that this one needs, and those of its extras, each with its extra."""
    try:
        wanted = requires("pipechat") or []
    except PackageNotFoundError:  # run from a folder that was never installed
        return
    for line in wanted:
        if found := _WANTED.match(line):
            name, part, extra = found.groups()
            if extra not in _NOT_FOR_USERS:
                yield (part if extra and part else name), extra or ""


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed"
