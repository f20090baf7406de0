"""Where events go: text for people and pipes, NDJSON and JSON for programs.

A sink is handed its output and knows no client and no session. The event schema that NDJSON
writes stands in `events.py`; `pipechat schema event` prints it.
"""

from typing import Protocol

from pipechat import jsonl
from pipechat.errors import OutputError, ReaderLeft
from pipechat.events import End, Error, Event, Sink, text_of
from pipechat.text import visible, visible_json


class Writable(Protocol):
    """What a sink writes to."""

    is_terminal: bool

    def write(self, data: bytes) -> None: ...
    def end_line(self) -> None: ...


class TextSink:
    """The answer and nothing else, each chunk the moment it comes; those that come together are
    written together.

    Into a pipe or a file the bytes are the model's; on a terminal control characters are shown,
    unless `raw`. A whole answer ends with a newline.
    """

    def __init__(self, out: Writable, *, raw: bool = False) -> None:
        self._out = out
        self._clean = out.is_terminal and not raw

    def emit(self, *events: Event) -> None:
        event = events[-1]
        if text := text_of(events):
            text = visible(text) if self._clean else text
            self._out.write(text.encode())
        elif self._out.is_terminal and isinstance(event, End | Error):
            self._out.end_line()  # unless a message has, in between
        elif isinstance(event, End) and not event.answer.endswith("\n"):
            self._out.write(b"\n")


class ExtractSink:
    """What was asked for of the answer (--schema, --extract), once it is whole and as wanted."""

    def __init__(self, out: Writable, *, raw: bool = False) -> None:
        self._out = out
        self._clean = out.is_terminal and not raw

    def emit(self, *events: Event) -> None:
        event = events[-1]
        if isinstance(event, End):
            text = event.extracted or ""
            text = visible(text) if self._clean else text
            self._out.write((text if text.endswith("\n") else text + "\n").encode())


class NdjsonSink:
    """Every event the moment it comes, one JSON object a line; lines of events that come together
    are written together."""

    def __init__(self, out: Writable, *, raw: bool = False) -> None:
        self._out = out
        self._clean = out.is_terminal and not raw

    def emit(self, *events: Event) -> None:
        # Each is let go before the next is made: to keep them until they are joined takes, of
        # events of 300 chunks, four times as long.
        lines = bytearray()
        for event in events:
            line = jsonl.dumps(event.record())
            lines += visible_json(line.decode()).encode() if self._clean else line
            lines += b"\n"
        self._out.write(bytes(lines))


class JsonSink(NdjsonSink):
    """The terminal event alone."""

    def emit(self, *events: Event) -> None:
        if isinstance(events[-1], End | Error):
            super().emit(*events)


class OnceBroken:
    """Gives a sink up after its first failure, so that the terminal event does not fail again."""

    def __init__(self, sink: Sink) -> None:
        self._sink: Sink | None = sink

    def emit(self, *events: Event) -> None:
        if self._sink is None:
            return
        try:
            self._sink.emit(*events)
        except (OutputError, ReaderLeft):
            self._sink = None
            raise


def make_sink(
    out: Writable, output_format: str, *, raw: bool = False, extract: bool = False
) -> Sink:
    """The sink for `text`, `json` or `ndjson`; as text, with `extract`, for what is extracted."""
    if output_format == "ndjson":
        return NdjsonSink(out, raw=raw)
    if output_format == "json":
        return JsonSink(out, raw=raw)
    return ExtractSink(out, raw=raw) if extract else TextSink(out, raw=raw)
