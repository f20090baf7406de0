"""The mirror: a script that answers from the request itself, and goes wrong where it is told to.

For storms of many clients and for conversations: the right answer to any question is known
(`echo`), and so is the fault (`by_hash`). Usage is counted in words, so it is known as well.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

from tests.servers.reply import Reply, cut, http_reply, raw_reply
from tests.servers.request import Request, text_of
from tests.servers.sse import (
    CREATED,
    MODEL,
    answer_events,
    completion,
    error_reply,
    event,
    json_reply,
)
from tests.servers.steps import Close, Reset, Send, Stall, Step, Wait

Fault = Literal[
    "none",  # a whole answer
    "slow",  # a whole answer, SLOW_GAP_S between events
    "reset",  # RST at half of the wire bytes
    "close",  # FIN at half of the wire bytes
    "stall",  # silence at half of the wire bytes
    "unfinished",  # all the text, a proper end of the HTTP body, neither finish_reason nor [DONE]
    "length",  # finish_reason "length"
    "error_event",  # an error object in the stream at half of the events
    "reset_first",  # RST instead of headers
    "close_first",  # FIN instead of headers
    "silent",  # nothing at all
    "429",  # with `Retry-After: 1`
    "400",
    "401",
    "500",
    "503",
]
SLOW_GAP_S = 0.02


def echo(request: Request) -> str:
    """The mirror's answer: `echo: ` and the last user message."""
    return f"echo: {request.question}"


def usage_of(request: Request, text: str) -> dict[str, int]:
    """Prompt tokens: the words of all messages. Completion tokens: the words of the answer."""
    prompt = sum(len(text_of(message).split()) for message in request.messages)
    completion = len(text.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def by_hash(*faults: Fault) -> Callable[[Request], Fault]:
    """Choose by the question, the same each time: name a fault twice to have it more often."""

    def choose(request: Request) -> Fault:
        question = request.question.encode("utf-8", "surrogatepass")
        return faults[int.from_bytes(hashlib.sha256(question).digest()[:4]) % len(faults)]

    return choose


def first_tries(fault: Fault, count: int = 1) -> Callable[[Request], Fault]:
    """The fault for each question's first `count` requests, then a whole answer."""
    tries: dict[str, int] = {}

    def choose(request: Request) -> Fault:
        tries[request.question] = tries.get(request.question, 0) + 1
        return fault if tries[request.question] <= count else "none"

    return choose


def mirror(
    *,
    pieces: int = 4,
    gap: float = 0.0,
    fault: Callable[[Request], Fault] | None = None,
    text: Callable[[Request], str] = echo,
    models: Sequence[str] = (MODEL,),
) -> Callable[[Request], Reply]:
    """A script: chat completions (streamed or whole) and `GET …/models`; 404 elsewhere.

    `pieces` is the number of text events, `gap` the seconds between events. Each reply carries
    `x-request-id: req-NUMBER`, and usage where the request asks for it.
    """

    def choose(request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if request.method == "GET" and path.endswith("/models"):
            return _models(models)
        if request.method != "POST" or not path.endswith("/chat/completions"):
            return json_reply(404, {"detail": "Not Found"})
        if not isinstance(request.body, dict):
            return error_reply(400, "The body is not a JSON object.")
        chosen = fault(request) if fault else "none"
        return _instead(chosen) or _answer(request, text(request), pieces, gap, chosen)

    return choose


def _models(names: Sequence[str]) -> Reply:
    data = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "test"} for name in names
    ]
    return json_reply(200, {"object": "list", "data": data})


def _instead(fault: Fault) -> Reply | None:
    """The reply of a fault that comes instead of any answer."""
    if fault.isdigit():
        headers = {"retry-after": "1"} if fault == "429" else {}
        return error_reply(int(fault), f"The mirror says {fault}.", headers=headers)
    endings: dict[str, Step] = {"reset_first": Reset(), "close_first": Close(), "silent": Stall()}
    return raw_reply(endings[fault]) if fault in endings else None


def _answer(request: Request, text: str, pieces: int, gap: float, fault: Fault) -> Reply:
    usage = usage_of(request, text)
    headers = {"x-request-id": f"req-{request.number}"}
    if not request.body.get("stream"):
        reply = json_reply(200, completion(text, usage=usage), headers)
        return _cut_at_half(reply, fault)
    events = answer_events(
        text,
        pieces=pieces,
        usage=usage if (request.body.get("stream_options") or {}).get("include_usage") else False,
        finish_reason={"unfinished": None, "length": "length"}.get(fault, "stop"),
        done=fault != "unfinished",
    )
    if fault == "error_event":
        error = {"error": {"message": "The engine died.", "type": "server_error", "code": 500}}
        events = [*events[: len(events) // 2], event(error)]
    pause = SLOW_GAP_S if fault == "slow" else gap
    steps = [step for data in events for step in (Wait(pause), Send(data))]
    reply = http_reply(
        200, steps, content_type="text/event-stream", headers=headers, framing="chunked"
    )
    return _cut_at_half(reply, fault)


def _cut_at_half(reply: Reply, fault: Fault) -> Reply:
    if fault == "reset":
        return cut(reply, len(reply.wire) // 2, "rst")
    if fault == "close":
        return cut(reply, len(reply.wire) // 2, "fin")
    if fault == "stall":
        return cut(reply, len(reply.wire) // 2, "stall")
    return reply
