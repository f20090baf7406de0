"""--schema and --extract: what the answer has to be, and asking again where it is not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pipechat.answers.wanted import WantedAnswer
from pipechat.client.chat_client import ChatClient
from pipechat.commands.loading import read_named_file
from pipechat.environment import Environment
from pipechat.errors import ExitCode, PipechatError, UsageError
from pipechat.events import End, Error, Event, Retry, Sink, TerminalEvent
from pipechat.messages import Message
from pipechat.settings.resolve import Settings
from pipechat.text import visible_line
from pipechat.turn.conversation import Conversation
from pipechat.turn.prompt import Question, corrections_of


def read_wanted(env: Environment, settings: Settings) -> WantedAnswer | None:
    """What the options want of the answer; None: nothing but text.

    Raises:
        UsageError: the schema is none, or the options do not go together.
    """
    if settings.schema is None:
        return WantedAnswer(extract=settings.extract) if settings.extract else None
    origin = settings.origins["schema"]
    if "response_format" in settings.options:
        message = f"response_format is said twice, by {origin} and by the options"
        raise UsageError("bad_option", message, "Leave -O response_format out.")
    from pipechat.answers.schema import read_schema
    from pipechat.answers.validation import compile_schema

    try:
        schema = read_schema(settings.schema, lambda path: read_named_file(settings, path))
        wanted = WantedAnswer(compile_schema(schema), settings.extract, settings.schema_mode)
    except UsageError as error:
        hint = error.hint
        if os.path.isfile(settings.schema):
            hint = f"{visible_line(settings.schema)} is a file: write @{settings.schema}."
        raise UsageError(error.code, f"{origin}: {error.message}", hint) from error
    if wanted.why_not_strict and settings.schema_mode == "auto" and env.verbose:
        env.stderr.note(f"the schema is not asked for strictly: {wanted.why_not_strict}")
    return wanted


def ask_until_it_matches(
    settings: Settings, conversation: Conversation, client: ChatClient, asked: Question, sink: Sink
) -> tuple[TerminalEvent, PipechatError | None]:
    """As `Conversation.ask`; where the answer does not match, it is asked again, told what is
    wrong, as often as --schema-retries and as long as --timeout allow."""
    began = time.monotonic() - client.spent_s

    def in_time() -> bool:
        limit = settings.timeout_s
        return limit is None or time.monotonic() - began < limit

    tries = _TriesSink(sink, settings.schema_retries, in_time)
    corrections: list[Message] = []
    while True:
        terminal, cause = conversation.ask(asked._replace(corrections=corrections), tries)
        if not tries.asks_again or cause is None:
            return terminal, cause
        corrections += corrections_of(terminal.answer, cause)
        client.spent_s = time.monotonic() - began
        tries.asks_again = False


class _TriesSink:
    """Holds the events of a try back until it is clear that it is the last one: the chunks of an
    event stream are those of one answer."""

    def __init__(self, sink: Sink, retries: int, in_time: Callable[[], bool]) -> None:
        self._sink = sink
        self._retries = retries
        self._in_time = in_time
        self._told: list[Event] = []
        self._held: list[Event] = []
        self.asks_again = False

    def emit(self, *events: Event) -> None:
        self._held += events
        event = events[-1]
        if not isinstance(event, End | Error):
            return
        mismatch = isinstance(event, Error) and event.exit_code == ExitCode.MISMATCH
        if mismatch and len(self._told) < self._retries and self._in_time():
            assert isinstance(event, Error)
            self._told.append(Retry(len(self._told) + 1, 0.0, None, event.code))
            self._held.clear()
            self.asks_again = True
            return
        first, *others = self._held
        for each in (first, *self._told, *others):
            self._sink.emit(each)
