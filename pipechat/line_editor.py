"""Lines typed at a terminal: edited, and taken whole however long they are.

In its usual mode a terminal cuts a line after 4,095 bytes without a word (termios(3), canonical
mode), so it is taken out of that mode while somebody types. However the typing ends, the
terminal gets back the mode that it had. Imported only where somebody types.
"""

import codecs
import locale
import os
import readline
import select
import signal
import sys
import termios
from contextlib import redirect_stdout, suppress
from functools import partial
from io import TextIOWrapper
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from pipechat.signals import LONGEST_WAIT_S, die_by, stop_by

# Where the locale is missing, as zh_CN is on many servers, readline takes the bytes of a
# character for key commands, and would put the names of files into the question.
_LINE_EDITING = (
    "set input-meta on",
    "set output-meta on",
    "set convert-meta off",
    "set disable-completion on",
)
_DEADLY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_UTF8_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8", "en_US.UTF-8")


class _Continued(Exception):  # noqa: N818 — not an error: the process was stopped and goes on
    def __init__(self, typed: str) -> None:
        self.typed = typed


class LineEditor:
    """The terminal on descriptor 0, ready to be typed at from entering to leaving.

    A signal that would kill or stop the process does so with the terminal as it was before;
    one that somebody handles, as `chat` does SIGINT, is left to them. `typed`: what stood there
    when Ctrl-C was pressed.
    """

    def __enter__(self) -> Self:
        self._reading = self._given_up = False
        self.typed = ""
        self._signals: dict[int, Any] = {}
        # Raised between two steps of ours, KeyboardInterrupt would leave half of them undone.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._signals[signal.SIGINT] = signal.signal(signal.SIGINT, self._give_up)
        self._usual = termios.tcgetattr(0)
        for signum in (*_DEADLY, signal.SIGTSTP):
            if signal.getsignal(signum) is signal.SIG_DFL:
                action = self._stop if signum == signal.SIGTSTP else self._die
                self._signals[signum] = signal.signal(signum, action)
        # readline looks at signals when its wait for a key is interrupted: one that came a
        # moment before that wait is seen at the next tick.
        self._signals[signal.SIGALRM] = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, LONGEST_WAIT_S, LONGEST_WAIT_S)
        self._take_long_lines()
        self._stdout = _terminal_as_stdout()
        self._has_other_locale = _take_utf8_locale()
        for setting in _LINE_EDITING:
            readline.parse_and_bind(setting)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        restore_mode(self._usual)
        if self._stdout is not None:
            fd, inheritable = self._stdout
            os.dup2(fd, 1, inheritable)
            os.close(fd)
        if self._has_other_locale:
            _restore_locale()
        for signum, action in self._signals.items():
            signal.signal(signum, action)

    def line(self, prompt: str) -> str | None:
        """The next line without its end, bytes that are no text as surrogates; None at the end
        (Ctrl-D). A process that was stopped (Ctrl-Z) shows again what was typed.

        Raises:
            KeyboardInterrupt: Ctrl-C, where Python's own handler of it was there.
        """
        typed = ""
        while True:
            if self._given_up:
                raise KeyboardInterrupt
            readline.set_startup_hook(partial(readline.insert_text, typed))
            try:
                return self._read(prompt)
            except _Continued as stopped:
                typed = stopped.typed
            except EOFError:
                return None
            finally:
                readline.set_startup_hook()

    def more_within(self, seconds: float) -> bool:
        """Whether a key comes in time."""
        return bool(select.select([0], [], [], seconds)[0])

    def _read(self, prompt: str) -> str:
        stdin = sys.stdin
        assert isinstance(stdin, TextIOWrapper)
        stdin.reconfigure(errors="surrogateescape")
        # `input` edits lines only where sys.stdout is the terminal itself.
        with (
            open(1, "w", encoding=stdin.encoding, errors="replace", closefd=False) as terminal,
            redirect_stdout(terminal),
        ):
            self._reading = True
            try:
                return input(prompt)
            finally:
                self._reading = False

    def _take_long_lines(self) -> None:
        mode = termios.tcgetattr(0)
        mode[3] &= ~termios.ICANON
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSANOW, mode)

    def _give_up(self, _signum: int, _frame: FrameType | None) -> None:
        self._given_up = True
        if self._reading:
            self.typed = readline.get_line_buffer()
            raise KeyboardInterrupt

    def _die(self, signum: int, _frame: FrameType | None) -> NoReturn:
        restore_mode(self._usual)
        die_by(signum)

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        typed = readline.get_line_buffer()
        termios.tcsetattr(0, termios.TCSANOW, self._usual)
        stop_by(signum)
        signal.signal(signum, self._stop)
        self._take_long_lines()
        if self._reading:
            raise _Continued(typed)


def restore_mode(usual: Any) -> None:
    """Give the terminal the mode that it had; one that was hung up has none any more."""
    with suppress(termios.error):
        termios.tcsetattr(0, termios.TCSANOW, usual)


def _terminal_as_stdout() -> tuple[int, bool] | None:
    """Make descriptor 1 the terminal that is typed at, for what is typed is shown there; what
    it was before, and whether children get it. None where it is a terminal already."""
    if os.isatty(1):
        return None
    before = os.dup(1), os.get_inheritable(1)
    try:
        terminal = os.open(os.ttyname(0), os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        terminal = os.dup(0)
    os.dup2(terminal, 1)
    os.close(terminal)
    return before


def _take_utf8_locale() -> bool:
    """Have readline take characters of UTF-8 for what they are where the locale has none, so
    that the delete key takes a whole one. It reads LC_ALL anew for each line."""
    speaks_utf8 = codecs.lookup(locale.nl_langinfo(locale.CODESET)).name == "utf-8"
    if speaks_utf8 or codecs.lookup(sys.stdin.encoding).name != "utf-8":
        return False
    before = locale.setlocale(locale.LC_CTYPE)
    for name in _UTF8_LOCALES:
        try:
            locale.setlocale(locale.LC_CTYPE, name)
        except locale.Error:
            continue
        locale.setlocale(locale.LC_CTYPE, before)
        os.putenv("LC_ALL", name)
        return True
    return False


def _restore_locale() -> None:
    # putenv changes what the C library reads, and not os.environ.
    value = os.environ.get("LC_ALL")
    if value is None:
        os.unsetenv("LC_ALL")
    else:
        os.putenv("LC_ALL", value)
