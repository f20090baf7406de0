"""What a server's error means: which of our errors it is, and what to try.

Pure: statuses, headers and decoded bodies in, errors out. The shapes are WIRE.md's, the exit
codes DESIGN §4's.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipechat.errors import PipechatError, RefusedError, SetupError, TryLaterError

_TRY_LATER_STATUSES = (408, 409, 425, 429)
_SETUP_STATUSES = (401, 403)

# Words that servers put into `code` or `type`, and the status that they stand for. A word is
# stronger than the status it came with: insufficient_quota comes as 429 and is final.
_WORDS = {
    "insufficient_quota": 402,
    "billing_hard_limit_reached": 402,
    "quota_exceeded": 402,
    "context_length_exceeded": 413,
    "exceed_context_size_error": 413,
    "string_above_max_length": 413,
    "model_not_found": 404,
    "not_found_error": 404,
    "invalid_model": 404,
    "invalid_api_key": 401,
    "incorrect_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "overloaded": 503,
    "overloaded_error": 529,
    "service_unavailable": 503,
    "unavailable_error": 503,
    "timeout": 504,
    "invalid_request_error": 400,
    "bad_request_error": 400,
    "badrequesterror": 400,
    "content_policy_violation": 400,
}

_UNKNOWN_MODEL = re.compile(
    r"(unknown|no such|invalid) model|model\b.*(not found|not exist|n't exist|unknown)"
)

_FINAL_CODES = {
    402: ("insufficient_quota", "Check the plan and billing of this key."),
    404: ("not_found", "Check the model (-m) and the base URL; the path is BASE_URL/chat/…"),
    413: ("context_too_long", "Send less: --last-turns, --context-tokens, or a shorter question."),
}


class ErrorBody:
    """What an error body says, whatever its shape: `message`, and `words`, lower case, from
    `code` and `type`; `number` where the code is one."""

    def __init__(self, body: object) -> None:
        if isinstance(body, list) and len(body) == 1:
            body = body[0]  # one vendor wraps its errors in a list
        error = body
        if isinstance(body, Mapping):
            error = body.get("error", body)
        self.message = ""
        self.words: list[str] = []
        self.number: int | None = None
        if isinstance(error, str):
            self.message = error
        elif isinstance(error, Mapping):
            self.message = _first_text(error, "message", "detail", "title", "error", "msg")
            for key in ("code", "type", "status"):
                self._take_code(error.get(key))
        elif isinstance(error, list) and error:
            self.message = _first_text({"detail": error}, "detail")

    def _take_code(self, value: object) -> None:
        if isinstance(value, int) and not isinstance(value, bool):
            self.number = self.number or value
        elif isinstance(value, str):
            if value.isascii() and value.isdigit() and len(value) <= 3:
                self.number = self.number or int(value)
            else:
                self.words.append(value.lower())

    def status(self, fallback: int | None) -> int | None:
        """The HTTP status this error stands for: by its words, else the response's own status,
        else the number in its code."""
        text = self.message.lower()
        for word in self.words:
            meant = _WORDS.get(word)
            # `invalid_request_error`, `server_error` and their like are a server's type for
            # everything: the status knows more.
            if meant and (400 < meant < 500 or fallback is None):
                return meant
        if "context length" in text or "context size" in text or "context window" in text:
            return 413
        if fallback == 400 and ("api key" in text or "api_key" in text):
            return 401
        if fallback in (400, 503) and _UNKNOWN_MODEL.search(text):
            return 404
        if fallback is not None:
            return fallback
        return self.number if self.number and 400 <= self.number <= 599 else None


def _first_text(error: Mapping[str, Any], *keys: str) -> str:
    for key in keys:
        value = error.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, Mapping):
            found = _first_text(value, "message", "detail", "msg")
            if found:
                return found
        if isinstance(value, list) and value:
            first = value[0]
            found = first if isinstance(first, str) else ""
            if isinstance(first, Mapping):
                found = _first_text(first, "msg", "message", "detail")
            if found:
                return found
    return ""


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


def _error_for(
    said: ErrorBody, status: int | None, what: str, retry_after_s: float | None
) -> PipechatError:
    meant = said.status(status)
    message = f"{what}: {' '.join(said.message.split())}" if said.message else what
    if meant in _SETUP_STATUSES:
        code = "unauthorized" if meant == 401 else "forbidden"
        return SetupError(code, message, "Check the key (OPENAI_API_KEY) and the base URL.")
    if meant is not None and 400 <= meant < 500 and meant not in _TRY_LATER_STATUSES:
        code, hint = _FINAL_CODES.get(meant, ("bad_request", ""))
        if status == 413 and meant == status and not said.words:
            code, hint = "too_large", "Send less."
        return RefusedError(code, message, hint)
    if meant == 429:
        hint = "Wait, then try again."
        return TryLaterError(
            "rate_limited", message, hint, status=status, retry_after_s=retry_after_s
        )
    code = {408: "server_timeout", 409: "conflict"}.get(meant or 0, "server_error")
    return TryLaterError(
        code, message, "Try again later.", status=status, retry_after_s=retry_after_s
    )
