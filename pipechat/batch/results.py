"""A result of the provider's batch as a turn: read and judged as an answer that came by itself.

Pure: a line of the output file or of the error file in, a record out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipechat import jsonl
from pipechat.batch.job_files import KeptItem
from pipechat.batch.seen import BatchError
from pipechat.client.deadlines import Deadlines, Limits
from pipechat.client.exchange import Response, in_one
from pipechat.client.reading import Item, ResponseReading, cleaned
from pipechat.errors import PipechatError, TryLaterError, as_ours
from pipechat.events import Chunk, TerminalEvent, Together, Told
from pipechat.messages import ChatRequest, Turn
from pipechat.settings.resolve import Settings
from pipechat.turn.context import Context
from pipechat.turn.conversation import Prepared, Wanted, make_reducer
from pipechat.turn.reducer import TurnReducer
from pipechat.wire.api_errors import stream_error
from pipechat.wire.chat_completions import ChatCompletions

_OUR_WORDS = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Results:
    """Makes turns of the results of one part.

    Args:
        wanted: what its answers have to be.
        model, sent: of all its items; `sent` is when they were (RFC 3339).

    `told`: what became known of the cost of the result that was read last.
    """

    def __init__(self, settings: Settings, wanted: Wanted | None, model: str, sent: str) -> None:
        self._settings = settings
        self._wanted = wanted
        self._model = model
        self._sent = sent
        self._dialect = ChatCompletions()
        self.told = Told()

    def turn(self, item: KeptItem, result: Mapping[str, Any]) -> Turn:
        """The turn that `result`, a line of either file, makes of `item`."""
        reducer = make_reducer(self._settings, self._wanted)
        try:
            for chunk in self._chunks(result, reducer):
                reducer.feed(chunk)
            events = reducer.close()
        except PipechatError as error:
            error.message = cleaned(error.message, self._settings.secrets)
            events = reducer.fail(error)
        except Exception as error:
            events = reducer.fail(as_ours(error))
        terminal = events[-1]
        assert isinstance(terminal, TerminalEvent)
        return self._kept(item, terminal)

    def failed(self, item: KeptItem, why: BatchError) -> Turn:
        """The turn of an item that has no result."""
        reducer = make_reducer(self._settings, self._wanted)
        message = cleaned(why.message, self._settings.secrets)
        terminal = reducer.fail(TryLaterError(_word(why.code) or "batch_failed", message))[-1]
        assert isinstance(terminal, TerminalEvent)
        return self._kept(item, terminal)

    def _kept(self, item: KeptItem, terminal: TerminalEvent) -> Turn:
        hashed = self._wanted.schema_hash if self._wanted is not None else None
        head = Turn(
            id=item.turn,
            time=self._sent,
            status="partial",
            model=self._model,
            system=item.system,
            question=item.question,
            answer="",
            request=item.hash,
            schema={"sha256": hashed, "matched": None} if hashed else None,
        )
        request = ChatRequest(self._model, ())
        turn = Prepared(head, Context((), 0), request).turn(terminal, self._dialect.name)
        # How long the provider took for it, nobody knows.
        return replace(turn, item=item.item, attempts=1, first_token_s=None, total_s=None)

    def _chunks(self, result: Mapping[str, Any], reducer: TurnReducer) -> Iterator[Chunk]:
        response, error = result.get("response"), result.get("error")
        self.told = Told(refused=True)
        if not isinstance(response, Mapping) or (error and not response.get("body")):
            raise self._why_not(error)
        body = response.get("body")
        data = body.encode() if isinstance(body, str) else jsonl.dumps(body)
        request_id = response.get("request_id")
        headers = {"content-type": "application/json"}
        if isinstance(request_id, str) and request_id:
            headers["x-request-id"] = request_id
        said = response.get("status_code")
        # Without one the body says what it is: an answer, or an error.
        status = said if isinstance(said, int) and said >= 200 else 200
        carried = Response(status, headers, in_one(b""))
        reading = ResponseReading(
            self._dialect,
            {},
            Deadlines(Limits(None, None, None), time.monotonic),
            reducer,
            host=self._settings.host,
            secrets=self._settings.secrets,
            own_parameters=(),
        )
        try:
            yield from _read(reading, (carried, data, None))
        finally:
            self.told = reading.told

    def _why_not(self, error: object) -> PipechatError:
        """The error for a result without an answer, under the provider's own word for it."""
        if not error:
            return TryLaterError("no_result", "the result holds neither an answer nor an error")
        found = stream_error(error, host=self._settings.host)
        word = _word(error.get("code")) if isinstance(error, Mapping) else None
        found.code = word or found.code
        return found


def _read(reading: ResponseReading, items: tuple[Item, ...]) -> Iterator[Chunk]:
    """The chunks of a response that is there as a whole."""
    steps = reading.steps()
    left = iter(items)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Together):
                yield from step.chunks
                step = next(steps)
            else:
                step = steps.send(next(left, None))
    except StopIteration:
        return


def _word(code: object) -> str | None:
    """The code as records have it; None where it is no word."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    return _OUR_WORDS.get(code, code)
