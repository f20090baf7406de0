"""One request of a batch, from its body to its terminal event: the work of one worker.

A worker asks once and says what came of it. Whether it is asked again, when, and where the record
goes, is the run's business: so workers may be anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pipechat.client.advice import advise
from pipechat.client.async_exchange import AsyncSender, read_response
from pipechat.client.deadlines import Deadlines, Limits
from pipechat.client.exchange import Request
from pipechat.client.reading import ResponseReading
from pipechat.errors import PipechatError, as_ours
from pipechat.events import Chunk, Event, TerminalEvent, Told
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted, make_reducer
from pipechat.wire.dialect import dialect_of

Show = Callable[[Event], None]


class Job(NamedTuple):
    """One request, by the dialect `api`. `own_parameters`: those that nobody asked for by name.
    `timeout_s`: what is left of the item's time, None for no limit."""

    api: str
    body: Mapping[str, Any]
    own_parameters: tuple[str, ...]
    timeout_s: float | None


class Asked(NamedTuple):
    """What came of a job: its terminal event, why it is not complete, what the server said of its
    limits, the API that was asked, and what became known of its cost."""

    terminal: TerminalEvent
    cause: PipechatError | None
    headers: Mapping[str, str]
    api: str | None = None
    told: Told = Told(sent=False)


class Worker(Protocol):
    """Whoever asks."""

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """Send one request. `show` takes the events of the answer as they come.

        Raises:
            WorkerLost: the worker is no more, and nobody knows what came of the request.
        """
        ...

    async def aclose(self) -> None: ...


class WorkerLostError(Exception):
    """A worker ended in the middle of a request."""


class LocalWorker:
    """Asks in this process, through `sender`."""

    def __init__(self, settings: Settings, sender: AsyncSender, wanted: Wanted | None) -> None:
        self._settings = settings
        self._sender = sender
        self._wanted = wanted
        self._whose: Mapping[str, Any] = {  # the same for all jobs, and made of several settings
            "host": settings.host,
            "by_way_of": settings.by_way_of,
            "secrets": settings.secrets,
        }

    async def ask(self, job: Job, show: Show | None = None) -> Asked:
        """As `Worker.ask`."""
        settings = self._settings
        reducer = make_reducer(settings, self._wanted)
        dialect = dialect_of(job.api)
        reading = ResponseReading(
            dialect,
            job.body,
            _deadlines(settings, job.timeout_s),
            reducer,
            own_parameters=job.own_parameters,
            **self._whose,
        )

        def take(chunk: Chunk) -> None:
            _show_all(reducer.feed(chunk), show)

        request = Request(dialect.path, job.body)
        try:
            await read_response(self._sender, request, reading, take)
            events = reducer.close()
        except PipechatError as error:
            advise(error, settings, dialect.path, job.body)
            events = reducer.fail(error)
        except Exception as error:
            events = reducer.fail(as_ours(error))
        _show_all(events[:-1], show)
        terminal = events[-1]
        assert isinstance(terminal, TerminalEvent)
        limits = _of_limits(reading.headers)
        return Asked(terminal, reducer.cause, limits, job.api, reading.told)

    async def aclose(self) -> None:
        await self._sender.aclose()


def failed_unasked(settings: Settings, error: PipechatError) -> Asked:
    """What comes of a job that nobody is asked any more."""
    [terminal] = make_reducer(settings).fail(error)
    assert isinstance(terminal, TerminalEvent)
    return Asked(terminal, error, {})


def _deadlines(settings: Settings, left_s: float | None) -> Deadlines:
    """Those of a request, of whose item's time `left_s` seconds are left."""
    total_s = settings.timeout_s if left_s is not None else None
    limits = Limits(total_s, settings.first_token_timeout_s, settings.idle_timeout_s)
    began = time.monotonic() - ((total_s or 0.0) - (left_s or 0.0))
    return Deadlines(limits, time.monotonic, began)


def _show_all(events: Sequence[Event], show: Show | None) -> None:
    if show is not None:
        for event in events:
            show(event)


def _of_limits(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-ratelimit-")}
