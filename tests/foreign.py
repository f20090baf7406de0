"""Conversations as other programs keep them, made for the tests."""

from typing import Any


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    """A message of the API."""
    return {"role": role, "content": content, **more}


MESSAGES = [
    message("system", "Be brief."),
    message("user", "Where is Lyon?"),
    message("assistant", "In France."),
    message("user", "And Porto?"),
    message("assistant", "In Portugal."),
]


def row(number: int, prompt: str, response: str, **more: Any) -> dict[str, Any]:
    """A row as `llm logs --json` prints it."""
    return {
        "id": f"01jx{number:022}",
        "model": "gpt-5.4-mini",
        "prompt": prompt,
        "system": None,
        "prompt_json": None,
        "options_json": {},
        "response": response,
        "response_json": None,
        "reasoning": None,
        "conversation_id": "01jxconversation",
        "duration_ms": 1500,
        "datetime_utc": f"2026-03-01T09:15:{number:02}.250000+00:00",
        "input_tokens": 12,
        "output_tokens": 3,
        "token_details": None,
        "conversation_name": "Rivers of France",
        "conversation_model": "gpt-5.4-mini",
        "schema_json": None,
        "prompt_fragments": [],
        "system_fragments": [],
        "tools": [],
        "tool_calls": [],
        "tool_results": [],
        "attachments": [],
        **more,
    }


ROWS = [row(1, "Name a river.", "The Rhone."), row(2, "Another?", "The Loire.")]


def node(
    key: str, parent: str | None, role: str, content: Any, **more: Any
) -> tuple[str, dict[str, Any]]:
    """A node of a conversation in ChatGPT's export; a text as content is a message of text."""
    if isinstance(content, str):
        content = {"content_type": "text", "parts": [content]}
    metadata = {"model_slug": "gpt-5"} if role == "assistant" else {}
    said = {
        "id": key,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1767225600.5,
        "update_time": None,
        "content": content,
        "status": "finished_successfully",
        "end_turn": None,
        "weight": 1.0,
        "metadata": metadata | more.pop("metadata", {}),
        "recipient": "all",
        **more,
    }
    return key, {"id": key, "message": said, "parent": parent, "children": []}


def conversation(title: str, *nodes: tuple[str, dict[str, Any]], end: str) -> dict[str, Any]:
    """A conversation of ChatGPT's export, whose shown branch ends at `end`."""
    root: dict[str, Any] = {"id": "root", "message": None, "parent": None, "children": []}
    mapping: dict[str, Any] = {"root": root, **dict(nodes)}
    for key, each in mapping.items():
        if each["parent"] in mapping:
            mapping[each["parent"]]["children"].append(key)
    return {
        "title": title,
        "create_time": 1767225600.0,
        "update_time": 1767225700.0,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": end,
        "plugin_ids": None,
        "conversation_id": "6791f0e4-0000-8000-9000-000000000000",
        "is_archived": False,
        "default_model_slug": "gpt-5",
    }


CONVERSATIONS = [
    conversation(
        "Trip to Lyon",
        node("q1", "root", "user", "Three days in Lyon?"),
        node("a1", "q1", "assistant", "Take four."),
        end="a1",
    ),
    conversation(
        "里昂",
        node("q1", "root", "user", "Hello?"),
        node("a1", "q1", "assistant", "Hello."),
        end="a1",
    ),
]

EXAMPLES = {"talk.json": MESSAGES, "logs.json": ROWS, "conversations.json": CONVERSATIONS}
"""By the names that the examples of the help have for them."""
