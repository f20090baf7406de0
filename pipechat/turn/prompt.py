"""The question and the messages: words, stdin and earlier turns composed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipechat.errors import PipechatError, UsageError
from pipechat.messages import Content, Message, Turn

if TYPE_CHECKING:
    from pipechat.turn.attachments import Attachment


class Question(NamedTuple):
    """What is asked: its text, the files that go along, and whether texts among them are kept
    with it. `corrections`: what was answered before, and what is wrong with it."""

    text: str
    attachments: Sequence[Attachment] = ()
    keep_files: bool = False
    corrections: Sequence[Message] = ()

    @property
    def content(self) -> Content:
        """What is sent of it, the corrections aside."""
        if not self.attachments:
            return self.text
        from pipechat.turn.attachments import question_content

        return question_content(self.text, self.attachments)

    @property
    def kept(self) -> str:
        """What is kept of it, and sent again with later questions."""
        if not (self.attachments and self.keep_files):
            return self.text
        from pipechat.turn.attachments import with_texts

        return with_texts(self.text, self.attachments)

    @property
    def sends_more_than_is_kept(self) -> bool:
        """Whether what is sent now is more than what later turns send of it."""
        from_files = bool(self.attachments) and not self.keep_files
        return from_files or bool(self.corrections)


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


def compose_messages(system: str | None, turns: Sequence[Turn], question: Content) -> list[Message]:
    """What is sent: the system message, the earlier turns, the question."""
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": system})
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    messages.append({"role": "user", "content": question})
    return messages


def corrections_of(answer: str, cause: PipechatError) -> list[Message]:
    """What is sent behind a question whose `answer` is not what was wanted, to ask again."""
    return [
        {"role": "assistant", "content": answer},
        {"role": "user", "content": f"{cause.message}. Answer again, corrected and whole."},
    ]
