"""What stands in a file of --record: exchanges as lines of JSON that people read and diff. Pure.

An exchange is a block of lines: the request, the response's status and headers, its body's
segments with their times, and how it ended. Keys, cookies, organizations and hosts are not in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipechat import jsonl
from pipechat.client.exchange import Request
from pipechat.errors import NetworkError, PipechatError, RefusedError, SetupError, TryLaterError
from pipechat.text import is_secret

CLOSED, STOPPED, FAULT = "closed", "stopped", "fault"
# The headers that an answer is judged by.
_HEADERS = ("content-type", "retry-after", "retry-after-ms", "x-request-id")
_LONGEST_S = 1e9
_FAULTS: dict[str, type[PipechatError]] = {
    "network": NetworkError,
    "try_later": TryLaterError,
    "setup": SetupError,
    "refused": RefusedError,
}


@dataclass(frozen=True, slots=True)
class End:
    """How an exchange ended, `at_s` seconds after it began: `closed` by the server, `stopped` by
    us, or a `fault`, and then which."""

    kind: str
    at_s: float
    fault: Mapping[str, Any] | None = None

    def error(self) -> PipechatError:
        """The fault as it was raised, another of its kind."""
        assert self.fault is not None
        kind = _FAULTS[self.fault["kind"]]
        words = self.fault["code"], self.fault["message"], self.fault["hint"]
        if issubclass(kind, TryLaterError):
            return kind(*words, again=self.fault["again"])
        return kind(*words)


def fault_of(error: PipechatError, at_s: float) -> End:
    """The end that `error` was."""
    kind = next((name for name, each in _FAULTS.items() if type(error) is each), "network")
    again = getattr(error, "again", False)
    fault = {"kind": kind, "code": error.code, "message": error.message, "hint": error.hint}
    return End(FAULT, at_s, {**fault, "again": again})


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange. `status`: None where no response came. `segments`: seconds from the
    beginning, and bytes. `line`: where in its file the exchange begins, from 1."""

    request: Request
    status: int | None
    headers: Mapping[str, str]
    at_s: float
    segments: Sequence[tuple[float, bytes]]
    end: End
    line: int = 0

    def block(self, secrets: Sequence[str]) -> bytes:
        """Its lines, the last without a newline; `secrets` are blotted out."""
        lines: list[dict[str, Any]] = [
            {"v": 1, "method": "POST", "path": self.request.path, "body": self.request.body}
        ]
        if self.status is not None:
            headers = {name: self.headers[name] for name in _HEADERS if name in self.headers}
            lines.append({"status": self.status, "headers": headers, "at_s": self.at_s})
        for (at_s, _), segment in zip(self.segments, self._masked(secrets), strict=True):
            lines.append({**_as_json(segment), "at_s": at_s})
        lines.append({"end": self.end.kind, **(self.end.fault or {}), "at_s": self.end.at_s})
        # Once more over all: what stands in the request, in a header or in a message.
        return masked(b"\n".join(map(jsonl.dumps, lines)), secrets)

    def _masked(self, secrets: Sequence[str]) -> Iterator[bytes]:
        """The segments; a secret may stand in two of them."""
        body = masked(b"".join(segment for _, segment in self.segments), secrets)
        start = 0
        for _, segment in self.segments:
            yield body[start : start + len(segment)]
            start += len(segment)


def masked(data: bytes, secrets: Sequence[str]) -> bytes:
    """`data` with every secret worth hiding blotted out, letter by letter: nothing moves."""
    for secret in secrets:
        if is_secret(secret):
            for letters in (secret.encode("utf-8", "replace"), jsonl.dumps(secret)[1:-1]):
                data = data.replace(letters, b"*" * len(letters))
    return data


def content_key(request: Request, secrets: Sequence[str]) -> tuple[str, bytes]:
    """What a request is found by: its path and its body, the order of keys aside."""
    body = jsonl.loads(masked(jsonl.dumps(request.body), secrets))
    return request.path, jsonl.dumps_ordered(body)


def read_recording(data: bytes) -> tuple[list[Recorded], list[int]]:
    """The exchanges of a file, and the numbers of the lines that belong to none: torn by a
    crash, or no lines of a recording."""
    found: list[Recorded] = []
    strange: list[int] = []
    begun: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        entry = _entry(line)
        if entry is None or ("body" in entry) != (not begun):
            strange += [at for at, _ in begun]
            begun = []
        if entry is None or (not begun and "body" not in entry):
            strange.append(number)
            continue
        begun.append((number, entry))
        if "end" in entry:
            try:
                found.append(_recorded(begun))
            except (KeyError, TypeError, ValueError):
                strange += [at for at, _ in begun]
            begun = []
    return found, strange + [at for at, _ in begun]


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        value = jsonl.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _recorded(block: list[tuple[int, dict[str, Any]]]) -> Recorded:
    """Raises KeyError, TypeError or ValueError where a line of it is not as it should be."""
    (line, first), *others = block
    *middle, last = [entry for _, entry in others]
    head = middle.pop(0) if middle else None
    end = _end(last)
    if first.get("v", 1) != 1 or (head is None and end.kind != FAULT):
        raise ValueError("of another version, or an end without a beginning")
    return Recorded(
        Request(_is(first["path"], str), _is(first["body"], dict)),
        None if head is None else _status(head["status"]),
        {} if head is None else _headers(head["headers"]),
        end.at_s if head is None else _seconds(head["at_s"]),
        [(_seconds(entry["at_s"]), _as_bytes(entry)) for entry in middle],
        end,
        line,
    )


def _end(entry: Mapping[str, Any]) -> End:
    kind, at_s = entry["end"], _seconds(entry["at_s"])
    if kind != FAULT:
        if kind not in (CLOSED, STOPPED):
            raise ValueError("no end that there is")
        return End(kind, at_s)
    fault = {name: _is(entry[name], str) for name in ("kind", "code", "message", "hint")}
    end = End(FAULT, at_s, {**fault, "again": _is(entry["again"], bool)})
    end.error()
    return end


def _is(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"not of {kind}")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number of seconds")
    if not 0 <= value <= _LONGEST_S:
        raise ValueError("no time that an exchange takes")
    return float(value)


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 100 <= value <= 999:
        raise ValueError("no status")
    return value


def _headers(value: Any) -> Mapping[str, str]:
    return {_is(name, str): _is(said, str) for name, said in _is(value, dict).items()}


def _as_json(segment: bytes) -> dict[str, str]:
    try:
        return {"text": segment.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(segment).decode()}


def _as_bytes(entry: Mapping[str, Any]) -> bytes:
    if "text" in entry:
        text: str = _is(entry["text"], str)
        return text.encode()
    return base64.b64decode(_is(entry["base64"], str), validate=True)
