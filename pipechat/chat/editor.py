"""What edits the lines that are typed in `chat`: the extra's prompt_toolkit, or readline.

Owns the choice between them. The extra has no use on a terminal that can move no cursor.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Protocol

from pipechat.errors import UsageError

DUMB = ("", "dumb", "unknown")


class LineGivenUp(Exception):  # noqa: N818 — no error: Ctrl-C clears the line
    """Ctrl-C was pressed. `typed`: what stood there."""

    def __init__(self, typed: str) -> None:
        super().__init__(typed)
        self.typed = typed


class Editor(Protocol):
    """Asks for one question after the other.

    `ends_its_line`: whether the cursor stands on a new line when no question came.
    """

    ends_its_line: bool

    def ask(self, prompt: str) -> str | None:
        """The question, bytes that are no text as surrogates; None at the end (Ctrl-D).

        Raises:
            LineGivenUp: Ctrl-C.
        """
        ...

    def remember(self, text: str) -> None:
        """Let `text` be found by the Up key from now on."""
        ...


def open_terminal() -> int:
    """A descriptor of the terminal that is typed at, wherever stdout and stderr go."""
    try:
        return os.open(os.ttyname(0), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # it has no name here, as in many a container
        return os.dup(0)


def open_editor(environ: Mapping[str, str], past: Iterable[str]) -> Editor:
    """The best editor there is for this terminal.

    Args:
        past: what was typed before, oldest first.

    Raises:
        UsageError: `no_line_editing`.
    """
    is_dumb = environ.get("TERM", "") in DUMB
    if not is_dumb:
        try:
            from pipechat.chat.toolkit_editor import ToolkitEditor
        except ImportError:  # the extra is not there
            pass
        else:
            return ToolkitEditor(past)
    try:
        from pipechat.chat.plain_editor import PlainEditor
    except ImportError as error:
        message = "this Python has no readline, without which a terminal cuts long lines"
        hint = "Give the questions through a pipe, or install the extra pipechat[chat]."
        raise UsageError("no_line_editing", message, hint) from error
    return PlainEditor(past, is_dumb=is_dumb)
