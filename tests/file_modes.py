"""Root may do all that modes forbid: here the system's calls heed them for root as for an owner.

Nothing is pretended but that: the modes are those of the files, as `chmod` set them, and for who is
no root the system's own calls do it. Only what goes by `os` is minded, and only under one folder.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

_READ, _WRITE, _SEARCH = 0o400, 0o200, 0o100
_CHANGING = ("mkdir", "rmdir", "unlink", "rename", "link")


def heed_modes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Until the test ends, the modes of what is in `folder`, and its own, hold for root too."""
    if os.geteuid() == 0:
        _Heeding(str(folder)).take_over(monkeypatch)


class _Heeding:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lstat = os.lstat

    def take_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("stat", "lstat"):
            monkeypatch.setattr(os, name, self._minding(getattr(os, name)))
        for name in ("listdir", "scandir"):
            monkeypatch.setattr(os, name, self._minding(getattr(os, name), itself=_READ))
        for name in _CHANGING:
            monkeypatch.setattr(os, name, self._minding(getattr(os, name), above=_WRITE))
        monkeypatch.setattr(os, "open", self._opening(os.open))

    def _minding(self, call: Any, *, itself: int = 0, above: int = 0) -> Any:
        def minded(path: Any = ".", *more: Any, **others: Any) -> Any:
            self._mind(path, itself=itself, above=above)
            return call(path, *more, **others)

        return minded

    def _opening(self, call: Any) -> Any:
        def opened(path: Any, flags: int, *more: Any, **others: Any) -> Any:
            access = flags & os.O_ACCMODE
            reads = 0 if access == os.O_WRONLY else _READ
            writes = 0 if access == os.O_RDONLY else _WRITE
            makes = flags & os.O_CREAT and not os.path.lexists(path)
            if makes:
                self._mind(path, above=_WRITE)
            else:
                self._mind(path, itself=reads | writes)
            return call(path, flags, *more, **others)

        return opened

    def _mind(self, path: Any, *, itself: int = 0, above: int = 0) -> None:
        if isinstance(path, int):  # a descriptor, whose opening was minded
            return
        whole = os.path.join(os.getcwd(), os.fsdecode(path))
        if whole != self._folder and not whole.startswith(f"{self._folder}/"):
            return
        at, parent = self._folder, ""
        for part in filter(None, whole.removeprefix(self._folder).split("/")):
            self._want(at, _SEARCH, path)
            at, parent = os.path.join(at, part), at
        if parent:
            self._want(parent, above, path)
        self._want(at, itself, path)

    def _want(self, at: str, bits: int, path: Any) -> None:
        try:
            mode = self._lstat(at).st_mode
        except OSError:  # the call itself will say what is wrong with it
            return
        if bits == _SEARCH and not stat.S_ISDIR(mode):
            return
        if mode & bits != bits:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
