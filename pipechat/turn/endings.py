"""Which ends of an answer are whole, and what the others mean. Pure.

The reasons are those that servers of several vendors were seen to send (WIRE.md). One that
stands in neither table is not whole: what nobody knows cannot be vouched for.
"""

from pipechat.errors import IncompleteError, PipechatError, TryLaterError

WHOLE_REASONS = frozenset(
    (
        "stop", "end_turn", "eos", "eos_token", "stop_sequence", "complete", "completed",
        "finished",
    )
)  # fmt: skip

_TRUNCATED = ("truncated", "the answer reached the token limit")
_FILTERED = ("filtered", "the answer was filtered by the provider")
_REFUSED = ("refused", "the model refused to answer")
_TOOLS = ("tool_calls", "the model asked for a tool, which pipechat does not run")
_CUT_REASONS = {
    **dict.fromkeys(
        (
            "length", "max_tokens", "model_length", "max_output_tokens",
            "model_context_window_exceeded",
        ),
        _TRUNCATED,
    ),
    **dict.fromkeys(
        (
            "content_filter", "content_filtered", "safety", "recitation", "prohibited_content",
            "blocklist", "spii", "language", "sensitive",
        ),
        _FILTERED,
    ),
    "refusal": _REFUSED,
    "tool_calls": _TOOLS,
    "function_call": _TOOLS,
    "tool_use": _TOOLS,
    "repetition_truncation": ("cut", "the provider cut an answer that repeated itself"),
}  # fmt: skip
_BROKEN_REASONS = frozenset(
    (
        "error", "abort", "aborted", "cancelled", "canceled", "network_error",
        "insufficient_system_resource",
    )
)  # fmt: skip


def why_not_whole(
    reason: str, *, allow_truncated: bool, also_whole: frozenset[str] = frozenset()
) -> PipechatError | None:
    """What a finish reason means; None where the answer is whole.

    Args:
        reason: as the server sent it, in any case.
        allow_truncated: an answer cut by the token limit counts as whole.
        also_whole: further reasons that the user vouches for, in lower case.
    """
    word = reason.lower()
    if word in WHOLE_REASONS or word in also_whole:
        return None
    if word in _BROKEN_REASONS:
        return TryLaterError("stream_error", f"the server ended the answer with {word!r}")
    if word not in _CUT_REASONS:
        message = f"the answer ended with {word[:100]!r}, which may mean a cut one"
        hint = "If such an answer is whole, name the reason in whole_reasons in config.toml."
        return IncompleteError("unknown_finish", message, hint)
    code, message = _CUT_REASONS[word]
    if code == "truncated":
        if allow_truncated:
            return None
        hint = "Raise --max-tokens, or accept it with --allow-truncated."
        return IncompleteError(code, message, hint)
    return IncompleteError(code, message, retryable=code == "cut")


def refused() -> PipechatError:
    """The model's refusal, told in a field of its own."""
    return IncompleteError(*_REFUSED)


def asked_for_tools() -> PipechatError:
    """A tool call, told in a field of its own."""
    return IncompleteError(*_TOOLS)
