"""`conversations.json` of ChatGPT's export of data: a tree of messages each, of which the branch
that was shown last is read. Pure.

The vendor documents no format; this is what such files hold in 2023 to 2026. A node has a parent,
children and perhaps a message; `current_node` is the end of the branch.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipechat.foreign.turns import Lost, Piece, Said, text_of, time_of, turns_of

_WHOLE = {"", "finished_successfully", "finished"}
_STOPS = {"", "stop"}


def is_conversation(value: Mapping[str, Any]) -> bool:
    """Whether it is one conversation."""
    return isinstance(value.get("mapping"), dict)


def of_conversations(values: Iterable[Mapping[str, Any]], lost: Lost) -> Iterator[Piece]:
    """A conversation each, by its title."""
    for number, conversation in enumerate(values):
        title = text_of(conversation.get("title"))
        turns = 0
        for turn in turns_of(_said(conversation, lost), lost):
            turns += 1
            yield Piece(str(number), title, turn.record())
        if not turns:
            lost.add("conversation without a question")


def _said(conversation: Mapping[str, Any], lost: Lost) -> Iterator[Said]:
    mapping = conversation["mapping"]
    branch = _branch(mapping, conversation.get("current_node"))
    aside = sum(key not in branch and _is_shown(node) for key, node in mapping.items())
    if aside:
        lost.add("message of another branch", aside)
    for key in reversed(branch):
        if _is_shown(mapping[key]):
            yield from _message(mapping[key]["message"], lost)
        elif _says(_of(mapping[key], "message")):
            lost.add("hidden message")


def _branch(mapping: Mapping[str, Any], end: object) -> dict[str, None]:
    """The nodes from the end of the branch to the root; where no end is named, as in old exports,
    from the last one that nothing follows."""
    if not isinstance(end, str) or end not in mapping:
        leaves = [key for key, node in mapping.items() if not _of(node, "children")]
        end = leaves[-1] if leaves else None
    branch: dict[str, None] = {}
    while isinstance(end, str) and end in mapping:
        if end in branch:
            raise ValueError("the messages of a conversation lead in a circle")
        branch[end] = None
        end = _of(mapping[end], "parent")
    return branch


def _is_shown(node: object) -> bool:
    """Whether a node has a message that says something, and is not hidden from its reader."""
    message = _of(node, "message")
    hidden = _of(_of(message, "metadata"), "is_visually_hidden_from_conversation")
    return _says(message) and not hidden


def _says(message: object) -> bool:
    content = _of(message, "content")
    parts = _of(content, "parts")
    return bool(any(parts) if isinstance(parts, list) else content)


def _message(message: Mapping[str, Any], lost: Lost) -> Iterator[Said]:
    role = text_of(_of(message.get("author"), "role"))
    kind = text_of(_of(message.get("content"), "content_type"))
    to_a_tool = text_of(message.get("recipient")) not in ("", "all")
    if role not in ("system", "user", "assistant") or to_a_tool:
        lost.add("tool call" if to_a_tool else f"{role or 'nameless'} message")
        return
    if kind not in ("text", "multimodal_text"):
        lost.add(kind or "content of no type")
        return
    text = _parts(message["content"].get("parts"), lost)
    time, about = time_of(message.get("create_time")), message.get("metadata")
    if role == "system" and text:
        yield Said("system", text)
    elif role == "user":
        yield Said("user", text, time=time)
    elif text:
        stop = text_of(_of(_of(about, "finish_details"), "type"))
        is_whole = text_of(message.get("status")) in _WHOLE and stop in _STOPS
        yield Said("assistant", text, text_of(_of(about, "model_slug")), time, is_whole)


def _parts(parts: object, lost: Lost) -> str:
    texts = []
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, str):
            texts.append(part)
        elif _of(part, "content_type") == "audio_transcription":
            texts.append(text_of(part.get("text")))
        else:
            lost.add(_of(part, "content_type") or "part of no type")
    return "\n".join(texts)


def _of(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
