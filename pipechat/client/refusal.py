"""What of its own request a refusal is about. Pure; imported with the first refusal."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipechat.errors import PipechatError, RefusedError
from pipechat.wire.refused_fields import (
    is_unknown,
    may_be_any,
    named,
    refuses_role,
    said_of_the_request,
)

# What a request is about: no field of these is there to be left out.
_OF_EVERY_REQUEST = ("model", "messages", "input", "instructions")
# Without it the answer is no longer shown as it comes: never left out by a guess.
_NEVER_GUESSED = ("stream",)


def look_at_fields(
    error: PipechatError,
    content: bytes,
    asked: Mapping[str, Any],
    own: Sequence[str],
    *,
    may_guess: bool = True,
) -> None:
    """Let `error` say which fields of the request it is about, and what to try where it is the
    role of the system message.

    Args:
        content: the body of the response.
        asked: the body of the request.
        own: the fields that nobody asked for by name.
        may_guess: a refusal that names no field may be about those.
    """
    said = said_of_the_request(content)
    role = _role_of_system(asked)
    is_of_role = bool(role) and refuses_role(said, role)
    if is_of_role:
        other = "system" if role == "developer" else "developer"
        hint = f'This model takes no {role} message: set system_role = "{other}" or "user".'
        error.hint = hint
    if not isinstance(error, RefusedError) or error.code not in ("bad_request", "not_found"):
        return
    beside = (*_OF_EVERY_REQUEST, *own, *(name.partition(".")[0] for name in own))
    by_name = [name for name in asked if name not in beside]
    error.asked_for = named(said, by_name)
    error.parameters = named(said, own)
    error.is_unknown = is_unknown(said)
    is_of_another = is_of_role or error.asked_for or error.parameters
    if may_guess and not is_of_another and may_be_any(said):
        error.parameters = tuple(name for name in own if name not in _NEVER_GUESSED)


def _role_of_system(asked: Mapping[str, Any]) -> str:
    """As whom the system message of a request is said, "" where it has none, or a user says it."""
    if "instructions" in asked:
        return "system"
    messages = asked.get("messages", asked.get("input"))
    there = messages if isinstance(messages, list) else []  # -O may say anything
    roles = (message.get("role") for message in there if isinstance(message, Mapping))
    return next((role for role in roles if role in ("system", "developer")), "")
