"""Server-sent events: bytes in, data payloads out. Pure; knows neither JSON nor sockets.

Rules (WHATWG HTML §9.2.6, and WIRE.md for what servers make of it):
- lines end at CR, LF or CRLF and nowhere else (not at U+2028, U+2029, U+0085);
- a BOM at the start is stripped; comments and unknown fields are passed over;
- an event without data is no event;
- a field `error:`, which one server puts beside or instead of `data:`, is an event of that name;
- how the bytes were cut into segments does not matter.
"""

from typing import NamedTuple

from pipechat.errors import TryLaterError

MAX_EVENT_BYTES = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event: its `data` lines joined by LF, as bytes, and its name ("" where it has none)."""

    data: bytes
    name: str = ""


class SSEDecoder:
    """Feed it segments as they come; `close` gives what a missing last newline held back."""

    def __init__(self) -> None:
        self._held: list[bytes] = []  # the unfinished line, in pieces: joined once, when it ends
        self._held_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._after_cr = False
        self._at_start = True

    def feed(self, segment: bytes) -> list[ServerEvent]:
        """Events that `segment` completes.

        Raises:
            TryLaterError: `malformed_stream`, an event larger than `MAX_EVENT_BYTES`.
        """
        if self._after_cr and segment:
            # A CRLF cut in the middle: its CR has ended the line already.
            self._after_cr = False
            segment = segment.removeprefix(b"\n")
        if b"\r" in segment:
            self._after_cr = segment.endswith(b"\r")
            segment = segment.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in segment:
            self._hold(segment)
            return []
        lines = segment.split(b"\n")
        if self._held:
            self._held.append(lines[0])
            lines[0] = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        self._hold(lines.pop())
        return self._take(lines)

    def close(self) -> list[ServerEvent]:
        """The event that the end of the stream completes, if any: a list of none or one."""
        lines = [b"".join(self._held), b""]
        self._held.clear()
        return self._take(lines)

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._held.append(rest)
            self._held_bytes += len(rest)
            self._check_size()

    def _check_size(self) -> None:
        if self._held_bytes + self._data_bytes > MAX_EVENT_BYTES:
            limit = MAX_EVENT_BYTES // (1024 * 1024)
            message = f"the server sent an event larger than {limit} MiB"
            raise TryLaterError("malformed_stream", message, again=False)

    def _take(self, lines: list[bytes]) -> list[ServerEvent]:
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[ServerEvent] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
                self._data_bytes += len(line)
                self._check_size()
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    if data and not data.isspace():
                        events.append(ServerEvent(data, self._name))
                    self._data.clear()
                    self._data_bytes = 0
                self._name = ""
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("utf-8", "replace")
            elif line.startswith(b"error:"):
                events.append(ServerEvent(line[6:].strip(), "error"))
        return events
