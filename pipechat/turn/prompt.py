"""The question and the messages: words, stdin and earlier turns composed. Pure."""

from collections.abc import Sequence

from pipechat.errors import UsageError
from pipechat.messages import Message, Turn


def compose_question(words: Sequence[str], data: str | None) -> str:
    """Arguments joined by one blank, then an empty line and stdin: instruction, then data.

    Raises:
        UsageError: `empty_question`: nothing but white space.
    """
    instruction = " ".join(words)
    if data is None or not data.strip():
        question = instruction
    elif not instruction.strip():
        question = data
    else:
        question = f"{instruction}\n\n{data}"
    if not question.strip():
        hint = "Give it as arguments or on stdin: echo question | pipechat ask"
        raise UsageError("empty_question", "there is no question", hint)
    return question


def compose_messages(system: str | None, turns: Sequence[Turn], question: str) -> list[Message]:
    """What is sent: the system message, the earlier turns, the question."""
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": system})
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    messages.append({"role": "user", "content": question})
    return messages
