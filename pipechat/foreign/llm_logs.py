"""What `llm logs --json` prints: an array of answered prompts, oldest first. Pure.

Source: llm 0.36, `log_rows_as_json`. Fragments are not read: without `--expand` they are cut.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipechat.foreign.turns import Lost, Piece, Said, text_of, time_of, turns_of
from pipechat.messages import Turn

_UNREAD = (
    "attachments", "prompt_fragments", "system_fragments", "tools", "tool_calls", "tool_results",
    "reasoning", "options_json", "schema_json",
)  # fmt: skip


def is_row(value: Mapping[str, Any]) -> bool:
    """Whether it is one answered prompt."""
    return "prompt" in value and "response" in value


def of_rows(values: Iterable[Mapping[str, Any]], lost: Lost) -> Iterator[Piece]:
    """A turn each; what has one `conversation_id` is one conversation, in which a system message
    holds until another comes."""
    systems: dict[str, str] = {}
    for row in values:
        for key in _UNREAD:
            if found := row.get(key):
                lost.add(key, len(found) if isinstance(found, list) else 1)
        key = text_of(row.get("conversation_id"))
        systems[key] = text_of(row.get("system")) or systems.get(key, "")
        for turn in turns_of(_said(row, systems[key]), lost):
            yield Piece(key, text_of(row.get("conversation_name")), _counted(turn, row).record())


def _said(row: Mapping[str, Any], system: str) -> Iterator[Said]:
    if system:
        yield Said("system", system)
    yield Said("user", text_of(row.get("prompt")), time=time_of(row.get("datetime_utc")))
    if answer := text_of(row.get("response")):
        yield Said("assistant", answer, text_of(row.get("model")))


def _counted(turn: Turn, row: Mapping[str, Any]) -> Turn:
    """`turn` with the tokens and the time that it took."""
    sent, received = row.get("input_tokens"), row.get("output_tokens")
    took = row.get("duration_ms")
    if type(sent) is int and type(received) is int:
        usage = {
            "prompt_tokens": sent,
            "completion_tokens": received,
            "total_tokens": sent + received,
        }
        turn = replace(turn, usage=usage)
    return replace(turn, total_s=took / 1000) if isinstance(took, int | float) else turn
