"""What a server's error means: which of our errors it is, and what to try; and where in a payload
of either dialect an error may stand.

Pure: statuses, headers and decoded bodies in, errors out. The shapes are WIRE.md's, the exit
codes DESIGN §4's.
"""

from collections.abc import Mapping
from typing import Any

from pipechat import jsonl
from pipechat.errors import PipechatError, RefusedError, SetupError, TryLaterError
from pipechat.wire.error_body import ErrorBody

_TRY_LATER_STATUSES = (408, 409, 425, 429)
_SETUP_STATUSES = (401, 403)

# What stands beside no `error`, and is one all the same.
_ERROR_KEYS = (
    "message", "msg", "detail", "base_resp", "error_code", "error_msg", "error_message", "errors",
    "title",
)  # fmt: skip

_FINAL_CODES = {
    402: ("insufficient_quota", "Check the plan and billing of this key."),
    404: ("not_found", "Check the model (-m) and the base URL."),
    413: ("context_too_long", "Send less: --last-turns, --context-tokens, or a shorter question."),
}


def malformed(what: str) -> TryLaterError:
    """The error for a stream that is not what the API documents. Not sent again: a server
    that talks nonsense once does so again. Once text came it makes the turn incomplete."""
    return TryLaterError("malformed_stream", f"the server sent {what}", again=False)


def status_error(
    status: int, body: object, *, host: str, retry_after_s: float | None = None
) -> PipechatError:
    """The error for a response whose status is no success.

    Args:
        status: the HTTP status, 300 to 599.
        body: the decoded JSON body, or None where it was none (HTML, plain text, nothing).
        host: where the request went, for the message.
        retry_after_s: what `Retry-After` asked for, in seconds.
    """
    if 300 <= status < 400:
        return RefusedError(
            "redirected",
            f"{host} answered {status}, a redirect, which is not followed",
            "Set --base-url to the final address.",
        )
    return _error_for(ErrorBody(body), status, f"{host} answered {status}", retry_after_s)


def stream_error(error: object, *, host: str) -> PipechatError:
    """The error for an `error` that came with status 200: in the stream, or as the body."""
    return _error_for(ErrorBody({"error": error}), None, f"{host} sent an error", None)


def decoded(data: bytes, *, host: str, is_error: bool = False) -> object:
    """The JSON of one event, or of a whole body. `is_error`: the event's name says so.

    Raises:
        PipechatError: it is no JSON, or an error.
    """
    try:
        payload = jsonl.loads(data)
    except ValueError:
        # Servers forget to escape the quotes in an error; it says what is wrong all the same.
        head = data[:64].split()
        if is_error or b"".join(head).startswith(b'{"error":'):
            said = data.decode("utf-8", "replace")
            raise stream_error(said, host=host) from None
        raise malformed("data that is no JSON") from None
    if is_error:
        inner = payload.get("error") if isinstance(payload, Mapping) else None
        raise stream_error(inner or payload, host=host)
    return payload


def is_error_without_its_key(payload: Mapping[str, Any]) -> bool:
    """Whether a payload that is no answer is a server's error, said in a way of its own."""
    return (
        payload.get("object") == "error"
        or payload.get("success") is False
        or payload.get("error") is not None  # an empty one, which says no more than that
        or not payload.keys().isdisjoint(_ERROR_KEYS)
    )


def no_object(payload: object, *, host: str) -> PipechatError:
    """The error for a payload that is no JSON object: one vendor wraps its errors in a list."""
    if isinstance(payload, list) and len(payload) == 1 and isinstance(payload[0], dict):
        return stream_error(payload[0].get("error", payload[0]), host=host)
    return malformed(f"data that is no JSON object: {shown_value(payload)}")


def shown_value(payload: object) -> str:
    """What a server said that is no completion: its words must reach the user."""
    text = jsonl.dumps(payload).decode()
    return text if len(text) <= 200 else text[:200] + "…"


def _error_for(
    said: ErrorBody, status: int | None, what: str, retry_after_s: float | None
) -> PipechatError:
    meant = said.status(status)
    words = said.message or ", ".join(said.words)
    message = f"{what}: {' '.join(words.split())}" if words else what
    if meant in _SETUP_STATUSES:
        code = "unauthorized" if meant == 401 else "forbidden"
        return SetupError(code, message, "Check the key and the base URL.")
    if meant is not None and 400 <= meant < 500 and meant not in _TRY_LATER_STATUSES:
        code, hint = _FINAL_CODES.get(meant, ("bad_request", ""))
        if meant == 413 and (said.is_too_large or (status == 413 and not said.words)):
            code, hint = "too_large", "Send less."
        error = RefusedError(code, message, hint)
        error.status = status
        return error
    if meant == 429:
        hint = "Wait, then try again."
        return TryLaterError(
            "rate_limited", message, hint, status=status, retry_after_s=retry_after_s
        )
    code = {408: "server_timeout", 409: "conflict"}.get(meant or 0, "server_error")
    return TryLaterError(
        code, message, "Try again later.", status=status, retry_after_s=retry_after_s
    )


def decoded_error(content: bytes) -> object:
    """The body of an error: JSON, or what plain text says; of a page of HTML nothing."""
    try:
        return jsonl.loads(content)
    except ValueError:
        text = content.decode("utf-8", "replace").strip()
        return None if text.startswith("<") else text
