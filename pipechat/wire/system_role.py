"""The system message for models that know no system role. Pure; imported where it is asked for."""

from collections.abc import Sequence

from pipechat.messages import Content, Message, Role


def spoken_as(role: Role, messages: Sequence[Message]) -> list[Message]:
    """`messages` with each system message as one of `role`. A user's becomes the beginning of the
    question behind it: some models take no two messages of one role in a row."""
    spoken: list[Message] = []
    was_system = False
    for message in messages:
        is_system = message["role"] == "system"
        if is_system:
            message = {**message, "role": role}
        if role == "user" and was_system and message["role"] == "user":
            first, second = spoken.pop().get("content") or "", message.get("content") or ""
            message = {**message, "content": _joined(first, second)}
        spoken.append(message)
        was_system = is_system
    return spoken


def _joined(first: Content, second: Content) -> Content:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Content) -> list[dict[str, object]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
