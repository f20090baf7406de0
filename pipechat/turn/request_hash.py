"""The hash of what is asked: equal for equal requests, however and whenever they are sent. Pure."""

from pipechat import jsonl
from pipechat.messages import ChatRequest


def request_hash(dialect: str, request: ChatRequest) -> str:
    """SHA-256 in hexadecimal over the dialect's name, the model, the messages, the options and
    the schema, the order of keys aside. Not over how it is sent (stream, time-outs, key)."""
    import hashlib  # 2.5 ms, and there already where the SDK is

    asked = [dialect, request.model, list(request.messages), request.options]
    asked += [wanted.schema for wanted in request.formats[:1]]
    return hashlib.sha256(jsonl.dumps_ordered(asked)).hexdigest()
