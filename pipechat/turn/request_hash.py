"""The hash of what is asked: equal for equal requests, however and whenever they are sent. Pure."""

from typing import Any

from pipechat import jsonl
from pipechat.messages import ChatRequest, Message
from pipechat.turn.surrogates import without_surrogates

_SMALL = 1 << 15


def request_hash(dialect: str, request: ChatRequest) -> str:
    """SHA-256 in hexadecimal over the dialect's name, the model, the messages, the options and
    the schema, the order of keys aside. Not over how it is sent (stream, time-outs, key)."""
    import hashlib  # 2.5 ms, and there already where the SDK is

    return hashlib.sha256(jsonl.dumps_ordered(_asked(dialect, request))).hexdigest()


def _asked(dialect: str, request: ChatRequest) -> list[Any]:
    asked = [dialect, request.model, list(request.messages), request.options]
    return asked + [wanted.schema for wanted in request.formats[:1]]


class HashesOf:
    """The same for requests that differ from `request` in their messages alone, of which a batch
    may have a million: the rest is written once."""

    def __init__(self, dialect: str, request: ChatRequest) -> None:
        import hashlib  # as above

        self._sha256 = hashlib.sha256
        self._dialect = dialect
        self._head = jsonl.dumps_ordered([dialect, request.model])[:-1] + b","
        whole = _asked(dialect, request._replace(messages=()))
        self._rest = jsonl.dumps_ordered(whole)[len(self._head) + len(b"[]") :]

    def of(self, request: ChatRequest) -> str:
        """Its hash."""
        if len(self._rest) > _SMALL or not all(map(_is_plain, request.messages)):
            return request_hash(self._dialect, request)
        messages = jsonl.dumps_ordered(request.messages, is_small=True)
        return self._sha256(self._head + messages + self._rest).hexdigest()


def _is_plain(message: Message) -> bool:
    """Whether what it says is a short text, and all of it text: else numbers beside it may be
    written otherwise."""
    content = message["content"]
    if type(content) is not str or len(content) > _SMALL:
        return False
    return content.isascii() or without_surrogates(content) == content
