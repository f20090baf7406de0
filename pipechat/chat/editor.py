"""What edits the lines that are typed in `chat`, whichever it is."""

import os
from typing import Protocol

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
