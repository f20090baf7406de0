"""What the output of a response holds: its texts, a refusal, reasoning, tools, usage. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What the client is to run; what a server runs by itself, it goes on from by itself.
_TOOLS = (
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "computer_call",
    "mcp_approval_request",
)
_USAGE = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}


def count_of(value: object) -> float | None:
    """A number, which some servers send as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def is_incomplete(item: object) -> bool:
    """Whether a message says of itself that it is not all there."""
    if not isinstance(item, Mapping):
        return False
    return item.get("type") == "message" and item.get("status") == "incomplete"


def is_tool(item: object) -> bool:
    """Whether the model asks for something that the client is to run."""
    return isinstance(item, Mapping) and item.get("type") in _TOOLS


def parts_of(output: Sequence[Any], kind: str) -> Iterator[Mapping[str, Any]]:
    """The parts of the items of this kind in `output`."""
    for item in output:
        if isinstance(item, Mapping) and item.get("type") == kind:
            content = item.get("content") or item.get("summary")
            if isinstance(content, str):
                yield {"text": content}
            parts = content if isinstance(content, list) else []
            yield from (part for part in parts if isinstance(part, Mapping))


def text_of(output: Sequence[Any]) -> tuple[str, bool]:
    """The text of all messages in `output`, and whether a refusal is among it."""
    texts, refused = [], False
    for part in parts_of(output, "message"):
        text = part.get("text") if part.get("type") != "refusal" else part.get("refusal")
        refused = refused or part.get("type") == "refusal"
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts), refused


def reasoning_of(output: Sequence[Any]) -> str:
    """What the model thought aloud, as `output` has it."""
    texts = [part.get("text") for part in parts_of(output, "reasoning")]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def usage_of(value: object) -> Mapping[str, Any] | None:
    """The usage under the names of Chat Completions; what it has no name for stays as it is."""
    if not isinstance(value, Mapping) or not value:
        return None
    return {_USAGE.get(str(name), str(name)): count for name, count in value.items()}
