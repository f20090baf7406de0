"""The hash of what is asked: equal for equal requests, however and whenever they are sent. Pure."""

from typing import Any

from pipechat import jsonl
from pipechat.messages import ChatRequest


def request_hash(dialect: str, request: ChatRequest) -> str:
    """SHA-256 in hexadecimal over the dialect's name, the model, the messages and the options,
    the order of keys aside. Not over how it is sent: stream, time-outs, key, endpoint."""
    import hashlib  # 2.5 ms, and there already where the SDK is

    asked = [dialect, request.model, list(request.messages), request.options]
    return hashlib.sha256(jsonl.dumps(ordered(asked))).hexdigest()


def ordered(value: Any) -> Any:
    """The JSON value with the keys of each object sorted."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [ordered(item) for item in value]
    return value
