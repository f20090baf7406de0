"""The conversation that somebody at a terminal is in: what is asked, and what is told of it.

Owns what the commands work on: the settings, where turns are kept, what they cost. Knows no
client and no sink; who asks is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipechat.environment import Environment
from pipechat.errors import PipechatError
from pipechat.events import Error, TerminalEvent
from pipechat.messages import Turn
from pipechat.settings.resolve import Settings
from pipechat.show.transcript import Look
from pipechat.show.wrapping import Span, wrapped
from pipechat.text import visible
from pipechat.turn.conversation import Keeper
from pipechat.turn.run import TurnWriter

_PROMPTS = {"zh": ("问：", "答：")}
_OTHER_PROMPTS = ("You: ", "AI: ")
_QUESTION_LINES, _ANSWER_LINES = 3, 10
_CUT = "This turn will not go along with later questions; /continue sends it along."


class Kept(Keeper, Protocol):
    """Where the turns are kept, and whether each goes along with later questions."""

    def last(self, *, answered: bool = False) -> Turn | None: ...
    def mark(self, turn_id: str, *, context: bool) -> None: ...
    def all(self) -> Iterator[Turn]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question: the exit status it would have alone, and its terminal event where
    it was sent."""

    status: int
    terminal: TerminalEvent | None


class OutputGone(Exception):  # noqa: N818 — why the conversation is over
    """stdout cannot be written any more. `cause`: why."""

    def __init__(self, cause: PipechatError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Asks(Protocol):
    """Who asks the model, tells the answer, and tells what failed."""

    def ask(self, settings: Settings, kept: Keeper, text: str) -> Asked: ...
    def open(self, session: str) -> Kept: ...
    def at_prompt(self) -> None: ...
    def report(self, error: PipechatError) -> None: ...


def prompts(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """The prompts of the config file, else those of the user's language (POSIX: LC_ALL is
    stronger than LC_MESSAGES, and that than LANG)."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    language = next((environ[name] for name in names if environ.get(name)), "")
    you, ai = _PROMPTS.get(language[:2].lower(), _OTHER_PROMPTS)
    return settings.user_prompt or you, settings.assistant_prompt or ai


class Talk:
    """One conversation: `settings` and `kept` change when a command says so."""

    def __init__(self, env: Environment, settings: Settings, kept: Kept, asks: Asks) -> None:
        self.env = env
        self.settings = settings
        self.kept = kept
        self.asks = asks
        self.ended: list[TerminalEvent] = []
        # Of a turn that asked again and did not come whole: those in whose place it would stand.
        self.replaces: dict[str, tuple[str, ...]] = {}
        terminal = env.stdin.is_terminal and env.stderr.is_terminal
        self._look = Look.of(terminal=terminal, environ=env.environ)

    def ask(self, text: str, kept: Keeper | None = None) -> Asked:
        """A turn; where its answer was cut, what that means. `kept`: for this one alone."""
        asked = self.asks.ask(self.settings, kept or self.kept, text)
        if asked.terminal is not None:
            self.ended.append(asked.terminal)
            if isinstance(asked.terminal, Error) and asked.terminal.answer.strip():
                self.aside(_CUT)
        return asked

    def say(self, text: str) -> None:
        """Answer a command in words of our own, which fit the terminal: on stderr, since stdout
        has the model's words and no others."""
        self.cite(self._fitted(text))

    def aside(self, text: str) -> None:
        """What nobody asked for: dim, at a terminal alone, and not with -q."""
        self._cite_aside(self._fitted(text))

    def cite(self, text: str) -> None:
        """Answer a command with what somebody wrote, as it is."""
        for line in text.split("\n"):
            self.env.stderr.line(line)

    def _cite_aside(self, text: str) -> None:
        if self._look.terminal and not self.env.quiet:
            for line in text.split("\n"):
                self.env.stderr.line(line, dim=self._look.color)

    def _fitted(self, text: str) -> str:
        lines = wrapped([Span(text)], self.env.stderr.output.columns())
        return "\n".join("".join(span.text for span in line) for line in lines)

    def open(self) -> None:
        """Say who answers, where it is kept, and how to leave; and where a session goes on, show
        its last turn."""
        name = self.kept.name
        where = "no session"
        if name is not None:
            count = len(self.kept.earlier(self.settings.last_turns)[0])
            where = f"session {name}, {count} {'turn goes' if count == 1 else 'turns go'} along"
        self.aside(f"{self.settings.model}, {where}. /help, or Ctrl-D to leave.")
        self.show_last()

    def show_last(self) -> None:
        """The last turn of the session, what is long of it shortened."""
        turn = self.kept.last()
        if turn is None:
            return
        you, ai = prompts(self.settings, self.env.environ)
        question = turn.question.strip("\n").split("\n")
        answer = turn.answer.strip("\n").split("\n")
        if len(question) > _QUESTION_LINES:
            question = [*question[:_QUESTION_LINES], "[…]"]
        if len(answer) > _ANSWER_LINES:
            answer = ["[…]", *answer[-_ANSWER_LINES:]]
        self._cite_aside(visible("\n".join([you + question[0], *question[1:]])))
        self._cite_aside(visible("\n".join([ai + answer[0], *answer[1:]])))
        if not turn.is_context:
            self.aside(_CUT if turn.answer.strip() else "It was not answered; /retry asks again.")


class Without:
    """Where turns are kept, some of them not going along. `asked_id`: of the turn that began."""

    def __init__(self, kept: Kept, turn_ids: tuple[str, ...]) -> None:
        self._kept = kept
        self._turn_ids = turn_ids
        self.name = kept.name
        self.asked_id = ""

    def begin(self) -> TurnWriter:
        writer = self._kept.begin()
        self.asked_id = writer.id
        return writer

    def earlier(self, last_turns: int) -> tuple[list[Turn], str | None]:
        """As ever, less those."""
        turns, system = self._kept.earlier(last_turns + len(self._turn_ids))
        turns = [turn for turn in turns if turn.id not in self._turn_ids]
        return turns[-last_turns:] if last_turns else [], system
