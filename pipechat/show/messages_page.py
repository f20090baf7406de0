"""A conversation as the `messages` of a request, as the API takes them: a message a line, in one
JSON array. Knows no file."""

from collections.abc import Iterator

from pipechat import jsonl
from pipechat.messages import Message, Turn


class MessagesPage:
    """Those turns that go along with a later question.

    Args:
        system: the system message that holds at the end, and so for all of it.
    """

    def __init__(self, system: str | None) -> None:
        self._system = system
        self._begun = False

    def head(self) -> str:
        """The beginning, with the system message."""
        system: list[Message] = []
        if self._system:
            system.append({"role": "system", "content": self._system})
        return "[" + self._written(system)

    def turn(self, _number: int, turn: Turn) -> str:
        """Its question and its answer; nothing of one that would not go along."""
        if not turn.is_context:
            return ""
        return self._written(
            [
                {"role": "user", "content": turn.question},
                {"role": "assistant", "content": turn.answer},
            ]
        )

    def foot(self) -> str:
        """The end."""
        return "]\n"

    def _written(self, messages: list[Message]) -> str:
        return "".join(self._lines(messages))

    def _lines(self, messages: list[Message]) -> Iterator[str]:
        for message in messages:
            yield ",\n" if self._begun else ""
            self._begun = True
            yield jsonl.dumps(message).decode()
