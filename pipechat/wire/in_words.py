"""JSON of a schema asked for in plain words, where a server knows no other way. Pure."""

from pipechat import jsonl
from pipechat.messages import AnswerFormat, Message

_ASK = (
    "Answer with one JSON value and nothing else: no code fence, no comment. "
    "It must match this JSON Schema:"
)


def asked_in_words(messages: list[Message], wanted: AnswerFormat) -> list[Message]:
    """`messages`, of which the last also asks for what `wanted` is, in plain words."""
    last = messages[-1]
    content, ask = last["content"], f"{_ASK}\n{jsonl.dumps(wanted.schema).decode()}"
    asked: Message = {
        "role": last["role"],
        "content": f"{content}\n\n{ask}"
        if isinstance(content, str)
        else [*content, {"type": "text", "text": ask}],
    }
    return [*messages[:-1], asked]
