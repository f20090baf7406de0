"""Senders that keep exchanges and play them again, around the sender that speaks to the network.

They stand below retries and deadlines, so that a refusal, a fault and a silence are in a
recording as they came. Know no file: what is read and appended is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event, Lock

from pipechat.client.exchange import Request, Response, Segments, Sender
from pipechat.client.near_request import difference, nearest
from pipechat.client.recording import (
    CLOSED,
    FAULT,
    STOPPED,
    End,
    Recorded,
    content_key,
    fault_of,
    masked,
)
from pipechat.errors import PipechatError, SetupError


class RecordingSender:
    """Sends through another, and appends each exchange when it is over.

    A response that is given up, once the answer is whole or a deadline has passed, is kept as
    far as it came. A request that is given up before its response, or by a signal, is not.

    Args:
        append: adds a block of lines to the recording; raises PipechatError where it cannot.
        secrets: what must not stand in it.
    """

    def __init__(
        self, sender: Sender, append: Callable[[bytes], None], secrets: Sequence[str]
    ) -> None:
        self._sender = sender
        self._append = append
        self._secrets = secrets

    def send(self, request: Request) -> Response:
        """As `Sender.send`."""
        tape = _Tape(request, lambda recorded: self._append(recorded.block(self._secrets)))
        try:
            response = self._sender.send(request)
        except PipechatError as error:
            tape.fail(error)
            raise
        tape.begin(response)

        def abort() -> None:
            tape.end(STOPPED)  # first: what is aborted looks like a fault
            response.abort()

        return response._replace(segments=tape.through(response.segments), abort=abort)


class _Tape:
    """One exchange as it goes on; `keep` gets it once, at its end."""

    def __init__(self, request: Request, keep: Callable[[Recorded], None]) -> None:
        self._request = request
        self._keep = keep
        self._began = time.monotonic()
        self._response: Response | None = None
        self._at_s = 0.0
        self._segments: list[tuple[float, bytes]] = []
        self._lock = Lock()
        self._ended = False
        self._failure: PipechatError | None = None

    def begin(self, response: Response) -> None:
        """The headers are there."""
        self._response = response
        self._at_s = self._now()

    def through(self, segments: Segments) -> Segments:
        """The segments, each noted as it passes."""
        try:
            with closing(segments):
                for segment in segments:
                    self._segments.append((self._now(), segment))
                    yield segment
        except PipechatError as error:
            self.fail(error)
            raise
        self.end(CLOSED)

    def fail(self, error: PipechatError) -> None:
        """It ended with `error`."""
        self._end(fault_of(error, self._now()))

    def end(self, kind: str) -> None:
        """It ended in another way. Raises what kept it from being kept, however often it is
        called: of the turn and its thread, only one is still listened to."""
        self._end(End(kind, self._now()))

    def _end(self, end: End) -> None:
        with self._lock:  # the turn gives it up while its thread still reads
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            self._ended = True
            response = self._response
            recorded = Recorded(
                self._request,
                None if response is None else response.status,
                {} if response is None else response.headers,
                self._at_s,
                list(self._segments),
                end,
            )
            try:
                self._keep(recorded)
            except PipechatError as error:
                self._failure = error
                raise

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 3)


class ReplaySender:
    """Answers requests from a recording, each with what it was answered with.

    The same request sent again gets what it got then, in its order; what came last is repeated.

    Args:
        name: what messages call the recording.
        otherwise: who sends what is not recorded; None: it is an error.
        paced: whether everything takes as long as it took. A silence is always as long as the
            turn's deadlines let it be.
        secrets: what was blotted out when it was recorded, as far as it is known.
    """

    def __init__(
        self,
        name: str,
        recorded: Sequence[Recorded],
        *,
        otherwise: Sender | None,
        paced: bool,
        secrets: Sequence[str],
    ) -> None:
        self._name = name
        self._recorded = recorded
        self._otherwise = otherwise
        self._paced = paced
        self._secrets = secrets
        self._lock = Lock()
        self._waiting: dict[tuple[str, bytes], list[Recorded]] = {}
        for each in recorded:
            self._waiting.setdefault(content_key(each.request, secrets), []).append(each)

    def send(self, request: Request) -> Response:
        """As `Sender.send`.

        Raises:
            SetupError: `not_recorded`, with what the nearest request has otherwise.
        """
        with self._lock:
            waiting = self._waiting.get(content_key(request, self._secrets))
            found = None
            if waiting is not None:
                found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if found is not None:
            return self._played(found)
        if self._otherwise is not None:
            return self._otherwise.send(request)
        raise self._not_recorded(request)

    def _played(self, recorded: Recorded) -> Response:
        began = time.monotonic()
        stopped = Event()

        def wait(at_s: float) -> None:
            if self._paced:
                stopped.wait(max(0.0, began + at_s - time.monotonic()))

        def segments() -> Segments:
            for at_s, segment in recorded.segments:
                wait(at_s)
                yield segment
            if recorded.end.kind == STOPPED:
                stopped.wait()  # nobody knows what would have come
            wait(recorded.end.at_s)
            if recorded.end.kind == FAULT:
                raise recorded.end.error()

        wait(recorded.at_s)
        if recorded.status is None:
            raise recorded.end.error()
        headers = recorded.headers
        return Response(recorded.status, headers, segments(), stopped.set, played=True)

    def _not_recorded(self, request: Request) -> SetupError:
        message = f"the request is not in {self._name}"
        near = nearest(request, [each.request for each in self._recorded])
        if near is not None:
            at = self._recorded[near]
            what = difference(at.request, request)
            message += f"; the nearest there, in line {at.line}, differs: {what}"
            message = masked(message.encode("utf-8", "replace"), self._secrets).decode()
        return SetupError("not_recorded", message, "Record it with --record FILE.")
