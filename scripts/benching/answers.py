"""What the loopback server says: the words of an answer, and its bytes on the wire.

Used by the server to answer and by the rows to check what came out. A model named
`bench-N` answers in N chunks, as fast as it can; `paced-N` in N chunks, one every 2 ms, each
stamped with the moment it is sent; `json-N` answers with one JSON value, whatever N is.
"""

import json

PACE_S = 0.002
STAMP = b"t=%d;"

JSON_TEXT = '{"name":"Ada Lovelace","age":36,"tags":["mathematics","poetry"]}'
# About the lengths of a model's tokens, with a line end and some text beyond ASCII in between.
_WORDS = (
    *(" the", " answer", " is", " stream", "ed", " in", " small", " pieces", ",", " each"),
    *(" of", " which", " holds", " a", " word", " or", " less", ".", " A", " naïve", " reader"),
    *(" waits", " for", " all", " of", " it", ";", " a", " pipe", " does", " not", " —", "\n"),
)
_HEAD = {
    "id": "chatcmpl-CbQ7xPz1mWn4dE8sTfGhJkLyRvUa",
    "object": "chat.completion.chunk",
    "created": 1795392000,
    "model": "gpt-5.4-mini-2026-03-17",
    "service_tier": "default",
    "system_fingerprint": "fp_5f2b1c9d7e",
}


def texts(count: int) -> list[str]:
    """The `count` pieces of an answer."""
    return [_WORDS[index % len(_WORDS)] for index in range(count)]


def pieces(kind: str, count: int) -> list[str]:
    """The pieces of what the model `kind-count` answers."""
    return [JSON_TEXT[:20], JSON_TEXT[20:]] if kind == "json" else texts(count)


def text_event(text: str) -> bytes:
    """The event of one piece, as OpenAI sends it."""
    return _event(_choice({"content": text}, None))


def opening() -> list[bytes]:
    """What comes before the first text."""
    return [_event(_choice({"role": "assistant", "content": "", "refusal": None}, None))]


def closing(count: int, *, with_usage: bool) -> list[bytes]:
    """What comes after the last text: the finish reason, the usage where asked for, [DONE]."""
    usage = {"prompt_tokens": 20, "completion_tokens": count, "total_tokens": 20 + count}
    events = [_event(_choice({}, "stop"))]
    if with_usage:
        events.append(_event({**_HEAD, "choices": [], "usage": usage}))
    return [*events, b"data: [DONE]\n\n"]


def whole_stream(parts: list[str], *, with_usage: bool) -> list[bytes]:
    """All events of an answer in these pieces."""
    return [*opening(), *map(text_event, parts), *closing(len(parts), with_usage=with_usage)]


def whole_completion(count: int) -> dict[str, object]:
    """The same answer, asked for at once."""
    usage = {"prompt_tokens": 20, "completion_tokens": count, "total_tokens": 20 + count}
    message = {"role": "assistant", "content": "".join(texts(count)), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}


def framed(event: bytes) -> bytes:
    """One HTTP chunk for one event, as uvicorn (so vLLM) and most others frame it."""
    return b"%x\r\n%b\r\n" % (len(event), event)


def _choice(delta: dict[str, object], reason: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {**_HEAD, "choices": [choice], "usage": None}


def _event(payload: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
