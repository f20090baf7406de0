"""Lines edited by readline, which comes with Python."""

import readline
import termios
from collections.abc import Iterable

from pipechat.chat.editor import LineGivenUp
from pipechat.line_editor import LineEditor
from pipechat.signals import interruptible

_MORE = "... "
# What comes this soon behind an Enter no finger typed: it is the rest of a paste.
_ONE_PASTE_S = 0.02
_KNOWS_PASTE = 7  # the version of GNU readline


class PlainEditor:
    """Questions by readline. A line that ends in a backslash goes on in the next.

    A paste is one question: where the terminal does not say that something is one, what comes in
    the same moment is.
    """

    ends_its_line = False

    def __init__(self, past: Iterable[str], *, is_dumb: bool) -> None:
        self._guesses = is_dumb or _version() < _KNOWS_PASTE
        readline.parse_and_bind(f"set enable-bracketed-paste {'off' if self._guesses else 'on'}")
        readline.set_auto_history(False)
        for text in past:
            self.remember(text)

    def ask(self, prompt: str) -> str | None:
        lines: list[str] = []
        editor = LineEditor()
        try:
            with interruptible(), editor:
                while True:
                    line = editor.line(_MORE if lines else prompt)
                    if line is None:
                        return "\n".join(lines) if lines else None
                    goes_on = line.endswith("\\")
                    lines.append(line[:-1] if goes_on else line)
                    if not goes_on and not (self._guesses and editor.more_within(_ONE_PASTE_S)):
                        return "\n".join(lines)
        except termios.error:  # the terminal is gone, and nobody is told by a signal
            return None
        except KeyboardInterrupt:
            raise LineGivenUp("\n".join([*lines, editor.typed])) from None

    def remember(self, text: str) -> None:
        try:
            readline.add_history(text)
        except UnicodeEncodeError:  # the locale has no such letters, but the terminal does
            readline.add_history(text.encode("utf-8", "replace").decode("ascii", "surrogateescape"))


def _version() -> int:
    """The major version of GNU readline; 0 for what only calls itself so (libedit, on macOS)."""
    if "libedit" in (readline.__doc__ or ""):
        return 0
    major = getattr(readline, "_READLINE_LIBRARY_VERSION", "").partition(".")[0]
    return int(major) if major.isdigit() else 0
