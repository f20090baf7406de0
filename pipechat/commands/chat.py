"""`pipechat chat`: the tutorial's loop, on the same turns as `ask`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import typer

from pipechat.commands import options as opt
from pipechat.commands.loading import blaming, load_settings
from pipechat.commands.wiring import (
    TellingSink,
    end_by_signal,
    make_client,
    open_keeper,
    report,
    usage_line,
)
from pipechat.environment import Environment
from pipechat.errors import ExitCode, PipechatError, UsageError
from pipechat.events import Event, Sink, Start
from pipechat.settings.resolve import Settings
from pipechat.show.sinks import OnceBroken, make_sink
from pipechat.signals import TurnSignals, interruptible
from pipechat.turn.conversation import Answer, Conversation
from pipechat.turn.prompt import Question, compose_question
from pipechat.turn.run import TurnRun

RULE = "-" * 10
QUIT = "QUIT"
_PROMPTS = {"zh": ("问：", "答：")}
_OTHER_PROMPTS = ("You: ", "AI: ")


@opt.with_options("chat")
def chat(
    context: typer.Context,
    **given: Any,
) -> int:
    """Talk to the model, question by question; QUIT or Ctrl-D leaves.

    Ctrl-C stops an answer, keeps what came, and goes on. Without --session the conversation is
    forgotten at the end. From a pipe, every line is a question, and the exit status is that of
    the last turn that failed.
    """
    env: Environment = context.obj
    settings = load_settings(env, given, "chat")
    env.stdout.check_open()
    with blaming(settings, "session"):
        keeper = open_keeper(env, settings.session)
    client = make_client(env, settings)

    def guard(run: TurnRun, answer: Answer) -> AbstractContextManager[object]:
        return TurnSignals(env.waits, lambda cause: end_by_signal(env, run, cause), answer.cancel)

    conversation = Conversation(settings, keeper, client, guard)
    return _loop(env, settings, conversation)


def _loop(env: Environment, settings: Settings, conversation: Conversation) -> int:
    you, ai = _prompts(settings, env.environ)
    status = 0
    for line in _lines(env, you, settings.max_input_bytes, lossy=settings.lossy):
        if line.strip() == QUIT:
            break
        if not line.strip():
            continue
        sink: Sink = make_sink(env.stdout, "text", raw=settings.raw)
        if env.stdin.is_terminal:
            sink = _PromptSink(env, sink, ai)
        status = _turn(env, settings, conversation, line, OnceBroken(sink)) or status
        env.stdout.write(f"{RULE}\n".encode())
    env.stdout.write(b"Bye!\n")
    return 0 if env.stdin.is_terminal else status


def _turn(
    env: Environment, settings: Settings, conversation: Conversation, line: str, sink: Sink
) -> int:
    """One turn; a failure is a line on stderr, and its exit status."""
    if env.verbose:
        sink = TellingSink(env, sink)
    try:
        terminal, cause = conversation.ask(Question(compose_question([line], None)), sink)
    except PipechatError as error:
        report(env, error)
        return int(error.exit_code)
    if cause is not None:
        if cause.exit_code in (ExitCode.READER_LEFT, ExitCode.OUTPUT):
            raise cause  # and is told there
        report(env, cause)
    if settings.usage:
        env.stderr.note(usage_line(terminal))
    return int(terminal.exit_code)


def _lines(env: Environment, prompt: str, limit: int, *, lossy: bool) -> Iterator[str]:
    """Questions: typed at the prompt, or the lines of a pipe."""
    if not env.stdin.is_terminal:
        yield from env.stdin.lines(limit, lossy=lossy)
        return
    while True:
        try:
            with interruptible():
                line = env.stdin.ask_line(prompt, lossy=lossy)
        except KeyboardInterrupt:
            env.stdout.write(b"\n")  # as in a shell: the line is given up, not the program
            continue
        except UsageError as error:
            if error.code != "not_utf8":
                raise
            report(env, error)  # a key that is no text is no reason to leave
            continue
        if line is None:
            env.stdout.write(b"\n")
            return
        yield line


def _prompts(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """The prompts of the config file, else those of the user's language (POSIX: LC_ALL is
    stronger than LC_MESSAGES, and that than LANG)."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    language = next((environ[name] for name in names if environ.get(name)), "")
    you, ai = _PROMPTS.get(language[:2].lower(), _OTHER_PROMPTS)
    return settings.user_prompt or you, settings.assistant_prompt or ai


class _PromptSink:
    """Writes the model's prompt before its first words."""

    def __init__(self, env: Environment, sink: Sink, prompt: str) -> None:
        self._env = env
        self._sink = sink
        self._prompt = prompt

    def emit(self, event: Event) -> None:
        if isinstance(event, Start):
            self._env.stdout.write(self._prompt.encode())
        self._sink.emit(event)
