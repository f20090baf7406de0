"""Lines edited by prompt_toolkit (the extra `chat`): several at once, with the cursor free."""

import os
import signal
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from types import FrameType
from typing import NoReturn

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output

from pipechat.chat.editor import LineGivenUp, open_terminal
from pipechat.signals import die_by

_DEADLY = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# A paste is not set off any more, and the cursor is there.
_AS_BEFORE = b"\x1b[?2004l\x1b[?25h"


class ToolkitEditor:
    """Questions by prompt_toolkit. Alt-Enter, or Enter behind a backslash, makes a new line."""

    ends_its_line = True

    def __init__(self, past: Iterable[str]) -> None:
        # What is typed is shown where it is typed, wherever stdout goes.
        self._shown = open_terminal()
        keys = TextIOWrapper(BufferedReader(FileIO(0, closefd=False)), "utf-8")
        shown = TextIOWrapper(BufferedWriter(FileIO(self._shown, "w")), "utf-8", "replace")
        # To be asked where its cursor stands, many a terminal does not understand.
        self._output = Vt100_Output(shown, self._size, enable_cpr=False)
        self._input = Vt100Input(keys)
        self._history = InMemoryHistory(list(past))
        with create_app_session(self._input, self._output):
            self._session: PromptSession[str] = PromptSession(
                history=self._history,
                multiline=True,
                key_bindings=_bindings(),
                enable_suspend=True,
                reserve_space_for_menu=0,
            )

    def ask(self, prompt: str) -> str | None:
        with self._kept_terminal(), create_app_session(self._input, self._output):
            try:
                return self._session.prompt(prompt)
            except (EOFError, OSError):  # or the terminal is gone, and nobody is told by a signal
                return None
            except KeyboardInterrupt:
                raise LineGivenUp(self._session.default_buffer.text) from None

    def remember(self, text: str) -> None:
        self._history.append_string(text)

    def _size(self) -> Size:
        columns, rows = os.get_terminal_size(self._shown)
        return Size(rows=rows or 24, columns=columns or 80)

    @contextmanager
    def _kept_terminal(self) -> Iterator[None]:
        """A signal that kills meanwhile leaves the terminal as it was."""
        usual = termios.tcgetattr(0)

        def die(signum: int, _frame: FrameType | None) -> NoReturn:
            with suppress(termios.error, OSError):  # it may have been hung up
                termios.tcsetattr(0, termios.TCSANOW, usual)
                os.write(self._shown, _AS_BEFORE)
            die_by(signum)

        taken = [each for each in _DEADLY if signal.getsignal(each) is signal.SIG_DFL]
        for signum in taken:
            signal.signal(signum, die)
        try:
            yield
        finally:
            for signum in taken:
                signal.signal(signum, signal.SIG_DFL)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            event.app.exit(result=buffer.text)

    @bindings.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return bindings
