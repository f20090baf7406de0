"""The client: a request in the endpoint's dialect, its answer as steps.

Owns the way of one answer: its attempts, and the waits between them.
Who carries bytes is handed in as a Sender; knows no HTTP library and no SDK.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from pipechat.client.advice import advise
from pipechat.client.deadlines import Deadlines, Limits
from pipechat.client.exchange import Exchange, Request, Sender
from pipechat.client.reading import ResponseReading, Steps
from pipechat.client.request_form import MemoryOf, Refusals, RequestForm, told
from pipechat.client.retries import RetryPolicy
from pipechat.errors import PipechatError, TryLaterError
from pipechat.events import Again, Fallback, Judge, Retry, Step, Together
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import Settings
from pipechat.signals import LONGEST_WAIT_S
from pipechat.wire.dialect import dialect_of

if TYPE_CHECKING:  # a Protocol takes a tenth of a millisecond to make
    from typing import Protocol

    from pipechat.client.accounts import Accounts

    class Alternative(Protocol):
        """Who is asked where a client's tries all failed: `open` makes its client, told of the
        last failure and how many seconds of the turn are gone; None where it cannot be asked."""

        @property
        def name(self) -> str: ...
        def open(self, error: PipechatError, spent_s: float) -> ChatClient | None: ...


class ChatClient:
    """Sends requests with one set of settings, any number at once. It waits for the server in
    `waits`. `spent_s`: what of the turn's time was gone before it could ask. `tell` is told what
    a server refused that is asked for in another way; `memory` knows what it refused before, for a
    model; `heard` is told the model and the headers of each response; `alternatives` are asked, one
    after the other, where all tries failed for now; `accounts` keep account of what is sent."""

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        waits: AbstractContextManager[object] = nullcontext(),  # noqa: B008 — it holds nothing
        spent_s: float = 0.0,
        tell: Callable[[str], None] = lambda _: None,
        memory: MemoryOf | None = None,
        heard: Callable[[str, Mapping[str, str]], None] = lambda _, __: None,
        alternatives: Sequence[Alternative] = (),
        accounts: Accounts | None = None,
    ) -> None:
        self.tell = tell
        self.spent_s = spent_s
        self.settings = settings
        self.sender = sender
        self.waits = waits
        self.memory = memory
        self.heard = heard
        self.alternatives = alternatives
        self.accounts = accounts
        self.limits = Limits(
            settings.timeout_s, settings.first_token_timeout_s, settings.idle_timeout_s
        )

    @property
    def dialect_name(self) -> str:
        """The API that it begins with."""
        return dialect_of(self.settings.api).name

    def answer(self, request: ChatRequest, judge: Judge) -> AnswerInFlight:
        """The answer to `request`, which is sent when its steps are asked for. `judge` knows, of
        the steps so far, whether another attempt could double anything.

        Raises:
            PipechatError: the account says that it must not be sent.
        """
        return AnswerInFlight(self, request, judge)


class AnswerInFlight:
    """The steps of one answer: chunks, and the attempts on the way to them. Iterate once.

    Raises (iterating):
        PipechatError: what went wrong, as one of ours.
    """

    def __init__(self, client: ChatClient, request: ChatRequest, judge: Judge) -> None:
        self._client = client
        self._request = request
        self._alternatives = iter(client.alternatives)
        # A profile that names no model is asked for this one, which a chat may have changed.
        self._model, self._named_by = request.model, client.settings.origins.get("model")
        self._judge = judge
        started = time.monotonic() - client.spent_s
        client.spent_s = 0.0  # the turns after this one begin when they are asked
        self._deadlines = Deadlines(client.limits, time.monotonic, started)
        self._exchange: Exchange | None = None
        self._pause = SimpleQueue[None]()  # its put may be called from a signal handler
        self._cancelled: PipechatError | None = None
        self._form = _form(client, request)
        self._refusals: Refusals = []
        self._account = client.accounts.account if client.accounts is not None else None
        self._next: Request | None = self._begin()

    @property
    def api(self) -> str:
        """The API that is asked."""
        return self._form.dialect.name

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self._request.model

    def cancel(self, cause: PipechatError) -> None:
        """Make the iteration raise `cause`; may be called from a signal handler."""
        self._cancelled = cause
        self._pause.put(None)
        if self._exchange is not None:
            self._exchange.wake(cause)

    def __iter__(self) -> Iterator[Step]:
        policy = RetryPolicy(self._client.settings.retries)
        while True:
            asked = self._form.way
            try:
                yield from self._attempt()
                if not self._judge.may_send_again():
                    self._form.worked()
                return
            except PipechatError as error:
                if not self._judge.may_send_again():
                    raise
                again: Step | None
                if self._form.otherwise(self._request, error, asked):
                    self._refusals.append((asked, error))
                    again = Again()
                else:
                    again = self._retry(policy, error)
                if again is None:
                    again = self._turn_to_another(error)
                    policy = RetryPolicy(self._client.settings.retries)
                yield again
                if isinstance(again, Retry) and not self._client.settings.hurries:
                    self._rest(again.wait_s)
                try:
                    self._next = self._begin()
                except PipechatError as refusal:  # what was sent is what failed
                    self._client.tell(f"not asked again: {refusal.message}")
                    raise error from refusal

    def _retry(self, policy: RetryPolicy, error: PipechatError) -> Retry | None:
        """The next try at the same server, where one may help and there is the time."""
        if not isinstance(error, TryLaterError):
            return None
        wait = policy.wait_s(error)
        if wait is None or not self._deadlines.leave(wait):
            return None
        return Retry(policy.attempt, wait, error.status, error.code)

    def _turn_to_another(self, error: PipechatError) -> Fallback:
        """Ask the next alternative from now on. Raises `error` where there is none."""
        for each in self._alternatives if isinstance(error, TryLaterError) else ():
            spent_s = self._deadlines.spent_s()
            client = each.open(error, spent_s) if self._deadlines.leave(0) else None
            if client is not None:
                settings = client.settings
                names_one = settings.origins.get("model") != self._named_by
                self._client = client
                self._request = self._request._replace(
                    model=settings.model if names_one else self._model,
                    options=settings.options,
                    system_role=settings.system_role,
                )
                self._form, self._refusals = _form(client, self._request), []
                return Fallback(each.name, error.code)
        raise told(error, self._form.way, self._refusals)

    def _begin(self) -> Request:
        """The next request, which may be sent. Raises PipechatError where it must not be."""
        dialect, body = self._form.dialect, self._form.body(self._request)
        if self._account is not None:
            host = self._client.settings.ledger_host
            self._account.begin(host, dialect.name, self._request.model, body)
        return Request(dialect.path, body)

    def _attempt(self) -> Iterator[Together]:
        client = self._client
        request, self._next = self._next or self._begin(), None
        dialect, body = self._form.dialect, request.body
        self._exchange = exchange = Exchange(client.sender, request, client.waits)
        if self._cancelled is not None:
            exchange.wake(self._cancelled)
        reading = ResponseReading(
            dialect,
            body,
            self._deadlines,
            self._judge,
            host=client.settings.host,
            by_way_of=client.settings.by_way_of,
            secrets=client.settings.secrets,
            own_parameters=self._form.own_parameters(self._request),
            longest_wait_s=LONGEST_WAIT_S,
            heard=partial(client.heard, self._request.model),
        )
        if self._account is not None:
            self._account.going(lambda: reading.told)
        try:
            yield from _driven(reading.steps(), exchange)
        except PipechatError as error:
            advise(error, client.settings, dialect.path, body, "/model")  # of a chat
            raise
        finally:
            exchange.stop()

    def _rest(self, seconds: float) -> None:
        """Wait between two attempts, of which the first may have had no thread to begin in."""
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            if self._cancelled is not None:
                raise self._cancelled
            with suppress(Empty), self._client.waits:
                self._pause.get(timeout=min(left, LONGEST_WAIT_S))


def _form(client: ChatClient, request: ChatRequest) -> RequestForm:
    memory = client.memory(request.model) if client.memory is not None else None
    return RequestForm(client.settings, client.tell, memory)


def _driven(steps: Steps, exchange: Exchange) -> Iterator[Together]:
    """The chunks of a response that `exchange` carries."""
    with suppress(StopIteration):
        step = next(steps)
        while True:
            if isinstance(step, Together):
                yield step
                step = next(steps)
                continue
            try:
                item = exchange.next_item(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(item)
