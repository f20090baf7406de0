"""What `usage` reads: months of the ledger, sessions and files of turns; and how far it is."""

from __future__ import annotations

import os
import time

from pipechat.commands.reporting import report
from pipechat.environment import Environment
from pipechat.errors import ExitCode, SessionError
from pipechat.ledger.months import Period, lines_of, month_files
from pipechat.ledger.spending import Spending
from pipechat.ledger.turns import is_ledger, lines_of_turns
from pipechat.settings.config import find_folders
from pipechat.store import sources
from pipechat.store.names import is_path
from pipechat.store.sessions import SessionStore
from pipechat.text import counted, visible_line

_QUIET_S = 1.0
_EVERY_S = 0.25
_TOLD_ONE_BY_ONE = 3
_TURNS = 1000


class Reading:
    """Sources read into sums. One that cannot be read is told, and the others are read all the
    same."""

    def __init__(self, env: Environment, store: SessionStore, spending: Spending) -> None:
        self._env = env
        self._store = store
        self._spending = spending
        self._next = time.monotonic() + _QUIET_S
        self._foreign = 0
        self._status = 0

    def of(self, names: list[str] | None, period: Period) -> int:
        """Read sessions and files, or without any the ledger; the status."""
        if names is None:
            self._ledger(find_folders(self._env.environ).ledger, period)
        else:
            self._named(names)
        if self._env.has_live_line:
            from pipechat.commands.waiting import live_line

            live_line(self._env).erase()
        return self._status

    def _ledger(self, folder: str, period: Period) -> None:
        try:
            paths = month_files(folder, period)
        except OSError as error:
            raise unreadable(folder, error) from error
        if not paths:
            when = "of that time " if period != Period() else ""
            self._env.warn(f"the ledger has nothing {when}yet; --sessions looks at the sessions")
        for path in paths:
            try:
                self._month(path)
            except OSError as error:
                self._tell(unreadable(path, error))

    def _month(self, path: str, *, follow: bool = False) -> None:
        name = visible_line(os.path.basename(path))
        self._foreign = 0

        def foreign(number: int) -> None:
            self._foreign += 1
            if self._foreign <= _TOLD_ONE_BY_ONE:
                self._env.warn(f"{path}: line {number} is none of a ledger and was skipped")

        def read(done: int, size: int) -> None:
            self._show(f"reading {name}, {done * 100 // size} %")

        for number, line in lines_of(path, read, foreign, follow=follow):
            if line.get("v") != 1 or not self._spending.add(line):
                foreign(number)
        if self._foreign > _TOLD_ONE_BY_ONE:
            more = self._foreign - _TOLD_ONE_BY_ONE
            self._env.warn(f"{path}: {counted(more, 'more line')} were skipped")

    def _named(self, names: list[str]) -> None:
        for name in names:
            sources.adopt(self._store, name)  # a bad name is told before anything is read
        for name in names:
            try:
                self._turns(name, tell_mode=len(names) == 1)
            except SessionError as error:
                self._tell(error)

    def _turns(self, name: str, *, tell_mode: bool) -> None:
        with sources.reading(self._store, name, tell_mode=tell_mode) as session:
            if is_path(name) and is_ledger(session):
                self._month(name, follow=True)
                return
            number = 0
            for number, found in enumerate(lines_of_turns(session), 1):
                if found.requests:
                    self._spending.add(found.line, requests=found.requests, settled=found.settled)
                if number % _TURNS == 1:
                    self._show(f"reading {name}, {number:,} turns")
            if not number and session.size and is_path(name):
                hint = "Name a file of turns, such as the output of `batch run`."
                raise SessionError("session_unreadable", f"{name} holds no turn", hint)

    def _show(self, text: str) -> None:
        """Say it on a terminal's stderr, where it takes longer."""
        if not self._env.has_live_line or time.monotonic() < self._next:
            return
        from pipechat.commands.waiting import live_line

        self._next = time.monotonic() + _EVERY_S
        live_line(self._env).show(text)

    def _tell(self, error: SessionError) -> None:
        report(self._env, error)
        self._status = int(ExitCode.SESSION)


def unreadable(path: str, error: OSError) -> SessionError:
    """The error for a part of the ledger that the system refuses to read."""
    message = f"{path} could not be read: {error.strerror or error}"
    return SessionError("ledger_unreadable", message, "Look at its mode and its owner.")
