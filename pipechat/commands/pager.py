"""What is more than a screen goes through a pager, as git has it: at a terminal alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from types import FrameType
from typing import Any

from pipechat.environment import Environment, Output
from pipechat.errors import OutputError
from pipechat.signals import die_by

_VARIABLES = ("PIPECHAT_PAGER", "PAGER")
_USUAL = "less"
# What git sets where it is not set: less leaves where all fits on the screen, passes colors on,
# and leaves on the screen what it showed; lv passes colors on.
_USUALLY = {"LESS": "FRX", "LV": "-c"}
_AT_END = "FRX+G"
# Those that git lets the pager outlive it for.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_NOT_STARTED = (126, 127)
# As git has it, a command that holds one of these is more than a program and its options.
_SHELL_S_OWN = frozenset("|&;<>()$`\\\"'*?[#~=%")
_BUILT_IN = ("exec", "command", "eval", ".")


class Pager:
    """Between stdout and its terminal from the first write to `close`; so is stderr, whose lines
    would otherwise stand across the page.

    A signal leaves the terminal to the pager until it is left, and kills this process then: else
    two would read what is typed.

    Args:
        at_end: begin with the last page, where the pager is less as we set it up.
    """

    def __init__(self, env: Environment, *, at_end: bool = False) -> None:
        self._env = env
        self._at_end = at_end
        self._command: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._write_fd = -1
        self._out = env.stdout
        self._stderr = env.stderr.output
        self._taken: dict[int, Any] = {}
        self._begun = False
        self._is_up = False
        self._due: int | None = None

    def write(self, data: bytes) -> None:
        """Write `data`. Raises ReaderLeft where the pager was left, OutputError."""
        if not self._begun:
            self._begun = True
            self._start()
        self._out.write(data)

    def close(self) -> None:
        """Wait until the pager is left. Raises OutputError where its shell could not start it."""
        if self._process is None:
            return
        status = self._wait()
        self._is_up = False
        self._process = None
        self._out, self._env.stderr.output = self._env.stdout, self._stderr
        self._give_signals_back()
        if status in _NOT_STARTED:
            message = f"the pager {self._command!r} could not be started"
            raise OutputError("output_failed", message, "Set PAGER to one that is there.")

    def _start(self) -> None:
        self._command = chosen(self._env)
        if self._command is None:
            return
        environ = {**_USUALLY, **self._env.environ}
        if self._at_end and "LESS" not in self._env.environ:
            environ["LESS"] = _AT_END
        self._take_signals()
        read_fd, write_fd = os.pipe()
        try:
            # Through the shell, since a pager may come with options of its own.
            command = ["sh", "-c", self._command]
            self._process = subprocess.Popen(command, stdin=read_fd, env=environ)
        except OSError:  # no more processes: it is shown all the same
            os.close(write_fd)
            self._give_signals_back()
            return
        finally:
            os.close(read_fd)
        self._write_fd = write_fd
        self._out = Output(write_fd, name="stdout", waits=self._env.waits)
        if self._env.stderr.is_terminal:
            self._env.stderr.output = self._out
        self._is_up = True
        if self._due is not None:
            self._end_by(self._due)

    def _take_signals(self) -> None:
        for signum in _SIGNALS:
            before = signal.getsignal(signum)
            if before is not signal.SIG_IGN:
                self._taken[signum] = before
                signal.signal(signum, self._end_by)

    def _give_signals_back(self) -> None:
        for signum, before in self._taken.items():
            signal.signal(signum, before)
        if self._due is not None:
            die_by(self._due)

    def _end_by(self, signum: int, _frame: FrameType | None = None) -> None:
        if not self._is_up:  # it is just being started, or has just been left
            self._due = signum
            return
        self._wait()
        die_by(signum)

    def _wait(self) -> int:
        """Let the pager come to the end of what it reads, and wait for the person."""
        assert self._process is not None
        if self._write_fd >= 0:
            fd, self._write_fd = self._write_fd, -1
            os.close(fd)
        # Not by the Popen, which a signal that came while it waits would wait for for ever.
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self._process.pid, 0)[1])
        except ChildProcessError:  # a signal has waited for it meanwhile
            status = 0
        self._process.returncode = status
        return status


def chosen(env: Environment) -> str | None:
    """The command of the pager; None where there is none, and stdout is written to itself."""
    if not env.stdout.is_terminal:
        return None
    variable = next((name for name in _VARIABLES if name in env.environ), None)
    if variable is None:
        return None if env.is_dumb or not _is_there(_USUAL, env.environ) else _USUAL
    command = env.environ[variable].strip()
    if command in ("", "cat"):
        return None
    program = _program_of(command)
    if program and not _is_there(program, env.environ):
        env.warn(f"{variable}: there is no program {program!r}; it is shown without a pager")
        return None
    return command


def _program_of(command: str) -> str | None:
    """The program that a shell would start; None where that is the shell's to find out."""
    first = command.split()[0]
    return None if _SHELL_S_OWN & set(command) or first in _BUILT_IN else first


def _is_there(program: str, environ: Mapping[str, str]) -> bool:
    return shutil.which(program, path=environ.get("PATH", os.defpath)) is not None
