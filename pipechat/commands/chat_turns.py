"""The turns of `chat`: each asked, told where its events go, guarded against signals."""

from __future__ import annotations

from contextlib import AbstractContextManager

from pipechat.chat.interrupts import Interrupts
from pipechat.chat.talk import Asked, Kept, OutputGone, Talk, prompts
from pipechat.commands.reporting import report, usage_line
from pipechat.commands.showing import answer_sink, telling_waits
from pipechat.commands.stores import open_keeper
from pipechat.commands.telling import TellingSink
from pipechat.commands.wiring import end_by_signal
from pipechat.environment import Environment
from pipechat.errors import ExitCode, PipechatError
from pipechat.events import Error, Event, Fallback, Sink, Start, TextChunk
from pipechat.ledger.account import Accounts
from pipechat.settings.resolve import Settings
from pipechat.show.sinks import OnceBroken
from pipechat.show.width import width
from pipechat.turn.conversation import Answer, Answers, Conversation, Keeper
from pipechat.turn.prompt import Question, compose_question
from pipechat.turn.run import TurnRun

RULE = "-" * 10
QUIT = "QUIT"


def converse(
    env: Environment, settings: Settings, kept: Kept, client: Answers, accounts: Accounts | None
) -> int:
    """Talk until somebody leaves, or the pipe ends; the exit status."""
    asking = Asking(env, client, accounts)
    try:
        status = _converse(env, settings, kept, asking)
    except OutputGone as gone:
        raise gone.cause from None
    env.stdout.write(b"Bye!\n")
    return status


def _converse(env: Environment, settings: Settings, kept: Kept, asking: Asking) -> int:
    if not env.stdin.is_terminal:
        return _answer_lines(env, settings, kept, asking)
    from pipechat.chat.loop import converse

    with asking.interrupts:
        converse(Talk(env, settings, kept, asking))
    return 0


def _answer_lines(env: Environment, settings: Settings, kept: Kept, asking: Asking) -> int:
    """Every line of a pipe is a question, whatever it begins with; QUIT alone ends them."""
    status = 0
    for line in env.stdin.lines(settings.max_input_bytes, lossy=settings.lossy):
        if line.strip() == QUIT:
            break
        if line.strip():
            status = asking.ask(settings, kept, line).status or status
    return status


class Asking:
    """Asks the model of these settings; a failure is a line on stderr."""

    def __init__(self, env: Environment, client: Answers, accounts: Accounts | None = None) -> None:
        self._env = env
        self._client = client
        self._keeping = accounts.keeping if accounts is not None else None
        self.interrupts = Interrupts(env.waits)

    def ask(self, settings: Settings, kept: Keeper, text: str) -> Asked:
        """One turn, and the rule behind it.

        Raises:
            OutputGone: stdout cannot be written any more.
        """
        conversation = Conversation(
            settings, kept, self._client, self._guard, keeping=self._keeping
        )
        asked = self._turn(settings, conversation, text)
        try:
            self._env.stdout.write(f"{RULE}\n".encode())
        except PipechatError as error:
            raise OutputGone(error) from error
        return asked

    def _turn(self, settings: Settings, conversation: Conversation, text: str) -> Asked:
        question = Question(compose_question([text], None))
        try:
            terminal, cause = conversation.ask(question, self._sink(settings))
        except PipechatError as error:
            report(self._env, error)
            return Asked(int(error.exit_code), None)
        if cause is not None:
            if cause.exit_code in (ExitCode.READER_LEFT, ExitCode.OUTPUT):
                raise OutputGone(cause)  # and is told there
            report(self._env, cause)
        if settings.usage:
            self._env.stderr.note(usage_line(terminal))
        return Asked(int(terminal.exit_code), terminal)

    def _sink(self, settings: Settings) -> Sink:
        """Where the events of a turn go."""
        at_terminal = self._env.stdin.is_terminal
        prompt = prompts(settings, self._env.environ)[1] if at_terminal else ""
        sink = answer_sink(self._env, settings, "text", column=width(prompt))
        if at_terminal:
            sink = _PromptSink(self._env, sink, prompt)
        sink = OnceBroken(sink)
        if self._env.verbose:
            sink = TellingSink(self._env, sink)
        return telling_waits(self._env, settings, sink)

    def _guard(self, run: TurnRun, answer: Answer) -> AbstractContextManager[object]:
        return self.interrupts.during_turn(
            lambda cause: end_by_signal(self._env, run, cause), answer.cancel
        )

    def open(self, session: str) -> Kept:
        return open_keeper(self._env, session)

    def at_prompt(self) -> None:
        self.interrupts.forget()

    def report(self, error: PipechatError) -> None:
        report(self._env, error)


class _PromptSink:
    """Writes the model's prompt before its first words, again where a line that told who is asked
    instead stands in between, and ends its line where none come."""

    def __init__(self, env: Environment, sink: Sink, prompt: str) -> None:
        self._env = env
        self._sink = sink
        self._prompt = prompt
        self._is_bare = False

    def emit(self, *events: Event) -> None:
        for event in events:
            is_told = isinstance(event, Fallback) and not self._env.quiet
            if isinstance(event, Start) or is_told:
                self._env.stdout.write(self._prompt.encode())
                self._is_bare = True
            elif isinstance(event, TextChunk):
                self._is_bare = False
            elif isinstance(event, Error) and self._is_bare:
                self._env.stdout.write(b"\n")
        self._sink.emit(*events)
