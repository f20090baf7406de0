"""What was tried of one item: what is asked next, in which way, since when, and what it took."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from pipechat.batch.accounts import ItemAccount
from pipechat.batch.asking import Asked, Show
from pipechat.client.request_form import Refusals, Way, told
from pipechat.client.retries import RetryPolicy
from pipechat.errors import ExitCode
from pipechat.events import Error, Event
from pipechat.messages import ChatRequest, Usage
from pipechat.settings.resolve import Settings
from pipechat.turn.prompt import corrections_of


class Answered(NamedTuple):
    """What came of an item: the last of its requests, with the tokens of all its answers; how
    many requests there were; whether its answer was corrected; the account of it, which is to be
    closed once the answer is safe."""

    asked: Asked
    attempts: int
    corrected: bool
    account: ItemAccount | None = None


class Tries:
    """What an item is asked next, and in which way it was, since when, and what it took so far.

    `show`: takes the events of its answer, where somebody looks: those of one answer alone.
    `account`: of its requests.
    """

    def __init__(
        self,
        request: ChatRequest,
        settings: Settings,
        show: Show | None,
        account: ItemAccount | None,
    ) -> None:
        self.request = request
        self.account = account
        self.way = Way("")
        self._shown = show
        self._held: list[Event] = []
        may_correct = settings.schema is not None and settings.schema_retries > 0
        self.show = self._held.append if show is not None and may_correct else show
        self.policy = RetryPolicy(settings.retries)
        self.count = 0
        self.corrections = 0
        self._began = time.monotonic()
        self._limit_s = settings.timeout_s
        self._tokens: Counter[str] = Counter()
        self.refusals: Refusals = []

    def left_s(self) -> float | None:
        """Seconds that are left of the item's time; None: it has no end."""
        limit_s = self._limit_s
        return None if limit_s is None else limit_s - (time.monotonic() - self._began)

    def leaves(self, seconds: float) -> bool:
        """Whether there is time left after so many seconds."""
        left_s = self.left_s()
        return left_s is None or left_s > seconds

    def correct(self, asked: Asked) -> None:
        """Ask for the same again, told what is wrong with the answer."""
        assert asked.cause is not None
        self._tokens.update(_counts(asked.terminal.usage))
        self._held.clear()
        self.corrections += 1
        more = corrections_of(asked.terminal.answer, asked.cause)
        self.request = self.request._replace(messages=[*self.request.messages, *more])

    def stay_with(self, asked: Asked) -> None:
        """It cannot be asked again: `asked` stands, as if nothing had been corrected in it."""
        if asked.terminal.exit_code == ExitCode.MISMATCH:
            self._tokens.subtract(_counts(asked.terminal.usage))
            self.corrections -= 1

    def answered(self, asked: Asked) -> Answered:
        """`asked` stands."""
        if self._shown is not None:
            for event in self._held:
                self._shown(event)
        terminal = asked.terminal
        if self.refusals and asked.cause is not None and isinstance(terminal, Error):
            cause = told(asked.cause, self.way, self.refusals)
            terminal = replace(terminal, code=cause.code, message=cause.message)
            asked = asked._replace(terminal=terminal, cause=cause)
        if self._tokens:
            self._tokens.update(_counts(terminal.usage))
            usage = {**(terminal.usage or {}), **self._tokens}
            asked = asked._replace(terminal=replace(terminal, usage=usage))
        return Answered(asked, self.count, self.corrections > 0, self.account)


def _counts(usage: Usage | None) -> dict[str, int]:
    return {name: value for name, value in (usage or {}).items() if type(value) is int}
