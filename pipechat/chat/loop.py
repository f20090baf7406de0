"""The loop at a terminal: a line is a question, a command, or the wish to leave."""

from __future__ import annotations

import os

from pipechat.chat.editor import Editor, LineGivenUp
from pipechat.chat.editor_choice import open_editor
from pipechat.chat.slash import LEAVES, run_command
from pipechat.chat.talk import Talk, prompts
from pipechat.errors import PipechatError, UsageError
from pipechat.settings.config import find_folders
from pipechat.store.layout import CHAT_HISTORY
from pipechat.store.question_history import QuestionHistory
from pipechat.text import decode_text


def converse(talk: Talk) -> None:
    """Talk until somebody leaves.

    Raises:
        OutputGone: nobody can read the answers any more.
    """
    typed = _Typed(talk)
    talk.open()
    while (text := typed.next()) is not None:
        try:
            if text.startswith("/"):
                if run_command(talk, text):
                    return
            else:
                talk.ask(text)
        except PipechatError as error:
            talk.asks.report(error)


class _Typed:
    """Questions and commands as they are typed; what is typed is remembered."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._env = talk.env
        home = os.path.dirname(find_folders(self._env.environ).sessions)
        wanted = talk.settings.chat_history
        self._history = QuestionHistory(os.path.join(home, CHAT_HISTORY)) if wanted else None
        self._editor: Editor = open_editor(self._env.environ, self._past())
        self._last = ""

    def next(self) -> str | None:
        """The next line that says something; None where it is time to leave."""
        asked_to_leave = False
        while True:
            try:
                text = self._line()
            except LineGivenUp as given_up:
                if asked_to_leave and not given_up.typed:
                    return None
                asked_to_leave = not given_up.typed
                if asked_to_leave:
                    self._talk.aside("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            except UsageError as error:
                self._talk.asks.report(error)  # a key that is no text is no reason to leave
                continue
            if text is None or text.strip() in LEAVES:
                return None
            asked_to_leave = False
            if text.strip():
                self._remember(text)
                return text

    def _line(self) -> str | None:
        self._talk.asks.at_prompt()
        you, _ = prompts(self._talk.settings, self._env.environ)
        try:
            text = self._editor.ask(you)
        except LineGivenUp:
            self._end_line()
            raise
        if text is None:
            self._end_line()
            return None
        data = text.encode("utf-8", "surrogateescape")
        return decode_text(data, "the line", lossy=self._talk.settings.lossy)

    def _end_line(self) -> None:
        if not (self._editor.ends_its_line and self._env.stdout.is_terminal):
            self._env.stdout.write(b"\n")

    def _past(self) -> list[str]:
        if self._history is None:
            return []
        try:
            return self._history.entries()
        except OSError as error:
            self._give_up_history(error)
            return []

    def _remember(self, text: str) -> None:
        if text == self._last:
            return
        self._last = text
        self._editor.remember(text)
        if self._history is not None:
            try:
                self._history.add(text)
            except OSError as error:
                self._give_up_history(error)

    def _give_up_history(self, error: OSError) -> None:
        self._history = None
        reason = error.strerror or str(error)
        self._env.warn(f"what is typed is not remembered ({CHAT_HISTORY}: {reason})")
